from .hamiltonian import (
    AbstractHamiltonian as AbstractHamiltonian,
    NeuralHamiltonian as NeuralHamiltonian,
    SeparableHamiltonian as SeparableHamiltonian,
)
from .kinetic import (
    AbstractKineticEnergy as AbstractKineticEnergy,
    NewtonianKinetic as NewtonianKinetic,
    RelativisticKinetic as RelativisticKinetic,
)
from .potential import (
    AbstractPotential as AbstractPotential,
    Confinement as Confinement,
    ConvPotential as ConvPotential,
    MLPPotential as MLPPotential,
    PotentialSum as PotentialSum,
)
