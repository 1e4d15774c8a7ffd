"""The softened absolute value of a symmetric matrix, and its derivatives."""

from fractions import Fraction
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import array, positive
from .._types import RealScalarLike


def softabs(
    matrix: Float[Array, "..."], alpha: RealScalarLike = 1.0
) -> Float[Array, "dim dim"]:
    r"""The softened absolute value of a symmetric matrix: with the eigenvalues
    $\lambda_i$ and the eigenvectors $V$,

    $$|A|_\alpha = V \operatorname{diag}\left(\lambda_i \coth \alpha\lambda_i\right)
    V^\top,$$

    which is positive definite: $|\lambda|$ where $\alpha|\lambda| \gg 1$, and never
    below $1/\alpha$ (Betancourt, "A General Metric for Riemannian Manifold Hamiltonian
    Monte Carlo", GSI 2013, arXiv 1212.4693, eq. 10).

    **Its derivative** is that of a function of a matrix (Daleckii & Krein),

    $$\mathrm d|A|_\alpha = V \left(J \circ V^\top \mathrm dA\, V\right) V^\top, \qquad
    J_{ij} = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j},$$

    and $f'(\lambda_i)$ where the two are equal; the second derivative is the like, with
    divided differences of three. Both are finite and exact where eigenvalues coincide,
    which happens at every point of a funnel, and where the derivative of an
    eigendecomposition is NaN. In reverse mode, and forward over that, as Newton's
    method needs; not by `jax.jvp` alone, nor to third order.

    **Arguments:**

    - `matrix`: $A$, of shape `(dim, dim)`; of its antisymmetric part nothing is seen.
    - `alpha`: $\alpha$, an inverse unit of $A$, positive. Not differentiated.

    **Raises:** `ValueError` if `matrix` is not square or `alpha` is not positive. An
    `A` that is not finite gives NaN.
    """
    matrix = array("matrix", matrix, "dim", "dim")
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"`matrix` must be square, got shape {matrix.shape}.")
    scale = jax.lax.stop_gradient(jnp.asarray(positive("alpha", alpha), matrix.dtype))
    return _absolute(scale * matrix) / scale


# All that follows is in units of 1/alpha: the function is f(x) = x coth x.


def _series(terms: int) -> np.ndarray:
    """The coefficients of x coth x in powers of x², which is cosh x over sinh x / x."""
    found: list[Fraction] = []
    for k in range(terms):
        known = (c / factorial(2 * (k - j) + 1) for j, c in enumerate(found))
        found.append(Fraction(1, factorial(2 * k)) - sum(known))
    return np.array(found, float)


# As many as float64 needs up to 1; by exponentials from there.
_POWERS = 2 * np.arange(18)
_SERIES = _series(18)


def _function(order: int, x: Array) -> Array:
    """The derivative of x coth x of order 0, 1 or 2."""
    small = jnp.abs(x) < 1
    # Of odd order its powers are odd.
    odd = order % 2
    factors = np.prod([_POWERS - n for n in range(order)], axis=0)
    coefficients = (_SERIES * factors)[(order + 1) // 2 :]
    near = jnp.where(small, x, 0)
    total = jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), near**2, unroll=18)
    total = total * near if odd else total

    size = jnp.where(small, 1, jnp.abs(x))
    coth = 1 / jnp.tanh(size)
    decay = jnp.exp(-size)
    csch = 2 * decay / (1 - decay**2)
    far = (
        size * coth,
        jnp.sign(x) * (coth - size * csch**2),
        2 * (size * coth - 1) * csch**2,
    )[order]
    return jnp.where(small, total, far)


def _slopes(x: Array) -> Array:
    """The divided differences of two. Near one another they are the mean of the first
    derivative between them, by the rule of Gauss of two points; the errors are about as
    large where the one takes over from the other."""
    a, b, f = x[:, None], x[None, :], _function(0, x)
    mean, gap = (a + b) / 2, a - b
    near = jnp.abs(gap) < float(jnp.finfo(x.dtype).eps) ** 0.2 * (1 + jnp.abs(mean))
    node = gap / 12**0.5
    between = (_function(1, mean - node) + _function(1, mean + node)) / 2
    quotient = (f[:, None] - f[None, :]) / jnp.where(near, 1, gap)
    return jnp.where(near, between, quotient)


def _bends(x: Array) -> Array:
    """The divided differences of three, of `x` that ascend."""
    low, middle, high = np.sort(np.indices(x.shape * 3), axis=0)
    mean, gap = (x[low] + x[middle] + x[high]) / 3, x[high] - x[low]
    near = gap < float(jnp.finfo(x.dtype).eps) ** 0.25 * (1 + jnp.abs(mean))
    slopes = _slopes(x)
    change = slopes[high, middle] - slopes[middle, low]
    return jnp.where(near, _function(2, mean) / 2, change / jnp.where(near, 1, gap))


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2


# In reverse mode a derivative is its own transpose, so that the rule for that can be
# written without it; what it calls has rules of its own for forward mode.
@jax.custom_vjp
def _absolute(matrix: Array) -> Array:
    return _value(matrix)


_absolute.defvjp(
    lambda matrix: (_value(matrix), matrix),
    lambda matrix, cotangent: (_along(matrix, _symmetric(cotangent)),),
)


@jax.custom_jvp
def _value(matrix: Array) -> Array:
    x, v = jnp.linalg.eigh(matrix)
    return (v * _function(0, x)[None, :]) @ v.T


@_value.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    [matrix], [change] = primals, tangents
    return _value(matrix), _along(matrix, _symmetric(change))


@jax.custom_jvp
def _along(matrix: Array, change: Array) -> Array:
    """The first derivative, in the direction of a symmetric matrix."""
    x, v = jnp.linalg.eigh(matrix)
    return v @ (_slopes(x) * (v.T @ change @ v)) @ v.T


@_along.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (matrix, a), (b, change) = primals, tangents
    x, v = jnp.linalg.eigh(matrix)
    a, b = v.T @ a @ v, v.T @ _symmetric(b) @ v
    half = jnp.einsum("ikj,ik,kj->ij", _bends(x), a, b)
    second = v @ (half + half.T) @ v.T
    return _along(*primals), second + _along(matrix, _symmetric(change))
