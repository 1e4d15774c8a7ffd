"""Energies on which integrators are compared, and the orbits to follow on them."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar
from scipy.optimize import newton
from scipy.special import ellipk

import chlu_eqx as cx


Pair = tuple[Float[Array, " dim"], Float[Array, " dim"]]


class Problem(NamedTuple):
    """An energy, a state to start from and the period to count time in. Where there is
    such a thing, `orbit` is the state at a time and `time_scale` how long motion takes
    at a position, to the length of the steps there."""

    name: str
    potential: Callable[[Float[Array, " dim"]], Scalar]
    y0: Pair
    period: float
    orbit: Callable[[float], Pair] | None = None
    time_scale: Callable[[Float[Array, " dim"]], Scalar] | None = None

    @property
    def hamiltonian(self) -> cx.SeparableHamiltonian:
        kinetic = cx.NewtonianKinetic(len(self.y0[0]))
        return cx.SeparableHamiltonian(kinetic, self.potential)


def kepler(eccentricity: float) -> Problem:
    """V(q) = -1/|q|, from the pericentre of an ellipse of semi-major axis 1: the energy
    is -1/2 and the period 2π. The orbit is by Kepler's equation, E - e sin E = t."""
    e = eccentricity
    minor = (1 - e**2) ** 0.5

    def orbit(t: float) -> Pair:
        mean = t % (2 * np.pi)
        # From π the iteration converges, whatever the mean anomaly.
        anomaly = newton(
            lambda x: x - e * np.sin(x) - mean,
            np.pi,
            lambda x: 1 - e * np.cos(x),
            tol=1e-15,
            maxiter=200,
        )
        s, c = np.sin(anomaly), np.cos(anomaly)
        q = jnp.asarray([c - e, minor * s])
        return q, jnp.asarray([-s, minor * c]) / (1 - e * c)

    return Problem(
        f"Kepler, e = {e:g}",
        lambda q: -1 / jnp.sqrt(jnp.sum(q**2)),
        (jnp.asarray([1 - e, 0.0]), jnp.asarray([0.0, minor / (1 - e)])),
        2 * np.pi,
        orbit,
        # Of a free fall to the centre.
        lambda q: jnp.sum(q**2) ** 0.75,
    )


def henon_heiles() -> Problem:
    """V(x, y) = (x² + y²)/2 + x²y - y³/3 at the energy 1/12, where the orbits are
    regular (Hénon & Heiles, Astronomical Journal 69, 1964), from x = 0, y = 0.2,
    p_y = 0."""

    def potential(q: Float[Array, "2"]) -> Scalar:
        x, y = q
        return (x**2 + y**2) / 2 + x**2 * y - y**3 / 3

    q = jnp.asarray([0.0, 0.2])
    speed = jnp.sqrt(2 * (1 / 12 - potential(q)))
    momentum = jnp.stack([speed, jnp.zeros_like(speed)])
    return Problem("Hénon–Heiles, H = 1/12", potential, (q, momentum), 2 * np.pi)


def fput(particles: int = 32, alpha: float = 0.25) -> Problem:
    """The chain of Fermi, Pasta, Ulam and Tsingou between fixed ends, with springs
    V(r) = r²/2 + α r³/3, at rest in a half sine of height 1: figure 1 of their "Studies
    of nonlinear problems" (Los Alamos report LA-1940, 1955). The period is that of the
    lowest mode of the linear chain."""

    def potential(q: Float[Array, " particles"]) -> Scalar:
        r = jnp.diff(jnp.pad(q, 1))
        return jnp.sum(r**2 / 2 + alpha * r**3 / 3)

    angle = np.pi / (particles + 1)
    q = jnp.asarray(np.sin(angle * np.arange(1, particles + 1)))
    period = np.pi / np.sin(angle / 2)
    return Problem(
        f"FPUT, {particles} particles", potential, (q, jnp.zeros_like(q)), period
    )


def pendulum(amplitude: float = 2.0) -> Problem:
    """V(q) = 1 - cos q, released at rest."""
    q = jnp.asarray([amplitude])
    period = 4 * float(ellipk(np.sin(amplitude / 2) ** 2))
    return Problem(
        "pendulum, 2 rad",
        lambda q: 1 - jnp.cos(q[0]),
        (q, jnp.zeros_like(q)),
        period,
    )
