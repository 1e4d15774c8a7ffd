"""Random search."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Range(NamedTuple):
    """What is drawn uniformly between two numbers, or its logarithm is."""

    low: float
    high: float
    log: bool = True


def configurations(
    ranges: dict[str, Range], count: int, seed: int
) -> dict[str, Float[Array, " count"]]:
    """Random ones, by the names of the ranges. Those of two methods differ in nothing
    but what ranges they have, from the first on."""
    uniform = np.random.default_rng(seed).random((len(ranges), count))
    found = {}
    for u, (name, (low, high, log)) in zip(uniform, ranges.items(), strict=True):
        x = low * (high / low) ** u if log else low + (high - low) * u
        found[name] = jnp.asarray(x)
    return found
