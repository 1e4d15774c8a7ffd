"""Laws of the momentum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chlu_eqx.nn import CorrelatedEncoder, CorrelatedGaussian, GaussianEncoder


@pytest.mark.parametrize("encoder", [GaussianEncoder, CorrelatedEncoder])
def test_laws(encoder):
    """Normal, of a mean and a covariance that depend on the position."""
    q = jnp.array([[0.3, -1.0, 2.0], [-4.0, 3.0, 1.0]])
    encode = encoder(3, width=8, key=jr.key(0))

    @eqx.filter_jit
    def run(encode, q):
        law = encode(q)
        draws = jax.vmap(law.sample)(jr.split(jr.key(1), 4000))
        return law, draws, jax.vmap(law.log_prob)(draws)

    for x in q:
        law, draws, log_probs = run(encode, x)
        if isinstance(law, CorrelatedGaussian):
            np.testing.assert_array_equal(law.factor, np.tril(law.factor))
            assert np.diag(law.factor).min() > 0
            covariance = law.factor @ law.factor.T
            assert np.abs(covariance[np.tril_indices(3, -1)]).min() > 1e-3
        else:
            covariance = jnp.diag(law.scale**2)
        want = multivariate_normal(law.mean, covariance)
        np.testing.assert_allclose(log_probs, want.logpdf(draws), rtol=1e-9)
        scale = np.sqrt(np.diag(covariance))
        off = (draws.mean(0) - law.mean) / scale
        assert np.abs(off).max() < 5 / 4000**0.5
        found = np.cov(draws.T) / np.outer(scale, scale)
        correlation = covariance / np.outer(scale, scale)
        np.testing.assert_allclose(found, correlation, atol=0.1)
    first, second = (run(encode, x)[0].mean for x in q)
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("encoder", [GaussianEncoder, CorrelatedEncoder])
def test_bad_sizes(encoder):
    for size, name in (((0, 4), "dim"), ((2, 0), "width")):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            encoder(size[0], width=size[1], key=jr.key(0))
