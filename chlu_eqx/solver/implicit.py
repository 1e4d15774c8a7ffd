"""Implicit symplectic methods, for energies of any form."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from diffrax import RESULTS
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from .._checks import positive
from .._types import RealScalarLike
from ..friction import friction_flow
from .base import all_finite, axpy, flows
from .reversible import AbstractReversibleSolver, Flow, Parts, Phase


RootFinder: TypeAlias = optx.AbstractRootFinder | optx.AbstractFixedPointSolver

# Of a time and a state: `(dq, dp)` there.
Field: TypeAlias = Callable[[RealScalarLike, PyTree], tuple[PyTree, PyTree]]

# Of a part of the step: when it is over.
Clock: TypeAlias = Callable[[float], RealScalarLike]


def conservative_field(terms: diffrax.AbstractTerm, args: PyTree) -> Field:
    """The velocity and the force, without friction."""
    flow = flows(terms)
    if flow.friction is None:
        # The same, in one evaluation.
        return lambda t, y: terms.vf(t, y, args)
    return lambda t, y: (flow.velocity(t, y, args), flow.force(t, y, args))


class AbstractImplicit(AbstractReversibleSolver):
    """A step that is defined by equations, between two halves of exact friction.

    Subclasses are the equations.
    """

    root_finder: RootFinder | None
    root_find_max_steps: int

    def __init__(
        self, root_finder: RootFinder | None = None, root_find_max_steps: int = 20
    ):
        r"""**Arguments:**

        - `root_finder`: a root finder or a fixed-point solver of optimistix, with its
            tolerances. Defaults to `optimistix.Newton` with tolerances of
            $\sqrt\epsilon$ in the precision of the state: a Newton step squares the
            error, so that the last one brings it to rounding. Solvers that converge
            linearly need tolerances near rounding themselves:
            `optimistix.Chord(1e-13, 1e-13)` takes one Jacobian per step, and
            `optimistix.FixedPointIteration(1e-14, 1e-14)` none, which is the cheapest
            as long as it converges: for steps well below the time scale of the motion.
            (In optimistix 0.1.0 not in float32 while JAX has 64 bits enabled.)
            Tolerances count relative to the largest entry of each array of the state.
        - `root_find_max_steps`: how many iterations may be made before the step fails.

        **Raises:** `ValueError` if `root_finder` has no tolerances of its own or
        `root_find_max_steps` is not positive.
        """
        for name in ("rtol", "atol"):
            tolerance = getattr(root_finder, name, 0.0)
            if not isinstance(tolerance, int | float | Array | np.ndarray):
                raise ValueError(
                    "`root_finder` must have tolerances of its own, since the steps "
                    "are fixed: for instance `optimistix.Newton(rtol=1e-8, atol=1e-8)`."
                    f" Got {root_finder}."
                )
        self.root_finder = root_finder
        self.root_find_max_steps = positive("root_find_max_steps", root_find_max_steps)

    @abc.abstractmethod
    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        """The step of length `h` without friction."""

    def check(
        self, terms: diffrax.AbstractTerm, t: RealScalarLike, y: PyTree, args: PyTree
    ) -> None:
        """Any ordinary differential equation over `(q, p)` will do."""

    def companion(self, y: PyTree) -> PyTree:
        return None

    def shared(
        self, terms: diffrax.AbstractTerm, t: RealScalarLike, z: Phase, args: PyTree
    ) -> PyTree:
        return None

    def parts(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        args: PyTree,
    ) -> Parts:
        rate, field = flows(terms).friction, conservative_field(terms, args)
        # Not the difference of the times: going backward it has the other sign.
        h = terms.contr(t0, t1)

        def time(c: float) -> RealScalarLike:
            return (1 - c) * t0 + c * t1

        def friction(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
            y, none = z
            return (friction_flow(rate, sign * h / 2, y), none), RESULTS.successful

        half = () if rate is None else (friction,)
        return Parts((), (*half, *self.maps(field, h, time), *half), ())

    def slope(
        self,
        terms: diffrax.AbstractTerm,
        t: RealScalarLike,
        z: Phase,
        args: PyTree,
        shared: PyTree,
    ) -> PyTree:
        return terms.vf(t, z[0], args)

    def solve(
        self, increment: Callable[[PyTree], PyTree], y: PyTree
    ) -> tuple[PyTree, RESULTS]:
        """The `w` with `w = increment(w)`, where `w` is added to the state `y`; and
        whether it was found."""
        guess, change = jax.jvp(increment, (_zeros(y),), (y,))
        # In units of the state, of its increment, and of what a change of the whole
        # state would make of that: the rounding errors of an increment that vanishes,
        # as where forces balance, are relative to the last.
        unit = lax.stop_gradient(jax.tree.map(_largest, y, guess, change))

        def scaled(w: PyTree, none: Any = None) -> PyTree:
            return _divide(increment(_multiply(w, unit)), unit)

        guess = lax.stop_gradient(_divide(guess, unit))
        solution = optx.fixed_point(
            _stopped(eqx.filter_closure_convert(scaled, guess, None)),
            _newton(y) if self.root_finder is None else self.root_finder,
            guess,
            max_steps=self.root_find_max_steps,
            throw=False,
        )
        # By the implicit function theorem. That of optimistix raises where a cotangent
        # is NaN: one failed example of a batch would take all others with it.
        w = lax.custom_root(
            lambda w: axpy(-1, w, scaled(w)),
            solution.value,
            lambda residual, w: w,
            _solve_linear,
        )
        result = RESULTS.where(
            all_finite(solution.value),
            RESULTS.promote(solution.result),
            RESULTS.nonfinite,  # pyright: ignore[reportArgumentType]
        )
        # Where results are not looked at, the state tells.
        found = result == RESULTS.successful
        w = jax.tree.map(lambda x: jnp.where(found, x, jnp.nan), w)
        return _multiply(w, unit), result


def _newton(y: PyTree) -> optx.Newton:
    dtype = jnp.result_type(*jax.tree.leaves(y))
    tolerance = float(jnp.finfo(dtype).eps) ** 0.5
    return optx.Newton(rtol=tolerance, atol=tolerance)


def _solve_linear(operator: Callable[[PyTree], PyTree], b: PyTree) -> PyTree:
    """The `x` with `operator(x) = b`."""
    flat, unravel = ravel_pytree(b)
    columns = jax.vmap(lambda x: ravel_pytree(operator(unravel(x)))[0], out_axes=1)
    matrix = columns(jnp.eye(flat.size, dtype=flat.dtype))
    return unravel(jnp.linalg.solve(matrix, flat))


def _stopped(x: PyTree) -> PyTree:
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, x)


def _zeros(x: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, x)


def _multiply(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.multiply, x, y)


def _divide(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.divide, x, y)


def _largest(*xs: Array) -> Array:
    """The largest magnitude in any of the arrays; one if they are all zero."""
    size = jnp.stack([jnp.max(jnp.abs(x), initial=0.0) for x in xs]).max()
    return jnp.where(size == 0, jnp.ones_like(size), size)


class ImplicitMidpoint(AbstractImplicit):
    r"""The implicit midpoint rule for energies of any form, with exact linear friction.

    $$y_{n+1} = y_n + h\, f\left(t_n + \tfrac h2, \tfrac{y_n + y_{n+1}}2\right),
    \qquad y = (q, p),$$

    where $f$ is the conservative field $(\partial_p H, -\partial_q H)$, between two
    halves of friction, $p \leftarrow e^{-\Gamma h/2} p$.

    Order 2, with friction too, and time-symmetric: a step of $-h$ undoes a step of $h$.
    Without friction it is symplectic, for any $H(q, p)$, separable or not; with a
    constant scalar rate it is conformally symplectic. It preserves quadratic
    invariants, such as the angular momentum or the energy of an oscillator, to
    rounding, and is stable on an oscillator for every $h$.

    The method to start with where the energy is not separable. It takes a
    [`chlu_eqx.HamiltonianTerm`][] or any `diffrax.ODETerm` over `y = (q, p)`.

    A step takes two to four Newton iterations, each with the Jacobian of the field and
    a dense linear solve, unless another `root_finder` is given. If it does not converge
    the solve fails with `diffrax.RESULTS.nonlinear_max_steps_reached`; the state is
    then NaN. Dense and `SaveAt(ts=...)` output is cubic Hermite.

    ??? cite "Reference"

        ```bibtex
        @article{feng1986difference,
            title={Difference schemes for {H}amiltonian formalism and symplectic
                   geometry},
            author={Feng, Kang},
            journal={Journal of Computational Mathematics},
            volume={4},
            number={3},
            pages={279--289},
            year={1986},
        }
        ```
    """

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 2

    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        def step(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
            y, none = z

            def increment(w: PyTree) -> PyTree:
                return axpy(sign * h, field(time(1 / 2), axpy(1 / 2, w, y)), _zeros(y))

            w, result = self.solve(increment, y)
            return (axpy(1, w, y), none), result

        return (step,)


class GeneralizedLeapfrog(AbstractImplicit):
    r"""The generalised leapfrog, or Störmer-Verlet, method for energies of any form,
    with exact linear friction.

    $$\begin{aligned}
    p_{n+1/2} &= p_n - \tfrac h2\, \partial_q H(q_n, p_{n+1/2}) \\
    q_{n+1} &= q_n + \tfrac h2 \left(\partial_p H(q_n, p_{n+1/2})
    + \partial_p H(q_{n+1}, p_{n+1/2})\right) \\
    p_{n+1} &= p_{n+1/2} - \tfrac h2\, \partial_q H(q_{n+1}, p_{n+1/2})
    \end{aligned}$$

    between two halves of friction, $p \leftarrow e^{-\Gamma h/2} p$. The first two
    lines are equations for $p_{n+1/2}$ and for $q_{n+1}$, each half the size of that of
    [`chlu_eqx.ImplicitMidpoint`][]. Explicit time is that of the positions, $t_n$ or
    $t_{n+1}$.

    Order 2, with friction too, and time-symmetric: a step of $-h$ undoes a step of $h$.
    Without friction it is symplectic, for any $H(q, p)$; with a constant scalar rate it
    is conformally symplectic. It preserves invariants that are bilinear in $q$ and $p$,
    such as the angular momentum, to rounding. If the energy is separable this is
    [`chlu_eqx.CHLUSolver`][], at a higher price, and like it stable on an oscillator
    while $h\omega < 2$.

    The usual method of Riemannian Monte Carlo. It takes a
    [`chlu_eqx.HamiltonianTerm`][] or any `diffrax.ODETerm` over `y = (q, p)`.

    Each equation takes two to four Newton iterations, each with a Jacobian and a dense
    linear solve, unless another `root_finder` is given. If it does not converge the
    solve fails with `diffrax.RESULTS.nonlinear_max_steps_reached`; the state is
    then NaN. Dense and `SaveAt(ts=...)` output is cubic Hermite.

    ??? cite "Reference"

        Section VI.3 of

        ```bibtex
        @book{hairer2006geometric,
            title={Geometric Numerical Integration: Structure-Preserving Algorithms
                   for Ordinary Differential Equations},
            author={Hairer, Ernst and Lubich, Christian and Wanner, Gerhard},
            edition={2},
            publisher={Springer},
            year={2006},
        }
        ```
    """

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 2

    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        def half(which: int, t: RealScalarLike, implicit: int) -> Flow:
            """Half a step of the positions (0) or the momenta (1), at their rate after
            it for `implicit = 1` and before it for `implicit = -1`: going the one way
            takes an equation to solve and going the other way does not."""

            def apply(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
                y, none = z

                def moved(w: PyTree) -> tuple[PyTree, PyTree]:
                    q, p = y
                    return (q, axpy(1, w, p)) if which else (axpy(1, w, q), p)

                def increment(w: PyTree) -> PyTree:
                    rate = field(t, moved(w))[which]
                    return axpy(sign * h / 2, rate, _zeros(y[which]))

                if sign == implicit:
                    w, result = self.solve(increment, y[which])
                else:
                    w, result = increment(_zeros(y[which])), RESULTS.successful
                return (moved(w), none), result

            return apply

        t0, t1 = time(0.0), time(1.0)
        return half(1, t0, 1), half(0, t0, -1), half(0, t1, 1), half(1, t1, -1)


class GaussLegendre4(AbstractImplicit):
    r"""The Gauss-Legendre method of two stages, for energies of any form, with exact
    linear friction.

    $$k_i = f\left(t_n + c_i h,\ y_n + h \sum_j a_{ij} k_j\right), \qquad
    y_{n+1} = y_n + \tfrac h2 (k_1 + k_2), \qquad
    \begin{array}{c|cc}
    \frac12 - \frac{\sqrt3}6 & \frac14 & \frac14 - \frac{\sqrt3}6 \\
    \frac12 + \frac{\sqrt3}6 & \frac14 + \frac{\sqrt3}6 & \frac14 \\ \hline
    & \frac12 & \frac12
    \end{array}$$

    with $y = (q, p)$, where $f$ is the conservative field
    $(\partial_p H, -\partial_q H)$, between two halves of friction,
    $p \leftarrow e^{-\Gamma h/2} p$.

    Order 4; with friction 2. Time-symmetric: a step of $-h$ undoes a step of $h$.
    Without friction it is symplectic, for any $H(q, p)$; with a constant scalar rate it
    is conformally symplectic. It preserves quadratic invariants to rounding and is
    stable on an oscillator for every $h$.

    For accuracy where the energy is not separable: both stages are one system, twice
    the size of that of [`chlu_eqx.ImplicitMidpoint`][]. It takes a
    [`chlu_eqx.HamiltonianTerm`][] or any `diffrax.ODETerm` over `y = (q, p)`.

    A step takes two to four Newton iterations, each with the Jacobian of the field and
    a dense linear solve, unless another `root_finder` is given. If it does not converge
    the solve fails with `diffrax.RESULTS.nonlinear_max_steps_reached`; the state is
    then NaN. Output between the steps is a cubic, with an error $O(h^4)$ of
    its own.

    ??? cite "Reference"

        ```bibtex
        @article{sanzserna1988runge,
            title={Runge-{K}utta schemes for {H}amiltonian systems},
            author={Sanz-Serna, Jes{\'u}s Mar{\'i}a},
            journal={BIT Numerical Mathematics},
            volume={28},
            number={4},
            pages={877--883},
            year={1988},
        }
        ```
    """

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 4 if flows(terms).friction is None else 2

    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        def step(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
            y, none = z
            # Going backward, the stages come in the opposite order.
            s = 3**0.5 / 6
            early, late = time(1 / 2 - sign * s), time(1 / 2 + sign * s)

            def increment(w: PyTree) -> PyTree:
                w0, w1 = w
                y0 = axpy(1 / 4, w0, axpy(1 / 4 - s, w1, y))
                y1 = axpy(1 / 4 + s, w0, axpy(1 / 4, w1, y))
                rates = field(early, y0), field(late, y1)
                return axpy(sign * h, rates, _zeros((y, y)))

            (w0, w1), result = self.solve(increment, (y, y))
            y = axpy(1 / 2, w0, axpy(1 / 2, w1, y))
            return (y, none), result

        return (step,)
