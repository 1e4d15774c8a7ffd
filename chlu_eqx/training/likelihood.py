"""Likelihoods of noisy observations."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree, Scalar

from .._checks import like


def gaussian_nll(
    model: Any, window: tuple[PyTree, PyTree], *, key: PRNGKeyArray | None = None
) -> Scalar:
    r"""The negative logarithm of a Gaussian likelihood with the model's own scale, per
    number observed,

    $$\frac1N \sum_{i=1}^N \left[\frac{(x_i - y_i)^2}{2\sigma^2} + \log\sigma
    + \tfrac12 \log 2\pi\right].$$

    A `loss` of [`chlu_eqx.training.fit_trajectories`][].

    **Arguments:**

    - `model`: a callable `(cue, num_steps) -> trajectory` with a positive attribute
        `scale`, such as a [`chlu_eqx.nn.ObservedDynamics`][].
    - `window`: the pair `(cue, observed)`: what the model finds the trajectory by, and
        a pytree like the trajectory.
    - `key`: not used.

    **Raises:** `ValueError` if the trajectory has other shapes than what is observed.
    """
    del key
    cue, observed = window
    num_steps = jax.tree.leaves(observed)[0].shape[0] - 1
    trajectory = model(cue, num_steps)
    trajectory = like("model", trajectory, observed, "return")
    errors = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), observed, trajectory)
    size = sum(x.size for x in jax.tree.leaves(observed))
    mean = jax.tree.reduce(jnp.add, errors) / size
    scale = jnp.asarray(model.scale, mean.dtype)
    return mean / (2 * scale**2) + jnp.log(scale) + jnp.log(2 * jnp.pi) / 2
