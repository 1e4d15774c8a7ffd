"""Energies whose mass matrix depends on the position."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import jax.scipy as jsp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, Scalar

from .._checks import energy, function
from .hamiltonian import AbstractHamiltonian


class RiemannianHamiltonian(AbstractHamiltonian):
    r"""The energy of a particle on a Riemannian manifold, in a potential,

    $$H(q, p) = U(q) + \tfrac12 \log\det G(q) + \tfrac12\, p^\top G(q)^{-1} p,$$

    with $G$ the metric, a mass matrix that depends on the position. Then
    $e^{-H}$ has the marginal $e^{-U(q)}$, and
    $p \mid q \sim \mathcal N(0, G(q))$: the energy of Riemannian Monte Carlo
    (Girolami & Calderhead, "Riemann manifold Langevin and Hamiltonian Monte Carlo
    methods", JRSS B 73(2), 2011, eq. 13, without its constant).

    It is not separable: take [`chlu_eqx.TaoSolver`][],
    [`chlu_eqx.GeneralizedLeapfrog`][] or any other solver for such energies.
    """

    potential: Callable[[PyTree], Scalar]
    metric: Callable[[PyTree], Float[Array, "..."]]

    def __init__(
        self,
        potential: Callable[[PyTree], Scalar],
        metric: Callable[[PyTree], Float[Array, "..."]],
    ):
        """**Arguments:**

        - `potential`: $U$, a callable from a position to a scalar.
        - `metric`: $G$, a callable from a position of `dim` numbers to a symmetric
            positive definite matrix of shape `(dim, dim)`, or to the diagonal of one,
            of shape `(dim,)`. [`chlu_eqx.mcmc.SoftAbsMetric`][] and
            [`chlu_eqx.mcmc.FisherMetric`][] are such.

        Positions may be pytrees; a matrix then counts their numbers as
        `jax.flatten_util.ravel_pytree` has them.

        **Raises:** `ValueError` if either is not callable; when called, if the metric
        has another shape. Where the metric is not positive definite, the energy is
        NaN.
        """
        self.potential = function("potential", potential)
        self.metric = function("metric", metric)

    def __call__(self, q: PyTree, p: PyTree) -> Scalar:
        return energy("potential", self.potential)(q) + self.kinetic(q, p)

    def kinetic(self, q: PyTree, p: PyTree) -> Scalar:
        r"""$\tfrac12 \log\det G(q) + \tfrac12\, p^\top G(q)^{-1} p$."""
        root = MetricRoot.of(metric_at(self.metric, q))
        return root.kinetic(ravel_pytree(p)[0])


def metric_at(metric: Callable[[PyTree], Array], q: PyTree) -> Array:
    """The matrix at a position, of the right shape."""
    matrix, dim = metric(q), ravel_pytree(q)[0].size
    if jnp.shape(matrix) not in ((dim,), (dim, dim)):
        raise ValueError(
            f"`metric` must return a matrix of shape {(dim, dim)} or a diagonal of "
            f"shape {(dim,)} at a position of {dim} numbers, got shape "
            f"{jnp.shape(matrix)}."
        )
    return matrix


class MetricRoot(NamedTuple):
    r"""The lower triangular $C$ with $G(q) = C C^\top$, or its diagonal."""

    factor: Float[Array, "..."]

    @classmethod
    def of(cls, matrix: Float[Array, "..."]) -> "MetricRoot":
        root = jnp.sqrt if matrix.ndim == 1 else jnp.linalg.cholesky
        return cls(root(matrix))

    def solve(self, x: Array, transposed: bool = False) -> Array:
        r"""$C^{-1} x$ or $C^{-\top} x$."""
        if self.factor.ndim == 1:
            return x / self.factor
        return jsp.linalg.solve_triangular(
            self.factor, x, lower=True, trans=int(transposed)
        )

    def multiply(self, x: Array, transposed: bool = False) -> Array:
        r"""$C x$ or $C^\top x$."""
        if self.factor.ndim == 1:
            return self.factor * x
        return (self.factor.T if transposed else self.factor) @ x

    def kinetic(self, p: Array) -> Scalar:
        r"""$\tfrac12 \log\det G + \tfrac12\, p^\top G^{-1} p$."""
        diagonal = self.factor if self.factor.ndim == 1 else jnp.diagonal(self.factor)
        return jnp.sum(jnp.log(diagonal)) + 0.5 * jnp.sum(self.solve(p) ** 2)
