"""What rollouts of latent dynamics are worth."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


# Relative to the mean square of the pixels, after Botev et al., "Which priors matter?",
# NeurIPS 2021 (arXiv 2111.05458).
VALID = 0.025


def frame_errors(
    found: Float[Array, "batch times *image"],
    frames: Float[Array, "batch times *image"],
) -> Float[Array, "batch times"]:
    """The mean squared error of every frame, per pixel."""
    return jnp.mean((found - frames) ** 2, axis=range(2, frames.ndim))


def mean_image_error(frames: Float[Array, "batch times *image"]) -> float:
    """The mean squared error of the mean of all images."""
    return float(jnp.mean(jnp.var(frames, axis=(0, 1))))


def valid_frames(
    errors: Float[Array, "batch times"], frames: Float[Array, "batch times *image"]
) -> Float[Array, " batch"]:
    """The valid prediction time: how many frames there are before the first whose error
    exceeds `VALID` times the mean square of its pixels."""
    power = jnp.mean(frames**2, axis=range(2, frames.ndim))
    # An error that is not a number is not valid either.
    valid = errors <= VALID * power
    return jnp.sum(jnp.cumprod(valid, axis=1), axis=1).astype(errors.dtype)


def energy_drift(energies: Float[Array, "batch times"]) -> float:
    """The root mean square of how far the energy strays from its start, in standard
    deviations of the energies of the starts."""
    strayed = energies - energies[:, :1]
    return float(jnp.sqrt(jnp.mean(strayed**2)) / jnp.std(energies[:, 0]))


def correlation(x: Float[Array, " batch"], y: Float[Array, " batch"]) -> float:
    """The absolute value of Pearson's correlation."""
    return float(jnp.abs(jnp.corrcoef(x, y)[0, 1]))


def reversal_error(start: Any, end: Any) -> float:
    """How far states are from where they started and should have come back to,
    relative to their norms: the median."""
    x, y = (jnp.concatenate(jax.tree.leaves(s), axis=-1) for s in (start, end))
    error = jnp.linalg.norm(y - x, axis=-1) / jnp.linalg.norm(x, axis=-1)
    return float(jnp.median(error))


def symetric(
    true: tuple[Float[Array, "points dim"], Float[Array, "points dim"]],
    latent: tuple[Float[Array, "points latent"], Float[Array, "points latent"]],
    features: Callable[[Float[Array, " dim"]], Float[Array, " features"]],
    degree: int,
) -> tuple[float, float]:
    """Whether latent states are a symplectic map of the true ones, after SyMetric
    (Higgins et al., "SyMetric: Measuring the Quality of Learnt Hamiltonian Dynamics
    Inferred from Vision", arXiv 2111.05986): R² of the latent states as polynomials of
    the true ones, and how far the polynomials' Jacobian is from symplectic,

    mean |Jᵀ Ω J / c - Ω|² / |Ω|²,

    c the constant that is best: a scale of the learned energy, or of time, is free. A
    map passes with R² > 0.9 and a defect < 0.05.

    `features` are what of the positions enters the polynomials, beside the momenta.
    """
    q, p = true
    size = jax.vmap(features)(q[:1]).shape[1] + p.shape[1]
    powers = [
        list(term)
        for n in range(degree + 1)
        for term in itertools.combinations_with_replacement(range(size), n)
    ]

    def basis(y: Float[Array, " state"]) -> Float[Array, " terms"]:
        q, p = jnp.split(y, 2)
        x = jnp.concatenate([features(q), p])
        return jnp.stack([jnp.prod(x[jnp.array(i, int)]) for i in powers])

    states = jnp.concatenate([q, p], axis=1)
    design = np.asarray(jax.jit(jax.vmap(basis))(states), float)
    targets = np.concatenate([np.asarray(x, float) for x in latent], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, targets, rcond=1e-6)
    residual = targets - design @ coefficients
    r2 = 1 - np.sum(residual**2) / np.sum((targets - targets.mean(0)) ** 2)

    slopes = np.asarray(jax.jit(jax.vmap(jax.jacfwd(basis)))(states), float)
    jacobian = np.einsum("ptd,tl->pld", slopes, coefficients)
    pulled = np.einsum("pkd,kl,ple->pde", jacobian, _omega(targets.shape[1]), jacobian)
    omega = _omega(states.shape[1])
    norm = np.sum(omega**2)
    # Least squares of Ω by pulled / c.
    inverse = np.sum(pulled * omega) / np.sum(pulled**2)
    defect = np.mean(np.sum((inverse * pulled - omega) ** 2, (1, 2))) / norm
    return float(r2), float(defect)


def _omega(size: int) -> np.ndarray:
    one, zero = np.eye(size // 2), np.zeros((size // 2, size // 2))
    return np.block([[zero, one], [-one, zero]])
