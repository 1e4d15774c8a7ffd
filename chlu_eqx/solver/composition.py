"""Compositions of exact flows: the one stepper behind the explicit solvers."""

import inspect
import re
from itertools import zip_longest
from typing import Any, ClassVar, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
from diffrax import RESULTS
from jaxtyping import ArrayLike, PyTree

from ..friction import friction_flow, rates
from .base import (
    all_finite,
    axpy,
    backsolve_step,
    check_separable,
    is_backsolve,
    NoErrorEstimate,
    split_friction,
)


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

    kicks: eqx.AbstractClassVar[tuple[float, ...]]
    drifts: eqx.AbstractClassVar[tuple[float, ...]]
    # Parts of the step's friction taken before and after.
    frictions: eqx.AbstractClassVar[tuple[float, float]]

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    def init(
        self,
        terms: diffrax.AbstractTerm,
        t0: ArrayLike,
        t1: ArrayLike,
        y0: PyTree,
        args: PyTree,
    ) -> _SolverState:
        del t1
        if is_backsolve(terms, y0):
            return None
        check_separable(type(self).__name__, terms, t0, y0, args)
        return self._force(terms, t0, y0, args) if self.kicks[-1] else None

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: ArrayLike,
        t1: ArrayLike,
        y0: PyTree,
        args: PyTree,
        solver_state: _SolverState,
        made_jump: Any,
    ) -> tuple[PyTree, Any, dict[str, PyTree], _SolverState, RESULTS]:
        if is_backsolve(terms, y0):
            y1 = backsolve_step(self._advance, terms, t0, t1, y0, args)
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
                    lambda: self._force(terms, t0, y0, args),
                    lambda: solver_state,
                )
            y1, force = self._compose(terms, t0, t1, y0, args, force0)
            k0 = self._slope(terms, t0, t1, t0, y0, args, force0)
            k1 = self._slope(terms, t0, t1, t1, y1, args, force)
        result = RESULTS.where(all_finite(y1), RESULTS.successful, RESULTS.nonfinite)
        dense_info = dict(y0=y0, y1=y1, k0=k0, k1=k1)
        return y1, NoErrorEstimate(), dense_info, force, result

    def func(
        self, terms: diffrax.AbstractTerm, t0: ArrayLike, y0: PyTree, args: PyTree
    ) -> PyTree:
        return terms.vf(t0, y0, args)

    def _force(
        self, terms: diffrax.AbstractTerm, t: ArrayLike, y: PyTree, args: PyTree
    ) -> PyTree:
        terms, _ = split_friction(terms)
        return terms.vf(t, y, args)[1]

    def _compose(
        self,
        terms: diffrax.AbstractTerm,
        t0: ArrayLike,
        t1: ArrayLike,
        y0: PyTree,
        args: PyTree,
        force: PyTree | None,
    ) -> tuple[PyTree, PyTree | None]:
        """The state after one step, and the force there if the last kick found it."""
        terms, friction = split_friction(terms)
        # Not the difference of the times: going backward it has the other sign.
        h = terms.contr(t0, t1)

        def time(c: float) -> ArrayLike:
            return t0 if c == 0 else t1 if c == 1 else (1 - c) * t0 + c * t1

        before, after = self.frictions
        q, p = friction_flow(friction, before * h, y0) if before else y0
        kicked = drifted = 0.0
        for kick, drift in zip_longest(self.kicks, self.drifts, fillvalue=0.0):
            if kick:
                if force is None:
                    force = terms.vf(time(drifted), (q, p), args)[1]
                p = axpy(kick * h, force, p)
                kicked += kick
            if drift:
                q = axpy(drift * h, terms.vf(time(kicked), (q, p), args)[0], q)
                drifted += drift
                force = None
        y1 = friction_flow(friction, after * h, (q, p)) if after else (q, p)
        return y1, force

    def _advance(
        self,
        terms: diffrax.AbstractTerm,
        t0: ArrayLike,
        t1: ArrayLike,
        y0: PyTree,
        args: PyTree,
    ) -> PyTree:
        y1, _ = self._compose(terms, t0, t1, y0, args, None)
        return y1

    def _slope(self, terms, t0, t1, t, y, args, force) -> PyTree:
        """The time derivative at an end of the step, times the step. What is known of
        it is not computed again; what nobody reads is dropped by the compiler."""
        conservative, friction = split_friction(terms)
        dq, dp = conservative.vf(t, y, args)
        dp = dp if force is None else force
        if friction is not None:
            q, p = y
            dp = jax.tree.map(lambda f, g, pi: f - g * pi, dp, rates(friction, q, p), p)
        return conservative.prod((dq, dp), conservative.contr(t0, t1))


@diffrax.citation_rules.append
def _cite_composition(solver: Any) -> str | None:
    if not isinstance(solver, AbstractComposition):
        return None
    [reference] = re.findall(r"```bibtex([^`]*)```", type(solver).__doc__ or "")
    return (
        f"% You are using the solver `chlu_eqx.{type(solver).__name__}`, described in:\n"
        + inspect.cleandoc(reference)
    )
