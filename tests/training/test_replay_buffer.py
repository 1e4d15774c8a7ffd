import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from chlu_eqx.training import DataSeed, NoiseSeed, ReplayBuffer


def _buffer(capacity=50):
    seed = NoiseSeed((jnp.full(3, 2.0), jnp.zeros(3)), 0.5)
    return ReplayBuffer(capacity, seed, key=jr.key(0))


def test_seeds():
    keys = jr.split(jr.key(1), 20_000)
    q, p = jax.vmap(NoiseSeed((jnp.array(2.0), jnp.array([0.0, 1.0])), 0.5))(keys)
    np.testing.assert_allclose([q.mean(), q.std()], [2.0, 0.5], atol=0.02)
    np.testing.assert_allclose(p.mean(0), [0.0, 1.0], atol=0.02)
    assert abs(np.corrcoef(q, p[:, 0])[0, 1]) < 0.03
    data = (jnp.arange(4.0), jnp.arange(4.0))
    q, p = jax.vmap(DataSeed(data))(keys)
    np.testing.assert_array_equal(q, p)
    np.testing.assert_allclose(
        np.bincount(np.asarray(q, int)) / len(q), 0.25, atol=0.02
    )
    noisy, _ = jax.vmap(DataSeed(data, 0.1))(keys)
    np.testing.assert_allclose(np.std(noisy - np.round(noisy)), 0.1, atol=0.01)


def test_draw_and_put():
    buffer = _buffer()
    chosen, states = buffer.draw(jr.key(1), 20, fresh=0.0)
    assert len(set(chosen.tolist())) == 20
    for x, all_of_them in zip(states, buffer.states, strict=True):
        np.testing.assert_array_equal(x, all_of_them[chosen])
    after = buffer.put(chosen, jax.tree.map(lambda x: -x, states))
    others = np.setdiff1d(np.arange(50), chosen)
    for new, old in zip(after.states, buffer.states, strict=True):
        np.testing.assert_array_equal(new[chosen], -old[chosen])
        np.testing.assert_array_equal(new[others], old[others])
    assert jax.tree.structure(after) == jax.tree.structure(buffer)


def test_fresh_states():
    buffer = _buffer(2000)
    chosen, (q, _) = jax.jit(lambda k: buffer.draw(k, 2000, fresh=0.25))(jr.key(2))
    kept = np.all(q == buffer.states[0][chosen], axis=1)
    np.testing.assert_allclose(kept.mean(), 0.75, atol=0.03)
    np.testing.assert_allclose(q[~kept].mean(), 2.0, atol=0.1)
    _, (q, _) = buffer.draw(jr.key(3), 10, fresh=1.0)
    assert not np.isin(q, buffer.states[0]).any()


def test_refusals():
    with pytest.raises(ValueError, match="`batch_size` must be positive and at most"):
        _buffer().draw(jr.key(0), 51)
    with pytest.raises(ValueError, match="`fresh` must be in"):
        _buffer().draw(jr.key(0), 5, fresh=1.5)
    with pytest.raises(ValueError, match="`capacity` must be a positive"):
        _buffer(0)
    with pytest.raises(ValueError, match="`scale` must be non-negative"):
        NoiseSeed(jnp.zeros(2), -1.0)
