"""One step of every solver here: a sequence of maps that can be undone one by one."""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
from diffrax import RESULTS
from jaxtyping import PyTree

from .._types import RealScalarLike
from .base import axpy, check_phase_field, cite, finite, NoErrorEstimate


# What a step moves: the user's state and, beside it, what else the method carries on
# from step to step (`None` if nothing).
Phase: TypeAlias = tuple[PyTree, PyTree]

# `flow(sign, z, shared)`: forward for a sign of 1, and the inverse of that for -1.
Flow: TypeAlias = Callable[[int, Phase, PyTree], tuple[Phase, RESULTS]]

# What is carried beside the state, and the evaluation at the node.
SolverState: TypeAlias = tuple[PyTree, PyTree]


class Parts(NamedTuple):
    """One step, as maps in the order in which they act.

    The maps that close a step and those that open the next share one evaluation at the
    node between them, which none of them changes.
    """

    opening: tuple[Flow, ...]
    interior: tuple[Flow, ...]
    closing: tuple[Flow, ...]


class AbstractReversibleSolver(diffrax.AbstractSolver[SolverState]):
    """A one-step method whose step is a sequence of maps, each of which is undone by
    its own inverse.

    So the state before a step can be found from the state after it
    (`backward_step`), which is what [`chlu_eqx.ReversibleAdjoint`][] lives on.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    @abc.abstractmethod
    def check(self, terms: diffrax.AbstractTerm) -> None:
        """Raise, at trace time, for what this solver cannot step."""

    @abc.abstractmethod
    def companion(self, y: PyTree) -> PyTree:
        """What is carried beside the state, as it is at the start; or `None`."""

    @abc.abstractmethod
    def shared(
        self, terms: diffrax.AbstractTerm, t: RealScalarLike, z: Phase, args: PyTree
    ) -> PyTree:
        """What the end of a step and the start of the next have to evaluate; or
        `None`."""

    @abc.abstractmethod
    def parts(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        args: PyTree,
    ) -> Parts:
        """The maps of the step from `t0` to `t1`."""

    @abc.abstractmethod
    def slope(
        self,
        terms: diffrax.AbstractTerm,
        t: RealScalarLike,
        z: Phase,
        args: PyTree,
        shared: PyTree,
    ) -> PyTree:
        """The time derivative of the state, for dense output."""

    def init(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
    ) -> SolverState:
        del t1
        if _is_backsolve(terms, y0):
            return None, None
        check_phase_field(type(self).__name__, terms, t0, y0, args)
        self.check(terms)
        companion = self.companion(y0)
        return companion, self.shared(terms, t0, (y0, companion), args)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
        solver_state: SolverState,
        made_jump: Any,
    ) -> tuple[PyTree, Any, dict[str, PyTree], SolverState, RESULTS]:
        if _is_backsolve(terms, y0):
            y1 = self._backsolve(terms, t0, t1, y0, args)
            chord = axpy(-1, y0, y1)
            dense_info = dict(y0=y0, y1=y1, k0=chord, k1=chord)
            result = RESULTS.successful
        else:
            if made_jump is not False:
                fresh = functools.partial(self.init, terms, t0, t1, y0, args)
                kept = solver_state
                solver_state = lax.cond(made_jump, fresh, lambda: kept)
            companion, shared0 = solver_state
            z0 = (y0, companion)
            z1, shared1, result = self._move(1, terms, t0, t1, z0, args, shared0)
            dense_info = self.dense_info(terms, t0, t1, z0, z1, args, shared0, shared1)
            y1, companion = z1
            solver_state = companion, shared1
        result = first_failure(result, finite(y1))
        return y1, NoErrorEstimate(), dense_info, solver_state, result

    def backward_step(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y1: PyTree,
        args: PyTree,
        solver_state: SolverState,
        made_jump: Any,
    ) -> tuple[PyTree, dict[str, PyTree], SolverState, RESULTS]:
        """Undo `step`: from the state and the solver state at `t1` find, to rounding,
        those at `t0`.

        **Returns:** the state at `t0`, the dense information of the step, the solver
        state at `t0`, and how it went.
        """
        del made_jump
        companion, shared1 = solver_state
        z1 = (y1, companion)
        z0, shared0, result = self._move(-1, terms, t0, t1, z1, args, shared1)
        dense_info = self.dense_info(terms, t0, t1, z0, z1, args, shared0, shared1)
        y0, companion = z0
        return y0, dense_info, (companion, shared0), first_failure(result, finite(y0))

    def func(
        self, terms: diffrax.AbstractTerm, t0: RealScalarLike, y0: PyTree, args: PyTree
    ) -> PyTree:
        return terms.vf(t0, y0, args)

    def dense_info(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        z0: Phase,
        z1: Phase,
        args: PyTree,
        shared0: PyTree,
        shared1: PyTree,
    ) -> dict[str, PyTree]:
        """The ends of a step and the slopes there, for Hermite interpolation. What
        nobody reads of it, the compiler drops."""
        h = terms.contr(t0, t1)
        k0 = terms.prod(self.slope(terms, t0, z0, args, shared0), h)
        k1 = terms.prod(self.slope(terms, t1, z1, args, shared1), h)
        return dict(y0=z0[0], y1=z1[0], k0=k0, k1=k1)

    def _move(
        self,
        sign: int,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        z: Phase,
        args: PyTree,
        shared: PyTree,
    ) -> tuple[Phase, PyTree, RESULTS]:
        """Make the step from `t0` to `t1`, or undo it for a sign of -1: where that
        leads, the evaluation there, and how it went."""
        start, interior, end = self.parts(terms, t0, t1, args)[::sign]
        z, first = run(start, sign, z, shared)
        z, second = run(interior, sign, z, None)
        shared = self.shared(terms, t1 if sign > 0 else t0, z, args)
        z, third = run(end, sign, z, shared)
        return z, shared, first_failure(first, second, third)

    def _backsolve(
        self,
        term: Any,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: tuple[PyTree, PyTree, PyTree, PyTree],
        args: PyTree,
    ) -> tuple[PyTree, PyTree, PyTree, PyTree]:
        """One step of the augmented system of `diffrax.BacksolveAdjoint`.

        It runs backward in time: the state undoes a step of the method, and the
        cotangents are pulled back through that step. The gradients are then those of
        the discrete solve to rounding (Sanz-Serna, "Symplectic Runge-Kutta Schemes for
        Adjoint Equations", SIAM Review 58(1), 2016), in constant memory; but for a
        method that carries more than the state, which starts afresh at every step.
        """
        y, a_y, a_args, a_term = y0
        adjoint_term = term.term

        def move(sign: int, y: PyTree, args: PyTree, inner: Any) -> PyTree:
            terms = eqx.tree_at(lambda t: t.term, term, inner)
            here = t1 if sign > 0 else t0
            z = (y, self.companion(y))
            shared = self.shared(terms, here, z, args)
            (y, _), _, _ = self._move(sign, terms, t1, t0, z, args, shared)
            return y

        diff, nondiff = eqx.partition((args, adjoint_term.term), eqx.is_inexact_array)

        def forward(y: PyTree, diff: PyTree) -> PyTree:
            return move(1, y, *eqx.combine(diff, nondiff))

        past = move(-1, y, args, adjoint_term.term)
        _, pull_back = jax.vjp(forward, past, diff)
        a_y, (d_args, d_term) = pull_back(a_y)
        return past, a_y, axpy(1, d_args, a_args), axpy(1, d_term, a_term)


def run(
    flows: tuple[Flow, ...], sign: int, z: Phase, shared: PyTree
) -> tuple[Phase, RESULTS]:
    """Apply maps in turn, or undo them in the opposite order."""
    results = []
    for flow in flows[::sign]:
        z, result = flow(sign, z, shared)
        results.append(result)
    return z, first_failure(*results)


def first_failure(*results: RESULTS) -> RESULTS:
    # One that is known at trace time to be no failure costs nothing.
    first = RESULTS.successful
    for result in results:
        if first is RESULTS.successful:
            first = result
        elif result is not RESULTS.successful:
            first = RESULTS.where(first == RESULTS.successful, result, first)
    return first


def _is_backsolve(term: diffrax.AbstractTerm, y: PyTree) -> bool:
    """Whether this is the augmented system of `diffrax.BacksolveAdjoint`, whose state
    is `(y, a_y, a_args, a_terms)` and whose term wraps the wrapped term once more."""
    inner = getattr(term, "term", None)
    return hasattr(inner, "term") and isinstance(y, tuple) and len(y) == 4


cite(AbstractReversibleSolver)
