"""The lemniscate of Bernoulli as an orbit, and a Hamiltonian that it solves exactly."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar


PERIOD = 2 * jnp.pi
ENERGY = 0.25


@jax.jit
def curve(t: Float[Array, "*times"]) -> Float[Array, "*times 2"]:
    """Positions: x = sin t / (1 + cos² t), y = sin t cos t / (1 + cos² t)."""
    s, c = jnp.sin(t), jnp.cos(t)
    return jnp.stack([s, s * c], axis=-1) / (1 + c**2)[..., None]


@jax.jit
def orbit(
    t: Float[Array, "*times"],
) -> tuple[Float[Array, "*times 2"], Float[Array, "*times 2"]]:
    """Positions and velocities."""
    return jax.jvp(curve, (t,), (jnp.ones_like(t),))


def potential(q: Float[Array, "2"]) -> Scalar:
    """V(q) = -|q|²/4 + (3/4 + |q|²) F(q), where F(q) = |q|⁴ - (x² - y²) vanishes on the
    curve: with unit mass the curve is an orbit, of energy 1/4."""
    x2, y2 = q[0] ** 2, q[1] ** 2
    r2 = x2 + y2
    return -r2 / 4 + (0.75 + r2) * (r2**2 - (x2 - y2))


@jax.jit
def energy(
    q: Float[Array, "times 2"], p: Float[Array, "times 2"]
) -> Float[Array, " times"]:
    """The energy along a trajectory: 1/4 on the curve."""
    return 0.5 * jnp.sum(p**2, -1) + jax.vmap(potential)(q)
