"""Compositions of exact flows: the one stepper behind the explicit solvers."""

import inspect
import re
from itertools import zip_longest
from typing import Any, ClassVar, TYPE_CHECKING, TypeAlias

import diffrax
import jax.lax as lax
from diffrax import RESULTS
from jaxtyping import PyTree

from .._types import RealScalarLike
from ..friction import damped, friction_flow
from .base import (
    all_finite,
    axpy,
    backsolve_step,
    check_separable,
    flows,
    is_backsolve,
    NoErrorEstimate,
)


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar

# The force where the step ended, if the composition ends with a kick.
_SolverState: TypeAlias = PyTree | None


class AbstractComposition(diffrax.AbstractSolver[_SolverState]):
    r"""A composition of the exact flows of a separable energy and of linear friction,

    $$\text{kick}(b\,h): p \leftarrow p - b h\,\nabla V(q), \qquad
    \text{drift}(a\,h): q \leftarrow q + a h\,\nabla T(p), \qquad
    \text{friction}(g\,h): p \leftarrow e^{-\Gamma g h} p,$$

    written as data: kick $b_1$, drift $a_1$, kick $b_2$, ..., between two friction
    flows. Subclasses are their coefficients.

    Explicit time (in an `ODETerm`) runs with the drifts for the force and with the
    kicks for the velocity.
    """

    kicks: AbstractClassVar[tuple[float, ...]]
    drifts: AbstractClassVar[tuple[float, ...]]
    # Parts of the step's friction taken before and after.
    frictions: AbstractClassVar[tuple[float, float]]

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    def init(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
    ) -> _SolverState:
        del t1
        if is_backsolve(terms, y0):
            return None
        check_separable(type(self).__name__, terms, t0, y0, args)
        return flows(terms).force(t0, y0, args) if self.kicks[-1] else None

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
        solver_state: _SolverState,
        made_jump: Any,
    ) -> tuple[PyTree, Any, dict[str, PyTree], _SolverState, RESULTS]:
        if is_backsolve(terms, y0):
            y1 = backsolve_step(self._compose, terms, t0, t1, y0, args)
            chord = axpy(-1, y0, y1)
            force, k0, k1 = None, chord, chord
        else:
            if solver_state is None:
                force0 = None
            elif made_jump is False:
                force0 = solver_state
            else:
                force0 = lax.cond(
                    made_jump,
                    lambda: flows(terms).force(t0, y0, args),
                    lambda: solver_state,
                )
            y1, force = self._compose(terms, t0, t1, y0, args, force0)
            h = terms.contr(t0, t1)
            k0 = terms.prod(_slope(terms, t0, y0, args, force0), h)
            k1 = terms.prod(_slope(terms, t1, y1, args, force), h)
        result = RESULTS.where(
            all_finite(y1),
            RESULTS.successful,
            RESULTS.nonfinite,  # pyright: ignore[reportArgumentType]
        )
        dense_info = dict(y0=y0, y1=y1, k0=k0, k1=k1)
        return y1, NoErrorEstimate(), dense_info, force, result

    def func(
        self, terms: diffrax.AbstractTerm, t0: RealScalarLike, y0: PyTree, args: PyTree
    ) -> PyTree:
        return terms.vf(t0, y0, args)

    def _compose(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
        force: PyTree | None = None,
    ) -> tuple[PyTree, PyTree | None]:
        """The state after one step, and the force there if the last kick found it."""
        flow = flows(terms)
        # Not the difference of the times: going backward it has the other sign.
        h = terms.contr(t0, t1)

        def time(c: float) -> RealScalarLike:
            return t0 if c == 0 else t1 if c == 1 else (1 - c) * t0 + c * t1

        before, after = self.frictions
        q, p = friction_flow(flow.friction, before * h, y0) if before else y0
        kicked = drifted = 0.0
        for kick, drift in zip_longest(self.kicks, self.drifts, fillvalue=0.0):
            if kick:
                if force is None:
                    force = flow.force(time(drifted), (q, p), args)
                p = axpy(kick * h, force, p)
                kicked += kick
            if drift:
                q = axpy(drift * h, flow.velocity(time(kicked), (q, p), args), q)
                drifted += drift
                force = None
        y1 = friction_flow(flow.friction, after * h, (q, p)) if after else (q, p)
        return y1, force


def _slope(
    terms: diffrax.AbstractTerm,
    t: RealScalarLike,
    y: PyTree,
    args: PyTree,
    force: PyTree | None,
) -> PyTree:
    """The time derivative of the state. A force that is known is not found again; what
    nobody reads of the rest is dropped by the compiler."""
    flow = flows(terms)
    force = flow.force(t, y, args) if force is None else force
    return flow.velocity(t, y, args), damped(force, flow.friction, y)


@diffrax.citation_rules.append
def _cite_composition(solver: Any) -> str | None:
    if not isinstance(solver, AbstractComposition):
        return None
    [reference] = re.findall(r"```bibtex([^`]*)```", type(solver).__doc__ or "")
    name = f"chlu_eqx.{type(solver).__name__}"
    return f"% You are using the solver `{name}`:\n" + inspect.cleandoc(reference)
