"""Coordinates in which a density is round."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar


class Whitening(eqx.Module):
    r"""The linear change of coordinates that takes a mean $\mu$ to zero and a
    covariance $\Sigma = L L^\top$ to the identity,

    $$q = \mu + L z.$$

    Samplers that take all coordinates alike, as those with copies of the state do,
    belong in $z$.

    !!! Example

        ```python
        whitening = chlu_eqx.mcmc.Whitening.of_samples(warmup)
        sampler = chlu_eqx.mcmc.rmhmc(
            whitening.logdensity(logdensity_fn), 0.3, whitening.metric(metric), 5
        )
        state = sampler.init(whitening.inverse(position))
        ```
    """

    mean: Float[Array, " dim"]
    root: Float[Array, "dim dim"]

    def __init__(self, mean: ArrayLike, covariance: ArrayLike):
        r"""**Arguments:**

        - `mean`: $\mu$, of shape `(dim,)`; not traced.
        - `covariance`: $\Sigma$, of shape `(dim, dim)`, symmetric and positive
            definite; not traced. The inverse of a Hessian at the mode will do.

        **Raises:** `ValueError` if a shape is another, or the covariance not finite,
        symmetric and positive definite.
        """
        mean, covariance = np.asarray(mean), np.asarray(covariance)
        if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
            raise ValueError(
                "`mean` must have shape `(dim,)` and `covariance` shape `(dim, dim)`, "
                f"got shapes {mean.shape} and {covariance.shape}."
            )
        finite = np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))
        symmetric = finite and np.allclose(covariance, covariance.T)
        if not symmetric or np.linalg.eigvalsh(covariance).min() <= 0:
            raise ValueError(
                "`mean` must be finite and `covariance` finite, symmetric and positive "
                f"definite, got {mean} and {covariance}."
            )
        dtype = jnp.result_type(float)
        self.mean = jnp.asarray(mean, dtype)
        self.root = jnp.asarray(np.linalg.cholesky(covariance), dtype)

    @classmethod
    def of_samples(cls, samples: Float[ArrayLike, "..."]) -> "Whitening":
        """From the mean and the covariance of samples, of shape `(samples, dim)`: of
        more than `dim` of them."""
        samples = np.asarray(samples)
        if samples.ndim != 2 or len(samples) <= samples.shape[1]:
            raise ValueError(
                "`samples` must have shape `(samples, dim)`, with more samples than "
                f"coordinates, got shape {samples.shape}."
            )
        return cls(samples.mean(0), np.atleast_2d(np.cov(samples.T)))

    def forward(self, z: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """$q = \\mu + L z$."""
        return self.mean.astype(z.dtype) + self.root.astype(z.dtype) @ z

    def inverse(self, q: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """$z = L^{-1}(q - \\mu)$."""
        root = self.root.astype(q.dtype)
        away = q - self.mean.astype(q.dtype)
        return jsp.linalg.solve_triangular(root, away, lower=True)

    def logdensity(
        self, logdensity_fn: Callable[[Array], Scalar]
    ) -> Callable[[Array], Scalar]:
        r"""The log density of $z$, less the constant $\log\det L$."""
        return lambda z: logdensity_fn(self.forward(z))

    def metric(self, metric: Callable[[Array], Array]) -> Callable[[Array], Array]:
        r"""The metric in $z$, $L^\top G(\mu + L z) L$, of distances that are the same:
        which is what [`chlu_eqx.mcmc.FisherMetric`][] of the model in $z$ would be. A
        softened one is not; make it of `logdensity` in $z$."""

        def white(z: Array) -> Array:
            root, matrix = self.root.astype(z.dtype), metric(self.forward(z))
            matrix = jnp.diag(matrix) if matrix.ndim == 1 else matrix
            return root.T @ matrix @ root

        return white
