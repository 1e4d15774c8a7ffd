"""Perceptrons from images to latent numbers and back: much faster than convolutions on
a CPU, and much slower to learn what moves."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import array, count, random_key
from .encoder import RecurrentEncoder
from .latent_dynamics import check_image_shape


class MLPEncoder(eqx.Module):
    r"""The mean and the logarithm of the scale of $q(z \mid x)$: a layer for every
    frame, the same for all, and a perceptron of two hidden layers for all of them."""

    frame: eqx.nn.Linear
    joint: eqx.nn.MLP
    activation: Callable[[Array], Array]
    shape: tuple[int, int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple,
        context: int,
        latent: int,
        *,
        width: int = 64,
        activation: Callable[[Array], Array] = jax.nn.leaky_relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `image_shape`: `(height, width, channels)`.
        - `context`: the number of frames.
        - `latent`: the number of latent variables.
        - `width`: the size of the layers.
        - `activation`: between them.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        for name, value in (("context", context), ("latent", latent), ("width", width)):
            count(name, value)
        frame_key, joint_key = jr.split(random_key("key", key))
        self.shape = context, *check_image_shape(image_shape)
        pixels = math.prod(image_shape)
        self.frame = eqx.nn.Linear(pixels, width, key=frame_key)
        self.joint = eqx.nn.MLP(
            context * width, 2 * latent, width, 2, activation, key=joint_key
        )
        self.activation = activation

    def __call__(
        self, frames: Float[Array, "context height width channels"]
    ) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        frames = array("frames", frames, *self.shape)
        features = jax.vmap(self.frame)(frames.reshape(len(frames), -1))
        mean, log_scale = jnp.split(self.joint(self.activation(features).ravel()), 2)
        return mean, log_scale


class RecurrentMLPEncoder(eqx.Module):
    r"""The mean and the logarithm of the scale of $q(z \mid x)$: a perceptron for every
    frame, the same for all, and a [`chlu_eqx.nn.RecurrentEncoder`][], which runs
    backward over their features: the encoder of the variational integrator networks'
    paper."""

    frame: eqx.nn.MLP
    recurrent: RecurrentEncoder
    image_shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple,
        latent: int,
        *,
        width: int = 1000,
        hidden_size: int = 50,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `image_shape`: `(height, width, channels)`.
        - `latent`: the number of latent variables.
        - `width`: the size of the perceptron's hidden layer and of its output.
        - `hidden_size`: the number of the LSTM's units.
        - `activation`: of the perceptron.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        for name, value in (
            ("latent", latent),
            ("width", width),
            ("hidden_size", hidden_size),
        ):
            count(name, value)
        frame_key, recurrent_key = jr.split(random_key("key", key))
        self.image_shape = check_image_shape(image_shape)
        pixels = math.prod(image_shape)
        self.frame = eqx.nn.MLP(
            pixels, width, width, 1, activation, activation, key=frame_key
        )
        self.recurrent = RecurrentEncoder(
            width, hidden_size, 2 * latent, key=recurrent_key
        )

    def __call__(
        self, frames: Float[Array, "times height width channels"]
    ) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        frames = array("frames", frames, "times", *self.image_shape)
        features = jax.vmap(self.frame)(frames.reshape(len(frames), -1))
        mean, log_scale = jnp.split(self.recurrent(features), 2)
        return mean, log_scale


class MLPDecoder(eqx.Module):
    """An image, with values between 0 and 1, of latent coordinates: a perceptron of two
    hidden layers and the logistic function."""

    mlp: eqx.nn.MLP
    image_shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        latent: int,
        image_shape: tuple,
        *,
        width: int = 128,
        activation: Callable[[Array], Array] = jax.nn.leaky_relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:** as of [`chlu_eqx.nn.MLPEncoder`][].

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        count("latent", latent)
        count("width", width)
        self.image_shape = check_image_shape(image_shape)
        pixels, key = math.prod(image_shape), random_key("key", key)
        self.mlp = eqx.nn.MLP(
            latent, pixels, width, 2, activation, jax.nn.sigmoid, key=key
        )

    def __call__(
        self, q: Float[Array, " latent"]
    ) -> Float[Array, "height width channels"]:
        return self.mlp(array("q", q, self.mlp.in_size)).reshape(self.image_shape)
