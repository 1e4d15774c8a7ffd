"""Steps that are defined by equations, and how these are solved."""

import abc
import functools
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

from .._checks import count, instance
from .._types import RealScalarLike
from ..friction import friction_flow
from .base import (
    all_finite,
    axpy,
    conservative_field,
    Field,
    flows,
    time_between,
    zeros_like,
)
from .reversible import AbstractReversibleSolver, Flow, Parts, Phase


RootFinder: TypeAlias = optx.AbstractRootFinder | optx.AbstractFixedPointSolver

# Of a part of the step: when it is over.
Clock: TypeAlias = Callable[[float], RealScalarLike]


class AbstractImplicit(AbstractReversibleSolver):
    """A step that is defined by equations, between two halves of exact friction.

    Subclasses are the equations.
    """

    # With defaults, where type checkers look for the arguments of the subclasses.
    root_finder: RootFinder | None = None
    root_find_max_steps: int = 20

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
        wanted = "a root finder or a fixed-point solver of optimistix, or `None`"
        kinds = optx.AbstractRootFinder | optx.AbstractFixedPointSolver | None
        instance("root_finder", root_finder, kinds, wanted)
        for name in ("rtol", "atol"):
            tolerance = getattr(root_finder, name, 0.0)
            if not isinstance(tolerance, int | float | Array | np.ndarray):
                raise ValueError(
                    "`root_finder` must have tolerances of its own, since the steps "
                    "are fixed: for instance `optimistix.Newton(rtol=1e-8, atol=1e-8)`."
                    f" Got {root_finder}."
                )
        self.root_finder = root_finder
        self.root_find_max_steps = count("root_find_max_steps", root_find_max_steps)

    @abc.abstractmethod
    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        """The step of length `h` without friction."""

    def check(self, terms: diffrax.AbstractTerm) -> None:
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

        time = functools.partial(time_between, t0, t1)

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
        guess, change = jax.jvp(increment, (zeros_like(y),), (y,))
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


def _multiply(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.multiply, x, y)


def _divide(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.divide, x, y)


def _largest(*xs: Array) -> Array:
    """The largest magnitude in any of the arrays; one if they are all zero."""
    size = jnp.stack([jnp.max(jnp.abs(x), initial=0.0) for x in xs]).max()
    return jnp.where(size == 0, jnp.ones_like(size), size)
