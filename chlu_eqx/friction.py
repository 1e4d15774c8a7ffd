"""Linear damping `dp = -Γ p dt`: its rate and its flow."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree, Scalar

from ._checks import broadcasting, finite, function, in_unit_interval, positive
from ._types import RealScalarLike


Friction = PyTree[ArrayLike] | Callable[[PyTree, PyTree], PyTree]


def friction_rate(gamma: ArrayLike, dt: ArrayLike) -> Array:
    r"""The rate $\Gamma$ at which momentum decays when each step of length `dt`
    multiplies it by $1 - \gamma$:

    $$\Gamma = -\log(1 - \gamma) / \Delta t, \qquad e^{-\Gamma \Delta t} = 1 - \gamma.$$

    The CHLU paper (Jawahar & Pierini, arXiv 2603.01768) gives friction per step; terms
    here take rates, which mean the same at every step size.

    **Arguments:**

    - `gamma`: the part of the momentum lost per step, in $[0, 1)$.
    - `dt`: the length of the step, positive.

    **Returns:** the rate, in inverse units of time.

    **Raises:** `ValueError` if an argument is out of range.
    """
    gamma = in_unit_interval("gamma", gamma, scalar=False)
    return -jnp.log1p(-jnp.asarray(gamma, float)) / positive("dt", dt, scalar=False)


class EnergyGovernor(eqx.Module):
    r"""A friction that brings the energy down to a threshold $E^*$, and then lets go:
    the momentum loses, per time $\Delta t$, the part

    $$\gamma = s \tanh\left(\max(0,\, H(q, p) - E^*)\right), \qquad
    \Gamma = -\log(1 - \gamma) / \Delta t,$$

    the governed mode of the CHLU paper (Jawahar & Pierini, arXiv 2603.01768). It
    depends on the momentum: its flow is that of an explicit midpoint rule, of order 2.
    """

    hamiltonian: Callable[[PyTree, PyTree], Scalar]
    threshold: ArrayLike
    strength: ArrayLike
    dt: RealScalarLike

    def __init__(
        self,
        hamiltonian: Callable[[PyTree, PyTree], Scalar],
        threshold: ArrayLike,
        *,
        dt: RealScalarLike,
        strength: ArrayLike = 0.95,
    ):
        r"""**Arguments:**

        - `hamiltonian`: the energy that is governed, a callable of `(q, p)`.
        - `threshold`: $E^*$, in units of energy; the paper's is the first percentile of
            the energies of the training data.
        - `dt`: the time in which the part $\gamma$ is lost, positive: the length of a
            step, for the paper's map.
        - `strength`: $s$, in $[0, 1)$.

        **Raises:** `ValueError` if `hamiltonian` is not callable or a number is out of
        range.
        """
        self.hamiltonian = function("hamiltonian", hamiltonian)
        self.threshold = finite("threshold", threshold)
        self.strength = in_unit_interval("strength", strength)
        self.dt = positive("dt", dt)

    def __call__(self, q: PyTree, p: PyTree) -> Scalar:
        energy = self.hamiltonian(q, p)
        excess = jax.nn.relu(energy - jnp.asarray(self.threshold, energy.dtype))
        gamma = jnp.asarray(self.strength, energy.dtype) * jnp.tanh(excess)
        return -jnp.log1p(-gamma) / jnp.asarray(self.dt, energy.dtype)


class PositionGatedFriction(eqx.Module):
    r"""A friction that a learned gate of the position opens:

    $$\Gamma(q) = \log\left(1 + e^{g(q)}\right), \qquad
    e^{-\Gamma(q)} = 1 - \mathrm{sigmoid}(g(q)),$$

    never negative: memory is kept where the gate is closed and lost where it is open.
    Its flow is exact, since $q$ stands still meanwhile, and so is its heat bath in a
    [`chlu_eqx.LangevinTerm`][].
    """

    gate: Callable[[PyTree], Array]

    def __init__(self, gate: Callable[[PyTree], Array]):
        """**Arguments:**

        - `gate`: a callable from a position of shape `(dim,)` to a scalar or to shape
            `(dim,)`, such as `eqx.nn.MLP(dim, "scalar", 32, 2, key=key)`.

        **Raises:** `ValueError` if it is not callable.
        """
        self.gate = function("gate", gate)

    def __call__(self, q: PyTree, p: PyTree) -> Float[Array, "..."]:
        return jax.nn.softplus(self.gate(q))


def rates(friction: Friction, q: PyTree, p: PyTree) -> PyTree:
    """The damping rate of every coordinate, as a pytree of arrays that broadcast
    against `p`."""
    if callable(friction):
        friction = friction(q, p)
    structure = jax.tree.structure(p)
    if jax.tree.structure(friction) == jax.tree.structure(0):
        friction = structure.unflatten([friction] * structure.num_leaves)
    return broadcasting("friction", friction, p)


def damped(
    force: PyTree, friction: Friction | None, y: tuple[PyTree, PyTree]
) -> PyTree:
    r"""The force with friction, $F - \Gamma p$."""
    if friction is None:
        return force
    q, p = y
    return jax.tree.map(lambda f, g, pi: f - g * pi, force, rates(friction, q, p), p)


def friction_flow(
    friction: Friction | None, h: RealScalarLike, y: tuple[PyTree, PyTree]
) -> tuple[PyTree, PyTree]:
    r"""The flow of $\dot p = -\Gamma p$ for a time `h`, which may be negative:

    $$p \leftarrow e^{-\Gamma h}\, p.$$

    Exact for constant rates and for rates that depend on the position only. A rate
    that depends on the momentum too is taken at the midpoint of the flow, with an
    error of third order in `h`.
    """
    if friction is None:
        return y
    q, p = y

    def decay(fraction: float, at: PyTree) -> PyTree:
        return jax.tree.map(
            lambda rate, pi: jnp.exp(-rate * jnp.asarray(fraction * h, pi.dtype)) * pi,
            rates(friction, q, at),
            p,
        )

    middle = decay(0.5, p) if callable(friction) else p
    return q, decay(1.0, middle)
