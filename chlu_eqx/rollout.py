"""Fixed-grid trajectories without the machinery of `diffeqsolve`."""

from typing import Any

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._checks import positive
from ._types import RealScalarLike


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
) -> PyTree:
    """The trajectory of an ordinary differential equation on a fixed grid.

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

    - `terms`: a [`chlu_eqx.HamiltonianTerm`][], or any other diffrax term whose control
        is time.
    - `solver`: any one-step diffrax solver, that is, any but `LeapfrogMidpoint`.
    - `y0`: the initial state, a pytree of floating-point arrays, unbatched; use
        `jax.vmap` for batches.
    - `dt`: the length of a step, positive. May be traced and differentiated.
    - `num_steps`: the number of steps.
    - `save_every`: how many steps to make between saved states; divides `num_steps`.
    - `t0`: the initial time.
    - `args`: passed to the vector field.

    **Returns:** the states, as `y0` with a leading axis of length
    `num_steps // save_every + 1`, the initial one first.

    **Raises:** `ValueError` if the solver is not one-step, `dt` is not positive,
    `num_steps` is negative or not a multiple of `save_every`, or `y0` holds integers.
    """
    if isinstance(solver, diffrax.LeapfrogMidpoint):
        # It remembers the time of the step before, where here every step starts at 0.
        raise ValueError(
            "`solver` must be a one-step method, got `LeapfrogMidpoint()`; use "
            "`diffrax.diffeqsolve` with it, or `chlu_eqx.CHLUSolver()` here."
        )
    dt = positive("dt", dt)
    if save_every < 1 or num_steps < 0 or num_steps % save_every:
        raise ValueError(
            "`num_steps` must be a non-negative multiple of a positive `save_every`, "
            f"got num_steps={num_steps} and save_every={save_every}."
        )
    y0 = jax.tree.map(jnp.asarray, y0)
    for leaf in jax.tree.leaves(y0):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise ValueError(
                f"`y0` must hold floating-point numbers, got {leaf.dtype}{leaf.shape}."
            )
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    t0, dt = jnp.asarray(t0, dtype), jnp.asarray(dt, dtype)
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)

    def step(carry, _):
        n, y, solver_state = carry
        term = _StepTerm(terms, t0 + n.astype(dtype) * dt, dt)
        y, _, _, solver_state, _ = solver.step(
            term, zero, one, y, args, solver_state, made_jump=False
        )
        return (n + 1, y, solver_state), None

    def save(carry, _):
        carry, _ = lax.scan(step, carry, None, length=save_every)
        return carry, carry[1]

    state = solver.init(_StepTerm(terms, t0, dt), zero, one, y0, args)
    carry = (jnp.zeros((), jnp.int32), y0, state)
    _, ys = lax.scan(save, carry, None, length=num_steps // save_every)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), y0, ys)
