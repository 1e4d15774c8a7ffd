"""What generative models of image sequences have in common."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._checks import array, count, function, nonzero, positive, random_key


Frames: TypeAlias = Float[Array, "times height width channels"]
Image: TypeAlias = Float[Array, "height width channels"]


class Gaussian(eqx.Module):
    r"""The independent normal distributions $\mathcal N(\mu_i, \sigma_i^2)$.

    **Attributes:**

    - `mean`, `scale`: $\mu$ and $\sigma$, arrays of shape `(latent,)`.
    """

    mean: Float[Array, " latent"]
    scale: Float[Array, " latent"]

    def sample(self, key: PRNGKeyArray | None) -> Float[Array, " latent"]:
        r"""$\mu + \sigma \varepsilon$, reparametrised; without a key the mean."""
        if key is None:
            return self.mean
        key = random_key("key", key)
        return self.mean + self.scale * jr.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, x: Float[Array, " latent"]) -> Scalar:
        r"""The logarithm of the density at $x$."""
        return jnp.sum(norm.logpdf(x, self.mean, self.scale))

    def divergence(self, other: "Gaussian") -> Scalar:
        r"""$\mathrm{KL}(\text{self} \,\|\, \text{other})$, in nats."""
        ratio = self.scale / other.scale
        shift = (self.mean - other.mean) / other.scale
        return jnp.sum((ratio**2 + shift**2 - 1) / 2 - jnp.log(ratio))


class AbstractLatentDynamics(eqx.Module):
    r"""A generative model of image sequences: a latent state, its motion, and a picture
    of every state,

    $$z \sim p(z), \qquad y_0 = f(z), \qquad y_t = \Phi^t(y_0), \qquad
    x_t \sim p(x_t \mid y_t),$$

    with an encoder that reads the state off some frames, $q(z \mid x)$. Images are of
    shape `image_shape = (height, width, channels)`, with values in $[0, 1]$.

    Train it by [`chlu_eqx.training.negative_elbo`][] or
    [`chlu_eqx.training.ConstrainedELBO`][].
    """

    encoder: eqx.AbstractVar[Callable[[Frames], tuple[Array, Array]]]
    image_shape: eqx.AbstractVar[tuple[int, int, int]]
    context: eqx.AbstractVar[int]
    infer_index: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def prior(self) -> Gaussian:
        """The law $p(z)$."""

    @abc.abstractmethod
    def state(self, z: Float[Array, " latent"]) -> Any:
        """The state $f(z)$ of a latent vector."""

    @abc.abstractmethod
    def move(self, state: Any, num_steps: int, speed: float | Scalar = 1.0) -> Any:
        """The states at `num_steps` frames and the first one, on a leading axis."""

    @abc.abstractmethod
    def decode(self, state: Any) -> Image:
        """The picture of one state: the mean of $p(x | y)$."""

    @abc.abstractmethod
    def nll(
        self, mean: Float[Array, "*shape"], frames: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        r"""$-\log p(x \mid y)$ of every pixel, up to a constant, by the `mean` that
        `decode` gives."""

    def posterior(self, frames: Float[Array, "..."]) -> Gaussian:
        r"""$q(z \mid x)$ by the first `context` of the frames.

        **Raises:** `ValueError` if there are fewer, or of another size; a runtime error
        if their values are not finite and in [0, 1].
        """
        frames = check_frames(frames, self.image_shape, self.context)
        mean, log_scale = self.encoder(frames[: self.context])
        # A scale near 0.05 at first: noise of the prior's would hide z from the
        # decoder, which then never learns to read it.
        return Gaussian(mean, jnp.exp(log_scale - 3))

    def infer(
        self, frames: Float[Array, "..."], *, key: PRNGKeyArray | None = None
    ) -> Any:
        """The state at the frame of number `infer_index`: a sample of the posterior or,
        without a key, its mean.

        **Raises:** as `posterior`.
        """
        return self.state(self.posterior(frames).sample(key))

    def rollout(
        self, state: Any, num_steps: int, *, speed: float | Scalar = 1.0
    ) -> Frames:
        """The frames from one state on, `num_steps` after its own.

        **Arguments:**

        - `state`: from `infer`, or of some trajectory.
        - `num_steps`: the number of frames to make, positive.
        - `speed`: how much time to let pass between them, in units of the data's: 0.5
            for half the speed, negative for backward in time.

        **Raises:** `ValueError` if `num_steps` is not positive or `speed` is zero.
        """
        count("num_steps", num_steps)
        speed = nonzero("speed", speed)
        return jax.vmap(self.decode)(self.move(state, num_steps, speed))

    def sample(self, num_steps: int, *, key: PRNGKeyArray) -> Frames:
        """Frames from a state that is drawn from the prior, `num_steps` after its own.

        **Raises:** `ValueError` if `num_steps` is not positive.
        """
        return self.rollout(self.state(self.prior.sample(key)), num_steps)


class StandardisedEncoder(eqx.Module):
    r"""An encoder of $(x - \mu)/\sigma$. With the mean image and the standard deviation
    of the data a model trains in a fraction of the steps: what moves is little beside
    what all images share."""

    encoder: Callable[[Frames], tuple[Array, Array]]
    mean: ArrayLike
    scale: ArrayLike

    def __init__(
        self,
        encoder: Callable[[Frames], tuple[Array, Array]],
        mean: ArrayLike = 0.5,
        scale: ArrayLike = 12**-0.5,
    ):
        r"""**Arguments:**

        - `encoder`: a callable from frames to the mean and the logarithm of the scale.
        - `mean`, `scale`: $\mu$ and $\sigma$, of the shape of an image or one that goes
            with it; by default those of numbers that are uniform in [0, 1]. They are
            not trained.

        **Raises:** `ValueError` if `scale` is not positive.
        """
        self.encoder = function("encoder", encoder)
        self.mean = mean
        self.scale = positive("scale", scale, scalar=False)

    def __call__(self, frames: Frames) -> tuple[Array, Array]:
        mean, scale = lax.stop_gradient((self.mean, self.scale))
        return self.encoder(jax.vmap(lambda x: (x - mean) / scale)(frames))


def dtype_of(model: Any) -> Any:
    """The dtype of a model's weights."""
    return jnp.result_type(*jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))


def check_context(context: int, infer_index: int | None) -> tuple[int, int]:
    """Both, `infer_index` by default the last frame of the context."""
    count("context", context)
    infer_index = context - 1 if infer_index is None else infer_index
    if not 0 <= infer_index < context:
        raise ValueError(
            f"`infer_index` must be that of one of the {context} frames of `context`, "
            f"got {infer_index}."
        )
    return context, infer_index


def check_image_shape(image_shape: tuple) -> tuple[int, int, int]:
    if len(image_shape) != 3 or not all(
        isinstance(n, int) and n > 0 for n in image_shape
    ):
        raise ValueError(
            "`image_shape` must be three positive integers (height, width, channels), "
            f"got {image_shape}."
        )
    return image_shape


def check_frames(
    frames: Array, image_shape: tuple[int, int, int], context: int
) -> Frames:
    frames = array("frames", frames, "times", *image_shape)
    if len(frames) < context:
        raise ValueError(
            f"`frames` must be {context} or more, the `context` that the state is "
            f"inferred from, got {len(frames)}."
        )
    # Not a number is in no range.
    inside = (frames >= 0) & (frames <= 1)
    return eqx.error_if(
        frames, ~jnp.all(inside), "`frames` must be finite and in [0, 1]."
    )
