"""The likelihood of noisy observations against scipy's normal distribution."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import norm

from chlu_eqx.training import gaussian_nll


class Still(NamedTuple):
    """All stays where it was said to be."""

    scale: jax.Array

    def __call__(self, cue, num_steps):
        return jax.tree.map(lambda x: jnp.tile(x, (num_steps + 1, 1)), cue)


@given(st.floats(0.05, 20), st.integers(0, 2**32 - 1))
def test_is_that_of_normal_distributions(scale, seed):
    rng = np.random.default_rng(seed)
    cue = rng.standard_normal(2), rng.standard_normal(3)
    observed = rng.standard_normal((5, 2)), rng.standard_normal((5, 3))
    found = gaussian_nll(
        Still(jnp.asarray(scale)), jax.tree.map(jnp.asarray, (cue, observed))
    )
    logs = [norm.logpdf(x, y, scale) for x, y in zip(observed, cue, strict=True)]
    expected = -np.concatenate(logs, axis=1).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_is_in_the_dtype_of_the_observations():
    cue, observed = jnp.zeros(2, jnp.float32), jnp.ones((4, 2), jnp.float32)
    found = gaussian_nll(Still(jnp.asarray(0.5)), (cue, observed))
    assert found.dtype == jnp.float32


def test_refuses_other_shapes():
    """Which would broadcast."""
    observed = jnp.zeros((4, 1))
    with pytest.raises(ValueError, match="`model` must return the structure"):
        gaussian_nll(Still(jnp.asarray(1.0)), (jnp.zeros(2), observed))
    with pytest.raises(ValueError, match="`model` must return the structure"):
        gaussian_nll(Still(jnp.asarray(1.0)), (jnp.zeros(1), (observed, observed)))
