"""What `speed` compares: ways to run the lemniscate's unit, and to differentiate it.

Two coordinates, a potential of two hidden layers of 64, steps of 0.05.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

import chlu_eqx as cx


DT = 0.05
ENERGY = cx.SeparableHamiltonian(
    cx.RelativisticKinetic(2), cx.MLPPotential(2, key=jr.key(0)) + cx.Confinement()
)
SOLVER = cx.CHLUSolver()


class Comparison(NamedTuple):
    """Two ways to the same end, as functions of a state or, `batched`, of many, and of
    the number of steps. By batch size: how many steps to time, and the most that the
    first may take of the second's time."""

    name: str
    ours: Callable
    theirs: Callable
    cases: dict[int, tuple[int, float | None]]
    batched: bool = False


# Trajectories.


def one_force(energy: Any, carry: tuple) -> tuple:
    """Velocity Verlet by hand, the force carried: the least it can take."""
    q, p, f = carry
    p = p + DT / 2 * f
    q = q + DT * energy.velocity(p)
    f = energy.force(q)
    p = p + DT / 2 * f
    return q, p, f


def two_forces(energy: Any, carry: tuple) -> tuple:
    """Velocity Verlet as often written: both kicks find their force, and the velocity
    is a derivative of T by automatic differentiation."""
    q, p, _ = carry
    p = p + DT / 2 * energy.force(q)
    q = q + DT * jax.grad(energy.kinetic)(p)
    p = p + DT / 2 * energy.force(q)
    return q, p, None


def scan(step: Callable, every: int = 1) -> Callable:
    """A plain scan of `step`; it saves the states after each `every` steps."""

    def run(y0, n: int, energy=ENERGY):
        def advance(carry, _):
            return step(energy, carry), None

        def save(carry, _):
            carry, _ = jax.lax.scan(advance, carry, None, length=every)
            return carry, carry[:2]

        force = energy.force(y0[0]) if step is one_force else None
        _, ys = jax.lax.scan(save, (*y0, force), None, length=n // every)
        return ys

    return run


def rollout(y0, n: int, energy=ENERGY, save_every: int = 1):
    term = cx.HamiltonianTerm(energy)
    return cx.rollout(term, SOLVER, y0, dt=DT, num_steps=n, save_every=save_every)


def rollout_double(y0, n: int):
    """The same in float64."""
    double = jax.tree.map(
        lambda x: x.astype(jnp.float64) if eqx.is_array(x) else x, (ENERGY, y0)
    )
    return rollout(double[1], n, double[0])


def solve(
    terms: Callable, solver: diffrax.AbstractSolver, every: int = 1, **options: Any
) -> Callable:
    """diffeqsolve in steps of `every` of ours."""

    def run(y0, n: int, energy=ENERGY):
        # Times of the state's precision: others would promote it.
        t0, t1, dt0 = jnp.asarray([0.0, n * DT, every * DT], y0[0].dtype)
        max_steps = n // every + 1
        return diffrax.diffeqsolve(
            terms(energy), solver, t0, t1, dt0, y0, max_steps=max_steps, **options
        ).ys

    return run


def pair(energy: Any) -> tuple:
    return (
        diffrax.ODETerm(lambda t, p, args: energy.velocity(p)),
        diffrax.ODETerm(lambda t, q, args: energy.force(q)),
    )


# Langevin's equation.


BATH = dict(friction=1.0, temperature=0.5)


def own_key(y0):
    """For each state of a batch another."""
    return jr.fold_in(jr.key(2), jax.lax.bitcast_convert_type(y0[0][0], jnp.uint32))


def baoab_scan(y0, n: int):
    """BAOAB by hand, its numbers drawn by the step's number."""
    kinetic: Any = ENERGY.kinetic
    rate, kT, key = BATH["friction"], BATH["temperature"], own_key(y0)

    def step(carry, k):
        q, p, f = carry
        noise = jr.normal(jr.fold_in(key, k), (5,), q.dtype)
        p = p + DT / 2 * f
        q = q + DT / 2 * kinetic.velocity(p)
        p = kinetic.thermostat(p, rate * DT, kT, noise)
        q = q + DT / 2 * kinetic.velocity(p)
        f = ENERGY.force(q)
        return (q, p + DT / 2 * f, f), None

    q, p = y0
    (q, p, _), _ = jax.lax.scan(step, (q, p, ENERGY.force(q)), jnp.arange(n))
    return q, p


def fixed_grid(y0, n: int) -> cx.FixedGridBrownianPath:
    shape = jax.ShapeDtypeStruct((5,), y0[0].dtype)
    return cx.FixedGridBrownianPath(DT, shape, own_key(y0))


def virtual_tree(y0, n: int) -> diffrax.VirtualBrownianTree:
    shape = jax.ShapeDtypeStruct((5,), y0[0].dtype)
    return diffrax.VirtualBrownianTree(0.0, n * DT, DT / 2, shape, own_key(y0))


def langevin(path: Callable, y0, n: int):
    """BAOAB through diffeqsolve."""
    term = cx.LangevinTerm(ENERGY, path(y0, n), **BATH)
    t0, t1, dt0 = jnp.asarray([0.0, n * DT, DT], y0[0].dtype)
    return diffrax.diffeqsolve(term, cx.BAOAB(), t0, t1, dt0, y0, max_steps=n + 1).ys


def baoab(y0, n: int):
    return langevin(fixed_grid, y0, n)


def baoab_on_tree(y0, n: int):
    return langevin(virtual_tree, y0, n)


# Gradients.


def gradient(trajectory: Callable) -> Callable:
    """By the energy's parameters, of the mean over a batch of |q|² + |p|² at the end of
    the trajectories `trajectory(y0, n, energy)`."""
    parameters, static = eqx.partition(ENERGY, eqx.is_inexact_array)

    def run(y0, n: int):
        def loss(parameters):
            energy = eqx.combine(parameters, static)
            ys = jax.vmap(lambda y: trajectory(y, n, energy))(y0)
            return sum(jnp.mean(jnp.sum(x[:, -1] ** 2, axis=-1)) for x in ys)

        return jax.grad(loss)(parameters)

    return run


def scanned_gradient(step: Callable) -> Callable:
    """Backpropagation through a scan that saves the end only."""
    return gradient(lambda y0, n, energy: scan(step, every=n)(y0, n, energy))


rolled_gradient = gradient(lambda y0, n, energy: rollout(y0, n, energy, save_every=n))
reversible_gradient = gradient(
    solve(cx.HamiltonianTerm, SOLVER, adjoint=cx.ReversibleAdjoint())
)
default_gradient = gradient(solve(cx.HamiltonianTerm, SOLVER))


COMPARISONS = (
    Comparison(
        "rollout / scan by hand",
        rollout,
        scan(one_force),
        {1: (10_000, 1.1), 256: (1000, 1.1)},
    ),
    Comparison(
        "diffeqsolve, CHLUSolver / SemiImplicitEuler",
        solve(cx.HamiltonianTerm, SOLVER),
        solve(pair, diffrax.SemiImplicitEuler()),
        {1: (10_000, 1.1), 256: (1000, 1.1)},
    ),
    Comparison(
        "diffeqsolve saving every 10th state by Substeps / scan by hand",
        solve(
            cx.HamiltonianTerm,
            cx.Substeps(SOLVER, 10),
            every=10,
            saveat=diffrax.SaveAt(steps=True),
        ),
        scan(one_force, every=10),
        {1: (10_000, 1.5), 256: (1000, None)},
    ),
    Comparison(
        "rollout / scan of two forces and ∇T by autodiff",
        rollout,
        scan(two_forces),
        {1: (10_000, None), 256: (1000, 1 / 1.8)},
    ),
    Comparison(
        "gradient: rollout / scan of two forces",
        rolled_gradient,
        scanned_gradient(two_forces),
        {1: (1000, None), 64: (1000, 1 / 3.5)},
        batched=True,
    ),
    Comparison(
        "gradient: rollout / scan by hand",
        rolled_gradient,
        scanned_gradient(one_force),
        {1: (1000, None), 64: (1000, 1 / 3.5)},
        batched=True,
    ),
    Comparison(
        "gradient: diffeqsolve, ReversibleAdjoint / default",
        reversible_gradient,
        default_gradient,
        {1: (1000, None), 64: (1000, 1 / 1.8)},
        batched=True,
    ),
    Comparison(
        "Langevin: diffeqsolve, BAOAB / scan by hand",
        baoab,
        baoab_scan,
        {1: (10_000, 1.5), 256: (1000, None)},
    ),
    Comparison(
        "Langevin: VirtualBrownianTree / FixedGridBrownianPath",
        baoab_on_tree,
        baoab,
        {1: (1000, None)},
    ),
    Comparison(
        "rollout, float64 / float32",
        rollout_double,
        rollout,
        {1: (10_000, None), 256: (1000, None)},
    ),
)

# Whose memory is told: a gradient and the numbers of steps.
MEMORY = {
    "rollout": (rolled_gradient, (1000, 100_000)),
    "diffeqsolve, ReversibleAdjoint": (reversible_gradient, (1000, 100_000)),
    "diffeqsolve, default adjoint": (default_gradient, (1000, 100_000)),
    "scan by hand": (scanned_gradient(one_force), (1000, 10_000)),
    "scan of two forces": (scanned_gradient(two_forces), (1000, 10_000)),
}
