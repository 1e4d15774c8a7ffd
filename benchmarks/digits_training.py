"""The unit of the digits task, and how it is trained."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

import chlu_eqx as cx
from chlu_eqx.training import (
    contrastive_steps,
    ContrastiveState,
    langevin_sleep,
    NoiseSeed,
    ReplayBuffer,
)

from . import scores
from .checkpoint import Checkpoints


Pair = tuple[Float[Array, " dim"], Float[Array, " dim"]]


class Settings(NamedTuple):
    """Of training and drawing. Friction is per step, as in the paper."""

    steps: int = 5000
    width: int = 256
    learning_rate: float = 1e-3
    batch: int = 128
    chains: int = 4096
    fresh: float = 0.05
    penalty: float = 5e-4
    sleep_steps: int = 30
    draw_steps: int = 1000
    noise: float = 0.15
    dt: float = 0.3
    friction: float = 0.3
    speed_limit: float = 8.0
    save_every: int = 250

    @property
    def rate(self) -> Array:
        return cx.friction_rate(self.friction, self.dt)


QUICK = Settings(steps=1000, draw_steps=300)


class Whitening(NamedTuple):
    """Affine coordinates in which images with noise have unit variance."""

    mean: Float[Array, " pixels"]
    to_pixels: Float[Array, "pixels pixels"]
    from_pixels: Float[Array, "pixels pixels"]

    @classmethod
    def of(cls, images: np.ndarray, noise: float) -> "Whitening":
        covariance = np.cov(images, rowvar=False, dtype=np.float64)
        variances, axes = np.linalg.eigh(
            covariance + noise**2 * np.eye(len(covariance))
        )
        root = np.sqrt(variances)
        return cls(
            *(
                jnp.asarray(x, jnp.float32)
                for x in (images.mean(0), axes * root, (axes / root).T)
            )
        )

    def white(self, images: Array) -> Array:
        return (images - self.mean) @ self.from_pixels.T

    def pixels(self, q: Array) -> Array:
        return q @ self.to_pixels.T + self.mean


class Seed(eqx.Module):
    """A state to start from: an image drawn by `image`, in white coordinates, and a
    momentum of the heat bath."""

    image: Callable[[PRNGKeyArray], Float[Array, " pixels"]]
    white: Whitening
    kinetic: cx.RelativisticKinetic

    def __call__(self, key: PRNGKeyArray) -> Pair:
        image, momentum = jr.split(key)
        q = self.white.white(self.image(image))
        return q, self.kinetic.sample(momentum, 1.0)


def make_unit(dim: int, settings: Settings, key: PRNGKeyArray) -> cx.nn.CHLU:
    network = cx.MLPPotential(
        dim, width=settings.width, activation=jax.nn.silu, key=key
    )
    return cx.nn.CHLU(
        dim,
        dt=settings.dt,
        # The law of the images does not depend on it: nothing is to be learned here.
        kinetic=cx.RelativisticKinetic(
            dim,
            speed_limit=settings.speed_limit,
            frozen=("mass", "rest_mass", "speed_limit"),
        ),
        potential=network + cx.Confinement(0.5),
        key=key,
    )


def learned_energy(unit: cx.nn.CHLU, state: Pair) -> Float[Array, ""]:
    """The network's part: of what has no parameters the contrast knows nothing."""
    network, _ = unit.hamiltonian.potential.potentials  # pyright: ignore
    return network(state[0])


class Trained(NamedTuple):
    unit: cx.nn.CHLU
    white: Whitening
    history: list[dict[str, float]]


def train(
    images: Float[np.ndarray, "images pixels"],
    seed: int,
    settings: Settings,
    checkpoints: Checkpoints,
    report: Callable[[int, dict[str, float]], None],
    sharding: NamedSharding | None = None,
) -> Trained:
    """The unit trained on images, from where the checkpoints have it."""
    white = Whitening.of(images, settings.noise)
    model_key, buffer_key, key = jr.split(jr.key(seed), 3)
    unit = make_unit(images.shape[1], settings, model_key)
    kinetic = unit.hamiltonian.kinetic
    start = Seed(NoiseSeed(white.mean, scores.NOISE), white, kinetic)  # pyright: ignore
    buffer = ReplayBuffer(settings.chains, start, key=buffer_key)
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps, 0.05)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def wake(unit: cx.nn.CHLU, image: Array, key: PRNGKeyArray) -> tuple[Array, Pair]:
        noise = settings.noise * jr.normal(key, image.shape, image.dtype)
        q = white.white(image + noise)
        return jnp.zeros(()), (q, jnp.zeros_like(q))

    sleep = functools.partial(
        langevin_sleep,
        num_steps=settings.sleep_steps,
        temperature=1.0,
        friction=settings.rate,
    )
    # What was reported is kept with the state.
    rows = jnp.zeros((settings.steps // settings.save_every, 2))
    fresh = ContrastiveState(unit, optimizer, buffer, key=key), rows
    step, (state, rows) = checkpoints.latest(fresh)
    while step < settings.steps:
        state, found = contrastive_steps(
            state,
            jnp.asarray(images),
            settings.save_every,
            optimizer=optimizer,
            wake=wake,
            sleep=sleep,
            energy=learned_energy,
            batch_size=settings.batch,
            fresh=settings.fresh,
            penalty=settings.penalty,
            sharding=sharding,
        )
        energies = jnp.stack([found.wake_energy.mean(), found.sleep_energy.mean()])
        rows = rows.at[step // settings.save_every].set(energies)
        step += settings.save_every
        checkpoints.save(step, (state, rows))
        report(step, {"data": float(energies[0]), "samples": float(energies[1])})
    history = [
        {"step": (i + 1) * settings.save_every, "data": float(a), "samples": float(b)}
        for i, (a, b) in enumerate(np.asarray(rows))
    ]
    return Trained(state.model, white, history)


def over_devices(batch: int) -> NamedSharding | None:
    """A batch over all the devices that there are."""
    count = jax.device_count()
    if count == 1:
        return None
    if batch % count:
        raise ValueError(
            f"`batch` must be a multiple of {count}, the number of devices, got "
            f"{batch}."
        )
    return NamedSharding(Mesh(jax.devices(), ("batch",)), PartitionSpec("batch"))
