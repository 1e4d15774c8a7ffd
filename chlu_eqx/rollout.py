"""Fixed-grid trajectories without the machinery of `diffeqsolve`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._backward import (
    explicit,
    gradients,
    Inputs,
    NodeRows,
    refined,
    Steps,
    substeps_of,
)
from ._checks import count, finite, instance, nonzero, positive, state
from ._types import RealScalarLike
from .adjoint import ReversibleAdjoint
from .solver import AbstractReversibleSolver, Substeps
from .term import HeatBath, LangevinTerm


class _StepTerm(diffrax.AbstractTerm):
    """`term` in units of one step: time runs from 0 to 1 while it runs from `start`
    to `start + dt`. The length of a step is then exactly `dt`, however late it is."""

    term: diffrax.AbstractTerm
    start: RealScalarLike
    dt: RealScalarLike

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree) -> PyTree:
        return self.term.vf(self.start + t * self.dt, y, args)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> RealScalarLike:
        # Of a term whose control is time, as every ordinary differential equation's is.
        return self.dt * (t1 - t0)

    def prod(self, vf: PyTree, control: PyTree) -> PyTree:
        return self.term.prod(vf, control)


class _StepPath(diffrax.AbstractBrownianPath):
    """The same for a Brownian path, whose increments are no differences of times."""

    path: diffrax.AbstractBrownianPath
    levy_area: Any = eqx.field(static=True)
    start: RealScalarLike
    dt: RealScalarLike

    @property
    def t0(self) -> RealScalarLike:  # pyright: ignore
        return (self.path.t0 - self.start) / self.dt

    @property
    def t1(self) -> RealScalarLike:  # pyright: ignore
        return (self.path.t1 - self.start) / self.dt

    def evaluate(self, t0, t1=None, left=True, use_levy=False) -> Any:
        begin = self.start + t0 * self.dt
        end = None if t1 is None else begin + (t1 - t0) * self.dt
        return self.path.evaluate(begin, end, left, use_levy)


class _StepSchedule(eqx.Module):
    """The same for a function of the time."""

    schedule: Callable[[RealScalarLike], Any]
    start: RealScalarLike
    dt: RealScalarLike

    def __call__(self, t: RealScalarLike) -> Any:
        return self.schedule(self.start + t * self.dt)


def _one_step(terms: diffrax.AbstractTerm, start: Array, dt: Array) -> PyTree:
    if not isinstance(terms, LangevinTerm):
        return _StepTerm(terms, start, dt)
    drift, bath = terms.terms
    temperature = bath.temperature
    if callable(temperature):
        temperature = _StepSchedule(temperature, start, dt)
    path = _StepPath(bath.path, bath.path.levy_area, start, dt)
    bath = HeatBath(bath.kinetic, bath.friction, temperature, path)
    parts = (_StepTerm(drift, start, dt), bath)
    return eqx.tree_at(lambda t: t.terms, terms, parts)


def rollout(
    terms: diffrax.AbstractTerm,
    solver: diffrax.AbstractSolver,
    y0: PyTree,
    *,
    dt: RealScalarLike,
    num_steps: int,
    save_every: int = 1,
    t0: RealScalarLike = 0.0,
    args: Any = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
) -> PyTree:
    """The trajectory of an ordinary differential equation, or of Langevin's, on a fixed
    grid.

    The same numbers, to rounding, as

    ```python
    diffrax.diffeqsolve(
        terms, solver, t0, t0 + num_steps * dt, dt, y0, args,
        saveat=diffrax.SaveAt(ts=t0 + dt * jnp.arange(0, num_steps + 1, save_every)),
    ).ys
    ```

    by a plain `jax.lax.scan`. Steps are counted, not timed, so there is no limit in
    float32 on how many there are. A state that leaves the finite numbers stays out of
    them; nothing is raised.

    **Arguments:**

    - `terms`: a [`chlu_eqx.HamiltonianTerm`][], any other diffrax term whose control is
        time, or a [`chlu_eqx.LangevinTerm`][].
    - `solver`: any one-step diffrax solver, that is, any but `LeapfrogMidpoint`.
    - `y0`: the initial state, a pytree of floating-point arrays, unbatched; use
        `jax.vmap` for batches.
    - `dt`: the length of a step; of an ordinary differential equation it may be
        negative, for a run backward in time. May be traced and differentiated.
    - `num_steps`: the number of steps.
    - `save_every`: how many steps to make between saved states; divides `num_steps`.
    - `t0`: the initial time.
    - `args`: passed to the vector field.
    - `adjoint`: how to differentiate. [`chlu_eqx.ReversibleAdjoint`][], in constant
        memory; or `diffrax.DirectAdjoint`, through the scan, which keeps every step in
        memory, and is the one for forward mode and for second derivatives. By default
        the first where the solver can be undone, and the other where it cannot.

    **Returns:** the states, as `y0` with a leading axis of length
    `num_steps // save_every + 1`, the initial one first.

    **Raises:** `ValueError` if the solver is not one-step, `dt` is zero, or negative
    with a [`chlu_eqx.LangevinTerm`][], `num_steps` is negative or not a multiple of
    `save_every`, `y0` holds integers, or the adjoint is neither of the two or does not
    go with the solver.
    """
    wanted = "one diffrax term, such as `chlu_eqx.HamiltonianTerm(...)`"
    instance("terms", terms, diffrax.AbstractTerm, wanted)
    wanted = "a diffrax solver, such as `chlu_eqx.CHLUSolver()`"
    instance("solver", solver, diffrax.AbstractSolver, wanted)
    if isinstance(solver, diffrax.LeapfrogMidpoint):
        # It remembers the time of the step before, where here every step starts at 0.
        raise ValueError(
            "`solver` must be a one-step method, got `LeapfrogMidpoint()`; use "
            "`diffrax.diffeqsolve` with it, or `chlu_eqx.CHLUSolver()` here."
        )
    if adjoint is None:
        reversible = isinstance(solver, AbstractReversibleSolver | Substeps)
        adjoint = ReversibleAdjoint() if reversible else diffrax.DirectAdjoint()
    elif not isinstance(adjoint, ReversibleAdjoint | diffrax.DirectAdjoint):
        raise ValueError(
            "`adjoint` must be `chlu_eqx.ReversibleAdjoint()` or "
            f"`diffrax.DirectAdjoint()`, got {adjoint}; use `diffrax.diffeqsolve` with "
            "others."
        )
    check = positive if isinstance(terms, LangevinTerm) else nonzero
    dt = check("dt", dt)
    save_every = count("save_every", save_every)
    num_steps = count("num_steps", num_steps, least=0)
    if num_steps % save_every:
        raise ValueError(
            "`num_steps` must be a non-negative multiple of a positive `save_every`, "
            f"got num_steps={num_steps} and save_every={save_every}."
        )
    y0 = state("y0", y0)
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    t0, dt = jnp.asarray(finite("t0", t0), dtype), jnp.asarray(dt, dtype)
    grid = _Grid(num_steps, save_every)
    inputs = ((terms, args, solver), (t0, dt))
    if isinstance(adjoint, ReversibleAdjoint):
        adjoint.check_solver(solver)
        # What the solver refuses is refused here, where it can see the whole term.
        eqx.filter_eval_shape(grid.init, y0, inputs)
        inputs = ((explicit(terms, t0, y0, args), args, solver), (t0, dt))
        ys = _reversible_scan((y0, inputs), grid, adjoint.rtol)
    else:
        ys, _ = grid.scan(y0, inputs)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), y0, ys)


class _Grid(NamedTuple):
    """Steps of one length, some of which are saved."""

    num_steps: int
    save_every: int

    def init(self, y0: PyTree, inputs: Inputs) -> PyTree:
        (terms, args, solver), (t0, dt) = inputs
        zero, one = jnp.zeros_like(t0), jnp.ones_like(t0)
        return solver.init(_one_step(terms, t0, dt), zero, one, y0, args)

    def scan(self, y0: PyTree, inputs: Inputs) -> tuple[PyTree, PyTree]:
        """The states saved after the first, and the solver state at the end."""
        (terms, args, solver), (t0, dt) = inputs
        zero, one = jnp.zeros_like(t0), jnp.ones_like(t0)

        def step(carry, _):
            n, y, solver_state = carry
            term = _one_step(terms, t0 + n.astype(t0.dtype) * dt, dt)
            y, _, _, solver_state, _ = solver.step(
                term, zero, one, y, args, solver_state, made_jump=False
            )
            return (n + 1, y, solver_state), None

        def save(carry, _):
            carry, _ = lax.scan(step, carry, None, length=self.save_every)
            return carry, carry[1]

        carry = (jnp.zeros((), jnp.int32), y0, self.init(y0, inputs))
        length = self.num_steps // self.save_every
        (_, _, state), ys = lax.scan(save, carry, None, length=length)
        return ys, state

    def at(self, inputs: Inputs, k: Array) -> tuple:
        (terms, args, solver), (t0, dt) = inputs
        term = _StepTerm(terms, t0 + jnp.maximum(k, 0).astype(t0.dtype) * dt, dt)
        inside = (k >= 0) & (k < self.num_steps)
        return solver, term, jnp.zeros_like(t0), inside.astype(t0.dtype), args


@eqx.filter_custom_vjp
def _reversible_scan(differentiated, grid: _Grid, rtol: float) -> PyTree:
    ys, _ = grid.scan(*differentiated)
    return ys


@_reversible_scan.def_fwd
def _(perturbed, differentiated, grid: _Grid, rtol: float):
    ys, state = grid.scan(*differentiated)
    end = jax.tree.map(lambda y, ys: ys[-1] if len(ys) else y, differentiated[0], ys)
    return ys, (end, state)


@_reversible_scan.def_bwd
def _(end, a_ys, perturbed, differentiated, grid: _Grid, rtol: float):
    y0, inputs = differentiated
    m = substeps_of(inputs[0][2])
    every, length = grid.save_every * m, grid.num_steps // grid.save_every
    a_ys = jax.tree.map(
        lambda y, a: jnp.zeros((length, *y.shape), y.dtype) if a is None else a,
        y0,
        a_ys,
    )

    def place(inputs: Inputs, k: Array, n: Array) -> tuple[Array, Array]:
        return (k > 0) & (k % every == 0), k // every - 1

    steps = Steps(refined(grid.at), (NodeRows(place, a_ys),))
    return gradients(steps, y0, inputs, perturbed[1], grid.num_steps * m, end, rtol)
