"""Functions to minimise, each with where to start. The least value of every one is 0;
that of the network's loss is its infimum.

Those of França, Sulam, Robinson & Vidal (NeurIPS 2020, arXiv 1903.04100) have the
dimensions and the starts of the authors' scripts; the classical ones among them are
defined in the survey of Jamil & Yang (arXiv 1308.4008). The numbers of what is random
are other ones, drawn by seed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree, Scalar
from scipy.stats import ortho_group

from . import digits


Vector = Float[Array, " n"]

# What is less tells nothing: where x is not 0 at the least value, by rounding of x. At
# the origin there is no such limit, but for a cross-entropy, a difference of logits.
AWAY, AT_ORIGIN, CROSS_ENTROPY = 1e-25, 1e-60, 1e-15


class Objective(NamedTuple):
    """`value(x, data)` is to be made small. `start(seed)` tells `x` at the start and
    `data`, which depend on the seed where they are random."""

    value: Callable[[Any, Any], Scalar]
    start: Callable[[int], tuple[Any, Any]]
    floor: float = AT_ORIGIN


def _given(value: Callable[[Vector], Scalar], x: Any, floor: float) -> Objective:
    return Objective(
        lambda x, data: value(x), lambda seed: (jnp.asarray(x, float), None), floor
    )


def _numbers(x: Vector) -> Vector:
    return jnp.arange(1, len(x) + 1, dtype=x.dtype)


def booth(x: Vector) -> Scalar:
    """0 at (1, 3)."""
    return (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2


def matyas(x: Vector) -> Scalar:
    """0 at the origin."""
    return 0.26 * (x[0] ** 2 + x[1] ** 2) - 0.48 * x[0] * x[1]


def levi13(x: Vector) -> Scalar:
    """0 at (1, 1); many local minima."""
    s, t, u = jnp.sin(jnp.pi * jnp.stack([3 * x[0], 3 * x[1], 2 * x[1]]))
    return s**2 + (x[0] - 1) ** 2 * (1 + t**2) + (x[1] - 1) ** 2 * (1 + u**2)


def sum_squares(x: Vector) -> Scalar:
    """0 at the origin."""
    return jnp.sum(_numbers(x) * x**2)


def beale(x: Vector) -> Scalar:
    """0 at (3, 1/2)."""
    powers = jnp.stack([x[1], x[1] ** 2, x[1] ** 3])
    return jnp.sum((jnp.asarray([1.5, 2.25, 2.625]) - x[0] * (1 - powers)) ** 2)


def camel(x: Vector) -> Scalar:
    """With three humps: 0 at the origin, and two other minima of 0.2986."""
    a, b = x
    return 2 * a**2 - 1.05 * a**4 + a**6 / 6 + a * b + b**2


def chung_reynolds(x: Vector) -> Scalar:
    """0 at the origin, where the curvature is 0."""
    return jnp.sum(x**2) ** 2


def quartic(x: Vector) -> Scalar:
    """0 at the origin, where the curvature is 0; without the noise of some versions."""
    return jnp.sum(_numbers(x) * x**4)


def schwefel(x: Vector) -> Scalar:
    """Number 2.23 of Schwefel's: 0 at the origin, where nine derivatives are 0."""
    return jnp.sum(x**10)


def qing(x: Vector) -> Scalar:
    """0 where every x_i is √i or -√i."""
    return jnp.sum((x**2 - _numbers(x)) ** 2)


def zakharov(x: Vector) -> Scalar:
    """0 at the origin."""
    s = jnp.sum(_numbers(x) * x) / 2
    return jnp.sum(x**2) + s**2 + s**4


def rosenbrock(x: Vector) -> Scalar:
    """0 at (1, ..., 1)."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def alternating(n: int) -> np.ndarray:
    """(-2, 2, -2, ...)"""
    return np.resize([-2.0, 2.0], n)


def quadratic(x: Vector, matrix: Float[Array, "n n"]) -> Scalar:
    return x @ (matrix @ x) / 2


def correlated(n: int = 50, rho: float = 0.95) -> Objective:
    """xᵀQx/2 with Q_ij = ρ^|i - j|, from normal numbers of deviation 10, by seed."""
    i = np.arange(n)
    matrix = rho ** np.abs(i[:, None] - i)

    def start(seed: int) -> tuple[Vector, Float[Array, "n n"]]:
        x = np.random.default_rng(seed).normal(0, 10, n)
        return jnp.asarray(x), jnp.asarray(matrix)

    return Objective(quadratic, start)


def random_quadratic(n: int = 500, low: float = 1e-3, high: float = 10) -> Objective:
    """xᵀQx/2 with uniform eigenvalues and any eigenvectors, both by seed, from
    (5, ..., 5)."""

    def start(seed: int) -> tuple[Vector, Float[Array, "n n"]]:
        rng = np.random.default_rng(seed)
        eigenvalues = rng.uniform(low, high, n)
        vectors = ortho_group.rvs(n, random_state=rng)
        return jnp.full(n, 5.0), jnp.asarray((vectors * eigenvalues) @ vectors.T)

    return Objective(quadratic, start)


class Entries(NamedTuple):
    """A matrix and which of its entries are observed, 1 for those that are."""

    matrix: Float[Array, "n n"]
    observed: Float[Array, "n n"]


def completion(n: int = 100, rank: int = 5, share: float = 0.3) -> Objective:
    """|P(UVᵀ - M)|²/2 with P the observed entries of M, of low rank: its factors are
    normal numbers of mean 1 and deviation 2. U and V start at standard normal ones.
    All by seed. Nothing is asked of the entries that are not observed."""

    def value(x: tuple[Array, Array], data: Entries) -> Scalar:
        u, v = x
        return jnp.sum(data.observed * (u @ v.T - data.matrix) ** 2) / 2

    def start(seed: int) -> tuple[tuple[Array, Array], Entries]:
        rng = np.random.default_rng(seed)
        left, right = rng.normal(1, 2, (2, n, rank))
        observed = np.zeros(n * n)
        observed[rng.choice(n * n, round(share * n * n), replace=False)] = 1
        u, v = rng.normal(size=(2, n, rank))
        matrix, mask = jnp.asarray(left @ right.T), observed.reshape(n, n)
        x = jnp.asarray(u), jnp.asarray(v)
        return x, Entries(matrix, jnp.asarray(mask))

    return Objective(value, start, AWAY)


def network(images: int = 200, width: int = 16) -> Objective:
    """The mean cross-entropy of a perceptron with one hidden layer and tanh on the
    first of scikit-learn's digits, all at once. The start is equinox's, by seed."""

    def make(seed: int) -> eqx.nn.MLP:
        return eqx.nn.MLP(64, 10, width, 1, jnp.tanh, key=jr.key(seed))

    _, static = eqx.partition(make(0), eqx.is_inexact_array)

    def value(
        x: PyTree, data: tuple[Float[Array, "images pixels"], Int[Array, " images"]]
    ) -> Scalar:
        logits = jax.vmap(eqx.combine(x, static))(data[0])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, data[1])
        return jnp.mean(losses)

    def start(seed: int) -> tuple[PyTree, tuple[Array, Array]]:
        found = digits.embedded()
        data = found.train[:images], found.train_labels[:images]
        x = eqx.filter(make(seed), eqx.is_inexact_array)
        return x, (jnp.asarray(data[0], float), jnp.asarray(data[1]))

    return Objective(value, start, CROSS_ENTROPY)


def all_objectives() -> dict[str, Objective]:
    """By name; to be called in the precision that they are to have."""
    return {
        "correlated quadratic": correlated(),
        "random quadratic": random_quadratic(),
        "Rosenbrock, n = 2": _given(rosenbrock, alternating(2), AWAY),
        "Rosenbrock, n = 100": _given(rosenbrock, alternating(100), AWAY),
        "matrix completion": completion(),
        "Booth": _given(booth, [10, 10], AWAY),
        "Matyas": _given(matyas, [10, -7], AT_ORIGIN),
        "Lévi 13": _given(levi13, [10, -10], AWAY),
        "sum of squares": _given(sum_squares, [10] * 100, AT_ORIGIN),
        "Beale": _given(beale, [-3, -3], AWAY),
        "camel": _given(camel, [5, 5], AT_ORIGIN),
        "Chung–Reynolds": _given(chung_reynolds, [50] * 50, AT_ORIGIN),
        "quartic": _given(quartic, [2] * 50, AT_ORIGIN),
        "Schwefel 2.23": _given(schwefel, [2] * 20, AT_ORIGIN),
        "Qing": _given(qing, [50] * 100, AWAY),
        "Zakharov": _given(zakharov, [1] * 5, AT_ORIGIN),
        "network": network(),
    }
