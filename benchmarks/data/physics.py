"""Small mechanical systems, and trajectories of them, drawn at random: those of the
Hamiltonian Generative Networks (Toth et al., ICLR 2020, arXiv 1909.13789), with its
masses, constants and ranges of starts."""

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

import chlu_eqx as cx


Pair = tuple[Float[Array, " dim"], Float[Array, " dim"]]


class System(NamedTuple):
    """An energy, and states to start from; where the bodies are, in a picture whose
    half width is `view`; and the standard deviation of the noise on positions that
    pictures are drawn with."""

    hamiltonian: cx.SeparableHamiltonian | Callable[[Array, Array], Scalar]
    start: Callable[[PRNGKeyArray], Pair]
    places: Callable[[Float[Array, " dim"]], Float[Array, "bodies 2"]]
    view: float
    noise: float

    @property
    def solver(self) -> diffrax.AbstractSolver:
        """Accurate to float32's rounding, or nearly, at the steps of `simulate`."""
        if isinstance(self.hamiltonian, cx.SeparableHamiltonian):
            return cx.BlanesMoanNystrom6()
        return cx.GaussLegendre4()


def mass_spring() -> System:
    """H = p²/2m + kq²/2, m = 1/2, k = 2."""
    kinetic = cx.NewtonianKinetic(1, mass=0.5)
    return System(
        cx.SeparableHamiltonian(kinetic, lambda q: jnp.sum(q**2)),
        lambda key: _ring(key, 1, 0.1, 1.0),
        lambda q: jnp.stack([q[0], jnp.zeros_like(q[0])])[None],
        1.5,
        0.1,
    )


def pendulum() -> System:
    """H = p²/2ml² + mgl (1 - cos q), m = 1/2, g = 3, l = 1; some starts go over the
    top."""
    kinetic = cx.NewtonianKinetic(1, mass=0.5)
    return System(
        cx.SeparableHamiltonian(kinetic, lambda q: 1.5 * jnp.sum(1 - jnp.cos(q))),
        lambda key: _ring(key, 1, 1.3, 2.3),
        _joints,
        1.5,
        0.1,
    )


def double_pendulum() -> System:
    """Two equal pendulums, m = 1/2, g = 3, l = 1, one hung from the other: by the
    angles to the vertical q and their momenta,

    H = (p₁² + 2p₂² - 2p₁p₂ cos Δ) / 2ml²(1 + sin²Δ) + mgl (3 - 2 cos q₁ - cos q₂),
    Δ = q₁ - q₂."""
    m, g = 0.5, 3.0

    def hamiltonian(q: Array, p: Array) -> Scalar:
        cosine, sine = jnp.cos(q[0] - q[1]), jnp.sin(q[0] - q[1])
        kinetic = p[0] ** 2 + 2 * p[1] ** 2 - 2 * p[0] * p[1] * cosine
        potential = 3 - 2 * jnp.cos(q[0]) - jnp.cos(q[1])
        return kinetic / (2 * m * (1 + sine**2)) + m * g * potential

    return System(hamiltonian, lambda key: _ring(key, 2, 1.3, 2.3), _joints, 2.5, 0.05)


def bodies(n: int) -> System:
    """Two or three bodies in the plane, of unit masses and unit constant of gravity:
    H = Σ |pᵢ|²/2 - Σ 1/|qᵢ - qⱼ|. They start equally spaced on a circle, all round it
    the same way, with speeds within a tenth of that of the circular motion."""
    ranges = {2: (0.5, 1.5, 0.05), 3: (0.9, 1.2, 0.2)}
    if n not in ranges:
        raise ValueError(f"`n` must be 2 or 3, got {n}.")
    low, high, noise = ranges[n]
    i, j = jnp.triu_indices(n, 1)

    def places(q: Array) -> Array:
        return q.reshape(n, 2)

    def potential(q: Array) -> Scalar:
        x = places(q)
        return -jnp.sum(1 / jnp.linalg.norm(x[i] - x[j], axis=1))

    def start(key: PRNGKeyArray) -> Pair:
        radius, turn, sense, speed = jr.split(key, 4)
        radius = jr.uniform(radius, minval=low, maxval=high)
        angle = 2 * jnp.pi * (jr.uniform(turn) + jnp.arange(float(n)) / n)
        # Of the other bodies' pulls on one the parts towards the centre.
        pull = jnp.sum(1 / jnp.sin(jnp.pi * jnp.arange(1.0, n) / n)) / (4 * radius**2)
        circular = jr.rademacher(sense, dtype=radius.dtype) * jnp.sqrt(radius * pull)
        speed = circular * jr.uniform(speed, minval=0.9, maxval=1.1)
        outward = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        along = jnp.stack([-jnp.sin(angle), jnp.cos(angle)], axis=1)
        return (radius * outward).reshape(-1), (speed * along).reshape(-1)

    kinetic = cx.NewtonianKinetic(2 * n)
    return System(
        cx.SeparableHamiltonian(kinetic, potential), start, places, 2.0, noise
    )


SYSTEMS: dict[str, Callable[[], System]] = {
    "mass_spring": mass_spring,
    "pendulum": pendulum,
    "double_pendulum": double_pendulum,
    "two_body": lambda: bodies(2),
    "three_body": lambda: bodies(3),
}


def simulate(
    system: System,
    key: PRNGKeyArray,
    batch: int,
    times: int,
    *,
    dt: float = 0.125,
    substeps: int = 8,
) -> tuple[Float[Array, "batch times dim"], Float[Array, "batch times dim"]]:
    """Trajectories from random starts: (q, p) at `times` times, every `dt`, the start
    first. (The paper does not tell its `dt`; this is the replication's,
    ReScience C 7(2) #18, 2021.)"""
    for name, value in (("batch", batch), ("times", times), ("substeps", substeps)):
        if value < 1:
            raise ValueError(f"`{name}` must be positive, got {value}.")
    if not dt > 0:
        raise ValueError(f"`dt` must be positive, got {dt}.")

    def one(key: PRNGKeyArray) -> Pair:
        return cx.rollout(
            cx.HamiltonianTerm(system.hamiltonian),
            system.solver,
            system.start(key),
            dt=dt / substeps,
            num_steps=(times - 1) * substeps,
            save_every=substeps,
        )

    return jax.vmap(one)(jr.split(key, batch))


def _ring(key: PRNGKeyArray, dim: int, low: float, high: float) -> Pair:
    """Of random direction in phase space, at a distance that is uniform between two."""
    radius, direction = jr.split(key)
    direction = jr.normal(direction, (2, dim))
    length = jr.uniform(radius, minval=low, maxval=high)
    q, p = length * direction / jnp.linalg.norm(direction)
    return q, p


def _joints(q: Float[Array, " angles"]) -> Float[Array, "angles 2"]:
    """The ends of rods of unit length, one hung from another, by their angles."""
    return jnp.cumsum(jnp.stack([jnp.sin(q), -jnp.cos(q)], axis=1), axis=0)
