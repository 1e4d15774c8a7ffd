import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import chlu_eqx as cx
from chlu_eqx.training import (
    contrastive_steps,
    ContrastiveState,
    denoising_wake,
    free_sleep,
    langevin_sleep,
    NoiseSeed,
    ReplayBuffer,
    trajectory_mse,
    trajectory_wake,
)

from ..problems import random_state


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Old optax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


class Spring(cx.AbstractPotential):
    """exp(s) |q|²/2, with one unknown."""

    log_stiffness: jax.Array

    def __call__(self, q):
        return jnp.exp(self.log_stiffness) * jnp.sum(q**2) / 2


def _unit(stiffness=1.0, dim=2):
    return cx.nn.CHLU(
        dim,
        dt=0.3,
        kinetic=cx.RelativisticKinetic(
            dim, frozen=("mass", "rest_mass", "speed_limit")
        ),
        potential=Spring(jnp.log(stiffness)),
        key=jr.key(0),
    )


def _state(unit, optimizer, capacity=400):
    seed = NoiseSeed((jnp.zeros(2), jnp.zeros(2)), 1.0)
    buffer = ReplayBuffer(capacity, seed, key=jr.key(1))
    return ContrastiveState(unit, optimizer, buffer, key=jr.key(2))


SLEEP = functools.partial(langevin_sleep, num_steps=10, temperature=0.7, friction=2.0)
WAKE = functools.partial(denoising_wake, noise=0.3)


def test_learns_a_gaussian():
    """The stiffness whose Gibbs law has the variance of data and noise,
    k = kT / (s² + σ²); from ten times that."""
    data = 0.5 * jr.normal(jr.key(3), (2000, 2))
    exact = 0.7 / (np.mean(np.square(data)) + 0.3**2)
    optimizer = optax.adam(optax.linear_schedule(0.1, 0.002, 250))
    state, report = contrastive_steps(
        _state(_unit(10 * exact), optimizer),
        data,
        250,
        optimizer=optimizer,
        wake=WAKE,
        sleep=SLEEP,
        penalty=0.0,
    )
    learned = jnp.exp(state.model.hamiltonian.potential.log_stiffness)
    np.testing.assert_allclose(learned, exact, rtol=0.06)
    assert report.wake_energy.shape == (250,) and state.step == 250
    # The chains have the law of the data, and its energy: d/2 kT, beside that of the
    # momenta, which the wake has not.
    np.testing.assert_allclose(np.var(state.buffer.states[0]), 0.7 / exact, rtol=0.2)


def test_one_step_is_the_formula():
    """Of an energy θ·q, by gradient descent: θ loses the mean of the wake and gains
    that of the sleep."""

    class Slope(eqx.Module):
        theta: jax.Array

    optimizer = optax.sgd(0.1)
    model = Slope(jnp.array([0.3, -0.2]))
    data = jnp.array([[1.0, 2.0], [1.0, 2.0]])
    arguments = dict(
        optimizer=optimizer,
        wake=lambda model, x, key: (jnp.sum(model.theta) * 2, (x, x)),
        sleep=lambda model, state, key: jax.tree.map(lambda x: 0 * x + 5.0, state),
        energy=lambda model, state: jnp.sum(model.theta * state[0]),
        batch_size=8,
    )
    state = _state(model, optimizer)
    step = functools.partial(contrastive_steps, state, data, 1, **arguments)
    new, report = step(penalty=0.0, contrast=0.5)
    gradient = 2 + 0.5 * (np.array([1.0, 2.0]) - 5.0)
    np.testing.assert_allclose(new.model.theta, model.theta - 0.1 * gradient)
    awake, asleep = -0.1, 0.5
    np.testing.assert_allclose(report.wake_energy, [awake], rtol=1e-12)
    np.testing.assert_allclose(report.sleep_energy, [asleep], rtol=1e-12)
    np.testing.assert_allclose(report.loss, [0.2], rtol=1e-12)
    assert np.sum(np.asarray(new.buffer.states[0]) == 5.0) == 16
    # The penalty: 2 λ E ∂E.
    new, _ = step(penalty=0.01, contrast=0.0)
    gradient = 2 + 0.02 * (awake * np.array([1.0, 2.0]) + asleep * 5.0)
    np.testing.assert_allclose(new.model.theta, model.theta - 0.1 * gradient)


def test_calls_may_be_cut_anywhere():
    """To the same bits."""
    data = jr.normal(jr.key(3), (50, 2))
    optimizer = optax.adam(1e-2)
    steps = functools.partial(
        contrastive_steps,
        optimizer=optimizer,
        wake=WAKE,
        sleep=SLEEP,
        batch_size=16,
    )
    whole, _ = steps(_state(_unit(), optimizer), data, 4)
    half, _ = steps(_state(_unit(), optimizer), data, 2)
    cut, _ = steps(half, data, 2)
    assert eqx.tree_equal(cut, whole)


def test_dynamics():
    """The wake is the error of a free run, the sleep a free run."""
    unit = _unit()
    y0 = random_state(0, 2)
    window = _unit(2.0)(y0, 12)
    loss, state = trajectory_wake(unit, window, jr.key(0))
    assert eqx.tree_equal(state, y0)
    np.testing.assert_allclose(loss, trajectory_mse(unit, window), rtol=1e-12)
    regularised, _ = trajectory_wake(
        unit, window, jr.key(0), regularizer=lambda unit, state, key: 3 * state[0][0]
    )
    np.testing.assert_allclose(regularised, loss + 3 * y0[0][0], rtol=1e-12)
    q, p = unit(y0, 7)
    for x, end in zip(
        free_sleep(unit, y0, jr.key(0), num_steps=7), (q, p), strict=True
    ):
        np.testing.assert_allclose(x, end[-1], rtol=1e-12)
    # Together they find the spring.
    windows = jax.vmap(lambda q, p: _unit(2.0)((q, p), 12))(
        *jr.normal(jr.key(1), (2, 30, 2))
    )
    optimizer = optax.adam(3e-2)
    trained, report = contrastive_steps(
        _state(unit, optimizer),
        windows,
        150,
        optimizer=optimizer,
        wake=trajectory_wake,
        sleep=functools.partial(free_sleep, num_steps=5),
        batch_size=16,
        contrast=1e-3,
        penalty=0.0,
    )
    learned = jnp.exp(trained.model.hamiltonian.potential.log_stiffness)
    np.testing.assert_allclose(learned, 2.0, rtol=0.05)
    assert report.loss[-1] < 0.01 * report.loss[0]
