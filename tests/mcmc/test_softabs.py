import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.linalg import expm

from chlu_eqx.mcmc import softabs


ALPHA = 1.3


def _matrix(seed, eigenvalues):
    """A symmetric matrix of these eigenvalues, and another that is not."""
    a, b = np.random.default_rng(seed).normal(size=(2, 4, 4))
    q, _ = np.linalg.qr(a)
    return q @ np.diag(eigenvalues) @ q.T, b


# None of them zero: the function of a matrix by exponentials divides by them.
EIGENVALUES = {
    "distinct": [1.0, 2.0, 3.0, -1.0],
    "repeated": [1.0, 1.0, 1.0, -2.0],
    "all equal": [0.5, 0.5, 0.5, 0.5],
    "opposite": [0.8, -0.8, 0.8, -0.8],
    "nearly equal": [1.0, 1.0 + 1e-9, 1.0 + 1e-5, 1.001],
    "small": [1e-3, -2e-3, 1e-3, 5e-2],
}
spectra = pytest.mark.parametrize("eigenvalues", EIGENVALUES.values(), ids=EIGENVALUES)


def _by_exponentials(matrix):
    """A coth(αA), for matrices that are not symmetric too."""
    e, one = expm(2 * ALPHA * matrix), np.eye(len(matrix))
    return matrix @ (e + one) @ np.linalg.inv(e - one)


@spectra
def test_value(eigenvalues):
    matrix, _ = _matrix(0, eigenvalues)
    np.testing.assert_allclose(
        softabs(jnp.asarray(matrix), ALPHA), _by_exponentials(matrix), atol=1e-12
    )


@spectra
def test_derivative(eigenvalues):
    """That in the direction E is the corner of f([[A, E], [0, A]])."""
    matrix, change = _matrix(1, eigenvalues)
    change = change + change.T
    blocks = np.block([[matrix, change], [np.zeros((4, 4)), matrix]])
    expected = _by_exponentials(blocks)[:4, 4:]
    jacobian = jax.jacrev(lambda a: softabs(a, ALPHA))(jnp.asarray(matrix))
    found = jnp.einsum("ijkl,kl->ij", jacobian, change)
    np.testing.assert_allclose(found, expected, atol=1e-10)


@spectra
def test_second_derivative(eigenvalues):
    """By the corner of a matrix of 4x4 blocks; in forward over reverse mode, and in
    reverse over reverse."""
    matrix, change = _matrix(2, eigenvalues)
    change = change + change.T
    none = np.zeros((4, 4))
    blocks = np.block(
        [
            [matrix, change, none],
            [none, matrix, change],
            [none, none, matrix],
        ]
    )
    # f of such a matrix has the second Taylor coefficient in its corner.
    expected = 2 * _by_exponentials(blocks)[:4, 8:]
    weights = _matrix(3, eigenvalues)[1]
    found, back = _second_derivatives(weights, matrix, change)
    symmetric = np.asarray(weights + weights.T) / 2
    assert found == pytest.approx(np.sum(symmetric * expected), abs=2e-7)
    assert back == pytest.approx(float(found), abs=1e-10)


@jax.jit
def _second_derivatives(weights, matrix, change):
    gradient = jax.grad(lambda a: jnp.sum(weights * softabs(a, ALPHA)))
    _, along = jax.jvp(gradient, (matrix,), (change,))
    back = jax.grad(lambda a: jnp.sum(gradient(a) * change))(matrix)
    return jnp.sum(along * change), jnp.sum(back * change)


def test_at_zero():
    """I/α, a minimum, with the curvature 2α/3."""
    zero = jnp.zeros((3, 3))
    np.testing.assert_allclose(softabs(zero, ALPHA), np.eye(3) / ALPHA, atol=1e-14)
    gradient = jax.grad(lambda a: jnp.sum(softabs(a, ALPHA)))
    np.testing.assert_array_equal(gradient(zero), 0)
    curvature = jax.jvp(
        jax.grad(lambda x: jnp.trace(softabs(x * jnp.eye(3), ALPHA))),
        (jnp.zeros(()),),
        (jnp.ones(()),),
    )[1]
    assert curvature == pytest.approx(3 * 2 * ALPHA / 3, rel=1e-12)


@given(st.integers(0, 2**31 - 1), st.floats(-3, 6))
def test_bounds(seed, exponent):
    """Positive definite, not below |A| nor 1/α, and by no more than 1/α above."""
    alpha = 10.0**exponent
    a = jr.normal(jr.key(seed), (4, 4))
    a = a + a.T
    found = np.linalg.eigvalsh(_jitted(a, alpha))
    size = np.sort(np.abs(np.linalg.eigvalsh(a)))
    assert np.all(found >= np.maximum(size, 1 / alpha) * (1 - 1e-12) - 1e-12)
    assert np.all(found <= (size + 1 / alpha) * (1 + 1e-12) + 1e-12)


_jitted = jax.jit(softabs)


@pytest.mark.parametrize("alpha", [1.0, 100.0, 1e6])
def test_float32(alpha):
    matrix, _ = _matrix(4, EIGENVALUES["repeated"])
    f = lambda a: jnp.sum(softabs(a, alpha) ** 2)  # noqa: E731
    single, double = jnp.asarray(matrix, jnp.float32), jnp.asarray(matrix)
    assert softabs(single, alpha).dtype == jnp.float32
    found, expected = jax.grad(f)(single), jax.grad(f)(double)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match="`alpha` must be positive"):
        softabs(jnp.eye(2), 0.0)
    with pytest.raises(ValueError, match="`matrix` must be square, got shape"):
        softabs(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`matrix` must be .* got float64\[2\]"):
        softabs(jnp.ones(2))
    # A TypeError under beartype.
    with pytest.raises((TypeError, ValueError), match="matrix"):
        softabs(jnp.eye(2, dtype=int))
    assert np.all(np.isnan(softabs(jnp.full((2, 2), jnp.nan))))
