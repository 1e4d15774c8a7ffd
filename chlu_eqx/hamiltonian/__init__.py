from .hamiltonian import (
    AbstractHamiltonian as AbstractHamiltonian,
    NeuralHamiltonian as NeuralHamiltonian,
    SeparableHamiltonian as SeparableHamiltonian,
)
from .kinetic import (
    AbstractKineticEnergy as AbstractKineticEnergy,
    AbstractThermalKinetic as AbstractThermalKinetic,
    NewtonianKinetic as NewtonianKinetic,
    RelativisticKinetic as RelativisticKinetic,
)
from .mass import (
    DenseNewtonianKinetic as DenseNewtonianKinetic,
    RotationKinetic as RotationKinetic,
)
from .potential import (
    AbstractPotential as AbstractPotential,
    Confinement as Confinement,
    ConvPotential as ConvPotential,
    MLPPotential as MLPPotential,
    PeriodicPotential as PeriodicPotential,
    PotentialSum as PotentialSum,
)
from .riemannian import RiemannianHamiltonian as RiemannianHamiltonian
