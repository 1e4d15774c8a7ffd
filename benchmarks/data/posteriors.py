"""Laws to draw from, each with a metric and with draws to compare with."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.scipy.optimize import minimize
from jaxtyping import Array, Float, PRNGKeyArray, Scalar
from sklearn.datasets import load_wine

from chlu_eqx.mcmc import FisherMetric, SoftAbsMetric, Whitening


class Posterior(NamedTuple):
    """A log density of `dim` numbers, a metric for each sharpness α (of which those do
    not depend that are not softened), and draws of the law."""

    logdensity: Callable[[Array], Scalar]
    metric: Callable[[Array, Scalar], Array]
    draws: Float[Array, "draws dim"]

    @property
    def dim(self) -> int:
        return self.draws.shape[1]


DRAWS = 4000


def _softened(logdensity: Callable[[Array], Scalar]) -> Callable:
    return lambda q, alpha: SoftAbsMetric(logdensity, alpha)(q)


def nuts_draws(
    logdensity: Callable[[Array], Scalar],
    dim: int,
    step_size: float = 0.4,
    chains: int = 80,
) -> Float[Array, "draws dim"]:
    """By BlackJAX's NUTS, of a law that is about standard normal: every tenth of many
    chains, after 300 steps of each."""
    sampler = blackjax.nuts(logdensity, step_size, jnp.ones(dim))
    kept, apart = DRAWS // chains, 10

    def move(state, key):
        return sampler.step(key, state)[0], state.position

    @jax.jit
    @jax.vmap
    def chain(key: PRNGKeyArray) -> Array:
        start, key = jr.split(key)
        state = sampler.init(jr.normal(start, (dim,)), start)
        _, positions = jax.lax.scan(move, state, jr.split(key, 300 + apart * kept))
        return positions[300::apart]

    return chain(jr.split(jr.key(1), chains)).reshape(-1, dim)


# Of the coefficients of a regression.
PRIOR_VARIANCE = 10.0


def _regression(x: np.ndarray, y: np.ndarray) -> Posterior:
    """Logistic, in coordinates in which Laplace's approximation is standard normal."""
    dim, signs = x.shape[1], jnp.asarray(2.0 * y - 1)

    def logdensity(q: Array) -> Scalar:
        fit = jnp.sum(jax.nn.log_sigmoid(signs * (x @ q)))
        return fit - jnp.sum(q**2) / (2 * PRIOR_VARIANCE)

    negative = lambda q: -logdensity(q)  # noqa: E731
    mode = jax.jit(lambda q: minimize(negative, q, method="BFGS").x)(jnp.zeros(dim))
    covariance = jnp.linalg.inv(jax.hessian(negative)(mode))
    whitening = Whitening(np.asarray(mode), np.asarray(covariance))
    information = lambda eta: jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)  # noqa: E731
    fisher = FisherMetric(lambda q: x @ q, information, 1 / PRIOR_VARIANCE)
    metric, white = whitening.metric(fisher), whitening.logdensity(logdensity)
    return Posterior(white, lambda q, alpha: metric(q), nuts_draws(white, dim))


def logistic(dim: int) -> Posterior:
    """Twenty observations for each coefficient, the first of which is the intercept:
    the others of correlated covariates."""
    rng = np.random.default_rng(dim)
    count = 20 * dim
    common = rng.normal(size=(count, 1))
    x = (rng.normal(size=(count, dim - 1)) + common) / np.sqrt(2)
    x = np.hstack([np.ones((count, 1)), x])
    probability = 1 / (1 + np.exp(-x @ rng.normal(size=dim)))
    return _regression(x, rng.random(count) < probability)


def wine() -> Posterior:
    """Whether a wine of scikit-learn's 178 (Aeberhard & Forina, UCI, 1992) is of the
    second kind, by 13 measurements, standardised, and an intercept."""
    x, kinds = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return _regression(np.hstack([np.ones((len(x), 1)), x]), kinds == 1)


BANANA_WIDTH = 0.3


def banana() -> Posterior:
    r"""$q_1 \sim \mathcal N(0, 1)$, $q_2 \mid q_1 \sim \mathcal N(q_1^2, 0.3^2)$, with
    the metric in which it is normal."""

    def white(q: Array) -> Array:
        return jnp.stack([q[0], (q[1] - q[0] ** 2) / BANANA_WIDTH])

    def metric(q: Array, alpha: Scalar) -> Array:
        jacobian = jax.jacfwd(white)(q)
        return jacobian.T @ jacobian

    z = np.random.default_rng(0).normal(size=(DRAWS, 2))
    draws = np.stack([z[:, 0], z[:, 0] ** 2 + BANANA_WIDTH * z[:, 1]], 1)
    return Posterior(lambda q: -jnp.sum(white(q) ** 2) / 2, metric, jnp.asarray(draws))


def funnel(count: int) -> Posterior:
    r"""Neal's: $v \sim \mathcal N(0, 3^2)$ and $x_i \mid v \sim \mathcal N(0, e^{-v})$,
    `count` of them."""

    def logdensity(q: Array) -> Scalar:
        v, x = q[0], q[1:]
        return -(v**2) / 18 - jnp.exp(v) * jnp.sum(x**2) / 2 + count * v / 2

    rng = np.random.default_rng(count)
    v = 3 * rng.normal(size=(DRAWS, 1))
    draws = np.hstack([v, np.exp(-v / 2) * rng.normal(size=(DRAWS, count))])
    return Posterior(logdensity, _softened(logdensity), jnp.asarray(draws))


# Rubin, "Estimation in parallel randomized experiments", J. Educ. Stat. 6(4), 1981.
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools() -> Posterior:
    r"""$y_j \sim \mathcal N(\theta_j, \sigma_j^2)$,
    $\theta_j \sim \mathcal N(\mu, \tau^2)$, $\mu \sim \mathcal N(0, 5^2)$ and
    $\tau \sim \text{half-Cauchy}(5)$, over $(\mu, \log\tau, \theta)$, so centred,
    whitened by draws that are made uncentred."""
    effects, errors = jnp.asarray(EFFECTS), jnp.asarray(ERRORS)

    def shared(q: Array, theta: Array) -> Scalar:
        mu, log_tau = q[0], q[1]
        fit = -jnp.sum(((effects - theta) / errors) ** 2) / 2
        scale = log_tau - jnp.log1p(jnp.exp(2 * log_tau) / 25)
        return fit - mu**2 / 50 + scale

    def centred(q: Array) -> Scalar:
        theta = q[2:]
        away = (theta - q[0]) * jnp.exp(-q[1])
        return shared(q, theta) - jnp.sum(away**2) / 2 - len(effects) * q[1]

    def from_uncentred(q: Array) -> Array:
        return q.at[2:].set(q[0] + jnp.exp(q[1]) * q[2:])

    # In units of their spreads.
    units = jnp.ones(10).at[0].set(4.0)

    def uncentred(z: Array) -> Scalar:
        q = units * z
        return shared(q, from_uncentred(q)[2:]) - jnp.sum(q[2:] ** 2) / 2

    draws = nuts_draws(uncentred, 10, 0.2)
    draws = jax.vmap(lambda z: from_uncentred(units * z))(draws)
    whitening = Whitening.of_samples(draws)
    white = whitening.logdensity(centred)
    return Posterior(white, _softened(white), jax.vmap(whitening.inverse)(draws))


POSTERIORS: dict[str, Callable[[], Posterior]] = {
    "logistic, d = 5": partial(logistic, 5),
    "logistic, d = 14": partial(logistic, 14),
    "logistic, d = 25": partial(logistic, 25),
    "wine, d = 14": wine,
    "banana": banana,
    "eight schools": eight_schools,
    "funnel, 1 + 2": partial(funnel, 2),
    "funnel, 1 + 10": partial(funnel, 10),
}
