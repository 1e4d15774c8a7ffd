"""Laws of the momentum, given the position, for Hamiltonian flows."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.linalg import solve_triangular
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, random_key
from .latent_dynamics import Gaussian


class CorrelatedGaussian(eqx.Module):
    r"""The normal distribution $\mathcal N(m, L L^\top)$.

    **Attributes:**

    - `mean`: $m$, of shape `(dim,)`.
    - `factor`: $L$, lower triangular with a positive diagonal, of shape `(dim, dim)`.
    """

    mean: Float[Array, " dim"]
    factor: Float[Array, "dim dim"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, " dim"]:
        r"""$m + L \varepsilon$, reparametrised."""
        key = random_key("key", key)
        noise = jr.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + self.factor @ noise

    def log_prob(self, x: Float[Array, " dim"]) -> Scalar:
        """The logarithm of the density at $x$."""
        noise = solve_triangular(self.factor, x - self.mean, lower=True)
        return jnp.sum(norm.logpdf(noise)) - jnp.sum(jnp.log(jnp.diag(self.factor)))


class GaussianEncoder(eqx.Module):
    r"""The law $f(p \mid q) = \mathcal N(m(q), \operatorname{diag} s(q)^2)$, with $m$
    and $\log s$ by a perceptron of two hidden layers: for many coordinates, where the
    factor of a [`chlu_eqx.nn.CorrelatedEncoder`][] would be too large."""

    mlp: eqx.nn.MLP

    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `dim`: the number of coordinates of $q$, and of $p$.
        - `width`: the size of the hidden layers.
        - `activation`: between them.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        self.mlp = _perceptron(dim, 2 * count("dim", dim), width, activation, key)

    def __call__(self, q: Float[Array, " dim"]) -> Gaussian:
        mean, log_scale = jnp.split(self.mlp(array("q", q, self.mlp.in_size)), 2)
        return Gaussian(mean, jnp.exp(log_scale))


class CorrelatedEncoder(eqx.Module):
    r"""The law $f(p \mid q) = \mathcal N(m(q), L(q) L(q)^\top)$, with $m$, the
    logarithm of the diagonal of $L$, and what is below it, by a perceptron of two
    hidden layers."""

    mlp: eqx.nn.MLP

    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:** as of [`chlu_eqx.nn.GaussianEncoder`][].

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        dim = count("dim", dim)
        outputs = 2 * dim + dim * (dim - 1) // 2
        self.mlp = _perceptron(dim, outputs, width, activation, key)

    def __call__(self, q: Float[Array, " dim"]) -> CorrelatedGaussian:
        q = array("q", q, self.mlp.in_size)
        mean, log_diagonal, rest = jnp.split(self.mlp(q), [q.size, 2 * q.size])
        factor = jnp.diag(jnp.exp(log_diagonal))
        return CorrelatedGaussian(
            mean, factor.at[jnp.tril_indices(q.size, -1)].set(rest)
        )


def _perceptron(
    dim: int,
    outputs: int,
    width: int,
    activation: Callable[[Array], Array],
    key: PRNGKeyArray,
) -> eqx.nn.MLP:
    dim, width, key = count("dim", dim), count("width", width), random_key("key", key)
    return eqx.nn.MLP(dim, outputs, width, 2, activation, key=key)
