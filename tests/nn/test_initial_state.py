"""Dynamics behind noisy observations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import chlu_eqx as cx
from chlu_eqx.nn import FreeInitialStates, InferredInitialState, ObservedDynamics
from chlu_eqx.training import fit_trajectories, gaussian_nll


class Line(eqx.Module):
    """Uniform motion at the learned multiple of a velocity: its likelihood has a
    maximum in closed form, by linear regression."""

    factor: jax.Array

    def __call__(self, y0, num_steps):
        q0, v0 = y0
        at = lambda t: q0 + self.factor * t * v0  # noqa: E731
        return jax.vmap(at)(jnp.arange(num_steps + 1.0))


def test_the_state_is_inferred_from_the_first_rows():
    infer = InferredInitialState(3, 2, num_observed=4, hidden_size=5, key=jr.key(0))
    q, v = jr.normal(jr.key(1), (6, 2)), jr.normal(jr.key(2), (6, 1))
    a, b = infer((q, v))
    rows = jnp.concatenate([q, v], axis=1)
    np.testing.assert_allclose(jnp.concatenate([a, b]), infer.encoder(rows[:4]), 1e-13)
    later = infer((q.at[4:].set(7.0), v.at[4:].set(7.0)))
    np.testing.assert_array_equal((a, b), later)
    slopes = jax.jit(jax.jacobian(lambda q: infer((q, v))[0]))(q)
    assert (np.abs(slopes[:, :4]).max((0, 2)) > 0).all()


def _dynamics(name):
    network = cx.nn.VariationalIntegratorNetwork(
        1, potential=lambda q: -9.82 * jnp.cos(q[0]), key=jr.key(0)
    )
    return {
        "velocities": network,
        "positions": network.positions,
        "unit": cx.nn.CHLU(1, potential=cx.Confinement(), key=jr.key(0)),
    }[name]


@pytest.mark.parametrize("name", ["velocities", "positions", "unit"])
def test_goes_with_any_dynamics(name):
    """A call is the dynamics from the state; gradients reach all that is learned."""
    dynamics = _dynamics(name)
    states = jnp.array([[0.3], [1.0]]), jnp.array([[0.31], [-0.9]])
    index = jnp.full(6, 1)
    model = ObservedDynamics(dynamics, FreeInitialStates(states))
    expected = eqx.filter_jit(dynamics)((states[0][1], states[1][1]), 5)
    np.testing.assert_allclose(eqx.filter_jit(model)(index, 5), expected, 1e-13)
    width = len(jax.tree.leaves(expected))
    infer = InferredInitialState(width, 1, num_observed=3, key=jr.key(0))
    inferred = ObservedDynamics(dynamics, infer)
    slope = eqx.filter_jit(eqx.filter_grad(gaussian_nll))
    for either, cue in ((model, index), (inferred, expected)):
        observed = jax.tree.map(lambda x: x + 0.1, expected)
        slopes = slope(either, (cue, observed))
        for leaf in jax.tree.leaves((slopes.initial_state, slopes._scale)):
            assert np.abs(leaf).max() > 0


def test_free_states_reach_the_maximum_of_the_likelihood():
    """Of straight lines, fitted by numpy; the scale is the root mean square of the
    residuals."""
    times, key = 8, jr.key(0)
    truth = jnp.array([[1.0], [-2.0], [0.5]]), jnp.array([[0.3], [0.1], [-0.4]])
    line = Line(jnp.array(1.0))
    noise = 0.2 * jr.normal(key, (3, times, 1))
    observed = jax.vmap(lambda *y: line(y, times - 1))(*truth) + noise
    states = observed[:, 0], jnp.zeros((3, 1))
    model = ObservedDynamics(line, FreeInitialStates(states))
    frozen = eqx.tree_at(lambda m: m.dynamics.factor, model, 1.0)
    index = jnp.broadcast_to(jnp.arange(3)[:, None], (3, times))
    with jax.numpy_dtype_promotion("standard"):  # of old optax
        fit = fit_trajectories(
            frozen,
            (index, observed),
            optax.adam(optax.cosine_decay_schedule(0.03, 1500)),
            curriculum=[(times - 1, 1500)],
            key=key,
            loss=gaussian_nll,
            batch_size=16,
        )
    t = np.arange(times)
    slope, offset = np.polyfit(t, np.asarray(observed[..., 0]).T, 1)
    found = fit.model.initial_state.states
    np.testing.assert_allclose(found[0][:, 0], offset, atol=2e-3)
    np.testing.assert_allclose(found[1][:, 0], slope, atol=2e-3)
    residuals = np.asarray(observed[..., 0]).T - (offset + slope * t[:, None])
    assert float(fit.model.scale) == pytest.approx(residuals.std(), rel=0.01)


def test_refusals():
    with pytest.raises(ValueError, match="`scale` must be positive"):
        ObservedDynamics(lambda y, n: y, FreeInitialStates(jnp.zeros(3)), scale=0.0)
    with pytest.raises(ValueError, match="`scale` must be a scalar"):
        ObservedDynamics(
            lambda y, n: y, FreeInitialStates(jnp.zeros(3)), scale=jnp.ones(2)
        )
    with pytest.raises(ValueError, match="`num_observed` must be a positive integer"):
        InferredInitialState(2, 1, num_observed=0, key=jr.key(0))
    infer = InferredInitialState(2, 1, num_observed=5, key=jr.key(0))
    with pytest.raises(ValueError, match="at least `num_observed` = 5 .* got 4"):
        infer(jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"must be .* shape \(times, 2\)"):
        infer(jnp.zeros((6, 3)))
    for states in ((jnp.zeros((2, 1)), jnp.zeros((3, 1))), jnp.zeros(()), ()):
        with pytest.raises(ValueError, match="`states` must "):
            FreeInitialStates(states)
    free = FreeInitialStates(jnp.zeros((2, 1)))
    for wrong in (-1, 2):
        with pytest.raises(Exception, match=r"`index` must be in \[0, 2\)"):
            free(jnp.full(3, wrong))
