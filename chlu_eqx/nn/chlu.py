"""The Causal Hamiltonian Learning Unit."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import array, count, instance, phase_state, positive, random_key
from .._types import RealScalarLike
from ..friction import EnergyGovernor, Friction
from ..hamiltonian import (
    Confinement,
    MLPPotential,
    RelativisticKinetic,
    SeparableHamiltonian,
)
from ..noise import FixedGridBrownianPath
from ..rollout import rollout
from ..solver import BAOAB, CHLUSolver
from ..term import Forcing, HamiltonianTerm, LangevinTerm, Temperature


class CHLU(eqx.Module):
    r"""The Causal Hamiltonian Learning Unit: a learned energy

    $$H(q, p) = T(p) + V_\theta(q) + \alpha \lVert q \rVert^2$$

    stepped by a symplectic solver. By default it is the paper's unit: relativistic
    kinetic energy with learnable mass, rest mass and speed limit, a potential with two
    hidden layers of 64, confinement $\alpha = 0.05$, velocity Verlet, no friction.

    !!! Example

        ```python
        unit = chlu_eqx.nn.CHLU(2, key=jax.random.key(0))
        q, p = unit((q0, p0), num_steps=100)         # q, p: (101, 2)
        q, p = unit.dissipative(0.1)((q0, p0), 100)  # the same energy, damped
        q, p = unit.governed(1.5)((q0, p0), 100)     # damped above the energy 1.5
        q, p = unit.generate(                        # a sample of exp(-H/kT)
            (q0, p0), 1000, temperature=0.1, friction=1.0, key=key
        )
        sol = unit.solve((q0, p0), ts)               # irregular times, by diffeqsolve
        ```

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

    hamiltonian: SeparableHamiltonian
    friction: Any
    forcing: Forcing | None
    solver: diffrax.AbstractSolver
    dt: RealScalarLike

    def __init__(
        self,
        dim: int,
        *,
        dt: RealScalarLike = 0.05,
        kinetic: Callable[[Array], Scalar] | None = None,
        potential: Callable[[Array], Scalar] | None = None,
        friction: Friction | None = None,
        forcing: Forcing | None = None,
        solver: diffrax.AbstractSolver | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `dim`: the number of coordinates of `q`.
        - `dt`: the length of a step, positive. A Python number is a constant; an array
            is learned unless it is filtered out.
        - `kinetic`: defaults to `RelativisticKinetic(dim)`.
        - `potential`: defaults to `MLPPotential(dim, key=key) + Confinement()`.
        - `friction`: a damping rate, as in [`chlu_eqx.HamiltonianTerm`][]; defaults to
            none, the conservative mode.
        - `forcing`: an external force $F(t, q)$, as in [`chlu_eqx.HamiltonianTerm`][],
            with `args` of `None`; defaults to none. In a call, time starts at 0.
        - `solver`: defaults to [`chlu_eqx.CHLUSolver`][]`()`.
        - `key`: a `jax.random.key` for the default potential's weights.

        **Raises:** `ValueError` if `dim` is not a positive integer, `dt` is not
        positive or `friction` is negative.
        """
        dim, key = count("dim", dim), random_key("key", key)
        if kinetic is None:
            kinetic = RelativisticKinetic(dim)
        if potential is None:
            potential = MLPPotential(dim, key=key) + Confinement()
        self.hamiltonian = SeparableHamiltonian(kinetic, potential)
        term = HamiltonianTerm(self.hamiltonian, friction, forcing)
        self.friction, self.forcing = term.friction, term.forcing
        solver = CHLUSolver() if solver is None else solver
        wanted = "a diffrax solver, such as `chlu_eqx.CHLUSolver()`"
        self.solver = instance("solver", solver, diffrax.AbstractSolver, wanted)
        self.dt = positive("dt", dt)

    @property
    def term(self) -> HamiltonianTerm:
        """The equation of motion, for any diffrax solver."""
        return HamiltonianTerm(self.hamiltonian, self.friction, self.forcing)

    def conservative(self) -> "CHLU":
        """The same unit without friction: its energy is kept, but for an external
        force."""
        return self.dissipative(None)

    def dissipative(self, friction: Friction | None) -> "CHLU":
        """The same unit with the damping rate `friction`: it settles into a minimum of
        its potential."""
        friction = HamiltonianTerm(self.hamiltonian, friction).friction
        return eqx.tree_at(
            lambda unit: unit.friction, self, friction, is_leaf=lambda x: x is None
        )

    def governed(self, threshold: ArrayLike, strength: ArrayLike = 0.95) -> "CHLU":
        r"""The same unit with a [`chlu_eqx.EnergyGovernor`][]: energy above the
        `threshold` is taken out, at most the part `strength` of the momentum a step.
        """
        governor = EnergyGovernor(
            self.hamiltonian, threshold, dt=self.dt, strength=strength
        )
        return self.dissipative(governor)

    def generate(
        self,
        y0: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        *,
        temperature: Temperature,
        friction: Friction,
        key: PRNGKeyArray,
        save_every: int = 1,
        solver: diffrax.AbstractItoSolver | None = None,
    ) -> tuple[Float[Array, "times dim"], Float[Array, "times dim"]]:
        r"""The generative mode: Langevin dynamics, which draws from $e^{-H/kT}$.

        **Arguments:**

        - `y0`: the pair `(q0, p0)`, each of shape `(dim,)`.
        - `num_steps`: the number of steps of length `dt`.
        - `temperature`: $kT$, or a schedule of it over time (not steps): for instance
            `optax.exponential_decay(1.0, num_steps * dt, 0.01)`.
        - `friction`: a rate, or a callable of the state that depends on `q` only.
        - `key`: a `jax.random.key`.
        - `save_every`: how many steps to make between saved states.
        - `solver`: defaults to [`chlu_eqx.BAOAB`][]`()`.

        **Returns:** the trajectory, as of a call.

        **Raises:** `ValueError` if the unit has an external force: the bath would not
        lead to $e^{-H/kT}$.
        """
        if self.forcing is not None:
            raise ValueError(
                "`generate` draws from exp(-H/kT), which an external force does not "
                f"leave as it is: `forcing` must be `None`, got {self.forcing}."
            )
        _, p = phase_state("y0", y0)
        p = array("p", p, "dim")
        shape = jax.ShapeDtypeStruct((p.size + 3,), p.dtype)
        path = FixedGridBrownianPath(self.dt, shape, key)
        return rollout(
            LangevinTerm(
                self.hamiltonian, path, friction=friction, temperature=temperature
            ),
            BAOAB() if solver is None else solver,
            y0,
            dt=self.dt,
            num_steps=num_steps,
            save_every=save_every,
        )

    def __call__(
        self,
        y0: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        *,
        save_every: int = 1,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> tuple[Float[Array, "times dim"], Float[Array, "times dim"]]:
        """The trajectory from one state, by [`chlu_eqx.rollout`][].

        **Arguments:**

        - `y0`: the pair `(q0, p0)`, each of shape `(dim,)`.
        - `num_steps`: the number of steps of length `dt`.
        - `save_every`: how many steps to make between saved states; divides
            `num_steps`.
        - `adjoint`: how to differentiate, as in [`chlu_eqx.rollout`][].

        **Returns:** the pair `(q, p)`, each of shape
        `(num_steps // save_every + 1, dim)`, the initial state first.
        """
        return rollout(
            self.term,
            self.solver,
            y0,
            dt=self.dt,
            num_steps=num_steps,
            save_every=save_every,
            adjoint=adjoint,
        )

    def solve(
        self, y0: PyTree, ts: Float[Array, " times"], **kwargs: Any
    ) -> diffrax.Solution:
        """The solution at the times `ts`, regular or not, by `diffrax.diffeqsolve`.

        The steps are of one length, `dt` or as little below it as makes a whole number
        of them fill the interval; values between them are interpolated.

        **Arguments:**

        - `y0`: the pair `(q0, p0)` at `ts[0]`.
        - `ts`: the times to save at, increasing or decreasing.
        - `**kwargs`: passed to `diffeqsolve`: `adjoint`, `max_steps`, `throw`, ...

        **Returns:** the `diffrax.Solution`, whose `ys` is the pair `(q, p)`, each of
        shape `(times, dim)`.

        **Raises:** `ValueError` if `ts` is not an array of times.
        """
        if array("ts", ts, "times").size == 0:
            raise ValueError("`ts` must hold at least one time, got none.")
        t0, t1 = ts[0], ts[-1]
        # Rounding must not add a step.
        dt = jnp.asarray(self.dt, ts.dtype)
        num_steps = jnp.ceil(jnp.abs(t1 - t0) / dt * (1 - 1e-6))
        return diffrax.diffeqsolve(
            self.term,
            self.solver,
            t0,
            t1,
            (t1 - t0) / jnp.maximum(num_steps, 1),
            y0,
            **{"saveat": diffrax.SaveAt(ts=ts), **kwargs},
        )
