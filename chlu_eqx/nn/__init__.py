from .cell import CHLUCell as CHLUCell, GatedKick as GatedKick
from .chlu import CHLU as CHLU
from .convolutional import (
    ConvDecoder as ConvDecoder,
    ConvEncoder as ConvEncoder,
    grid_shape as grid_shape,
)
from .encoder import RecurrentEncoder as RecurrentEncoder
from .flow import HamiltonianFlow as HamiltonianFlow
from .flow_encoder import (
    CorrelatedEncoder as CorrelatedEncoder,
    CorrelatedGaussian as CorrelatedGaussian,
    GaussianEncoder as GaussianEncoder,
)
from .hamiltonian_rnn import (
    gradient_controlled_dt as gradient_controlled_dt,
    HamiltonianRNNCell as HamiltonianRNNCell,
)
from .hgn import HamiltonianGenerativeNetwork as HamiltonianGenerativeNetwork
from .initial_state import (
    FreeInitialStates as FreeInitialStates,
    InferredInitialState as InferredInitialState,
    ObservedDynamics as ObservedDynamics,
)
from .latent_dynamics import (
    AbstractLatentDynamics as AbstractLatentDynamics,
    Gaussian as Gaussian,
    StandardisedEncoder as StandardisedEncoder,
)
from .oscillator import CoRNNCell as CoRNNCell, UnICORNNCell as UnICORNNCell
from .perceptron import (
    MLPDecoder as MLPDecoder,
    MLPEncoder as MLPEncoder,
    RecurrentMLPEncoder as RecurrentMLPEncoder,
)
from .rnn import AbstractReversibleCell as AbstractReversibleCell, RNN as RNN
from .variational_autoencoder import (
    VariationalIntegratorAutoencoder as VariationalIntegratorAutoencoder,
)
from .variational_integrator import (
    VariationalIntegratorNetwork as VariationalIntegratorNetwork,
)
