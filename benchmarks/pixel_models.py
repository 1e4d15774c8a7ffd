"""What is compared on pixels: latent dynamics of one encoder, one decoder and one size,
which differ in how a state moves."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

import chlu_eqx as cx
from chlu_eqx.nn import AbstractLatentDynamics, Gaussian


DT = 0.5
CONTEXT = 5
WIDTH = 64


class Networks:
    """The encoder and the decoder of one seed: perceptrons, or convolutions, which are
    slow on a CPU. The encoder's input is standardised by some images of the data."""

    def __init__(
        self,
        frames: Float[Array, "images size size channels"],
        latent: int,
        convolutional: bool,
        key: PRNGKeyArray,
    ):
        height, width, channels = frames.shape[1:]
        self.image_shape = height, width, channels
        self.latent = latent
        encoder_key, decoder_key, self.key = jr.split(key, 3)
        if convolutional:
            make_encoder, make_decoder = cx.nn.ConvEncoder, cx.nn.ConvDecoder
        else:
            make_encoder, make_decoder = cx.nn.MLPEncoder, cx.nn.MLPDecoder
        encoder = make_encoder(self.image_shape, CONTEXT, 2 * latent, key=encoder_key)
        mean, scale = jnp.mean(frames, axis=0), jnp.std(frames)
        self.encoder = cx.nn.StandardisedEncoder(encoder, mean, scale)
        self.decoder = make_decoder(latent, self.image_shape, key=decoder_key)


def _potential(networks: Networks, width: int) -> cx.PotentialSum:
    """Of a network, bounded below: far away nothing is learned."""
    network = cx.MLPPotential(
        networks.latent,
        width=width,
        activation=jax.nn.softplus,
        key=jr.fold_in(networks.key, 1),
    )
    return network + cx.Confinement(0.02)


def hgn(networks: Networks) -> AbstractLatentDynamics:
    return cx.nn.HamiltonianGenerativeNetwork(
        networks.image_shape,
        latent=networks.latent,
        dt=DT,
        # The energy's swings within a rollout are of the order of a step's square.
        substeps=2,
        width=WIDTH,
        potential=_potential(networks, WIDTH),
        encoder=networks.encoder,
        decoder=networks.decoder,
        key=networks.key,
    )


def vin(networks: Networks) -> AbstractLatentDynamics:
    network = cx.nn.VariationalIntegratorNetwork(
        networks.latent,
        dt=DT,
        potential=_potential(networks, round(1.4 * WIDTH)),
        key=networks.key,
    )
    return cx.nn.VariationalIntegratorAutoencoder(
        networks.image_shape,
        network,
        dim=networks.latent,
        context=CONTEXT,
        infer_index=CONTEXT - 1,
        encoder=networks.encoder,
        decoder=networks.decoder,
        key=networks.key,
    )


class Unconstrained(AbstractLatentDynamics):
    """A state in one piece that moves as a network says, its first half decoded: as of
    the Hamiltonian generative network in all else."""

    encoder: Callable[[Array], tuple[Array, Array]]
    transform: eqx.nn.MLP
    motion: Callable[[Array, int, float | Scalar], Array]
    decoder: Callable[[Array], Array]
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    context: int = eqx.field(static=True)
    infer_index: int = eqx.field(static=True)

    def __init__(
        self, networks: Networks, motion: Callable[[Array, int, float | Scalar], Array]
    ):
        size = 2 * networks.latent
        self.encoder = networks.encoder
        self.transform = eqx.nn.MLP(
            size, size, WIDTH, 1, jax.nn.softplus, key=networks.key
        )
        self.motion = motion
        self.decoder = networks.decoder
        self.image_shape = networks.image_shape
        self.context = CONTEXT
        self.infer_index = CONTEXT - 1

    @property
    def prior(self) -> Gaussian:
        mean = jnp.zeros(self.transform.in_size)
        return Gaussian(mean, jnp.ones_like(mean))

    def state(self, z: Array) -> Array:
        return self.transform(z)

    def move(self, state: Array, num_steps: int, speed: float | Scalar = 1.0) -> Array:
        return self.motion(state, num_steps, speed)

    def decode(self, state: Array) -> Array:
        q, _ = jnp.split(state, 2)
        return self.decoder(q)

    def nll(self, mean: Array, frames: Array) -> Array:
        return (frames - mean) ** 2


class Field(eqx.Module):
    """ẏ = MLP(y), by Tsit5, a step a frame."""

    mlp: eqx.nn.MLP

    def __call__(self, y: Array, num_steps: int, speed: float | Scalar) -> Array:
        field = diffrax.ODETerm(lambda t, y, args: self.mlp(y))
        return cx.rollout(field, diffrax.Tsit5(), y, dt=DT * speed, num_steps=num_steps)


class Recurrence(eqx.Module):
    """y ← y + MLP(y), a frame at a time: forward only, and at the data's speed."""

    mlp: eqx.nn.MLP

    def __call__(self, y: Array, num_steps: int, speed: float | Scalar) -> Array:
        if isinstance(speed, float) and speed != 1.0:
            raise ValueError(f"`speed` must be 1 for a recurrence, got {speed}.")

        def step(y: Array, _: None) -> tuple[Array, Array]:
            y = y + self.mlp(y)
            return y, y

        _, ys = jax.lax.scan(step, y, None, length=num_steps)
        return jnp.concatenate([y[None], ys])


def _mlp(networks: Networks) -> eqx.nn.MLP:
    size = 2 * networks.latent
    width = round(1.4 * WIDTH)
    key = jr.fold_in(networks.key, 1)
    return eqx.nn.MLP(size, size, width, 2, jnp.tanh, key=key)


MODELS: dict[str, Callable[[Networks], AbstractLatentDynamics]] = {
    "HGN": hgn,
    "VIN": vin,
    "neural ODE": lambda networks: Unconstrained(networks, Field(_mlp(networks))),
    "recurrent": lambda networks: Unconstrained(networks, Recurrence(_mlp(networks))),
}


def energy(model: AbstractLatentDynamics) -> Callable | None:
    """The learned energy of (q, p), where there is one."""
    if isinstance(model, cx.nn.HamiltonianGenerativeNetwork):
        return model.unit.hamiltonian
    if isinstance(model, cx.nn.VariationalIntegratorAutoencoder):
        return model.network.unit.hamiltonian
    return None
