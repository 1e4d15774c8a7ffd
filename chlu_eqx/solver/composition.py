"""Compositions of exact flows: the one stepper behind the explicit solvers."""

import functools
from typing import TYPE_CHECKING

import diffrax
from diffrax import RESULTS
from jaxtyping import PyTree

from .._types import RealScalarLike
from ..friction import damped, friction_flow
from .base import axpy, check_separable, flows, time_between
from .reversible import AbstractReversibleSolver, Flow, Parts, Phase


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractComposition(AbstractReversibleSolver):
    r"""A composition of the exact flows of a separable energy and of linear friction,

    $$\text{kick}(b\,h): p \leftarrow p - b h\,\nabla V(q), \qquad
    \text{drift}(a\,h): q \leftarrow q + a h\,\nabla T(p), \qquad
    \text{friction}(g\,h): p \leftarrow e^{-\Gamma g h} p,$$

    written as data: kick $b_1$, drift $a_1$, kick $b_2$, ..., kick $b_{s+1}$, between
    two friction flows. Subclasses are their coefficients. The force of the last kick is
    that of the next step's first: $s$ of them for $s$ stages.

    Explicit time (in an `ODETerm`) runs with the drifts for the force and with the
    kicks for the velocity.
    """

    kicks: AbstractClassVar[tuple[float, ...]]
    drifts: AbstractClassVar[tuple[float, ...]]
    # Parts of the step's friction taken before and after.
    frictions: AbstractClassVar[tuple[float, float]]

    def check(self, terms: diffrax.AbstractTerm) -> None:
        check_separable(type(self).__name__, terms)

    def companion(self, y: PyTree) -> PyTree:
        return None

    def shared(
        self, terms: diffrax.AbstractTerm, t: RealScalarLike, z: Phase, args: PyTree
    ) -> PyTree:
        """The force."""
        return flows(terms).force(t, z[0], args) if self.kicks[-1] else None

    def parts(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        args: PyTree,
    ) -> Parts:
        flow = flows(terms)
        # Not the difference of the times: going backward it has the other sign.
        h = terms.contr(t0, t1)

        time = functools.partial(time_between, t0, t1)

        def kick(b: float, t: RealScalarLike) -> Flow:
            def apply(sign: int, z: Phase, force: PyTree) -> tuple[Phase, RESULTS]:
                (q, p), none = z
                if force is None:
                    force = flow.force(t, (q, p), args)
                return ((q, axpy(sign * b * h, force, p)), none), RESULTS.successful

            return apply

        def drift(a: float, t: RealScalarLike) -> Flow:
            def apply(sign: int, z: Phase, force: PyTree) -> tuple[Phase, RESULTS]:
                (q, p), none = z
                velocity = flow.velocity(t, (q, p), args)
                return ((axpy(sign * a * h, velocity, q), p), none), RESULTS.successful

            return apply

        def friction(g: float) -> Flow:
            def apply(sign: int, z: Phase, force: PyTree) -> tuple[Phase, RESULTS]:
                y, none = z
                y = friction_flow(flow.friction, sign * g * h, y)
                return (y, none), RESULTS.successful

            return apply

        first, *middle, last = self.kicks
        interior, kicked, drifted = [], first, 0.0
        for a, b in zip(self.drifts, (*middle, 0.0), strict=True):
            interior.append(drift(a, time(kicked)))
            drifted += a
            if b:
                interior.append(kick(b, time(drifted)))
                kicked += b
        before, after = self.frictions
        opening = [friction(before)] * bool(before) + [kick(first, t0)] * bool(first)
        closing = [kick(last, t1)] * bool(last) + [friction(after)] * bool(after)
        return Parts(tuple(opening), tuple(interior), tuple(closing))

    def slope(
        self,
        terms: diffrax.AbstractTerm,
        t: RealScalarLike,
        z: Phase,
        args: PyTree,
        shared: PyTree,
    ) -> PyTree:
        flow, y = flows(terms), z[0]
        force = flow.force(t, y, args) if shared is None else shared
        return flow.velocity(t, y, args), damped(force, flow.friction, y)
