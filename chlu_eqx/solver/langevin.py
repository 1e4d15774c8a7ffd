"""Splittings of Langevin's equation, with an exact heat bath."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TYPE_CHECKING

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from diffrax import RESULTS
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, PyTree, Scalar

from .._checks import energy, phase_state
from .._types import RealScalarLike
from ..friction import rates
from ..term import HamiltonianTerm, HeatBath, LangevinTerm
from .base import axpy, cite, finite, innermost, NoErrorEstimate


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


Vector = Float[Array, " dim"]


class Force(NamedTuple):
    """That at a position, and the potential energy where it is needed."""

    force: Vector
    energy: Scalar | None


class AbstractLangevin(diffrax.AbstractItoSolver):
    r"""A composition of the exact flows of [`chlu_eqx.LangevinTerm`][],

    $$B(h): p \leftarrow p - h\,\nabla V(q), \qquad
    A(h): q \leftarrow q + h\,\nabla T(p), \qquad
    O(h): p \leftarrow e^{-\Gamma h} p + \text{noise},$$

    written as data: a word that starts and ends with the force of a position, $B$, and
    holds one heat bath, $O$. A letter that occurs $n$ times stands for $h/n$ each time.
    Subclasses are their words. The last force is the next step's first.
    """

    word: AbstractClassVar[str]
    metropolis: AbstractClassVar[bool]

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]
    ]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        raise ValueError(
            f"`{type(self).__name__}` solves stochastic differential equations; for "
            "ordinary ones there is `chlu_eqx.CHLUSolver()`."
        )

    def strong_order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        # Where the noise is additive. Only step size controllers ask.
        return 1

    def init(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
    ) -> Force:
        del args
        name = type(self).__name__
        if not isinstance(terms, LangevinTerm):
            raise ValueError(
                f"`{name}` solves `chlu_eqx.LangevinTerm(...)`, whose parts it knows; "
                f"got {terms}. Use a solver of diffrax, such as `diffrax.Euler()`."
            )
        q, p = phase_state("y0", y0)
        drift, bath = _parts(terms)
        needed = p.size + 3 if self.metropolis else bath.kinetic.noise_dim
        _, noise = eqx.filter_eval_shape(terms.contr, t0, t1)
        if jax.tree.structure(noise) != jax.tree.structure(0) or noise.shape < (
            needed,
        ):
            shape = jax.tree.map(lambda x: x.shape, noise)
            raise ValueError(
                f"`path` must be a Brownian path of an array of shape ({needed},) or "
                f"longer, for `{name}` and this kinetic energy, got shape {shape}."
            )
        h, _ = terms.contr(t0, t1)
        q = eqx.error_if(q, h < 0, "Langevin's equation runs forward: `t1` >= `t0`.")
        return self._at(drift, q)

    def func(
        self, terms: diffrax.AbstractTerm, t0: RealScalarLike, y0: PyTree, args: PyTree
    ) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: tuple[Vector, Vector],
        args: PyTree,
        solver_state: Force,
        made_jump: Any,
    ) -> tuple[PyTree, Any, dict[str, PyTree], Force, RESULTS]:
        del args
        drift, bath = _parts(terms)
        kinetic, p = bath.kinetic, y0[1]
        h, noise = terms.contr(t0, t1)
        h = jnp.asarray(h, p.dtype)
        noise = noise.astype(p.dtype) / jnp.sqrt(h)
        kT = jnp.asarray(bath.temperature_at((t0 + t1) / 2), p.dtype)
        start = solver_state
        if made_jump is not False:
            start = lax.cond(made_jump, lambda: self._at(drift, y0[0]), lambda: start)

        q, at, heat = y0[0], start, jnp.zeros_like(kT)
        for letter in self.word:
            part = h / self.word.count(letter)
            if letter == "B":
                p = axpy(part, at.force, p)
            elif letter == "A":
                q = axpy(part, kinetic.velocity(p), q)
                # What of this no kick uses, the compiler drops.
                at = self._at(drift, q)
            else:
                cold, damping = p, rates(bath.friction, q, p) * part
                p = kinetic.thermostat(cold, damping, kT, noise)
                heat = kinetic(p) - kinetic(cold)
        y1 = (q, p)
        if self.metropolis and at.energy is not None and start.energy is not None:
            work = at.energy - start.energy + kinetic(p) - kinetic(y0[1]) - heat
            # A proposal that is not finite is rejected too.
            accepted = jnp.log(ndtr(noise[p.size + 2])) <= -work / kT
            y1, at = jax.tree.map(
                functools.partial(jnp.where, accepted),
                (y1, at),
                ((y0[0], -y0[1]), start),
            )
        dense_info = dict(y0=y0, y1=y1)
        return y1, NoErrorEstimate(), dense_info, at, finite(y1)

    def _at(self, drift: HamiltonianTerm, q: Vector) -> Force:
        potential = drift.hamiltonian.potential  # pyright: ignore
        value, slope = jax.value_and_grad(energy("potential", potential))(q)
        return Force(-slope, value if self.metropolis else None)


def _parts(terms: Any) -> tuple[HamiltonianTerm, HeatBath]:
    drift, bath = (innermost(term) for term in terms.terms)
    return drift, bath  # pyright: ignore[reportReturnType]


class BAOAB(AbstractLangevin):
    r"""The splitting BAOAB of Langevin's equation, for kinetic energies of any form:
    kick ½, drift ½, heat bath, drift ½, kick ½,

    $$B(\tfrac h2)\; A(\tfrac h2)\; O(h)\; A(\tfrac h2)\; B(\tfrac h2).$$

    The heat bath is exact ([`chlu_eqx.AbstractThermalKinetic`][]`.thermostat`): at any
    $h$ and any friction it keeps the law of the momentum, Gaussian or Maxwell-Jüttner.
    Weak order 2. The positions are drawn from $e^{-V(q)/kT}$ with an error of
    $O(h^2)$, which for a Newtonian energy is especially small: none at all in a
    quadratic potential, and $O(h^4)$ in any at high friction. To have none use
    [`chlu_eqx.MetropolisBAOAB`][].

    It solves a [`chlu_eqx.LangevinTerm`][], forward in time, in steps of one length; a
    temperature that is a schedule is taken at the middle of each step. One force a
    step. Without friction it is position Verlet between half kicks: velocity Verlet.

    ??? cite "Reference"

        ```bibtex
        @article{leimkuhler2013rational,
            title={Rational construction of stochastic numerical methods for molecular
                   sampling},
            author={Leimkuhler, Benedict and Matthews, Charles},
            journal={Applied Mathematics Research eXpress},
            volume={2013},
            number={1},
            pages={34--56},
            year={2013},
        }
        ```
    """

    word: ClassVar[str] = "BAOAB"
    metropolis: ClassVar[bool] = False


class BABO(AbstractLangevin):
    r"""The splitting BABO of Langevin's equation: a step of velocity Verlet, and then
    the heat bath,

    $$B(\tfrac h2)\; A(h)\; B(\tfrac h2)\; O(h).$$

    This is the order of the CHLU paper, with the heat bath exact where the paper's is
    not: without temperature it is [`chlu_eqx.KickDriftKickDamp`][]. Its averages of
    positions have errors of $O(h^2)$, in a quadratic potential too, so that
    [`chlu_eqx.BAOAB`][] is better at the same price; its trajectories have weak order
    1. Otherwise as [`chlu_eqx.BAOAB`][].

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

    word: ClassVar[str] = "BABO"
    metropolis: ClassVar[bool] = False


class MetropolisBAOAB(AbstractLangevin):
    r"""[`chlu_eqx.BAOAB`][] with a Metropolis correction: $e^{-H(q,p)/kT}$ is kept
    exactly, at any step.

    A step is accepted with the probability $\min(1, e^{-W/kT})$, where the work $W$ is
    the energy gained beside the heat that the bath has put in,

    $$W = H(q_{n+1}, p_{n+1}) - H(q_n, p_n) - \left(T(p_O') - T(p_O)\right),$$

    $p_O$ and $p_O'$ being the momenta before and after the bath. Otherwise the position
    stays and the momentum is turned round, without which detailed balance would fail:
    where many steps are rejected the motion becomes a slow random walk, so choose $h$
    such that few are. A proposal that is not finite is rejected.

    The path of the [`chlu_eqx.LangevinTerm`][] must have shape `(dim + 3,)`; the last
    number decides. The potential's value is computed along with its gradient. The
    gradients of a solve see the steps that were accepted, and not how likely that was.

    ??? cite "Reference"

        ```bibtex
        @article{bussi2007accurate,
            title={Accurate sampling using {L}angevin dynamics},
            author={Bussi, Giovanni and Parrinello, Michele},
            journal={Physical Review E},
            volume={75},
            number={5},
            pages={056707},
            year={2007},
        }
        ```
    """

    word: ClassVar[str] = "BAOAB"
    metropolis: ClassVar[bool] = True


cite(AbstractLangevin)
