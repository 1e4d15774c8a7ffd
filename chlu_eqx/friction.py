"""Linear damping `dp = -Γ p dt`: its rate and its flow."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from ._checks import in_unit_interval, positive
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
    gamma = in_unit_interval("gamma", gamma)
    return -jnp.log1p(-jnp.asarray(gamma, float)) / positive("dt", dt)


def rates(friction: Friction, q: PyTree, p: PyTree) -> PyTree:
    """The damping rate of every coordinate, as a pytree of arrays that broadcast
    against `p`."""
    if callable(friction):
        friction = friction(q, p)
    if jax.tree.structure(friction) != jax.tree.structure(p):
        shared = friction
        friction = jax.tree.map(lambda _: shared, p)
    return jax.tree.map(lambda rate, pi: jnp.asarray(rate, pi.dtype), friction, p)


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
