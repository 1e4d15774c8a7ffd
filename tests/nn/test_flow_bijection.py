"""Hamiltonian flows among FlowJAX's distributions, and trained by its loop."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal, Transformed
from flowjax.train import fit_to_data

from chlu_eqx.nn import HamiltonianFlow
from chlu_eqx.nn.flow_bijection import HamiltonianBijection
from chlu_eqx.training import flow_loss


FLOW = HamiltonianFlow(2, 1, width=4, key=jr.key(0))
X = jnp.array([0.3, -1.0, 0.2, 0.9])


@pytest.fixture(autouse=True)
def _promotion():
    # FlowJAX and optax mix types and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_joint_density():
    """FlowJAX's, of a base that is the flow's own."""
    where = lambda flow: (flow.mean, flow.log_scale)  # noqa: E731
    base = jnp.linspace(-0.2, 0.3, 4), jnp.linspace(-0.5, 0.4, 4)
    flow = eqx.tree_at(where, FLOW, base)
    joint = Transformed(
        Normal(flow.base.mean, flow.base.scale), HamiltonianBijection(flow)
    )
    found = eqx.filter_jit(joint.log_prob)(X)
    want = eqx.filter_jit(flow.log_joint)(*jnp.split(X, 2))
    np.testing.assert_allclose(found, want, rtol=1e-12)
    draws, log_probs = eqx.filter_jit(joint.sample_and_log_prob)(jr.key(0), (3,))
    assert draws.shape == (3, 4)
    again = eqx.filter_jit(joint.log_prob)(draws)
    np.testing.assert_allclose(log_probs, again, rtol=1e-10)


def test_bijection():
    bijection = HamiltonianBijection(FLOW)
    y, log_det = eqx.filter_jit(bijection.transform_and_log_det)(X)
    assert bijection.shape == (4,) and log_det == 0 and np.abs(y - X).max() > 0.1
    back = eqx.filter_jit(bijection.inverse)(y)
    np.testing.assert_allclose(back, X, atol=1e-13)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        bijection.transform(jnp.zeros(3))


def test_fit_to_data():
    """A normal distribution, to a tenth of a nat of its own likelihood."""
    data = 0.5 + 2 * jr.normal(jr.key(1), (800, 1))
    fitted, losses = fit_to_data(
        jr.key(2),
        HamiltonianFlow(1, 1, width=4, key=jr.key(0)),
        data,
        loss_fn=functools.partial(flow_loss, num_samples=2),
        learning_rate=2e-2,
        max_epochs=12,
        max_patience=12,
        batch_size=40,
        show_progress=False,
    )
    entropy = np.log(2 * np.pi * np.e) / 2 + np.log(2)
    assert losses["train"][0] > entropy + 0.3
    assert losses["train"][-1] == pytest.approx(entropy, abs=0.1)
    assert isinstance(fitted, HamiltonianFlow)


def test_loss_is_the_mean_bound():
    params, static = eqx.partition(FLOW, eqx.is_inexact_array)
    x = X.reshape(2, 2)
    loss = functools.partial(flow_loss, num_samples=3)
    found = eqx.filter_jit(loss)(params, static, x, jr.key(0))
    bound = jax.vmap(lambda q, key: FLOW.importance_bound(q, 3, key=key))
    want = jax.jit(bound)(x, jr.split(jr.key(0), 2))
    np.testing.assert_allclose(found, -np.mean(want), rtol=1e-12)


def test_bad_batches():
    params, static = eqx.partition(FLOW, eqx.is_inexact_array)
    with pytest.raises(ValueError, match=r"`x` must be .* shape \(batch, 2\), got"):
        flow_loss(params, static, jnp.zeros(2), jr.key(0))
    with pytest.raises(ValueError, match=r"`x` must be .* got float64\[5, 3\]"):
        flow_loss(params, static, jnp.zeros((5, 3)), jr.key(0))
    with pytest.raises(ValueError, match="`num_samples` must be a positive integer"):
        flow_loss(params, static, jnp.zeros((5, 2)), jr.key(0), num_samples=0)
