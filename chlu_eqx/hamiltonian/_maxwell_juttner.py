r"""The two laws that make the momentum of a relativistic heat bath: the radius of a
Maxwell-Jüttner vector, and the inverse Gaussian that mixes its Gaussians."""

import functools

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import log_ndtr
from jaxtyping import Array, PRNGKeyArray, Scalar


def radius(key: PRNGKeyArray, dim: int, ratio: Scalar) -> Scalar:
    r"""A draw of the density $\propto r^{d-1} e^{-d \sqrt{1 + r^2} / \kappa}$, where
    the ratio $\kappa = d\,kT / m_0c^2$.

    In $z = \log r$ the density is log-concave in every dimension and at every
    temperature, and its mode is known: rejection below a flat top between two
    exponential tails (Devroye, Non-Uniform Random Variate Generation, section VII.2.6)
    is exact and takes about 1.3 trials.
    """
    mode = jnp.sqrt(ratio / 2 * (ratio + jnp.sqrt(ratio**2 + 4)))
    return mode * jnp.exp(_log_radius(key, dim, mode))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_radius(key: PRNGKeyArray, dim: int, mode: Scalar) -> Scalar:
    """log r, less its mode."""
    dtype = mode.dtype
    root = jnp.sqrt(1 + mode**2)

    def ahead(x: Array) -> Array:
        return jnp.sqrt(1 + (mode * jnp.exp(x)) ** 2)

    # The log-density, zero at its mode. In this form no digits are lost when it is
    # cold, nor does anything overflow when it is hot.
    def log_density(x: Array) -> Array:
        return dim * (x - root * jnp.expm1(2 * x) / (ahead(x) + root))

    def slope(x: Array) -> Array:
        return dim * (1 - root * jnp.exp(2 * x) / ahead(x))

    def descend(x: Array, _) -> tuple[Array, None]:
        return x - (log_density(x) + 1) / slope(x), None

    # The tangents touch where the density is about 1/e of its mode; anywhere would do.
    width = jnp.asarray([-1.6, 1.2], dtype) / dim**0.5
    at, _ = lax.scan(descend, width, None, length=4)
    value, rate = log_density(at), slope(at)
    edge = at - value / rate
    areas = jnp.stack([1 / rate[0], edge[1] - edge[0], -1 / rate[1]])

    def trial(carry: tuple) -> tuple:
        key, _, _ = carry
        key, *keys = jr.split(key, 4)
        which, along, height = (jr.uniform(k, (), dtype) for k in keys)
        part = which * areas.sum()
        left, right = part < areas[0], part > areas[0] + areas[1]
        tail = -jnp.log1p(-along)
        x = jnp.where(
            left,
            edge[0] - tail / rate[0],
            jnp.where(
                right, edge[1] - tail / rate[1], edge[0] + along * (edge[1] - edge[0])
            ),
        )
        hat = jnp.where(left | right, -tail, jnp.zeros((), dtype))
        accepted = jnp.log1p(-height) <= log_density(x) - hat
        return key, x, accepted

    first = (key, jnp.zeros((), dtype), jnp.asarray(False))
    _, x, _ = lax.while_loop(lambda carry: ~carry[2], trial, first)
    return x


@_log_radius.defjvp
def _(dim: int, primals: tuple, tangents: tuple):
    raise ValueError(
        "A draw of `RelativisticKinetic.sample` has no derivative by `temperature`, "
        "rest mass or speed limit, since it is made by rejection: pass it through "
        "`jax.lax.stop_gradient(kinetic).sample`, or differentiate `thermostat`."
    )


@jax.custom_jvp
def inverse_gaussian(mean: Scalar, normal: Scalar, uniform: Scalar) -> Scalar:
    r"""A draw of the inverse Gaussian law of the given mean and shape one, over its
    mean, from a standard normal and a uniform number (Michael, Schucany and Haas, "The
    American Statistician" 30(2), 1976, in a form that loses no digits).

    The derivative is along the quantile, $-\partial_m F / f$ for the distribution
    function $F$ and the density $f$, so that the mean of derivatives is the derivative
    of the mean, although which of the two roots is drawn jumps (Figurnov, Mohamed and
    Mnih, "Implicit Reparameterization Gradients", NeurIPS 2018).
    """
    w = mean * normal**2 / 2
    root = 1 / (1 + w + jnp.sqrt(w * (2 + w)))
    return jnp.where(uniform * (1 + root) <= 1, root, 1 / root)


@inverse_gaussian.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Scalar, Scalar]:
    mean, normal, uniform = primals
    x = inverse_gaussian(mean, normal, uniform)
    # d log(mean x) / d log(mean) = 2 x b R(b) / (1 + x), R being Mills' ratio.
    b = (x + 1) / jnp.sqrt(mean * x)
    growth = 2 * x / (1 + x) * _mills(b)
    relative = jnp.where(mean > 0, tangents[0] / mean, 0)
    return x, x * (growth - 1) * relative


def _mills(b: Array) -> Array:
    """b (1 - Φ(b)) / φ(b), which tends to one."""
    x = b**-2
    far = 1 - x * (1 - 3 * x * (1 - 5 * x * (1 - 7 * x * (1 - 9 * x))))
    near = jnp.minimum(b, 20)
    log_density = -(near**2) / 2 - jnp.log(2 * jnp.pi) / 2
    return jnp.where(b > 20, far, near * jnp.exp(log_ndtr(-near) - log_density))
