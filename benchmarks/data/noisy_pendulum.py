"""A pendulum that swings high, seen through noise: the data of the Variational
Integrator Networks (Saemundsson et al., AISTATS 2020, arXiv 1910.09349)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

import chlu_eqx as cx


GRAVITY = 9.82
DT = 0.1
NOISE = 0.33
# Of the solver, to a step of the data.
SUBSTEPS = 8

Pair = tuple[Float[Array, "*batch 1"], Float[Array, "*batch 1"]]


def potential(q: Float[Array, "1"]) -> Scalar:
    """g (1 - cos q), of unit mass and length."""
    return GRAVITY * jnp.sum(1 - jnp.cos(q))


def potential_at(q: np.ndarray) -> np.ndarray:
    """The same, of many angles."""
    return GRAVITY * (1 - np.cos(q))


HAMILTONIAN = cx.SeparableHamiltonian(cx.NewtonianKinetic(1), potential)


def starts(rng: np.random.Generator, count: int) -> Pair:
    """q = ±(π - U(0.1, π/2)) and q̇ = U(-1, 1), such that the pendulum does not go over
    the top: energies below 2g."""
    found: list[tuple[float, float]] = []
    while len(found) < count:
        q = rng.choice([-1, 1]) * (np.pi - rng.uniform(0.1, np.pi / 2))
        v = rng.uniform(-1, 1)
        if v**2 / 2 + GRAVITY * (1 - np.cos(q)) < 2 * GRAVITY:
            found.append((q, v))
    q, v = np.transpose(found)[..., None]
    return jnp.asarray(q, float), jnp.asarray(v, float)


def motion(y0: Pair, times: int) -> Pair:
    """The true motion from starts of shape `(starts, 1)` each, at `times` times, `DT`
    apart; the start is the first."""
    return jax.jit(jax.vmap(lambda y0: _motion(y0, times)))(y0)


def _motion(y0: Pair, times: int) -> Pair:
    return cx.rollout(
        cx.HamiltonianTerm(HAMILTONIAN),
        cx.BlanesMoanNystrom6(),
        y0,
        dt=DT / SUBSTEPS,
        num_steps=(times - 1) * SUBSTEPS,
        save_every=SUBSTEPS,
    )


def observations(seed: int, trajectories: int, times: int) -> tuple[Pair, Pair]:
    """True trajectories, and the same with noise on q and q̇. The first are those of a
    smaller number."""
    rngs = np.random.default_rng(seed).spawn(trajectories)
    drawn = [starts(rng, 1) for rng in rngs]
    truth = motion(jax.tree.map(lambda *x: jnp.concatenate(x), *drawn), times)
    noise = np.stack([rng.normal(0, NOISE, (2, times, 1)) for rng in rngs], axis=1)
    q, v = (x + jnp.asarray(e, float) for x, e in zip(truth, noise, strict=True))
    return truth, (q, v)
