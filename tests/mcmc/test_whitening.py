import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chlu_eqx.mcmc import FisherMetric, Whitening


MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


def _logdensity(q):
    away = q - MEAN
    return -away @ jnp.asarray(np.linalg.inv(COVARIANCE)) @ away / 2


def test_normal_becomes_standard():
    whitening = Whitening(MEAN, COVARIANCE)
    white = whitening.logdensity(_logdensity)
    z = jr.normal(jr.key(0), (3,))
    np.testing.assert_allclose(white(z), -jnp.sum(z**2) / 2, rtol=1e-12)
    np.testing.assert_allclose(whitening.inverse(whitening.forward(z)), z, atol=1e-12)
    single = whitening.inverse(whitening.forward(z.astype(jnp.float32)))
    assert single.dtype == jnp.float32


def test_of_samples():
    samples = multivariate_normal(MEAN, COVARIANCE).rvs(100, random_state=0)
    white = jax.vmap(Whitening.of_samples(samples).inverse)(jnp.asarray(samples))
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=1e-12)


def test_metric():
    """Of the model in the new coordinates."""
    x = jr.normal(jr.key(1), (20, 3))
    information = lambda eta: jnp.exp(-(eta**2))  # noqa: E731
    whitening = Whitening(MEAN, COVARIANCE)
    root = np.linalg.cholesky(COVARIANCE)
    metric = FisherMetric(lambda q: x @ q, information, 2.0)
    precision = 2 * root.T @ root
    there = FisherMetric(lambda z: x @ whitening.forward(z), information, precision)
    z = jr.normal(jr.key(2), (3,))
    np.testing.assert_allclose(whitening.metric(metric)(z), there(z), rtol=1e-10)
    diagonal = whitening.metric(lambda q: 1 + q**2)(z)
    matrix = whitening.metric(lambda q: jnp.diag(1 + q**2))(z)
    np.testing.assert_allclose(diagonal, matrix, rtol=1e-12)


@pytest.mark.parametrize(
    "mean, covariance",
    [
        (MEAN, np.eye(2)),
        (MEAN[0], np.eye(1)),
        (MEAN, np.diag([1.0, 1.0, 0.0])),
        (MEAN, np.triu(np.ones((3, 3)))),
        (MEAN, np.full((3, 3), np.nan)),
        (MEAN * np.inf, np.eye(3)),
    ],
)
def test_bad_input(mean, covariance):
    with pytest.raises(ValueError, match="`mean` must .* `covariance`"):
        Whitening(mean, covariance)


def test_too_few_samples():
    with pytest.raises(ValueError, match=r"`samples` must have .* got shape \(3, 3\)"):
        Whitening.of_samples(np.eye(3))
