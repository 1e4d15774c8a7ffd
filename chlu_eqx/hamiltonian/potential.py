"""Potentials `V(q)`. Any callable from a position to a scalar may stand for one."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import array, count, energy, function, positive, random_key
from ._parameter import parameter, Positive


class AbstractPotential(eqx.Module):
    """A potential energy $V(q)$ of one unbatched position; `V + W` is their sum.

    Forces are gradients, so a potential must be continuously differentiable: use
    smooth activations.
    """

    @abc.abstractmethod
    def __call__(self, q: PyTree[Float[Array, "..."]]) -> Scalar:
        """The energy $V(q)$, a scalar."""

    def __add__(self, other: Callable[[PyTree], Scalar]) -> "PotentialSum":
        return PotentialSum(self, other)

    def __radd__(self, other: Callable[[PyTree], Scalar]) -> "PotentialSum":
        return PotentialSum(other, self)


class PotentialSum(AbstractPotential):
    r"""The sum $V(q) = \sum_k V_k(q)$ of potentials, or of any callables like them."""

    potentials: tuple[Callable[[PyTree], Scalar], ...]

    def __init__(self, *potentials: Callable[[PyTree], Scalar]):
        """**Arguments:**

        - `*potentials`: the summands, each a callable from a position to a scalar.

        **Raises:** `ValueError` if there are none or one is not callable.
        """
        if not potentials or not all(map(callable, potentials)):
            raise ValueError(
                "`potentials` must be one or more callables from a position to a "
                f"scalar, got {potentials}."
            )
        self.potentials = potentials

    def __call__(self, q: PyTree[Float[Array, "..."]]) -> Scalar:
        first, *rest = (potential(q) for potential in self.potentials)
        return sum(rest, start=first)


class Confinement(AbstractPotential):
    r"""The quadratic confinement

    $$V(q) = \alpha \lVert q \rVert^2, \qquad \text{or} \qquad
    V(q) = \sum_i \alpha_i\, q_i^2,$$

    which keeps an energy with a bounded learned potential bounded below
    (Jawahar & Pierini, arXiv 2603.01768, with $\alpha = 0.05$). `q` may be a pytree,
    if $\alpha$ is one number.
    """

    _strength: float | Positive

    def __init__(self, strength: ArrayLike = 0.05):
        r"""**Arguments:**

        - `strength`: $\alpha$, positive: a number, or one for each coordinate, of the
            shape of `q`. A Python number is a constant; an array is learned unless it
            is filtered out, and stays positive.

        **Raises:** `ValueError` if `strength` is not positive, or when called with a
        `q` of another shape.
        """
        if isinstance(strength, int | float):
            self._strength = float(positive("strength", strength))
        else:
            self._strength = parameter("strength", strength, np.shape(strength), ())

    def __call__(self, q: PyTree[Float[Array, "..."]]) -> Scalar:
        return jax.tree.reduce(jnp.add, jax.tree.map(self._energy, q))

    def _energy(self, x: Array) -> Scalar:
        if not isinstance(self._strength, Positive):
            return jnp.asarray(self._strength, x.dtype) * jnp.sum(x**2)
        strength = self._strength(x.dtype)
        if strength.shape not in ((), x.shape):
            raise ValueError(
                f"`q` must have the shape {strength.shape} of `strength`, got "
                f"{x.shape}."
            )
        return jnp.sum(strength * x**2)


class MLPPotential(AbstractPotential):
    """A multilayer perceptron from a position of shape `(dim,)` to a scalar energy."""

    mlp: eqx.nn.MLP

    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `dim`: the number of coordinates.
        - `width`, `depth`: the size and the number of the hidden layers.
        - `activation`: a smooth function; the force is its derivative.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer, `depth` is
        negative or `key` is no key.
        """
        dim, width = count("dim", dim), count("width", width)
        depth = count("depth", depth, least=0)
        key = random_key("key", key)
        self.mlp = eqx.nn.MLP(dim, "scalar", width, depth, activation, key=key)

    def __call__(self, q: Float[Array, " dim"]) -> Scalar:
        return self.mlp(array("q", q, self.mlp.in_size))


class PeriodicPotential(AbstractPotential):
    r"""A potential of angles, by their cosines and sines,

    $$V(q) = U(\cos q, \sin q),$$

    of period $2\pi$ in each; `q` has shape `(dim,)`.
    """

    potential: Callable[[Array], Scalar]

    def __init__(self, potential: Callable[[Array], Scalar]):
        """**Arguments:**

        - `potential`: $U$, a callable from cosines and sines, of shape `(2 * dim,)`, to
            a scalar: `MLPPotential(2 * dim, key=key)`, for instance.

        **Raises:** `ValueError` if it is not callable.
        """
        self.potential = function("potential", potential)

    def __call__(self, q: Float[Array, " dim"]) -> Scalar:
        q = array("q", q, "dim")
        return energy("potential", self.potential)(
            jnp.concatenate([jnp.cos(q), jnp.sin(q)])
        )


class ConvPotential(AbstractPotential):
    """A strided convolutional network from an image to a scalar energy.

    The position is the flattened image, of shape `(channels * height * width,)`, as
    everywhere in the learned models. Every layer halves height and width.
    """

    convolutions: tuple[eqx.nn.Conv2d, ...]
    readout: eqx.nn.Linear
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    activation: Callable[[Array], Array]

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        features: tuple[int, ...] = (32, 64),
        activation: Callable[[Array], Array] = jax.nn.softplus,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `image_shape`: `(channels, height, width)`.
        - `features`: the number of channels after each layer.
        - `activation`: a smooth function; the force is its derivative.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if the image is too small to be halved
        `len(features)` times.
        """
        channels, height, width = (count("image_shape", n) for n in image_shape)
        for number in features:
            count("features", number)
        if min(height, width) < 2 ** len(features):
            raise ValueError(
                f"`image_shape` must be at least {2 ** len(features)} pixels high and "
                f"wide for {len(features)} layers of `features`, got {image_shape}."
            )
        *conv_keys, readout_key = jax.random.split(
            random_key("key", key), len(features) + 1
        )
        sizes = zip((channels, *features), features, conv_keys, strict=False)
        self.convolutions = tuple(
            eqx.nn.Conv2d(n_in, n_out, kernel_size=4, stride=2, padding=1, key=k)
            for n_in, n_out, k in sizes
        )
        pixels = (height >> len(features)) * (width >> len(features))
        self.readout = eqx.nn.Linear(features[-1] * pixels, "scalar", key=readout_key)
        self.image_shape = image_shape
        self.activation = activation

    def __call__(self, q: Float[Array, " dim"]) -> Scalar:
        if q.shape != (math.prod(self.image_shape),):
            raise ValueError(
                f"`q` must be a flattened image of `image_shape` {self.image_shape}, "
                f"got shape {q.shape}."
            )
        x = q.reshape(self.image_shape)
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        return self.readout(x.reshape(-1))
