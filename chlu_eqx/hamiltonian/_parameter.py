"""Learnable parameters that stay positive."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import positive


class Positive(eqx.Module):
    """A positive parameter, stored as its logarithm so that no step of an optimiser
    can make it zero or negative."""

    log: Float[Array, "*shape"]
    frozen: bool = eqx.field(static=True)

    def __call__(self, dtype) -> Array:
        log = jax.lax.stop_gradient(self.log) if self.frozen else self.log
        return jnp.exp(log).astype(dtype)


def check_frozen(frozen: tuple[str, ...], names: tuple[str, ...]) -> None:
    if not set(frozen) <= set(names):
        raise ValueError(f"`frozen` must be a tuple of names in {names}, got {frozen}.")


def parameter(
    name: str, value: ArrayLike, shape: tuple[int, ...], frozen: tuple[str, ...]
) -> Positive:
    value = positive(name, value, scalar=False)
    if np.shape(value) not in ((), shape):
        raise ValueError(
            f"`{name}` must be a scalar or have shape {shape}, got shape "
            f"{np.shape(value)}."
        )
    log = jnp.log(jnp.asarray(value, jnp.result_type(float)))
    return Positive(jnp.broadcast_to(log, shape), name in frozen)
