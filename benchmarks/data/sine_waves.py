"""Sine waves as orbits of the harmonic oscillator, and noisy starts on them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


FREQUENCY = 1.0
OMEGA = 2 * np.pi * FREQUENCY

Trajectories = tuple[Float[Array, "waves times 1"], Float[Array, "waves times 1"]]
Pair = tuple[Float[Array, "*batch 1"], Float[Array, "*batch 1"]]


def waves(phases: Float[np.ndarray, " waves"], times: int, dt: float) -> Trajectories:
    """q = sin(ωt + φ) and p = q̇ = ω cos(ωt + φ) at `times` times, every `dt`."""
    # In double precision: 50 periods cost float32 two of its digits.
    angle = OMEGA * dt * np.arange(times) + phases[:, None]
    q, p = np.sin(angle)[..., None], OMEGA * np.cos(angle)[..., None]
    return jnp.asarray(q, float), jnp.asarray(p, float)


def split(
    num_train: int, num_test: int, times: int, dt: float
) -> tuple[Trajectories, Trajectories]:
    """Waves of random phases, to train on and to test with; always the same ones."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, num_train + num_test)
    train, test = np.split(phases, [num_train])
    return waves(train, times, dt), waves(test, times, dt)


def noise(draws: int, num_waves: int) -> Float[Array, "draws waves 2"]:
    """Normal numbers for q and for p, always the same ones. Their mean squares over all
    draws, one in expectation, are made one exactly: then so is `limit`."""
    found = np.random.default_rng(1).standard_normal((draws, num_waves, 2))
    return jnp.asarray(found / np.sqrt(np.mean(found**2, (0, 1))), float)


def flow(y0: Pair, times: int, dt: float) -> Pair:
    """The oscillator's exact motion from any states, with a new axis of times before
    the last."""
    angle = OMEGA * dt * np.arange(times)
    s, c = (jnp.asarray(f(angle)[:, None], float) for f in (np.sin, np.cos))
    q, p = (x[..., None, :] for x in y0)
    s, c = (jnp.expand_dims(x, tuple(range(q.ndim - 2))) for x in (s, c))
    return q * c + p * s / OMEGA, p * c - q * s * OMEGA


def limit(sigma: Float[np.ndarray, "*sigmas"]) -> Float[np.ndarray, "*sigmas"]:
    """σ² (2 + ω² + 1/ω²)/4: the mean squared error, over q and p and whole periods, of
    the exact flow from a state with noise σ on both."""
    return sigma**2 * (2 + OMEGA**2 + OMEGA**-2) / 4
