"""Hamiltonian learning in JAX: symplectic solvers for diffrax and learned energies for
equinox."""

import importlib.metadata

from . import analysis as analysis, nn as nn, optim as optim, training as training
from .adjoint import ReversibleAdjoint as ReversibleAdjoint
from .friction import (
    EnergyGovernor as EnergyGovernor,
    friction_rate as friction_rate,
    PositionGatedFriction as PositionGatedFriction,
)
from .hamiltonian import (
    AbstractHamiltonian as AbstractHamiltonian,
    AbstractKineticEnergy as AbstractKineticEnergy,
    AbstractPotential as AbstractPotential,
    AbstractThermalKinetic as AbstractThermalKinetic,
    Confinement as Confinement,
    ConvPotential as ConvPotential,
    DenseNewtonianKinetic as DenseNewtonianKinetic,
    MLPPotential as MLPPotential,
    NeuralHamiltonian as NeuralHamiltonian,
    NewtonianKinetic as NewtonianKinetic,
    PeriodicPotential as PeriodicPotential,
    PotentialSum as PotentialSum,
    RelativisticKinetic as RelativisticKinetic,
    RiemannianHamiltonian as RiemannianHamiltonian,
    RotationKinetic as RotationKinetic,
    SeparableHamiltonian as SeparableHamiltonian,
)
from .noise import FixedGridBrownianPath as FixedGridBrownianPath
from .rollout import rollout as rollout
from .solver import (
    AbstractReversibleSolver as AbstractReversibleSolver,
    AbstractSplitting as AbstractSplitting,
    BABO as BABO,
    BAOAB as BAOAB,
    BlanesMoan4 as BlanesMoan4,
    BlanesMoan6 as BlanesMoan6,
    BlanesMoanNystrom4 as BlanesMoanNystrom4,
    BlanesMoanNystrom6 as BlanesMoanNystrom6,
    CHLUSolver as CHLUSolver,
    DriftKickDrift as DriftKickDrift,
    GaussLegendre4 as GaussLegendre4,
    GeneralizedLeapfrog as GeneralizedLeapfrog,
    ImplicitMidpoint as ImplicitMidpoint,
    KahanLi6 as KahanLi6,
    KahanLi8 as KahanLi8,
    KickDriftKickDamp as KickDriftKickDamp,
    MetropolisBAOAB as MetropolisBAOAB,
    SemiExplicit as SemiExplicit,
    Substeps as Substeps,
    Suzuki4 as Suzuki4,
    SymplecticEuler as SymplecticEuler,
    TaoSolver as TaoSolver,
    Yoshida4 as Yoshida4,
)
from .stepsize import StepDensityController as StepDensityController
from .term import (
    HamiltonianTerm as HamiltonianTerm,
    LangevinTerm as LangevinTerm,
    PartitionedTerm as PartitionedTerm,
)


__version__ = importlib.metadata.version("chlu_eqx")
