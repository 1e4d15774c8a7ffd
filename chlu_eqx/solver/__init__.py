from .implicit import (
    GaussLegendre4 as GaussLegendre4,
    GeneralizedLeapfrog as GeneralizedLeapfrog,
    ImplicitMidpoint as ImplicitMidpoint,
)
from .langevin import (
    BABO as BABO,
    BAOAB as BAOAB,
    MetropolisBAOAB as MetropolisBAOAB,
)
from .reversible import AbstractReversibleSolver as AbstractReversibleSolver
from .semiexplicit import SemiExplicit as SemiExplicit
from .splitting import (
    AbstractSplitting as AbstractSplitting,
    BlanesMoan4 as BlanesMoan4,
    BlanesMoan6 as BlanesMoan6,
    BlanesMoanNystrom4 as BlanesMoanNystrom4,
    BlanesMoanNystrom6 as BlanesMoanNystrom6,
    KahanLi6 as KahanLi6,
    KahanLi8 as KahanLi8,
    Suzuki4 as Suzuki4,
    Yoshida4 as Yoshida4,
)
from .substeps import Substeps as Substeps
from .tao import TaoSolver as TaoSolver
from .verlet import (
    CHLUSolver as CHLUSolver,
    DriftKickDrift as DriftKickDrift,
    KickDriftKickDamp as KickDriftKickDamp,
    SymplecticEuler as SymplecticEuler,
)
