from .cell import CHLUCell as CHLUCell, GatedKick as GatedKick
from .chlu import CHLU as CHLU
from .encoder import RecurrentEncoder as RecurrentEncoder
from .hamiltonian_rnn import (
    gradient_controlled_dt as gradient_controlled_dt,
    HamiltonianRNNCell as HamiltonianRNNCell,
)
from .initial_state import (
    FreeInitialStates as FreeInitialStates,
    InferredInitialState as InferredInitialState,
    ObservedDynamics as ObservedDynamics,
)
from .oscillator import CoRNNCell as CoRNNCell, UnICORNNCell as UnICORNNCell
from .rnn import AbstractReversibleCell as AbstractReversibleCell, RNN as RNN
from .variational_integrator import (
    VariationalIntegratorNetwork as VariationalIntegratorNetwork,
)
