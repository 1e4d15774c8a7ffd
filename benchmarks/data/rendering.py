"""Pictures of moving bodies, drawn by formula, with soft edges."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .physics import System


# The images are squares of side 1. Of edges: the logistic function's slope there.
SHARPNESS = 80.0
RADIUS = 0.1
BACKGROUND = (0.32, 0.35, 0.37)
COLORS = ((0.93, 0.79, 0.25), (0.25, 0.66, 0.91), (0.89, 0.36, 0.34))
ROD = 0.04
SIZES = (16, 28, 32, 64)


def discs(
    centres: Float[Array, "bodies 2"], size: int
) -> Float[Array, "size size channels"]:
    """A disc for each body, of its own colour, on grey, in [0, 1]; `centres` in the
    square, (x, y) with y upward. A later body is in front."""
    x, y = _grid(size)
    channels = [jnp.full((size, size), grey, centres.dtype) for grey in BACKGROUND]
    for centre, color in zip(centres, COLORS, strict=False):
        disc = _soft(jnp.hypot(x - centre[0], y - centre[1]) - RADIUS)
        channels = [
            channel + disc * (value - channel)
            for channel, value in zip(channels, color, strict=True)
        ]
    return jnp.stack(channels, axis=-1)


def rod(end: Float[Array, "2"], size: int) -> Float[Array, "size size channels"]:
    """A white rod from the middle of the square to `end`, on black, in one channel."""
    x, y = (z - 0.5 for z in _grid(size))
    dx, dy = end - 0.5
    along = jnp.clip((x * dx + y * dy) / (dx**2 + dy**2), 0, 1)
    distance = jnp.hypot(x - along * dx, y - along * dy)
    return _soft(distance - ROD / 2)[..., None]


def draw(
    system: System,
    q: Float[Array, "batch times dim"],
    size: int,
    key: PRNGKeyArray | None = None,
    *,
    rods: bool = False,
) -> Float[Array, "batch times size size channels"]:
    """Pictures of positions: of discs, or of the first body's rod; with a key, of
    positions with the system's noise."""
    if size not in SIZES:
        raise ValueError(f"`size` must be one of {SIZES}, got {size}.")
    if key is not None:
        q = q + system.noise * jr.normal(key, q.shape, q.dtype)

    def one(q: Float[Array, " dim"]) -> Array:
        centres = 0.5 + system.places(q) / (2 * system.view)
        return rod(centres[0], size) if rods else discs(centres, size)

    return jax.vmap(jax.vmap(one))(q)


def _grid(size: int) -> list[Float[Array, "size size"]]:
    """x and y of the middles of the pixels; the first row is the top."""
    at = (jnp.arange(float(size)) + 0.5) / size
    return jnp.meshgrid(at, at[::-1])


def _soft(outside: Array) -> Array:
    """One inside, a half on the edge, zero outside."""
    return jax.nn.sigmoid(-SHARPNESS * outside)
