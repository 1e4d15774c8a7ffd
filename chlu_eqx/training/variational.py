"""Variational objectives of generative models of image sequences."""

from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, nonnegative, positive, random_key


def negative_elbo(
    model: Any,
    frames: Float[Array, "..."],
    *,
    key: PRNGKeyArray | None = None,
    weight: float | Scalar = 1.0,
    num_decoded: int | None = None,
) -> Scalar:
    r"""The negative evidence lower bound of a sequence, per pixel: with the frames
    $x_0, \dots, x_T$ from the inferred one on, of $D$ numbers each,

    $$\frac1D \left[ \frac{1}{T+1} \sum_{t=0}^T -\log p(x_t \mid y_t)
    + \beta\, \mathrm{KL}(q(z \mid x) \,\|\, p(z)) \right], \qquad
    z \sim q(z \mid x),$$

    up to a constant. It is the bound of the whole sequence, over its length, if
    $\beta = 1/(T+1)$. The mean over frames beside the whole divergence, $\beta = 1$,
    is the objective of Toth et al., arXiv 1909.13789.

    Use it with `functools.partial` as the loss of
    [`chlu_eqx.training.fit_trajectories`][].

    **Arguments:**

    - `model`: a [`chlu_eqx.nn.HamiltonianGenerativeNetwork`][] or another
        [`chlu_eqx.nn.AbstractLatentDynamics`][].
    - `frames`: the images, with values in [0, 1], the model's context first.
    - `key`: a `jax.random.key` for $z$ and the frames to decode; without it $z$ is the
        posterior's mean and all frames are.
    - `weight`: $\beta$, non-negative.
    - `num_decoded`: of how many frames at most, drawn at random, to take the mean;
        defaults to all. Decoding costs most of a training step, and neighbours tell
        the same.

    **Raises:** `ValueError` if the frames are too few for the context and a step after
    the inferred one, or of another size than the model's, or a number is not in its
    range; a runtime error if the frames are not finite and in [0, 1].
    """
    weight = nonnegative("weight", weight)
    distortion, divergence = _parts(model, frames, key, num_decoded)
    return distortion + weight * divergence / frames[0].size


class ConstrainedELBO(eqx.Module):
    r"""A model trained by GECO: the least divergence at which images are reconstructed
    to a tolerance, by a Lagrange multiplier $\lambda$ that is learned along,

    $$\min_{\text{model}} \max_{\lambda > 0} \; \lambda C
    + \frac{\mathrm{KL}(q(z \mid x) \,\|\, p(z))}{D\,(T + 1)}, \qquad
    C = \frac{1}{D\,(T+1)} \sum_{t=0}^T -\log p(x_t \mid y_t) - \kappa,$$

    where $-\log p$ is, for images with normal noise of variance 1/2, the squared error.
    $\lambda$ is the softplus of a number that ascends by the optimiser by which the
    model descends.

    !!! Example

        ```python
        fit = chlu_eqx.training.fit_trajectories(
            ConstrainedELBO(model, 1e-3), frames, optax.adam(1.5e-4),
            curriculum=[(34, 10_000)], loss=ConstrainedELBO.loss, key=key,
        )
        fit.last.model
        ```

    As $\lambda$ moves, losses of different steps cannot be compared: take the last
    model of a [`chlu_eqx.training.Fit`][], not that of the least loss.

    ??? cite "Reference"

        ```bibtex
        @article{rezende2018taming,
            title={Taming {VAE}s},
            author={Rezende, Danilo Jimenez and Viola, Fabio},
            journal={arXiv:1810.00597},
            year={2018},
        }
        ```
    """

    model: Any
    tolerance: float = eqx.field(static=True)
    _multiplier: Scalar

    def __init__(self, model: Any, tolerance: float = 1e-3, multiplier: float = 1.0):
        r"""**Arguments:**

        - `model`: as of [`chlu_eqx.training.negative_elbo`][].
        - `tolerance`: $\kappa$, positive.
        - `multiplier`: $\lambda$ at the start, positive.

        **Raises:** `ValueError` if a number is not positive.
        """
        self.model = model
        self.tolerance = positive("tolerance", tolerance)
        self._multiplier = jnp.log(jnp.expm1(positive("multiplier", multiplier)))

    @property
    def multiplier(self) -> Scalar:
        r"""$\lambda$."""
        return jax.nn.softplus(self._multiplier)

    def loss(
        self,
        frames: Float[Array, "..."],
        *,
        key: PRNGKeyArray | None = None,
        num_decoded: int | None = None,
    ) -> Scalar:
        """The Lagrangian; its gradient by the multiplier has the other sign, so that
        descent ascends it. Arguments and errors as of
        [`chlu_eqx.training.negative_elbo`][]."""
        distortion, divergence = _parts(self.model, frames, key, num_decoded)
        constraint = distortion - self.tolerance
        numbers = frames[self.model.infer_index :].size
        held = lax.stop_gradient(self.multiplier)
        ascent = (held - self.multiplier) * lax.stop_gradient(constraint)
        return held * constraint + divergence / numbers + ascent


def _parts(
    model: Any, frames: Array, key: PRNGKeyArray | None, num_decoded: int | None
) -> tuple[Scalar, Scalar]:
    """The mean of -log p over frames and pixels, and the divergence."""
    if num_decoded is not None:
        count("num_decoded", num_decoded)
    frames = array("frames", frames, "times", *model.image_shape)
    num_frames = len(frames) - model.infer_index
    if num_frames < 2:
        raise ValueError(
            f"`frames` must be {model.infer_index + 2} or more: the inferred one, of "
            f"`infer_index` {model.infer_index}, and a step after it; got "
            f"{len(frames)}."
        )
    posterior = model.posterior(frames)
    divergence = posterior.divergence(model.prior)
    if key is None:
        z, shown = posterior.sample(None), jnp.arange(num_frames)
    else:
        z_key, frames_key = jr.split(random_key("key", key))
        z = posterior.sample(z_key)
        shown = jr.permutation(frames_key, num_frames)
        shown = shown[:num_decoded]
    states = model.move(model.state(z), num_frames - 1)
    means = jax.vmap(model.decode)(jax.tree.map(lambda y: y[shown], states))
    nll = model.nll(means, frames[model.infer_index + shown])
    return jnp.mean(nll), divergence
