"""Hamiltonian learning in JAX: symplectic solvers for diffrax and learned energies for
equinox."""

import importlib.metadata

from . import nn as nn, training as training
from .adjoint import ReversibleAdjoint as ReversibleAdjoint
from .friction import friction_rate as friction_rate
from .hamiltonian import (
    AbstractHamiltonian as AbstractHamiltonian,
    AbstractKineticEnergy as AbstractKineticEnergy,
    AbstractPotential as AbstractPotential,
    Confinement as Confinement,
    ConvPotential as ConvPotential,
    MLPPotential as MLPPotential,
    NeuralHamiltonian as NeuralHamiltonian,
    NewtonianKinetic as NewtonianKinetic,
    PotentialSum as PotentialSum,
    RelativisticKinetic as RelativisticKinetic,
    SeparableHamiltonian as SeparableHamiltonian,
)
from .rollout import rollout as rollout
from .solver import (
    CHLUSolver as CHLUSolver,
    DriftKickDrift as DriftKickDrift,
    KickDriftKickDamp as KickDriftKickDamp,
    Substeps as Substeps,
    SymplecticEuler as SymplecticEuler,
)
from .term import HamiltonianTerm as HamiltonianTerm, PartitionedTerm as PartitionedTerm


__version__ = importlib.metadata.version("chlu_eqx")
