"""Metrics: from a position to the matrix that measures distances there."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, PyTree, Scalar

from .._checks import energy, function, positive
from .._types import RealScalarLike
from .softabs import softabs


class SoftAbsMetric(eqx.Module):
    r"""The softened absolute value of the Hessian,

    $$G(q) = |-\nabla^2 \log \pi(q)|_\alpha,$$

    as [`chlu_eqx.mcmc.softabs`][] has it (Betancourt, GSI 2013, arXiv 1212.4693): a
    metric for any smooth density, positive definite wherever the density is not
    log-concave too. Its derivative is made of the third derivatives of $\log\pi$.
    """

    logdensity_fn: Callable[[PyTree], Scalar]
    alpha: RealScalarLike

    def __init__(
        self,
        logdensity_fn: Callable[[PyTree], Scalar],
        alpha: RealScalarLike = 1.0,
    ):
        r"""**Arguments:**

        - `logdensity_fn`: $\log\pi$, up to a constant.
        - `alpha`: $\alpha$, positive: the metric has no eigenvalue below $1/\alpha$.
            Of the order of 1 in the unit of the Hessian it is smooth; the larger, the
            sharper its bends where an eigenvalue of the Hessian changes sign, and the
            shorter the steps there.

        **Raises:** `ValueError` if `logdensity_fn` is not callable or `alpha` is not
        positive. Where the Hessian is not finite the metric is NaN, at which
        [`chlu_eqx.mcmc.rmhmc`][] rejects.
        """
        self.logdensity_fn = function("logdensity_fn", logdensity_fn)
        self.alpha = positive("alpha", alpha)

    def __call__(self, q: PyTree) -> Float[Array, "dim dim"]:
        flat, unravel = ravel_pytree(q)
        logdensity = energy("logdensity_fn", self.logdensity_fn)
        hessian = jax.hessian(lambda x: logdensity(unravel(x)))(flat)
        return softabs(-hessian, self.alpha)


class FisherMetric(eqx.Module):
    r"""The expected Fisher information of independent observations, and the precision
    of a prior,

    $$G(q) = J(q)^\top \operatorname{diag}\left(I(\eta(q))\right) J(q) + \Lambda,
    \qquad J = \frac{\partial \eta}{\partial q},$$

    where observation $i$ is drawn from a law with one parameter $\eta_i(q)$, about
    which it has the information $I(\eta_i)$ (Girolami & Calderhead, JRSS B 73(2),
    2011, section 4). For a logistic regression $\eta = X q$, with
    $I(\eta) = \sigma(\eta)\,\sigma(-\eta)$.
    """

    predictor: Callable[[PyTree], Float[Array, " observations"]]
    information: Callable[[Array], Float[Array, " observations"]]
    precision: Float[Array, "..."]

    def __init__(
        self,
        predictor: Callable[[PyTree], Float[Array, " observations"]],
        information: Callable[[Array], Float[Array, " observations"]],
        precision: ArrayLike,
    ):
        r"""**Arguments:**

        - `predictor`: $\eta$, from a position to one parameter per observation.
        - `information`: $I$, from these to as many non-negative numbers.
        - `precision`: $\Lambda$ of the prior: a positive number, a diagonal of shape
            `(dim,)`, or a matrix of shape `(dim, dim)`. It keeps the metric positive
            definite where the observations do not.

        **Raises:** `ValueError` if either is not callable or a number or diagonal is
        not positive; when called, if shapes do not agree.
        """
        self.predictor = function("predictor", predictor)
        self.information = function("information", information)
        if jnp.ndim(precision) > 2:
            raise ValueError(
                "`precision` must be a number, a diagonal or a matrix, got shape "
                f"{jnp.shape(precision)}."
            )
        if jnp.ndim(precision) < 2:
            precision = positive("precision", precision, scalar=False)
        self.precision = jnp.asarray(precision, jnp.result_type(float))

    def __call__(self, q: PyTree) -> Float[Array, "dim dim"]:
        flat, unravel = ravel_pytree(q)
        predictor = lambda x: self.predictor(unravel(x))  # noqa: E731
        parameters = predictor(flat)
        weights = self.information(parameters)
        if parameters.ndim != 1 or weights.shape != parameters.shape:
            raise ValueError(
                "`predictor` and `information` must both return one number per "
                f"observation, got shapes {parameters.shape} and {weights.shape}."
            )
        dim, precision = flat.size, self.precision.astype(flat.dtype)
        if precision.ndim and precision.shape not in ((dim,), (dim, dim)):
            raise ValueError(
                f"`precision` must be a number or have shape {(dim,)} or {(dim, dim)} "
                f"at a position of {dim} numbers, got shape {precision.shape}."
            )
        if precision.ndim < 2:
            precision = jnp.diag(jnp.broadcast_to(precision, (dim,)))
        jacobian = jax.jacrev(predictor)(flat)
        return jacobian.T @ (weights[:, None] * jacobian) + precision
