"""Symplectic Euler and the Störmer-Verlet methods."""

from typing import ClassVar

import diffrax
from jaxtyping import PyTree

from .base import flows
from .composition import AbstractComposition


class CHLUSolver(AbstractComposition):
    r"""Velocity Verlet, kick-drift-kick, with exact linear friction: the map of the
    Causal Hamiltonian Learning Unit, made symmetric.

    $$\begin{array}{ll}
    p \leftarrow e^{-\Gamma h/2}\, p & \text{friction} \\
    p \leftarrow p - \tfrac h2 \nabla V(q) & \text{kick} \\
    q \leftarrow q + h\, \nabla T(p) & \text{drift} \\
    p \leftarrow p - \tfrac h2 \nabla V(q) & \text{kick} \\
    p \leftarrow e^{-\Gamma h/2}\, p & \text{friction}
    \end{array}$$

    Order 2, with friction too, and time-symmetric: a step of $-h$ undoes a step of $h$.
    Without friction it is symplectic; with a constant scalar rate it is conformally
    symplectic, $J^\top \Omega J = e^{-\Gamma h}\Omega$. One force evaluation per step:
    the last kick's force is carried to the next step's first. Cubic Hermite
    interpolation for dense and `SaveAt(ts=...)` output, at no further force
    evaluation. Steps are fixed, or follow a [`chlu_eqx.StepDensityController`][]: under
    an error controller a symplectic method loses its point.

    It takes a [`chlu_eqx.HamiltonianTerm`][], or any `diffrax.ODETerm` over
    `y = (q, p)` whose $\dot q$ depends on `(t, p)` and $\dot p$ on `(t, q)`.

    See also [`chlu_eqx.KickDriftKickDamp`][] for the paper's own, one-sided, friction.

    ??? cite "Reference"

        ```bibtex
        @article{hairer2003geometric,
            title={Geometric numerical integration illustrated by the
                   {S}t{\"o}rmer--{V}erlet method},
            author={Hairer, Ernst and Lubich, Christian and Wanner, Gerhard},
            journal={Acta Numerica},
            volume={12},
            pages={399--450},
            year={2003},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = (0.5, 0.5)
    drifts: ClassVar[tuple[float, ...]] = (1.0,)
    frictions: ClassVar[tuple[float, float]] = (0.5, 0.5)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 2


class DriftKickDrift(AbstractComposition):
    r"""Position Verlet, drift-kick-drift, with exact linear friction.

    $$\begin{array}{ll}
    p \leftarrow e^{-\Gamma h/2}\, p & \text{friction} \\
    q \leftarrow q + \tfrac h2 \nabla T(p) & \text{drift} \\
    p \leftarrow p - h\, \nabla V(q) & \text{kick} \\
    q \leftarrow q + \tfrac h2 \nabla T(p) & \text{drift} \\
    p \leftarrow e^{-\Gamma h/2}\, p & \text{friction}
    \end{array}$$

    Order 2, time-symmetric and (conformally) symplectic, as
    [`chlu_eqx.CHLUSolver`][]. One force evaluation per step, at the midpoint; dense and
    `SaveAt(ts=...)` output take two more, at the ends.

    ??? cite "Reference"

        ```bibtex
        @article{hairer2003geometric,
            title={Geometric numerical integration illustrated by the
                   {S}t{\"o}rmer--{V}erlet method},
            author={Hairer, Ernst and Lubich, Christian and Wanner, Gerhard},
            journal={Acta Numerica},
            volume={12},
            pages={399--450},
            year={2003},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = (0.0, 1.0, 0.0)
    drifts: ClassVar[tuple[float, ...]] = (0.5, 0.5)
    frictions: ClassVar[tuple[float, float]] = (0.5, 0.5)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 2


class SymplecticEuler(AbstractComposition):
    r"""Symplectic (semi-implicit) Euler, drift then kick, with exact linear friction.

    $$q \leftarrow q + h\,\nabla T(p), \qquad p \leftarrow p - h\,\nabla V(q), \qquad
    p \leftarrow e^{-\Gamma h} p.$$

    Order 1, (conformally) symplectic, not time-symmetric. The same map as
    `diffrax.SemiImplicitEuler`, over one term.

    ??? cite "Reference"

        ```bibtex
        @article{devogelaere1956methods,
            title={Methods of integration which preserve the contact transformation
                   property of the {H}amilton equations},
            author={De Vogelaere, Ren{\'e}},
            journal={Department of Mathematics, University of Notre Dame, Report 4},
            year={1956},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    drifts: ClassVar[tuple[float, ...]] = (1.0,)
    frictions: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 1


class KickDriftKickDamp(AbstractComposition):
    r"""The CHLU paper's map: velocity Verlet, then friction.

    $$\begin{array}{ll}
    p_{n+1/2} = p_n - \tfrac h2 \nabla V(q_n) & \text{kick} \\
    q_{n+1} = q_n + h\,\nabla T(p_{n+1/2}) & \text{drift} \\
    p^* = p_{n+1/2} - \tfrac h2 \nabla V(q_{n+1}) & \text{kick} \\
    p_{n+1} = e^{-\Gamma h} p^* & \text{friction}
    \end{array}$$

    With $\Gamma$ = [`chlu_eqx.friction_rate`][]`(gamma, h)` the last line is
    $(1 - \gamma)\, p^*$. Without friction this is [`chlu_eqx.CHLUSolver`][]; with it,
    the friction on one side makes it order 1 and not time-symmetric.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{jawahar2026chlu,
            title={{CHLU}: The Causal {H}amiltonian Learning Unit as a Symplectic
                   Primitive for Deep Learning},
            author={Jawahar, Pratik and Pierini, Maurizio},
            booktitle={ICLR 2026 Workshop on AI and Partial Differential Equations},
            year={2026},
            note={arXiv:2603.01768},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = (0.5, 0.5)
    drifts: ClassVar[tuple[float, ...]] = (1.0,)
    frictions: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return 2 if flows(terms).friction is None else 1
