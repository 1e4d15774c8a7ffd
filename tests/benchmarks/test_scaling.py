import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from benchmarks.scaling import ideal
from benchmarks.scaling_precision import BITS, relative, Rounded


def _by_hand(potential, q, dtype):
    """Factors in `dtype`, sums in the state's precision."""
    *hidden, last = potential.layers
    cut = lambda x: x.astype(dtype).astype(q.dtype)  # noqa: E731
    for layer in hidden:
        q = jnp.tanh(cut(layer.weight) @ cut(q) + layer.bias)
    return (cut(last.weight) @ cut(q))[0]


def test_rounded_products():
    """Of their factors, those of bfloat16 keep what JAX's own does, of float32 all."""
    q = jr.normal(jr.key(0), (2,))
    found = {}
    for name in ("float32", "bfloat16"):
        potential = Rounded(BITS[name])
        found[name] = potential(q)
        want = _by_hand(potential, q, jnp.dtype(name))
        np.testing.assert_allclose(found[name], want, rtol=1e-12)
    assert 1e-5 < abs(found["bfloat16"] / found["float32"] - 1) < 0.1


def test_relative():
    np.testing.assert_allclose(
        relative([np.ones(4), 5.0], [np.zeros(4), 4.0]), 5**0.5 / 4
    )


@pytest.mark.parametrize(
    ("fixed", "devices", "cores", "want"),
    [
        ("total", 4, 2, 0.5),
        ("total", 4, np.inf, 0.25),
        ("each", 4, 2, 2),
        ("each", 2, 2, 1),
    ],
)
def test_ideal(fixed, devices, cores, want):
    assert ideal({"fixed": fixed, "devices": devices}, cores) == want
