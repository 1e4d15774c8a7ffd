"""The pixel form of variational integrator networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import chlu_eqx as cx
from chlu_eqx.nn import VariationalIntegratorAutoencoder, VariationalIntegratorNetwork


SHAPE = (6, 5, 1)
H = 0.1
FRAMES = jr.uniform(jr.key(0), (12, *SHAPE))
Z = jnp.array([0.4, -0.3, 0.05, 0.08])


def _network(**arguments):
    potential = cx.MLPPotential(2, width=8, key=jr.key(1)) + cx.Confinement(0.5)
    defaults = {"dt": H, "potential": potential, "key": jr.key(2)}
    return VariationalIntegratorNetwork(2, **(defaults | arguments))


def _circle():
    """Angles."""
    return _network(
        kinetic=cx.RotationKinetic(2, H),
        potential=cx.PeriodicPotential(cx.MLPPotential(4, width=8, key=jr.key(1))),
    )


def _model(network=None, **arguments):
    network = _network() if network is None else network
    return VariationalIntegratorAutoencoder(
        SHAPE, network, dim=2, width=16, key=jr.key(3), **arguments
    )


def test_velocities():
    model = _model()
    q, _ = model.move(model.state(Z), 9)
    want, _ = model.network((Z[:2], Z[2:]), 9)
    np.testing.assert_allclose(q, want, atol=1e-14)


@pytest.mark.parametrize("network", [_network, _circle])
def test_increments(network):
    model = _model(network(), increments=True)
    q, _ = model.move(model.state(Z), 9)
    want = model.network.positions((Z[:2], Z[:2] + Z[2:]), 9)
    np.testing.assert_allclose(q, want, atol=1e-13)
    np.testing.assert_allclose(q[1] - q[0], Z[2:], atol=1e-13)


def test_pictures_of_angles():
    """The same after a full turn; of other coordinates they are not."""
    turn = jnp.array([2 * jnp.pi, -2 * jnp.pi])
    for network, periodic in ((_circle(), True), (_network(), False)):
        model = _model(network)
        here, there = (model.decode((q, Z[2:])) for q in (Z[:2], Z[:2] + turn))
        assert np.allclose(here, there, atol=1e-12) == periodic


def test_prior():
    prior = _model().prior
    np.testing.assert_allclose(prior.scale**2, [1, 1, H, H])
    np.testing.assert_array_equal(prior.mean, 0.0)


def test_likelihood():
    """Bernoulli's, of black and white pixels."""
    model = _model()
    mean = model.decode(model.state(Z))
    image = jr.bernoulli(jr.key(4), 0.5, SHAPE).astype(float)
    want = -np.log(np.where(image == 1, mean, 1 - mean))
    np.testing.assert_allclose(model.nll(mean, image), want, rtol=1e-9)


def test_the_first_frame_is_read_last():
    """The state is at the first of the context, and the encoder ends there."""
    model = _model()
    assert model.context == 10 and model.infer_index == 0

    def moved(k):
        changed = FRAMES.at[k].set(1 - FRAMES[k])
        return np.linalg.norm(np.subtract(model.infer(changed), model.infer(FRAMES)))

    assert moved(0) > moved(9) > 0 and moved(10) == 0
    rolled = eqx.filter_jit(model.rollout)(model.infer(FRAMES), 4, speed=-0.5)
    assert rolled.shape == (5, *SHAPE)


def test_trains():
    """Descending the bound brings the images nearer: as near as their entropy."""
    model, loss = _model(), cx.training.negative_elbo
    frames = jnp.full_like(FRAMES, 0.9)

    @eqx.filter_jit
    def descend(model, key):
        value, grads = eqx.filter_value_and_grad(
            lambda m: loss(m, frames, key=key, weight=1e-3)
        )(model)
        return value, eqx.apply_updates(model, jax.tree.map(lambda g: -2.0 * g, grads))

    values = []
    for key in jr.split(jr.key(5), 40):
        value, model = descend(model, key)
        values.append(value)
    entropy = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    assert entropy < np.mean(values[-5:]) < entropy + 0.05 < np.mean(values[:5])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`infer_index` must be that of one"):
        _model(infer_index=10)
    with pytest.raises(ValueError, match="`frames` must be 10 or more"):
        _model().infer(FRAMES[:9])
