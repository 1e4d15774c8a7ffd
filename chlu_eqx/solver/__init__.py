from .reversible import AbstractReversibleSolver as AbstractReversibleSolver
from .substeps import Substeps as Substeps
from .verlet import (
    CHLUSolver as CHLUSolver,
    DriftKickDrift as DriftKickDrift,
    KickDriftKickDamp as KickDriftKickDamp,
    SymplecticEuler as SymplecticEuler,
)
