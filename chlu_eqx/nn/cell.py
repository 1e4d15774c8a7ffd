"""Recurrent cells that are steps of Hamiltonian dynamics."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, function, positive, random_key
from .._types import RealScalarLike
from ..friction import Friction
from ..hamiltonian import (
    AbstractPotential,
    Confinement,
    MLPPotential,
    NewtonianKinetic,
    SeparableHamiltonian,
)
from ..solver import DriftKickDrift
from ..solver.composition import AbstractComposition
from ..term import HamiltonianTerm
from .rnn import AbstractReversibleCell, check_step


Hidden = tuple[Float[Array, " hidden_size"], Float[Array, " hidden_size"]]


class GatedKick(eqx.Module):
    r"""A force that depends on the input alone,

    $$f(x) = \mathrm{sigmoid}(G x + g) \odot (W x + b),$$

    a gated linear unit (Dauphin et al., ICML 2017, eq. 1): one part of the input
    decides how much of another gets in. At the start $b = 0$.
    """

    linear: eqx.nn.Linear

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `input_size`, `hidden_size`: the lengths of the input and of the force.
        - `key`: a `jax.random.key` for the weights.

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        input_size = count("input_size", input_size)
        hidden_size = count("hidden_size", hidden_size)
        key = random_key("key", key)
        linear = eqx.nn.Linear(input_size, 2 * hidden_size, key=key)
        # To start with, no input is no force: a constant one would heat the unit up.
        bias = jnp.asarray(linear.bias).at[:hidden_size].set(0.0)
        self.linear = eqx.tree_at(lambda linear: linear.bias, linear, bias)

    def __call__(self, x: Float[Array, " input_size"]) -> Float[Array, " hidden_size"]:
        x = array("x", x, self.linear.in_features)
        return jax.nn.glu(self.linear(x))


class _Springs(AbstractPotential):
    """A confinement of the first coordinates: those after them are inputs."""

    confinement: Confinement
    size: int = eqx.field(static=True)

    def __call__(self, q: Array) -> Scalar:
        return self.confinement(q[: self.size])


def _spectrum(
    frequencies: tuple[float, float], size: int, dt: RealScalarLike
) -> Float[Array, " size"]:
    low, high = frequencies
    if not 0 < low <= high or not (isinstance(dt, Tracer) or high * dt < 2):
        raise ValueError(
            "`frequencies` must be positive, in order and below 2 / `dt`, where steps "
            f"become unstable; got {frequencies} and dt = {dt}."
        )
    return jnp.geomspace(low, high, size)


class CHLUCell(AbstractReversibleCell):
    r"""A recurrent cell that is a Causal Hamiltonian Learning Unit: every input is a
    kick, after which the unit moves by itself for `num_steps` steps,

    $$p \leftarrow p + f(x), \qquad
    (q, p) \leftarrow \Phi_{\Delta t}^n(q, p), \qquad H = T(p) + V_\theta(q).$$

    Used as `equinox.nn.LSTMCell` is: `cell(input, hidden) -> hidden`, with
    `hidden = (q, p)`. Both parts are worth reading out.

    The Jacobian of a hidden state by any earlier one is symplectic, whatever the
    inputs: its singular values come in pairs $\sigma, 1/\sigma$, so that its norm is at
    least one, and no gradient can vanish in more than half of the directions. With a
    friction $\Gamma$ it is conformally symplectic, and the pairs over a time $t$ have
    the product $e^{-\Gamma t}$: the cell forgets.

    Unless told otherwise it starts as a spectrum of oscillators, their frequencies
    spread evenly in logarithm, which the learned potential $U_\theta$ couples:

    $$H = \sum_i \tfrac12\, \omega_i \left(p_i^2 + q_i^2\right) + U_\theta(q), \qquad
    \omega_i = \omega_{\min}
    \left(\omega_{\max} / \omega_{\min}\right)^{(i - 1)/(n - 1)}.$$

    The slow ones add up what they hear, the fast ones tell when it came. The kinetic
    energy is Newtonian: a relativistic one couples all coordinates, and where inputs
    drive them to the speed limit the motion is chaotic, and gradients explode.

    !!! Example

        ```python
        cell = chlu_eqx.nn.CHLUCell(3, 64, key=key)  # was: eqx.nn.LSTMCell(3, 64, ...)
        hidden = (jnp.zeros(64), jnp.zeros(64))
        hidden = cell(x, hidden)
        ```

    [`chlu_eqx.nn.RNN`][] runs it over a sequence, with gradients in constant memory.
    The unit is that of Jawahar & Pierini (arXiv 2603.01768); that it is kicked by
    inputs, and how, is ours.
    """

    kick: Callable[[Array], Array]
    hamiltonian: SeparableHamiltonian
    friction: Any
    solver: AbstractComposition
    dt: RealScalarLike
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    conditioned: bool = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: RealScalarLike = 1.0,
        num_steps: int = 1,
        frequencies: tuple[float, float] = (1e-3, 1.0),
        kick: Callable[[Array], Array] | None = None,
        kinetic: Callable[[Array], Scalar] | None = None,
        potential: Callable[[Array], Scalar] | None = None,
        conditioned: bool = False,
        friction: Friction | None = None,
        solver: AbstractComposition | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `input_size`, `hidden_size`: the lengths of the input, and of `q` and `p`.
        - `dt`: the length of a step, positive. A Python number is a constant; an array
            is learned unless it is filtered out.
        - `num_steps`: the number of steps between inputs.
        - `frequencies`: $\omega_{\min}$ and $\omega_{\max}$ of the default energies, in
            radians per unit of time. The slowest should hardly turn within a sequence,
            the fastest within a few inputs.
        - `kick`: $f$, from an input to shape `(hidden_size,)`; defaults to
            [`chlu_eqx.nn.GatedKick`][].
        - `kinetic`: $T$; defaults to [`chlu_eqx.NewtonianKinetic`][] with the masses
            $1/\omega_i$, learned.
        - `potential`: $V$; defaults to a [`chlu_eqx.MLPPotential`][] with one hidden
            layer as wide as the state, and [`chlu_eqx.Confinement`][] of the strengths
            $\omega_i/2$, learned.
        - `conditioned`: whether the potential depends on the input too: it is then
            called with `q` and the input in one array, of shape
            `(hidden_size + input_size,)`.
        - `friction`: a damping rate, as in [`chlu_eqx.HamiltonianTerm`][]; defaults to
            none: nothing is forgotten.
        - `solver`: any explicit solver of separable energies; defaults to
            [`chlu_eqx.DriftKickDrift`][]`()`, which takes one force a step.
            ([`chlu_eqx.CHLUSolver`][] would carry its last force to the next step,
            for which `hidden = (q, p)` has no place.)
        - `key`: a `jax.random.key` for the weights.

        **Raises:** `ValueError` if a size or `num_steps` is not a positive integer,
        `dt` is not positive, `friction` is negative, the solver is another, or
        `frequencies` are not positive and in order, the last below $2/\Delta t$: a
        longer step is unstable.
        """
        self.input_size = count("input_size", input_size)
        self.hidden_size = count("hidden_size", hidden_size)
        self.num_steps = count("num_steps", num_steps)
        dt = positive("dt", dt)
        solver = DriftKickDrift() if solver is None else solver
        if not isinstance(solver, AbstractComposition):
            raise ValueError(
                "`solver` must be an explicit solver of separable energies, such as "
                f"`chlu_eqx.DriftKickDrift()`, got {solver}."
            )
        kick_key, potential_key = jr.split(random_key("key", key))
        if kick is None:
            kick = GatedKick(input_size, hidden_size, key=kick_key)
        if kinetic is None:
            omega = _spectrum(frequencies, hidden_size, dt)
            kinetic = NewtonianKinetic(hidden_size, mass=1 / omega)
        if potential is None:
            dim = hidden_size + input_size if conditioned else hidden_size
            network = MLPPotential(dim, width=hidden_size, depth=1, key=potential_key)
            omega = _spectrum(frequencies, hidden_size, dt)
            potential = network + _Springs(Confinement(omega / 2), hidden_size)
        self.kick = function("kick", kick)
        self.hamiltonian = SeparableHamiltonian(kinetic, potential)
        self.friction = HamiltonianTerm(self.hamiltonian, friction).friction
        self.solver = solver
        self.dt = dt
        self.conditioned = conditioned

    def __call__(
        self,
        input: Float[Array, " input_size"],
        hidden: Hidden,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Hidden:
        q, p = check_step(self, input, hidden)
        return self._move(1, input, (q, p + self.kick(input)))

    def undo(self, input: Float[Array, " input_size"], hidden: Hidden) -> Hidden:
        hidden = check_step(self, input, hidden)
        q, p = self._move(-1, input, hidden)
        return q, p - self.kick(input)

    def _move(self, sign: int, input: Array, hidden: Hidden) -> Hidden:
        energy = self.hamiltonian
        if self.conditioned:
            energy = SeparableHamiltonian(
                energy.kinetic,
                lambda q: self.hamiltonian.potential(jnp.concatenate([q, input])),
            )
        term = HamiltonianTerm(energy, self.friction)
        t0, t1 = 0.0, self.dt

        def step(_: Any, y: Hidden) -> Hidden:
            state = self.solver.init(term, t0 if sign > 0 else t1, t1, y, None)
            move = self.solver.step if sign > 0 else self.solver.backward_step
            return move(term, t0, t1, y, None, state, False)[0]

        return lax.fori_loop(0, self.num_steps, step, hidden)
