"""Tao's explicit method, for energies of any form."""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from jaxtyping import Array, PyTree

from .._checks import positive
from .._types import RealScalarLike
from ..friction import friction_flow
from .base import axpy, conservative_field, flows, time_between
from .reversible import AbstractReversibleSolver, Flow, Parts, Phase
from .splitting import KahanLi6, Suzuki4


# The steps of order 2, as parts of a step, that make one of order 2, 4 or 6.
_STEPS = {2: (1.0,), 4: Suzuki4.drifts, 6: KahanLi6.drifts}


class TaoSolver(AbstractReversibleSolver):
    r"""Tao's explicit method, for energies of any form, with exact linear friction.

    It runs two copies of the system, $(q, p)$ and $(x, y)$, which start equal, in each
    other's field, and binds them together:

    $$\bar H = H(q, y) + H(x, p)
    + \tfrac\omega2 \left(|q - x|^2 + |p - y|^2\right).$$

    A step of order 2 is $A_{h/2}\, B_{h/2}\, C_h\, B_{h/2}\, A_{h/2}$, of the exact
    flows of the three terms:

    $$\begin{array}{ll}
    A: & p \leftarrow p - h\,\partial_q H(q, y), \quad
    x \leftarrow x + h\,\partial_p H(q, y) \\
    B: & q \leftarrow q + h\,\partial_p H(x, p), \quad
    y \leftarrow y - h\,\partial_q H(x, p) \\
    C: & (q - x,\, p - y) \text{ turned by the angle } 2\omega h,
    \text{ with } (q + x,\, p + y) \text{ kept}
    \end{array}$$

    Orders 4 and 6 are five of these in the proportions of [`chlu_eqx.Suzuki4`][], whose
    errors here are mostly four to ten times smaller, at as many evaluations, than those
    of the paper's triple jump; and nine in those of [`chlu_eqx.KahanLi6`][]. Friction,
    $p \leftarrow e^{-\Gamma h/2} p$, acts on both copies after the first $A$ and before
    the last; with it the order is 2. Explicit time (in an `ODETerm`) runs with $C$.

    Time-symmetric, and without friction symplectic (with a constant scalar rate
    conformally so) **on both copies together**, for
    $\mathrm dq \wedge \mathrm dp + \mathrm dx \wedge \mathrm dy$. On $(q, p)$ alone it
    is neither; where that matters take [`chlu_eqx.SemiExplicit`][] or
    [`chlu_eqx.ImplicitMidpoint`][], or count the copies in, as
    [`chlu_eqx.mcmc.extended_metric`][] does in Monte Carlo. The copy is carried in the
    solver state. A new solve, one backward in time too, starts with a new copy, and so
    does every step of `diffrax.BacksolveAdjoint`, whose gradients are therefore
    approximate.

    3, 15 or 27 evaluations of $(\partial_q H, \partial_p H)$ a step, the last $A$
    sharing its own with the next step's first. It takes a
    [`chlu_eqx.HamiltonianTerm`][] or any `diffrax.ODETerm` over `y = (q, p)`. Output
    between the steps is a cubic, with an error $O(h^4)$, at two evaluations more.

    **Choosing $\omega$**, an inverse time. For integrable systems the paper proves an
    error of $O(T h^r \omega)$ over a time $T$, at order $r$, for an $\omega$ that is
    large enough. Measured for its example, $H = \tfrac12 (q^2 + 1)(p^2 + 1)$, from
    $(-3, 0)$ with $h = 0.01$ to $T = 1000$:

    - Up to $\omega = 0.7$ the copies part, and the energy is lost. From $\omega = 1$ to
        100 they stay within 0.02 of each other.
    - The relative energy error of order 2 is then mostly $6 \cdot 10^{-4}$ whatever
        $\omega$, but $10^{-2}$ at a resonance near $\omega = 5$. That of order 4 grows
        from $2 \cdot 10^{-8}$ at $\omega = 1$ to $3 \cdot 10^{-7}$ at 10 and to
        $10^{-5}$ at 100.
    - With longer steps, those for which $2\omega h$ was near $\pi$ or $2\pi$ were
        unstable: keep it below 2.

    Other energies need other values: watch the energy. The binding does not tell
    coordinates apart, so let them, and the momenta, be of one scale.

    ??? cite "Reference"

        ```bibtex
        @article{tao2016explicit,
            title={Explicit symplectic approximation of nonseparable {H}amiltonians:
                   Algorithm and long time performance},
            author={Tao, Molei},
            journal={Physical Review E},
            volume={94},
            number={4},
            pages={043303},
            year={2016},
        }
        ```
    """

    omega: Any
    # diffrax calls a method `order`.
    _order: int = eqx.field(static=True)

    def __init__(self, omega: RealScalarLike = 10.0, order: int = 2):
        r"""**Arguments:**

        - `omega`: the strength $\omega$ of the binding, an inverse time: above the
            frequencies at which the copies would part, and well below $1/h$. It may be
            an array, to be traced or learned.
        - `order`: 2, 4 or 6.

        **Raises:** `ValueError` if `omega` is not positive or `order` is another.
        """
        if order not in _STEPS:
            raise ValueError(f"`order` must be 2, 4 or 6, got {order}.")
        self.omega = positive("omega", omega)
        self._order = order

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return self._order if flows(terms).friction is None else 2

    def check(self, terms: diffrax.AbstractTerm) -> None:
        """Any ordinary differential equation over `(q, p)` will do."""

    def companion(self, y: PyTree) -> PyTree:
        """The copy."""
        return y

    def shared(
        self, terms: diffrax.AbstractTerm, t: RealScalarLike, z: Phase, args: PyTree
    ) -> PyTree:
        """The velocity and the force at the positions of the one and the momenta of the
        other."""
        (q, _), (_, y) = z
        return conservative_field(terms, args)(t, (q, y))

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

        def energy(copy: bool, a: float, t: RealScalarLike) -> Flow:
            """The flow of `H(q, y)` or, for the copy, that of `H(x, p)`."""

            def apply(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
                (q, p), (x, y) = z[::-1] if copy else z
                dq, dp = field(t, (q, y)) if shared is None else shared
                p, x = axpy(sign * a * h, dp, p), axpy(sign * a * h, dq, x)
                z = (q, p), (x, y)
                return z[::-1] if copy else z, RESULTS.successful

            return apply

        def binding(a: float) -> Flow:
            def apply(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
                return _turned(self.omega, sign * a * h, z), RESULTS.successful

            return apply

        def friction(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
            # Of both copies, which would part if only one were damped.
            y, copy = (friction_flow(rate, sign * h / 2, each) for each in z)
            return (y, copy), RESULTS.successful

        steps = _STEPS[self._order]
        half = [] if rate is None else [friction]
        interior, done = half[:], 0.0
        for a, following in zip(steps, (*steps[1:], None), strict=True):
            # Time runs with the binding.
            before, after = time(done), time(done + a)
            done += a
            interior += [energy(True, a / 2, before), binding(a)]
            interior += [energy(True, a / 2, after)]
            if following is not None:
                interior += [energy(False, (a + following) / 2, after)]
        interior += half
        opening = energy(False, steps[0] / 2, t0)
        closing = energy(False, steps[-1] / 2, t1)
        return Parts((opening,), tuple(interior), (closing,))

    def slope(
        self,
        terms: diffrax.AbstractTerm,
        t: RealScalarLike,
        z: Phase,
        args: PyTree,
        shared: PyTree,
    ) -> PyTree:
        return terms.vf(t, z[0], args)


def _turned(omega: RealScalarLike, h: RealScalarLike, z: Phase) -> Phase:
    """Turn the difference of the copies by `2 omega h`; their mean stays."""
    (q, p), (x, y) = z

    def change(q: Array, p: Array, x: Array, y: Array) -> tuple[Array, Array]:
        half = jnp.asarray(omega, q.dtype) * jnp.asarray(h, q.dtype)
        # The cosine less one, without cancellation.
        c, s = -2 * jnp.sin(half) ** 2, jnp.sin(2 * half)
        u, v = (q - x) / 2, (p - y) / 2
        return c * u + s * v, c * v - s * u

    dq = jax.tree.map(lambda *leaves: change(*leaves)[0], q, p, x, y)
    dp = jax.tree.map(lambda *leaves: change(*leaves)[1], q, p, x, y)
    return axpy(1, (dq, dp), (q, p)), axpy(-1, (dq, dp), (x, y))
