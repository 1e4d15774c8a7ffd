"""The recurrent encoder against an LSTM written out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from chlu_eqx.nn import RecurrentEncoder


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_an_lstm_from_the_last_row_to_the_first():
    encoder = RecurrentEncoder(3, 4, 2, key=jr.key(0))
    x = np.asarray(jr.normal(jr.key(1), (6, 3)))
    cell = encoder.layer.cell
    h, c = np.zeros(4), np.zeros(4)
    for row in x[::-1]:
        i, f, g, o = np.split(cell.weight_ih @ row + cell.weight_hh @ h + cell.bias, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
    expected = encoder.readout(jnp.concatenate([h, c]))
    np.testing.assert_allclose(eqx.filter_jit(encoder)(jnp.asarray(x)), expected, 1e-12)


def test_gradients_reach_every_weight_and_row():
    encoder = RecurrentEncoder(2, 5, 3, key=jr.key(0))
    x = jr.normal(jr.key(1), (4, 7, 2))
    loss = lambda both: jnp.sum(jax.vmap(both[0])(both[1]) ** 2)  # noqa: E731
    slopes = eqx.filter_jit(eqx.filter_grad(loss))((encoder, x))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes))
    assert (np.abs(slopes[1]).max(2) > 0).all()


def test_refuses_other_shapes():
    encoder = RecurrentEncoder(2, 5, 3, key=jr.key(0))
    with pytest.raises(ValueError, match=r"`inputs` must be .* shape \(times, 2\)"):
        encoder(jnp.zeros((4, 3)))
