import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

from chlu_eqx.optim import (
    conformal_symplectic_euler,
    relativistic_eval_params,
    relativistic_gradient_descent,
    RelativisticState,
)


EPSILON, MU, DELTA = 0.05, 0.8, 0.7


def loss(x):
    """Coupled, and not quadratic."""
    return jnp.sum(jnp.cosh(x)) + jnp.sum((x[1:] - x[:-1] ** 2) ** 2)


def run(optimizer, params, n, loss=loss):
    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = (params, optimizer.init(params))
    return jax.lax.scan(step, carry, None, length=n)[0]


def published(x, n, epsilon, mu, delta, alpha):
    """França et al., algorithm 1."""
    v, gradient = np.zeros_like(x), jax.jit(jax.grad(loss))
    for _ in range(n):
        half = x + np.sqrt(mu) / np.sqrt(mu * delta * (v @ v) + 1) * v
        v = np.sqrt(mu) * v - epsilon * np.asarray(gradient(half))
        x = alpha * half + (1 - alpha) * x + v / np.sqrt(delta * (v @ v) + 1)
        v = np.sqrt(mu) * v
    return x, v


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_is_the_published_algorithm(alpha):
    start = np.array([0.9, -1.2, 0.5])
    x, v = published(start, 200, EPSILON, MU, DELTA, alpha)
    optimizer = relativistic_gradient_descent(EPSILON, MU, DELTA, alpha)
    params, state = run(optimizer, jnp.asarray(start), 200)
    found = relativistic_eval_params(state, params)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.sqrt(MU) * state.velocity, v, rtol=0, atol=1e-14)


def _jacobian(optimizer):
    """Of one step, of the parameters and the velocity."""
    n = 3

    def move(z):
        params, w = z[:n], z[n:]
        factor = MU / jnp.sqrt(1 + DELTA * MU**2 * jnp.sum(w**2))
        state = RelativisticState(jnp.zeros((), jnp.int32), w, factor)
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return jnp.concatenate([params + updates, state.velocity])

    return jax.jit(jax.jacfwd(move))(jr.normal(jr.key(0), (2 * n,)))


OMEGA = np.block([[np.zeros((3, 3)), np.eye(3)], [-np.eye(3), np.zeros((3, 3))]])


@pytest.mark.parametrize(
    "optimizer",
    [
        relativistic_gradient_descent(EPSILON, MU, DELTA),
        relativistic_gradient_descent(EPSILON, MU, DELTA, norm="coordinate"),
        conformal_symplectic_euler(EPSILON, MU, DELTA),
        conformal_symplectic_euler(EPSILON, MU),
    ],
    ids=["RGD", "RGD by coordinate", "Euler", "classical"],
)
def test_conformal_symplectic(optimizer):
    jacobian = _jacobian(optimizer)
    np.testing.assert_allclose(
        jacobian.T @ OMEGA @ jacobian, MU * OMEGA, rtol=0, atol=1e-13
    )


def test_nesterov_is_not():
    """It contracts by μ (1 - ε ∇²f) instead."""
    optimizer = relativistic_gradient_descent(EPSILON, MU, 0.0, 0.0)
    params = jr.normal(jr.key(0), (6,))[:3]

    def move(z):
        w = z[3:]
        state = RelativisticState(jnp.zeros((), jnp.int32), w, jnp.asarray(MU))
        # By the trajectory: the parameters are ahead of it.
        y = z[:3] + MU * w
        updates, state = optimizer.update(jax.grad(loss)(y), state)
        return jnp.concatenate([y + updates - MU * state.velocity, state.velocity])

    w = jr.normal(jr.key(1), (3,))
    jacobian = jax.jacfwd(move)(jnp.concatenate([params - MU * w, w]))
    m = np.eye(3) - EPSILON * jax.hessian(loss)(params)
    expected = MU * np.block([[0 * m, m], [-m, 0 * m]])
    np.testing.assert_allclose(
        jacobian.T @ OMEGA @ jacobian, expected, rtol=0, atol=1e-13
    )
    assert np.abs(expected - MU * OMEGA).max() > 0.1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            relativistic_gradient_descent(EPSILON, MU, 0.0, 1.0),
            optax.sgd((1 + MU) * EPSILON, MU),
        ),
        (
            relativistic_gradient_descent(EPSILON, MU, 0.0, 0.0),
            optax.sgd(EPSILON, MU, nesterov=True),
        ),
        (conformal_symplectic_euler(EPSILON, MU), optax.sgd(EPSILON, MU)),
    ],
    ids=["classical momentum", "Nesterov", "Euler"],
)
def test_corners(ours, theirs):
    """Without relativity: optax's."""
    start = jnp.array([0.9, -1.2, 0.5])
    found, _ = run(ours, start, 50)
    expected, _ = run(theirs, start, 50)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("norm", ["global", "leaf", "coordinate"])
@given(
    exponent=st.floats(-30, 30),
    relativity=st.floats(1e-3, 1e3),
    alpha=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_speed_limit(norm, exponent, relativity, alpha, seed):
    """No step is longer, in float32, whatever the gradient; none is not a number."""
    optimizer = relativistic_gradient_descent(0.1, 0.9, relativity, alpha, norm=norm)
    params = {"a": jnp.zeros(3, jnp.float32), "b": jnp.zeros((), jnp.float32)}
    state = optimizer.init(params)
    limit = (3 - alpha) / relativity**0.5
    for key in jr.split(jr.key(seed), 3):
        a = jnp.float32(10**exponent) * jr.normal(key, (3,), jnp.float32)
        updates, state = optimizer.update({"a": a, "b": a[0]}, state)
        leaves = [np.asarray(x, float) for x in jax.tree.leaves((updates, state))]
        assert all(np.isfinite(x).all() for x in leaves)
        moved = np.concatenate([np.ravel(x) for x in jax.tree.leaves(updates)])
        by = {
            "global": [np.linalg.norm(moved)],
            "leaf": [np.linalg.norm(moved[:3]), abs(moved[3])],
            "coordinate": np.abs(moved),
        }[norm]
        assert max(by) <= limit * (1 + 1e-5)
    if exponent > 10:
        assert max(by) > 0.9 * limit - 1e-6 or alpha < 1


@pytest.mark.parametrize("norm", ["leaf", "coordinate"])
def test_norms(norm):
    """Leaves, or coordinates, that have a norm each do not know of one another."""
    target = jnp.array([3.0, -1.0])

    def apart(params):
        return sum(
            jnp.sum(jnp.cosh(x - t)) for x, t in zip(params, target, strict=True)
        )

    together = [jnp.zeros(()), jnp.ones(())]
    if norm == "coordinate":
        joint = jnp.stack(together)
        optimizer = relativistic_gradient_descent(0.1, 0.9, 2.0, norm=norm)
        found, _ = run(optimizer, joint, 20, apart)
    else:
        optimizer = relativistic_gradient_descent(0.1, 0.9, 2.0, norm=norm)
        found, _ = run(optimizer, together, 20, apart)
    alone = relativistic_gradient_descent(0.1, 0.9, 2.0)
    for x, start, t in zip(found, together, target, strict=True):
        expected, _ = run(alone, start, 20, lambda x, t=t: jnp.cosh(x - t))
        np.testing.assert_allclose(x, expected, rtol=1e-13)


def test_schedules_and_injection():
    """A schedule is what changing the number by hand is."""
    start = jnp.array([0.9, -1.2, 0.5])
    rates = jnp.array([0.05, 0.02, 0.04, 0.01])
    by_schedule = relativistic_gradient_descent(lambda n: rates[n], MU, DELTA)
    expected, _ = run(by_schedule, start, 4)

    injected = optax.inject_hyperparams(relativistic_gradient_descent)(
        learning_rate=0.05, momentum=MU, relativity=DELTA
    )
    params, state = start, injected.init(start)
    update = jax.jit(injected.update)
    for rate in rates:
        state.hyperparams["learning_rate"] = rate
        updates, state = update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, expected, rtol=1e-14)
    assert update._cache_size() == 1
    assert not np.allclose(relativistic_eval_params(state, params), params)


def test_parts_of_a_tree():
    """With other optimisers, and beside what is not trained."""
    params = {"a": jnp.ones(2), "b": jnp.ones(3), "c": jnp.ones(1)}
    ours = functools.partial(relativistic_gradient_descent, 0.1, 0.9)
    optimizer = optax.chain(
        optax.clip(10.0),
        optax.multi_transform(
            {"ours": ours(1.0), "theirs": optax.sgd(0.1), "again": ours(2.0)},
            {"a": "ours", "b": "theirs", "c": "again"},
        ),
    )
    both = lambda tree: sum(jnp.sum(jnp.cosh(x)) for x in tree.values())  # noqa: E731
    found, state = run(optimizer, params, 5, both)
    evaluated = relativistic_eval_params(state, found)
    for name, relativity in (("a", 1.0), ("c", 2.0)):
        alone, own = run(
            ours(relativity), params[name], 5, lambda x: jnp.sum(jnp.cosh(x))
        )
        np.testing.assert_allclose(found[name], alone, rtol=1e-14)
        np.testing.assert_allclose(
            evaluated[name], relativistic_eval_params(own, alone), rtol=1e-14
        )
    np.testing.assert_array_equal(evaluated["b"], found["b"])

    masked = optax.masked(ours(1.0), {"a": True, "b": False, "c": False})
    state = masked.init(params)
    updates, state = masked.update(jax.grad(both)(params), state)
    assert relativistic_eval_params(state, params)["b"] is params["b"]
    assert not np.allclose(updates["a"], jax.grad(both)(params)["a"])


def test_mixed_precision():
    """Velocities in float32 for parameters in bfloat16; a small step is not lost."""
    params = jnp.ones(4, jnp.bfloat16)
    optimizer = relativistic_gradient_descent(
        1e-4, 0.99, 0.1, accumulator_dtype=jnp.float32
    )
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jnp.full(4, 1e-3, jnp.bfloat16), state)
        assert updates.dtype == jnp.bfloat16
    assert state.velocity.dtype == state.lookahead.dtype == jnp.float32
    gradient = float(jnp.bfloat16(1e-3))
    expected = -1e-4 * gradient * (1 + 0.99 + 0.99**2)
    np.testing.assert_allclose(state.velocity, expected, rtol=1e-5)
    assert relativistic_eval_params(state, params).dtype == jnp.bfloat16


def test_through_the_optimizer():
    """Differentiable by hyperparameters, from the first step on, where w is zero."""

    @jax.grad
    def slope(values):
        optimizer = relativistic_gradient_descent(*values)
        params, _ = run(optimizer, jnp.array([0.9, -1.2, 0.5]), 3)
        return loss(params)

    found = slope((0.05, 0.8, 0.7, 0.9))
    for i in range(4):
        ends = []
        for sign in (1, -1):
            values = [0.05, 0.8, 0.7, 0.9]
            values[i] += sign * 1e-6
            params, _ = run(
                relativistic_gradient_descent(*values), jnp.array([0.9, -1.2, 0.5]), 3
            )
            ends.append(loss(params))
        np.testing.assert_allclose(found[i], (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


def test_gradients_that_are_not_finite():
    """Are passed on, or skipped by optax."""
    optimizer = relativistic_gradient_descent(0.1)
    bad, start = jnp.array([jnp.inf, 1.0]), jnp.ones(2)
    updates, _ = optimizer.update(bad, optimizer.init(start))
    assert not np.isfinite(updates).all()
    safe = optax.apply_if_finite(optimizer, 3)
    updates, state = safe.update(bad, safe.init(start))
    np.testing.assert_array_equal(updates, 0)
    np.testing.assert_array_equal(relativistic_eval_params(state, start), start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(learning_rate=0.0), "`learning_rate` must be positive"),
        (dict(learning_rate=0.1, momentum=1.0), r"`momentum` must be in \[0, 1\)"),
        (dict(learning_rate=0.1, relativity=-1.0), "`relativity` must be non-negative"),
        (dict(learning_rate=0.1, alpha=1.5), r"`alpha` must be in \[0, 1\], got 1.5"),
        (dict(learning_rate=0.1, norm="max"), "norm"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        relativistic_gradient_descent(**arguments)


def test_no_state_of_ours():
    with pytest.raises(ValueError, match="`state` must hold the state of"):
        relativistic_eval_params(optax.adam(0.1).init(jnp.ones(2)), jnp.ones(2))
