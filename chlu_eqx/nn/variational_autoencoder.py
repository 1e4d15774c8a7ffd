"""Variational integrator networks of images."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, instance, random_key
from ..hamiltonian import PeriodicPotential
from .hgn import at_speed
from .latent_dynamics import (
    AbstractLatentDynamics,
    check_context,
    check_image_shape,
    dtype_of,
    Frames,
    Gaussian,
    Image,
    StandardisedEncoder,
)
from .perceptron import MLPDecoder, RecurrentMLPEncoder
from .variational_integrator import VariationalIntegratorNetwork


class VariationalIntegratorAutoencoder(AbstractLatentDynamics):
    r"""A variational integrator network behind images: with $z = (q_0, v_0)$ or, with
    `increments`, $z = (q_0, q_1 - q_0)$,

    $$q_0 \sim \mathcal N(0, I), \quad v_0 \text{ or } q_1 - q_0 \sim \mathcal N(0, hI),
    \quad q_{0:T} = \mathrm{network}(z, T), \quad
    x_t \sim \mathrm{Bernoulli}(d(q_t)),$$

    where $h$ is the network's step and a variance. The encoder reads `context` frames,
    the last one first, and infers the state at the first.

    The paper's three forms: velocities (VIN-VV); `increments` (VIN-SV); and
    `increments` of a network with [`chlu_eqx.RotationKinetic`][] and
    [`chlu_eqx.PeriodicPotential`][] (VIN-SO(2)). Positions of a periodic potential are
    angles: the default decoder is then given their cosines and sines.

    !!! Example

        ```python
        network = chlu_eqx.nn.VariationalIntegratorNetwork(2, key=key)
        model = chlu_eqx.nn.VariationalIntegratorAutoencoder(
            (28, 28, 1), network, key=key
        )
        state = model.infer(frames)                # of the first of the frames
        model.rollout(state, 30)                   # it and the 30 frames after it
        ```

    (Saemundsson, Terenin, Hofmann & Deisenroth, "Variational Integrator Networks for
    Physically Structured Embeddings", AISTATS 2020, arXiv 1910.09349.)
    """

    encoder: Callable[[Frames], tuple[Array, Array]]
    network: VariationalIntegratorNetwork
    decoder: Callable[[Array], Image]
    dim: int = eqx.field(static=True)
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    context: int = eqx.field(static=True)
    infer_index: int = eqx.field(static=True)
    increments: bool = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple,
        network: VariationalIntegratorNetwork,
        *,
        dim: int,
        increments: bool = False,
        context: int = 10,
        infer_index: int = 0,
        width: int = 1000,
        encoder: Callable[[Frames], tuple[Array, Array]] | None = None,
        decoder: Callable[[Array], Image] | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `image_shape`: `(height, width, channels)`.
        - `network`: the dynamics, one step a frame.
        - `dim`: the number of its coordinates.
        - `increments`: whether the second half of $z$ is the step from the first
            position to the second, and not the velocity.
        - `context`: the number of frames that the encoder reads.
        - `infer_index`: which of them the state is at.
        - `width`: of the default networks' hidden layers.
        - `encoder`, `decoder`: default to [`chlu_eqx.nn.RecurrentMLPEncoder`][] of the
            frames and [`chlu_eqx.nn.MLPDecoder`][] of $q$.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer or `infer_index` is
        not in the context.
        """
        encoder_key, decoder_key = jr.split(random_key("key", key))
        wanted = "a `chlu_eqx.nn.VariationalIntegratorNetwork`"
        instance("network", network, VariationalIntegratorNetwork, wanted)
        dim = count("dim", dim)
        self.image_shape = check_image_shape(image_shape)
        self.context, self.infer_index = check_context(context, infer_index)
        if encoder is None:
            encoder = StandardisedEncoder(
                RecurrentMLPEncoder(image_shape, 2 * dim, width=width, key=encoder_key)
            )
        if decoder is None:
            if isinstance(network.unit.hamiltonian.potential, PeriodicPotential):
                decoder = _OfAngles(
                    MLPDecoder(2 * dim, image_shape, width=width, key=decoder_key)
                )
            else:
                decoder = MLPDecoder(dim, image_shape, width=width, key=decoder_key)
        self.encoder = encoder
        self.network = network
        self.decoder = decoder
        self.dim = dim
        self.increments = increments

    @property
    def prior(self) -> Gaussian:
        r"""Normal, of mean 0 and variances 1 and $h$."""
        one = jnp.ones(self.dim, dtype_of(self))
        step = jnp.sqrt(jnp.asarray(self.network.unit.dt, one.dtype))
        scale = jnp.concatenate([one, step * one])
        return Gaussian(jnp.zeros_like(scale), scale)

    def state(
        self, z: Float[Array, " latent"]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        """The position and the momentum of a latent vector."""
        q, w = jnp.split(array("z", z, 2 * self.dim), 2)
        if self.increments:
            return self.network.momentum_state((q, q + w))
        return q, self.network.kinetic.momentum(w)

    def move(
        self,
        state: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        speed: float | Scalar = 1.0,
    ) -> tuple[Float[Array, "times dim"], Float[Array, "times dim"]]:
        return at_speed(self.network.unit, speed)(state, num_steps)

    def decode(self, state: tuple[Float[Array, " dim"], Float[Array, " dim"]]) -> Image:
        q, _ = state
        return self.decoder(q)

    def nll(
        self, mean: Float[Array, "*shape"], frames: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        """The cross-entropy; of pixels between 0 and 1, too."""
        # Away from the logarithm's pole, where the decoder is saturated.
        mean = jnp.clip(mean, 1e-6, 1 - 1e-6)
        return -frames * jnp.log(mean) - (1 - frames) * jnp.log1p(-mean)


class _OfAngles(eqx.Module):
    decoder: MLPDecoder

    def __call__(self, q: Float[Array, " dim"]) -> Image:
        return self.decoder(jnp.concatenate([jnp.cos(q), jnp.sin(q)]))
