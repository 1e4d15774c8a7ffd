"""Sequences to read: two numbers to add, far apart, and digits pixel by pixel."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .digits import Digits


def adding(
    key: PRNGKeyArray, batch: int, length: int
) -> tuple[Float[Array, "batch length 2"], Float[Array, " batch"]]:
    """The adding problem (Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural
    Computation 9(8), 1997): numbers from [0, 1], two of them marked, one in each half;
    and the sum of these two. To answer 1 whatever comes has a squared error of 1/6."""
    values, first, second = jr.split(key, 3)
    values = jr.uniform(values, (batch, length))
    middle = length // 2
    i = jr.randint(first, (batch,), 0, middle)
    j = jr.randint(second, (batch,), middle, length)
    marks = jax.nn.one_hot(i, length) + jax.nn.one_hot(j, length)
    return jnp.stack([values, marks], axis=-1), jnp.sum(values * marks, axis=1)


def pixels(
    images: Float[np.ndarray, "images pixels"], order: Int[np.ndarray, " pixels"]
) -> Float[np.ndarray, "images pixels 1"]:
    """Images as sequences of their pixels in a given order."""
    return np.asarray(images, np.float32)[:, order, None]


def reading_order(data: Digits, permuted: bool) -> Int[np.ndarray, " pixels"]:
    """Row by row; or one random order, the same for all images."""
    n = data.train.shape[1]
    return np.random.default_rng(0).permutation(n) if permuted else np.arange(n)
