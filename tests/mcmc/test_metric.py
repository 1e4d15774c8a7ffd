import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from chlu_eqx.mcmc import FisherMetric, SoftAbsMetric


X = jr.normal(jr.key(0), (50, 3))


def _information(eta):
    return jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)


def _loglikelihood(q, y):
    return jnp.sum(y * jax.nn.log_sigmoid(X @ q) + (1 - y) * jax.nn.log_sigmoid(-X @ q))


def test_softabs_metric():
    """Of a normal density, the softened precision; the same from a pytree."""
    precision = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    metric = SoftAbsMetric(lambda q: -q @ precision @ q / 2, 1e6)
    np.testing.assert_allclose(metric(jnp.ones(2)), precision, rtol=1e-12)
    tree = {"a": jnp.ones(1), "b": jnp.ones(())}
    metric = SoftAbsMetric(
        lambda q: -ravel_pytree(q)[0] @ precision @ ravel_pytree(q)[0] / 2, 1e6
    )
    np.testing.assert_allclose(metric(tree), precision, rtol=1e-12)


def test_fisher_is_the_mean_hessian():
    """Over the outcomes; in a logistic regression the Hessian is the same for all."""
    q = jnp.array([0.3, -1.0, 0.5])
    metric = FisherMetric(lambda q: X @ q, _information, 0.0 + 2.0)
    y = jnp.where(jr.uniform(jr.key(1), (50,)) < 0.5, 1.0, 0.0)
    expected = -jax.hessian(_loglikelihood)(q, y) + 2 * jnp.eye(3)
    np.testing.assert_allclose(metric(q), expected, rtol=1e-12)


def test_fisher_is_the_variance_of_the_score():
    """Of a parameter that is not linear in the position: of a Poisson law."""
    predictor = lambda q: jnp.exp(jnp.sin(X @ q))  # noqa: E731
    metric = FisherMetric(predictor, lambda rate: 1 / rate, jnp.array([1.0, 2.0, 3.0]))
    q = jnp.array([0.3, -1.0, 0.5])
    counts = jr.poisson(jr.key(2), predictor(q), (40_000, 50)).astype(float)

    def loglikelihood(q, counts):
        rate = predictor(q)
        return jnp.sum(counts * jnp.log(rate) - rate)

    scores = jax.vmap(jax.grad(loglikelihood), (None, 0))(q, counts)
    expected = np.cov(scores.T) + np.diag([1.0, 2.0, 3.0])
    np.testing.assert_allclose(metric(q), expected, rtol=0.05, atol=0.5)


def test_precision_may_be_a_matrix():
    precision = jnp.eye(3) + 0.5
    one = FisherMetric(lambda q: X @ q, _information, precision)
    other = FisherMetric(lambda q: X @ q, _information, 1.0)
    q = jnp.zeros(3)
    np.testing.assert_allclose(one(q) - other(q), precision - jnp.eye(3), atol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="`alpha` must be positive"):
        SoftAbsMetric(lambda q: -q @ q, 0.0)
    for precision in (0.0, jnp.array([1.0, -1.0])):
        with pytest.raises(ValueError, match="`precision` must be positive"):
            FisherMetric(lambda q: X @ q, _information, precision)
    with pytest.raises(ValueError, match="`precision` must be a number, a diagonal"):
        FisherMetric(lambda q: X @ q, _information, jnp.ones((1, 1, 1)))
    with pytest.raises(ValueError, match=r"`precision` .* got shape \(2,\)"):
        FisherMetric(lambda q: X @ q, _information, jnp.ones(2))(jnp.ones(3))
    with pytest.raises(ValueError, match=r"got shapes \(50,\) and \(3,\)"):
        FisherMetric(lambda q: X @ q, lambda eta: eta[:3], 1.0)(jnp.ones(3))
