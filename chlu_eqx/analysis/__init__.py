from .energy import (
    energy_drift as energy_drift,
    EnergyDrift as EnergyDrift,
    ShadowHamiltonian as ShadowHamiltonian,
)
from .memory import (
    critical_point as critical_point,
    memory_modes as memory_modes,
    memory_table as memory_table,
    MemoryBand as MemoryBand,
    MemoryModes as MemoryModes,
    mode_half_life as mode_half_life,
)
from .order import measured_order as measured_order, MeasuredOrder as MeasuredOrder
from .structure import (
    conformal_factor as conformal_factor,
    predicted_volume_factor as predicted_volume_factor,
    step_jacobian as step_jacobian,
    step_map as step_map,
    symplecticity_defect as symplecticity_defect,
    volume_factor as volume_factor,
)
