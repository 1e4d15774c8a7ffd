"""Variational objectives against exact likelihoods and plain formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.integrate import quad

from chlu_eqx.nn import AbstractLatentDynamics, Gaussian, HamiltonianGenerativeNetwork
from chlu_eqx.training import ConstrainedELBO, fit_trajectories, negative_elbo


class Still(AbstractLatentDynamics):
    """A picture of one pixel that shows z, which does not move: z ~ N(0, 1),
    x_t ~ N(z, 1/2), so that the likelihood is a normal distribution's."""

    mean: jax.Array
    log_scale: jax.Array
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    context: int = eqx.field(static=True)
    infer_index: int = eqx.field(static=True)

    def __init__(self, mean, log_scale):
        self.mean, self.log_scale = mean, log_scale
        self.image_shape, self.context, self.infer_index = (1, 1, 1), 1, 0

    @property
    def encoder(self):
        # That of the model adds the logarithm of its scale at the start.
        return lambda frames: (self.mean, self.log_scale + 3)

    @property
    def prior(self):
        return Gaussian(jnp.zeros(1), jnp.ones(1))

    def state(self, z):
        return z

    def move(self, state, num_steps, speed=1.0):
        return jnp.tile(state, (num_steps + 1, 1))

    def decode(self, state):
        return state.reshape(1, 1, 1)

    def nll(self, mean, frames):
        return (mean - frames) ** 2


FRAMES = jnp.array([0.3, 0.9, 0.5, 0.6]).reshape(4, 1, 1, 1)
POINTS = FRAMES.ravel()
# Of z given the frames: precision 1 + 2 · 4.
POSTERIOR = Still(2 * jnp.sum(POINTS)[None] / 9, jnp.log(jnp.full(1, 9.0)) / -2)


def _bound(model, num_draws=20_000):
    """In nats, of all frames, and its standard error."""
    loss = jax.vmap(lambda key: negative_elbo(model, FRAMES, key=key, weight=1 / 4))
    found = 4 * loss(jr.split(jr.key(0), num_draws)) + 2 * np.log(np.pi)
    return float(jnp.mean(found)), float(jnp.std(found)) / num_draws**0.5


def test_bound_of_the_likelihood():
    """The exact posterior's bound is the negative log-likelihood, another's is more:
    by its divergence from the posterior."""
    exact = -stats.multivariate_normal(np.zeros(4), np.eye(4) / 2 + 1).logpdf(POINTS)
    found, error = _bound(POSTERIOR)
    assert abs(found - exact) < 5 * error
    other = Still(POSTERIOR.mean + 0.3, POSTERIOR.log_scale + 0.5)
    truth = Gaussian(POSTERIOR.mean, jnp.exp(POSTERIOR.log_scale))
    gap = Gaussian(other.mean, jnp.exp(other.log_scale)).divergence(truth)
    found, error = _bound(other)
    assert gap > 0.1 and abs(found - exact - gap) < 5 * error


def test_divergence():
    p, q = (0.3, 0.5), (-0.4, 1.7)
    log = [lambda x, m=m, s=s: stats.norm(m, s).logpdf(x) for m, s in (p, q)]
    want, _ = quad(lambda x: np.exp(log[0](x)) * (log[0](x) - log[1](x)), -6, 6)
    first, second = (Gaussian(jnp.array([m]), jnp.array([s])) for m, s in (p, q))
    np.testing.assert_allclose(first.divergence(second), want, rtol=1e-8)
    both = Gaussian(jnp.array([0.3, 0.3]), jnp.array([0.5, 0.5]))
    twice = Gaussian(jnp.full(2, -0.4), jnp.full(2, 1.7))
    np.testing.assert_allclose(both.divergence(twice), 2 * want, rtol=1e-8)


def test_without_a_key():
    """The posterior's mean, and every frame."""
    mean = POSTERIOR.mean[0]
    gauss = Gaussian(POSTERIOR.mean, jnp.exp(POSTERIOR.log_scale))
    want = jnp.mean((POINTS - mean) ** 2) + 0.7 * gauss.divergence(POSTERIOR.prior)
    np.testing.assert_allclose(negative_elbo(POSTERIOR, FRAMES, weight=0.7), want)


def test_some_frames_stand_for_all():
    """The mean over a random part is on average that over all."""
    sharp = Still(jnp.array([0.2]), jnp.array([-20.0]))
    loss = jax.vmap(
        lambda key: negative_elbo(sharp, FRAMES, key=key, weight=0.0, num_decoded=2)
    )
    found = loss(jr.split(jr.key(0), 3000))
    pairs = [(i, j) for i in range(4) for j in range(i)]
    means = [np.mean((POINTS[np.array(pair)] - 0.2) ** 2) for pair in pairs]
    np.testing.assert_allclose(np.unique(found.round(6)), np.unique(np.round(means, 6)))
    np.testing.assert_allclose(found.mean(), np.mean(means), rtol=0.05)


@pytest.mark.parametrize(("tolerance", "sign"), [(1e-3, 1), (0.5, -1)])
def test_multiplier_ascends(tolerance, sign):
    """Descent raises it while the error is above the tolerance, and lowers it below;
    the model's gradient is the Lagrangian's."""
    held = ConstrainedELBO(POSTERIOR, tolerance, multiplier=1.5)
    np.testing.assert_allclose(held.multiplier, 1.5, rtol=1e-6)
    value, grads = eqx.filter_value_and_grad(ConstrainedELBO.loss)(held, FRAMES)
    error = jnp.mean((POINTS - POSTERIOR.mean) ** 2)
    after = eqx.apply_updates(held, jax.tree.map(lambda g: -g, grads))
    assert sign * (error - tolerance) > 0
    assert sign * (after.multiplier - held.multiplier) > 0

    def lagrangian(model, weight):
        distortion = negative_elbo(model, FRAMES, weight=0.0)
        divergence = negative_elbo(model, FRAMES) - distortion
        return weight * (distortion - tolerance) + divergence / 4

    np.testing.assert_allclose(value, lagrangian(POSTERIOR, 1.5), rtol=1e-6)
    want = eqx.filter_grad(lagrangian)(POSTERIOR, 1.5)
    np.testing.assert_allclose(grads.model.mean, want.mean, rtol=1e-6)
    np.testing.assert_allclose(grads.model.log_scale, want.log_scale, rtol=1e-6)


def test_constraint_is_met():
    """At the saddle the error is the tolerance, and the divergence the least at it."""
    start = ConstrainedELBO(Still(jnp.zeros(1), jnp.zeros(1)), 0.08)
    spread = float(jnp.var(POINTS))
    with jax.numpy_dtype_promotion("standard"):  # old optax mixes dtypes
        fit = fit_trajectories(
            start,
            FRAMES[None],
            optax.adam(optax.exponential_decay(0.1, 500, 0.5)),
            curriculum=[(3, 3000)],
            key=jr.key(0),
            batch_size=64,
            loss=ConstrainedELBO.loss,
            report_every=500,
        )
    mean, scale = fit.last.model.mean, jnp.exp(fit.last.model.log_scale)
    error = spread + (mean - POINTS.mean()) ** 2 + scale**2
    np.testing.assert_allclose(error, 0.08, rtol=0.05)
    # Stationary in the mean and the scale: 4 · 2λ (m - x̄) + m = 0, 4 · 2λ s² + s² = 1.
    multiplier = 4 * fit.last.multiplier
    np.testing.assert_allclose(scale**-2, 1 + 2 * multiplier, rtol=0.1)
    want = 2 * multiplier * POINTS.mean() / (1 + 2 * multiplier)
    np.testing.assert_allclose(mean, want, rtol=0.05)


def test_bad_input():
    with pytest.raises(ValueError, match="`frames` must be 2 or more"):
        negative_elbo(POSTERIOR, FRAMES[:1])
    model = HamiltonianGenerativeNetwork((4, 4, 1), latent=1, width=4, key=jr.key(0))
    with pytest.raises(ValueError, match="`frames` must be 6 or more: the inferred"):
        negative_elbo(model, jnp.zeros((5, 4, 4, 1)))
    with pytest.raises(ValueError, match="`weight` must be non-negative"):
        negative_elbo(POSTERIOR, FRAMES, weight=-1.0)
    for number in (0, -1):
        with pytest.raises(ValueError, match="`num_decoded` must be a positive"):
            negative_elbo(POSTERIOR, FRAMES, key=jr.key(0), num_decoded=number)
    for name in ("tolerance", "multiplier"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive"):
            ConstrainedELBO(POSTERIOR, **{name: 0.0})
    with pytest.raises(Exception, match=r"must be finite and in \[0, 1\]"):
        jax.block_until_ready(negative_elbo(POSTERIOR, FRAMES + 1))
