"""The order of a method, measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from .._checks import like, nonzero, state
from .._types import RealScalarLike
from .structure import step_map


class MeasuredOrder(NamedTuple):
    """The outcome of [`chlu_eqx.analysis.measured_order`][].

    **Attributes:**

    - `order`: the slope of log error against log step.
    - `steps`: the lengths of the steps, one per run.
    - `errors`: the largest error of any coordinate at the end, one per run.
    """

    order: Scalar
    steps: Float[Array, " runs"]
    errors: Float[Array, " runs"]


def measured_order(
    terms: PyTree[diffrax.AbstractTerm],
    solver: diffrax.AbstractSolver,
    y0: PyTree,
    *,
    t1: RealScalarLike,
    num_steps: Sequence[int] = (64, 128, 256),
    t0: RealScalarLike = 0.0,
    args: Any = None,
    exact: PyTree | None = None,
) -> MeasuredOrder:
    r"""The order of a method on an equation: $r$ in the least-squares fit of
    $\lVert y_n - y(t_1) \rVert_\infty \approx C h^r$ over runs with different numbers
    of steps.

    Choose them such that the errors returned are small, yet well above rounding and the
    $10^{-12}$ of the reference.

    **Arguments:**

    - `terms`: the equation, in the form that `solver` takes.
    - `solver`: any diffrax solver.
    - `y0`: the initial state.
    - `t1`, `t0`: the final and the initial time.
    - `num_steps`: how many steps each run makes from `t0` to `t1`.
    - `args`: passed to the vector field.
    - `exact`: the state at `t1`. Defaults to that of `diffrax.Dopri8` with tolerances
        of $10^{-12}$, in float64.

    **Returns:** a [`chlu_eqx.analysis.MeasuredOrder`][].

    **Raises:** `ValueError` if `num_steps` has no two different numbers or one below 1,
    or if there is neither `exact` nor a float64 state.
    """
    y0 = state("y0", y0)
    integers = all(isinstance(n, int) for n in num_steps)
    if not integers or len(set(num_steps)) < 2 or min(num_steps) < 1:
        raise ValueError(
            "`num_steps` must hold at least two different positive integers, got "
            f"{num_steps}."
        )
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    if exact is None:
        if dtype != jnp.float64:
            raise ValueError(
                f"`exact` must be given when `y0` is {dtype}: only in float64 is there "
                "a reference."
            )
        solution = diffrax.diffeqsolve(
            terms,
            diffrax.Dopri8(),
            t0,
            t1,
            None,
            y0,
            args,
            stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12),
            max_steps=100_000,
        )
        exact = jax.tree.map(lambda x: x[0], solution.ys)
    exact = like("exact", exact, y0)
    span = jnp.asarray(t1, dtype) - jnp.asarray(t0, dtype)
    span = nonzero("t1 - t0", span)

    def error(run: tuple) -> Scalar:
        n, dt = run
        y1 = step_map(terms, solver, dt=dt, num_steps=n, t0=t0, args=args)(y0)
        apart = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), y1, exact)
        return jax.tree.reduce(jnp.maximum, apart)

    # The number of steps is traced: one compilation serves all runs.
    steps = span / jnp.asarray(num_steps, dtype)
    errors = lax.map(error, (jnp.asarray(num_steps), steps))
    order = jnp.polyfit(jnp.log(jnp.abs(steps)), jnp.log(errors), 1)[0]
    return MeasuredOrder(order, steps, errors)
