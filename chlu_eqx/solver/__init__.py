from .verlet import (
    CHLUSolver as CHLUSolver,
    DriftKickDrift as DriftKickDrift,
    KickDriftKickDamp as KickDriftKickDamp,
    SymplecticEuler as SymplecticEuler,
)
