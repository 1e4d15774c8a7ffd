"""Implicit symplectic methods, for energies of any form."""

import diffrax
from diffrax import RESULTS
from jaxtyping import PyTree

from .._types import RealScalarLike
from .base import axpy, Field, flows, zeros_like
from .equation import AbstractImplicit, Clock
from .reversible import Flow, Phase


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
                return axpy(
                    sign * h, field(time(1 / 2), axpy(1 / 2, w, y)), zeros_like(y)
                )

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
                    return axpy(sign * h / 2, rate, zeros_like(y[which]))

                if sign == implicit:
                    w, result = self.solve(increment, y[which])
                else:
                    w, result = increment(zeros_like(y[which])), RESULTS.successful
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
                return axpy(sign * h, rates, zeros_like((y, y)))

            (w0, w1), result = self.solve(increment, (y, y))
            y = axpy(1 / 2, w0, axpy(1 / 2, w1, y))
            return (y, none), result

        return (step,)
