"""What a step keeps: the symplectic form, or its contraction, and volume."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Int, PyTree, Scalar

from .._checks import count, finite, function, instance, phase_state, state
from .._types import RealScalarLike
from ..friction import Friction, rates
from ..term import HamiltonianTerm


def step_map(
    terms: PyTree[diffrax.AbstractTerm],
    solver: diffrax.AbstractSolver,
    *,
    dt: RealScalarLike,
    num_steps: int | Int[Array, ""] = 1,
    t0: RealScalarLike = 0.0,
    args: Any = None,
) -> Callable[[PyTree], PyTree]:
    r"""The map $y_0 \mapsto y_n$ that `solver` makes of an equation: $n$ steps of
    length $h$, with what the solver carries from step to step.

    A plain function of the state, to differentiate, `jit` and `vmap`. As in
    [`chlu_eqx.rollout`][] nothing is raised when a step fails.

    !!! Example

        ```python
        step = step_map(term, chlu_eqx.CHLUSolver(), dt=0.1)
        jacobian = step_jacobian(step, (q0, p0))
        symplecticity_defect(jacobian, conformal_factor(term, 0.1))  # rounding
        ```

    **Arguments:**

    - `terms`: the equation, in the form that `solver` takes.
    - `solver`: any diffrax solver.
    - `dt`: the length $h$ of a step; a negative one steps back in time.
    - `num_steps`: $n$. It may be traced; the map then has no reverse mode.
    - `t0`: the initial time.
    - `args`: passed to the vector field.

    **Returns:** the map, from a state to one of the same structure, shapes and dtypes.

    **Raises:** `ValueError` if `solver` is no solver, `dt` is not finite, or
    `num_steps` is negative; when called, if the state does not hold floating-point
    numbers.
    """
    wanted = "a diffrax solver, such as `chlu_eqx.CHLUSolver()`"
    instance("solver", solver, diffrax.AbstractSolver, wanted)
    dt, t0 = finite("dt", dt), finite("t0", t0)
    if not isinstance(num_steps, Array):
        num_steps = count("num_steps", num_steps, least=0)

    def step(y0: PyTree) -> PyTree:
        y0 = state("y0", y0)
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        start, h = jnp.asarray(t0, dtype), jnp.asarray(dt, dtype)

        def advance(n: Int[Array, ""], carry: tuple) -> tuple:
            y, state = carry
            t = start + n.astype(dtype) * h
            y, _, _, state, _ = solver.step(
                terms, t, t + h, y, args, state, made_jump=False
            )
            return y, state

        carry = y0, solver.init(terms, start, start + h, y0, args)
        return lax.fori_loop(0, num_steps, advance, carry)[0]

    return step


def step_jacobian(
    step: Callable[[PyTree], PyTree], y: tuple[PyTree, PyTree]
) -> Float[Array, "phase phase"]:
    r"""The Jacobian $J = \partial \Phi(y) / \partial y$ of a map of states.

    **Arguments:**

    - `step`: $\Phi$, from `(q, p)` to `(q, p)`: a [`chlu_eqx.analysis.step_map`][], or
        any other; differentiated in reverse mode.
    - `y`: the state `(q, p)` at which to take it, `d` coordinates in all in `q`.

    **Returns:** $J$, of shape `(2d, 2d)`: first the coordinates of `q` in the order of
    its leaves, then those of `p`.

    **Raises:** `ValueError` if `q` and `p` do not agree.
    """
    function("step", step)
    phase_state("y", y)
    flat, unravel = ravel_pytree(y)
    # Reverse mode: the only one that all of diffrax has.
    return jax.jacrev(lambda z: ravel_pytree(step(unravel(z)))[0])(flat)


def symplecticity_defect(
    jacobian: Float[ArrayLike, "phase phase"], factor: RealScalarLike = 1.0
) -> Scalar:
    r"""How far a map is from (conformally) symplectic: the largest entry in magnitude

    $$\lVert J^\top \Omega J - \kappa\, \Omega \rVert_{\max}, \qquad
    \Omega = \begin{pmatrix} 0 & I \\ -I & 0 \end{pmatrix}.$$

    Rounding alone leaves about $\varepsilon \lVert J \rVert^2$. See Hairer, Lubich &
    Wanner, *Geometric Numerical Integration* (2nd ed., 2006), Section VI.2.

    **Arguments:**

    - `jacobian`: $J$, as of [`chlu_eqx.analysis.step_jacobian`][].
    - `factor`: $\kappa$: 1 for a symplectic map; with friction, that of
        [`chlu_eqx.analysis.conformal_factor`][].

    **Raises:** `ValueError` if `jacobian` is not a square matrix of even size.
    """
    jacobian = _jacobian(jacobian)

    def omega(x: Array) -> Array:
        upper, lower = jnp.split(x, 2)
        return jnp.concatenate([lower, -upper])

    # Full precision also where an accelerator's default is less.
    pulled_back = jnp.matmul(
        jacobian.T, omega(jacobian), precision=lax.Precision.HIGHEST
    )
    form = omega(jnp.eye(len(jacobian), dtype=jacobian.dtype))
    return jnp.max(jnp.abs(pulled_back - jnp.asarray(factor, form.dtype) * form))


def volume_factor(jacobian: Float[ArrayLike, "phase phase"]) -> Scalar:
    r"""The factor $\lvert \det J \rvert$ by which a map changes phase-space volume.

    **Arguments:**

    - `jacobian`: $J$, as of [`chlu_eqx.analysis.step_jacobian`][].

    **Raises:** `ValueError` if `jacobian` is not a square matrix of even size.
    """
    return jnp.exp(jnp.linalg.slogdet(_jacobian(jacobian))[1])


def conformal_factor(term: diffrax.AbstractTerm, dt: RealScalarLike) -> Scalar:
    r"""The factor $\kappa = e^{-\Gamma h}$ by which friction contracts the symplectic
    form, $J^\top \Omega J = \kappa\, \Omega$, over a time $h$.

    It exists for a constant scalar rate only (McLachlan & Perlmutter, "Conformal
    Hamiltonian systems", Journal of Geometry and Physics 39(4), 2001).

    **Arguments:**

    - `term`: a [`chlu_eqx.HamiltonianTerm`][].
    - `dt`: the time $h$: of one step, or of all those in the Jacobian.

    **Raises:** `ValueError` if the term is another or its friction not a scalar.
    """
    friction, dt = _friction(term), finite("dt", dt)
    if friction is None:
        return jnp.ones(())
    if callable(friction) or jax.tree.map(jnp.shape, friction) != ():
        raise ValueError(
            "`term` must have a constant scalar friction rate: no other contracts the "
            f"symplectic form by a number. Got friction={friction}; compare volumes "
            "instead, with `predicted_volume_factor`."
        )
    return jnp.exp(-jnp.asarray(friction, float) * jnp.asarray(dt, float))


def predicted_volume_factor(
    term: diffrax.AbstractTerm, dt: RealScalarLike, y: tuple[PyTree, PyTree]
) -> Scalar:
    r"""The factor by which friction at the rates $\Gamma(y)$ contracts phase-space
    volume in a time $h$: $e^{-h \operatorname{tr} \Gamma(y)}$, the trace over all
    coordinates.

    For constant rates this is Liouville's formula for the exact flow, and what the
    solvers here do to rounding. For rates that depend on the position the time of each
    friction flow in a step counts at the position where it acts: half of it at
    either end in [`chlu_eqx.CHLUSolver`][], whose factor is the geometric mean of the
    two, and all at the end in [`chlu_eqx.KickDriftKickDamp`][]. A rate that depends on
    the momentum has no such prediction.

    **Arguments:**

    - `term`: a [`chlu_eqx.HamiltonianTerm`][].
    - `dt`: the time $h$.
    - `y`: the state `(q, p)` at which the rates are taken.

    **Raises:** `ValueError` if the term is another, or if `q` and `p` do not agree.
    """
    friction, dt = _friction(term), finite("dt", dt)
    q, p = phase_state("y", y)
    if friction is None:
        return jnp.ones(())
    sums = jax.tree.map(
        lambda rate, pi: jnp.sum(jnp.broadcast_to(rate, pi.shape)),
        rates(friction, q, p),
        p,
    )
    trace = jax.tree.reduce(jnp.add, sums)
    return jnp.exp(-trace * jnp.asarray(dt, trace.dtype))


def _jacobian(jacobian: ArrayLike) -> Array:
    jacobian = jnp.asarray(jacobian)
    shape = jacobian.shape
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 2:
        raise ValueError(
            "`jacobian` must be a square matrix over (q, p), of even size, got shape "
            f"{shape}."
        )
    return jacobian


def _friction(term: diffrax.AbstractTerm) -> Friction | None:
    if not isinstance(term, HamiltonianTerm):
        raise ValueError(
            "`term` must be a `HamiltonianTerm`, which says what its friction is, got "
            f"{type(term).__name__}."
        )
    return term.friction
