"""A buffer of states that persist between steps of training."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from .._checks import (
    count,
    function,
    in_closed_unit_interval,
    leading,
    like,
    nonnegative,
    random_key,
    state,
)


class ReplayBuffer(eqx.Module):
    """States of Markov chains that go on from one step of training to the next
    (persistent contrastive divergence: Tieleman, "Training Restricted Boltzmann
    Machines using Approximations to the Likelihood Gradient", ICML 2008), and where new
    ones start (Du & Mordatch, arXiv 1903.08689). A pytree of fixed shapes.

    !!! Example

        ```python
        buffer = ReplayBuffer(10_000, NoiseSeed(jnp.zeros(64), 0.5), key=key)
        chosen, states = buffer.draw(key, 128, fresh=0.05)
        buffer = buffer.put(chosen, evolve(states))
        ```
    """

    states: PyTree[Float[Array, "capacity ..."]]
    seed: Callable[[PRNGKeyArray], PyTree]

    def __init__(
        self,
        capacity: int,
        seed: Callable[[PRNGKeyArray], PyTree],
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `capacity`: how many states to hold.
        - `seed`: where chains start: a callable from a key to one state, such as
            [`chlu_eqx.training.NoiseSeed`][] or [`chlu_eqx.training.DataSeed`][].
        - `key`: a `jax.random.key`, for the first states.

        **Raises:** `ValueError` if `capacity` is not positive.
        """
        function("seed", seed)
        keys = jr.split(random_key("key", key), count("capacity", capacity))
        self.states = jax.vmap(seed)(keys)
        self.seed = seed

    @property
    def capacity(self) -> int:
        return jax.tree.leaves(self.states)[0].shape[0]

    def draw(
        self, key: PRNGKeyArray, batch_size: int, *, fresh: float = 0.05
    ) -> tuple[Int[Array, " batch"], PyTree[Float[Array, "batch ..."]]]:
        """Different states, each replaced by a new seed with the probability `fresh`.

        **Arguments:**

        - `key`: a `jax.random.key`.
        - `batch_size`: how many, at most `capacity`.
        - `fresh`: a probability.

        **Returns:** where they are in the buffer, and the states, with a leading axis
        of length `batch_size`.

        **Raises:** `ValueError` if `batch_size` is larger than the capacity or `fresh`
        is no probability.
        """
        if count("batch_size", batch_size) > self.capacity:
            raise ValueError(
                "`batch_size` must be positive and at most the capacity of the buffer, "
                f"{self.capacity}, got {batch_size}."
            )
        fresh = in_closed_unit_interval("fresh", fresh)
        which, whether, seeds = jr.split(random_key("key", key), 3)
        chosen = jr.choice(which, self.capacity, (batch_size,), replace=False)
        new = jax.vmap(self.seed)(jr.split(seeds, batch_size))
        renewed = jr.bernoulli(whether, fresh, (batch_size,))
        states = jax.tree.map(
            lambda old, new: jax.vmap(jnp.where)(renewed, new, old[chosen]),
            self.states,
            new,
        )
        return chosen, states

    def put(
        self, chosen: Int[Array, " batch"], states: PyTree[Float[Array, "batch ..."]]
    ) -> "ReplayBuffer":
        """The buffer with these states at the places that [`draw`][
        chlu_eqx.training.ReplayBuffer.draw] told.

        **Raises:** `ValueError` if they are not of the shapes of those.
        """
        places = jax.tree.map(lambda old: old[chosen], self.states)
        states = like("states", states, places)
        new = jax.tree.map(lambda old, x: old.at[chosen].set(x), self.states, states)
        return eqx.tree_at(lambda buffer: buffer.states, self, new)


class NoiseSeed(eqx.Module):
    r"""States $\mu + \sigma \xi$: a centroid, and Gaussian noise."""

    mean: PyTree[Float[Array, "..."]]
    scale: ArrayLike

    def __init__(self, mean: PyTree[Float[Array, "..."]], scale: ArrayLike):
        r"""**Arguments:**

        - `mean`: $\mu$, one state.
        - `scale`: $\sigma$, non-negative.

        **Raises:** `ValueError` if `scale` is negative.
        """
        self.mean = state("mean", mean)
        self.scale = nonnegative("scale", scale, scalar=False)

    def __call__(self, key: PRNGKeyArray) -> PyTree[Float[Array, "..."]]:
        return _noisy(self.mean, self.scale, random_key("key", key))


class DataSeed(eqx.Module):
    r"""States $x + \sigma \xi$: a datum $x$ drawn at random, and Gaussian noise."""

    data: PyTree[Float[Array, "samples ..."]]
    scale: ArrayLike

    def __init__(
        self, data: PyTree[Float[Array, "samples ..."]], scale: ArrayLike = 0.0
    ):
        r"""**Arguments:**

        - `data`: states, with a leading axis.
        - `scale`: $\sigma$, non-negative.

        **Raises:** `ValueError` if there are no data, their leaves are not of one
        number, or `scale` is negative.
        """
        leading("data", data)
        self.data = state("data", data)
        self.scale = nonnegative("scale", scale, scalar=False)

    def __call__(self, key: PRNGKeyArray) -> PyTree[Float[Array, "..."]]:
        which, noise = jr.split(random_key("key", key))
        i = jr.randint(which, (), 0, jax.tree.leaves(self.data)[0].shape[0])
        return _noisy(jax.tree.map(lambda x: x[i], self.data), self.scale, noise)


def _noisy(state: PyTree, scale: ArrayLike, key: PRNGKeyArray) -> PyTree:
    leaves, structure = jax.tree.flatten(state)
    keys = jr.split(key, len(leaves))
    return structure.unflatten(
        x + jnp.asarray(scale, x.dtype) * jr.normal(k, x.shape, x.dtype)
        for k, x in zip(keys, leaves, strict=True)
    )
