"""Two copies in each other's field, projected onto one another at every step."""

import jax
from diffrax import AbstractTerm, RESULTS
from jaxtyping import PyTree

from .._types import RealScalarLike
from .base import axpy, Field
from .equation import AbstractImplicit, Clock
from .reversible import Flow, Phase


class SemiExplicit(AbstractImplicit):
    r"""The semi-explicit method of Jayawardana and Ohsawa, for energies of any form,
    with exact linear friction.

    Two copies of the state, $(q, p)$ and $(x, y)$, move in each other's field by the
    flows $A$ and $B$ of [`chlu_eqx.TaoSolver`][]. Where that binds them together, here
    they are set apart by a $\mu$ so that, put together again, they are one:

    $$\begin{aligned}
    (q, p, x, y) &= \Phi_h(q_n + \mu_q,\, p_n + \mu_p,\, q_n - \mu_q,\, p_n - \mu_p),
    \qquad \Phi_h = A_{h/2}\, B_h\, A_{h/2}, \\
    (q_{n+1}, p_{n+1}) &= (q + \mu_q,\, p + \mu_p) = (x - \mu_q,\, y - \mu_p),
    \end{aligned}$$

    between two halves of friction, $p \leftarrow e^{-\Gamma h/2} p$. The last equality
    is an equation for $\mu$, solved in the form
    $\mu = -\tfrac14 \left[(q - x,\, p - y) - 2\mu\right]$.

    Order 2, with friction too; time-symmetric; and symplectic on $(q, p)$ itself, for
    any $H(q, p)$, which [`chlu_eqx.TaoSolver`][] is not. As $\mu$ is of the order of
    $h^3$, a simple iteration often does:
    `SemiExplicit(optimistix.FixedPointIteration(1e-12, 1e-12))`, with three evaluations
    of $(\partial_q H, \partial_p H)$ each and no Jacobian. It takes a
    [`chlu_eqx.HamiltonianTerm`][] or any `diffrax.ODETerm` over `y = (q, p)`; explicit
    time is $t_n$ and $t_{n+1}$ in $A$ and the middle in $B$.

    If the equation is not solved the solve fails with
    `diffrax.RESULTS.nonlinear_max_steps_reached`; the state is then NaN. Dense and
    `SaveAt(ts=...)` output is cubic Hermite.

    ??? cite "Reference"

        ```bibtex
        @article{jayawardana2023semiexplicit,
            title={Semiexplicit symplectic integrators for non-separable {H}amiltonian
                   systems},
            author={Jayawardana, Buddhika and Ohsawa, Tomoki},
            journal={Mathematics of Computation},
            volume={92},
            number={339},
            pages={251--281},
            year={2023},
        }
        ```
    """

    def order(self, terms: PyTree[AbstractTerm]) -> int:
        return 2

    def maps(self, field: Field, h: RealScalarLike, time: Clock) -> tuple[Flow, ...]:
        def step(sign: int, z: Phase, shared: PyTree) -> tuple[Phase, RESULTS]:
            y, none = z

            def moved(mu: PyTree) -> tuple[PyTree, PyTree]:
                """Where the copies go that start `mu` to both sides of the state."""
                first, second = axpy(1, mu, y), axpy(-1, mu, y)
                for part, c in ((1 / 2, 0.0), (1.0, 1 / 2), (1 / 2, 1.0)):
                    (q, p), (x, py) = first, second
                    now = time(c if sign > 0 else 1 - c)
                    dq, dp = field(now, (q, py))
                    p = axpy(sign * part * h, dp, p)
                    x = axpy(sign * part * h, dq, x)
                    first, second = (x, py), (q, p)
                return second, first

            def increment(mu: PyTree) -> PyTree:
                first, second = moved(mu)
                return jax.tree.map(
                    lambda a, b, m: (2 * m - (a - b)) / 4, first, second, mu
                )

            mu, result = self.solve(increment, y)
            first, second = moved(mu)
            return (jax.tree.map(lambda a, b: (a + b) / 2, first, second), none), result

        return (step,)
