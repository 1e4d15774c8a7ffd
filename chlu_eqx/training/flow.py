"""The objective of Hamiltonian flows, as FlowJAX calls its own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, random_key


def flow_loss(
    params: Any,
    static: Any,
    x: Float[Array, "..."],
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
) -> Scalar:
    """The negative bound of the log-likelihood of a [`chlu_eqx.nn.HamiltonianFlow`][],
    in nats, the mean over a batch: that of the evidence or, of more than one sample,
    the importance-weighted one.

    It takes what `flowjax.train.fit_to_data` passes to a loss; for another number of
    samples give it `functools.partial(flow_loss, num_samples=8)`.

    **Arguments:**

    - `params`, `static`: the flow, as `eqx.partition(flow, eqx.is_inexact_array)` parts
        it.
    - `x`: the data, of shape `(batch, dim)`.
    - `key`: a `jax.random.key` for the momenta.
    - `num_samples`: how many to draw for each.

    **Raises:** `ValueError` if `x` is of another shape or `num_samples` is not a
    positive integer.
    """
    flow = eqx.combine(params, static)
    x, key = array("x", x, "batch", flow.dim), random_key("key", key)

    def bound(q: Array, key: PRNGKeyArray) -> Scalar:
        return flow.importance_bound(q, num_samples, key=key)

    return -jnp.mean(jax.vmap(bound)(x, jr.split(key, len(x))))
