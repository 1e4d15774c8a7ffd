"""Convolutional networks from images to latent numbers and back."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import array, count, random_key
from .latent_dynamics import check_image_shape


# The number of coordinates, or channels on a grid: (channels, height, width).
LatentShape = int | tuple[int, int, int]


def _halvings(image_shape: tuple) -> tuple[int, int, int]:
    """How often to halve an image, and what is left: 4 to 7 pixels, or an odd size."""
    height, width, _ = check_image_shape(image_shape)
    n = 0
    while min(height, width) > 7 and height % 2 == 0 and width % 2 == 0:
        n, height, width = n + 1, height // 2, width // 2
    return n, height, width


def grid_shape(image_shape: tuple, channels: int) -> LatentShape:
    """That of latent channels on the coarsest grid of these networks."""
    _, height, width = _halvings(image_shape)
    return count("channels", channels), height, width


class ConvEncoder(eqx.Module):
    r"""The mean and the logarithm of the scale of $q(z \mid x)$, by a convolutional
    network over frames that are stacked as channels.

    Every layer but the last halves height and width, as long as they are even and
    more than 7 pixels. The last is a linear one, or on a grid a convolution.
    """

    convolutions: tuple[eqx.nn.Conv2d, ...]
    readout: eqx.nn.Linear | eqx.nn.Conv2d
    activation: Callable[[Array], Array]
    shape: tuple[int, int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple,
        context: int,
        latent: LatentShape,
        *,
        features: int = 32,
        activation: Callable[[Array], Array] = jax.nn.leaky_relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `image_shape`: `(height, width, channels)`.
        - `context`: the number of frames.
        - `latent`: the number of latent variables; or, for channels on the coarsest
            grid, `(channels, height, width)`.
        - `features`: the number of channels of the layers.
        - `activation`: between them.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if the sizes are not positive integers, or the grid is
        not that of the images.
        """
        n, height, width = _halvings(image_shape)
        self.shape = count("context", context), *image_shape
        count("features", features)
        *keys, readout_key = jr.split(random_key("key", key), n + 1)
        channels = [context * image_shape[2], *[features] * n]
        self.convolutions = tuple(
            eqx.nn.Conv2d(n_in, n_out, kernel_size=4, stride=2, padding=1, key=k)
            for n_in, n_out, k in zip(channels, channels[1:], keys, strict=False)
        )
        if isinstance(latent, int):
            size = channels[-1] * height * width
            self.readout = eqx.nn.Linear(
                size, 2 * count("latent", latent), key=readout_key
            )
        else:
            check_grid(latent, (height, width))
            self.readout = eqx.nn.Conv2d(
                channels[-1], 2 * latent[0], 3, padding=1, key=readout_key
            )
        self.activation = activation

    def __call__(
        self, frames: Float[Array, "context height width channels"]
    ) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        frames = array("frames", frames, *self.shape)
        x = jnp.moveaxis(frames, 3, 1).reshape(-1, *frames.shape[1:3])
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        if isinstance(self.readout, eqx.nn.Linear):
            x = x.reshape(-1)
        mean, log_scale = jnp.split(self.readout(x).reshape(-1), 2)
        return mean, log_scale


class ConvDecoder(eqx.Module):
    """An image, with values between 0 and 1, of latent coordinates.

    A linear layer to channels on the coarsest grid, where the coordinates are not such
    channels already; two learned constant channels beside them; then as many doublings
    of height and width as the encoder halves them, each followed by a convolution; and
    a last convolution and the logistic function.
    """

    start: eqx.nn.Linear | None
    constants: Float[Array, "2 rows columns"]
    convolutions: tuple[eqx.nn.Conv2d, ...]
    readout: eqx.nn.Conv2d
    activation: Callable[[Array], Array]

    def __init__(
        self,
        latent: LatentShape,
        image_shape: tuple,
        *,
        features: int = 32,
        activation: Callable[[Array], Array] = jax.nn.leaky_relu,
        key: PRNGKeyArray,
    ):
        """**Arguments:** as of [`chlu_eqx.nn.ConvEncoder`][].

        **Raises:** `ValueError` if the sizes are not positive integers, or the grid is
        not that of the images.
        """
        n, height, width = _halvings(image_shape)
        count("features", features)
        start_key, constants_key, readout_key, *keys = jr.split(
            random_key("key", key), n + 3
        )
        if isinstance(latent, int):
            size = features * height * width
            self.start = eqx.nn.Linear(count("latent", latent), size, key=start_key)
            channels = features
        else:
            check_grid(latent, (height, width))
            self.start = None
            channels = latent[0]
        self.constants = 0.1 * jr.normal(constants_key, (2, height, width))
        sizes = [channels + 2, *[features] * n]
        self.convolutions = tuple(
            eqx.nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, key=k)
            for n_in, n_out, k in zip(sizes, sizes[1:], keys, strict=False)
        )
        self.readout = eqx.nn.Conv2d(
            sizes[-1], image_shape[2], kernel_size=3, padding=1, key=readout_key
        )
        self.activation = activation

    def __call__(
        self, q: Float[Array, " dim"]
    ) -> Float[Array, "height width channels"]:
        grid = self.constants.shape[1:]
        if self.start is None:
            first, *_ = (*self.convolutions, self.readout)
            x = array("q", q, (first.in_channels - 2) * math.prod(grid))
        else:
            x = self.activation(self.start(array("q", q, self.start.in_features)))
        x = x.reshape(-1, *grid)
        x = jnp.concatenate([x, self.constants.astype(x.dtype)])
        for convolution in self.convolutions:
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = self.activation(convolution(x))
        return jnp.moveaxis(jax.nn.sigmoid(self.readout(x)), 0, 2)


def check_grid(latent: tuple[int, int, int], size: tuple[int, int]) -> None:
    if len(latent) != 3 or latent[0] < 1 or latent[1:] != size:
        raise ValueError(
            "`latent` must be the number of latent variables, or (channels, height, "
            f"width) on the coarsest grid of these images, (channels, {size[0]}, "
            f"{size[1]}), got {latent}."
        )
