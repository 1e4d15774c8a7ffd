"""Energies and states that several tests share."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import chlu_eqx as cx


# Every solver: a line here and one for what it claims, and it is tested for it.
SOLVERS = {
    "CHLUSolver": cx.CHLUSolver(),
    "DriftKickDrift": cx.DriftKickDrift(),
    "SymplecticEuler": cx.SymplecticEuler(),
    "KickDriftKickDamp": cx.KickDriftKickDamp(),
    "Yoshida4": cx.Yoshida4(),
    "Suzuki4": cx.Suzuki4(),
    "BlanesMoan4": cx.BlanesMoan4(),
    "BlanesMoan6": cx.BlanesMoan6(),
    "BlanesMoanNystrom4": cx.BlanesMoanNystrom4(),
    "BlanesMoanNystrom6": cx.BlanesMoanNystrom6(),
    "KahanLi6": cx.KahanLi6(),
    "KahanLi8": cx.KahanLi8(),
}
# Those that are tested for all that diffrax asks of a solver: one of each kind.
HOSTED = ("CHLUSolver", "DriftKickDrift", "KickDriftKickDamp")
# Those that a step of -h undoes, with friction too.
SYMMETRIC = tuple(
    name for name in SOLVERS if name not in ("SymplecticEuler", "KickDriftKickDamp")
)
# The order that each claims, without and with friction.
ORDER = {
    "CHLUSolver": 2,
    "DriftKickDrift": 2,
    "SymplecticEuler": 1,
    "KickDriftKickDamp": 2,
    "Yoshida4": 4,
    "Suzuki4": 4,
    "BlanesMoan4": 4,
    "BlanesMoan6": 6,
    "BlanesMoanNystrom4": 4,
    "BlanesMoanNystrom6": 6,
    "KahanLi6": 6,
    "KahanLi8": 8,
}
ORDER_WITH_FRICTION = {name: min(order, 2) for name, order in ORDER.items()} | {
    "KickDriftKickDamp": 1
}


def learned(seed: int, dim: int, relativistic: bool) -> cx.SeparableHamiltonian:
    """A random energy: unequal masses and a wide potential, far from any symmetry."""
    key, mass_key = jr.split(jr.key(seed))
    mass = jnp.exp(jr.normal(mass_key, (dim,)) / 2)
    kinetic = (
        cx.RelativisticKinetic(dim, mass=mass, rest_mass=0.7, speed_limit=1.3)
        if relativistic
        else cx.NewtonianKinetic(dim, mass=mass)
    )
    potential = cx.MLPPotential(dim, width=8, key=key)
    # Weights as they come leave a nearly flat potential; scaled, a curved one.
    potential = jax.tree.map(
        lambda x: 3 * x if isinstance(x, jax.Array) else x, potential
    )
    return cx.SeparableHamiltonian(kinetic, potential + cx.Confinement())


def random_state(seed: int, dim: int, scale: float = 1.0) -> tuple:
    q, p = scale * jr.normal(jr.key(seed), (2, dim))
    return q, p


def henon_heiles(relativistic: bool = False) -> cx.HamiltonianTerm:
    """Two coordinates in a smooth potential that couples them."""
    kinetic = cx.RelativisticKinetic(2, speed_limit=1.5)
    return cx.HamiltonianTerm(
        cx.SeparableHamiltonian(
            kinetic if relativistic else cx.NewtonianKinetic(2),
            lambda q: jnp.sum(q**2) / 2 + q[0] ** 2 * q[1] - q[1] ** 3 / 3,
        )
    )


HENON_HEILES_STATE = (jnp.array([0.3, -0.2]), jnp.array([0.2, 0.35]))


def pendulum(friction: Any = None) -> cx.HamiltonianTerm:
    """A unit pendulum of one coordinate."""
    kinetic = cx.NewtonianKinetic(1)
    return cx.HamiltonianTerm(cx.SeparableHamiltonian(kinetic, _weight), friction)


def _weight(q):
    return -jnp.cos(q[0])


def pendulum_ode(t, y, args):
    """The same pendulum as a plain vector field."""
    del t, args
    q, p = y
    return p, -jnp.sin(q)


PENDULUM_STATE = (jnp.array([1.2]), jnp.array([-0.3]))


def solve(term, solver, y0, t0, t1, num_steps, **kwargs) -> diffrax.Solution:
    """diffeqsolve at a step that divides the interval; compiled once for all times."""
    dt0 = (t1 - t0) / num_steps
    times = (jnp.asarray(t, jnp.result_type(float)) for t in (t0, t1, dt0))
    kwargs = {"max_steps": max(256, num_steps + 8), **kwargs}
    return diffrax.diffeqsolve(term, solver, *times, y0, **kwargs)


def reference(term, y0, t0, t1, **kwargs) -> diffrax.Solution:
    """The same equation by a high-order method of diffrax at tight tolerance."""
    return diffrax.diffeqsolve(
        term,
        diffrax.Dopri8(),
        t0,
        t1,
        None,
        y0,
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12),
        max_steps=100_000,
        **kwargs,
    )


def tao_energy(q, p):
    return jnp.sum((q**2 + 1) * (p**2 + 1)) / 2


class Mixed(cx.AbstractHamiltonian):
    """Neither separable nor quadratic, with every coordinate coupled to every other."""

    coupling: jax.Array

    def __init__(self, coupling: float = 0.4):
        self.coupling = jnp.array(coupling)

    def __call__(self, q, p):
        coupled = jnp.sum(jnp.sin(q)) * jnp.sum(jnp.cos(p))
        return tao_energy(q, p) + self.coupling * coupled


def stacked(y):
    return np.stack(jax.tree.leaves(y))


def at_end(sol):
    return jax.tree.map(lambda y: y[0], sol.ys)
