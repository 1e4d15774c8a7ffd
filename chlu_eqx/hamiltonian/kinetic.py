"""Kinetic energies `T(p)` and their closed-form velocities `∇T(p)`."""

import abc
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import ndtr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._checks import array, count, positive, random_key
from .._types import RealScalarLike
from ._maxwell_juttner import inverse_gaussian, radius
from ._parameter import check_frozen, parameter, Positive


class AbstractKineticEnergy(eqx.Module):
    """A kinetic energy $T(p)$ of one unbatched momentum of shape `(dim,)`.

    Subclasses give `__call__(p)`, the energy; `velocity(p)`, its gradient in closed
    form; and `momentum(velocity)`, the inverse of that. Use `jax.vmap` for batches.
    """

    @abc.abstractmethod
    def __call__(self, p: Float[Array, " dim"]) -> Scalar:
        """The energy $T(p)$, a scalar."""

    @abc.abstractmethod
    def velocity(self, p: Float[Array, " dim"]) -> Float[Array, " dim"]:
        r"""The velocity $\dot q = \nabla T(p)$, of shape `(dim,)`."""

    @abc.abstractmethod
    def momentum(self, velocity: Float[Array, " dim"]) -> Float[Array, " dim"]:
        r"""The momentum at which the velocity is this one, of shape `(dim,)`."""


class AbstractThermalKinetic(AbstractKineticEnergy):
    """A kinetic energy that can be brought into contact with a heat bath of temperature
    $kT$: beside energy, velocity and momentum subclasses give `sample`, `thermostat`
    and `noise_variance`.
    """

    @abc.abstractmethod
    def sample(
        self, key: PRNGKeyArray, temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        r"""A momentum of shape `(dim,)`, drawn from $e^{-T(p)/kT}$ exactly.

        **Arguments:**

        - `key`: a `jax.random.key`.
        - `temperature`: $kT$, in units of energy; positive.
        """

    @abc.abstractmethod
    def thermostat(
        self,
        p: Float[Array, " dim"],
        damping: ArrayLike,
        temperature: RealScalarLike,
        noise: Float[Array, " noise"],
    ) -> Float[Array, " dim"]:
        r"""A step of a heat bath: the momentum decays by $e^{-x}$ and is filled up with
        noise, so that $e^{-T(p)/kT}$ is left as it is, exactly.

        **Arguments:**

        - `p`: the momentum, of shape `(dim,)`.
        - `damping`: $x = \Gamma h$, the friction times the length of the step; a
            non-negative scalar or of shape `(dim,)`.
        - `temperature`: $kT$, in units of energy; non-negative.
        - `noise`: independent standard normal numbers, of shape `(noise_dim,)` or more.
        """

    @abc.abstractmethod
    def noise_variance(
        self, p: Float[Array, " dim"], temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        r"""The diagonal $\Sigma(p)$ with which

        $$\mathrm dp = -\Gamma p\,\mathrm dt + \sqrt{2\Gamma\,\Sigma(p)}\,\mathrm dW$$

        (Itô) leaves $e^{-T(p)/kT}$ as it is.
        """

    @property
    @abc.abstractmethod
    def noise_dim(self) -> int:
        """How many normal numbers a step of the thermostat takes."""


class NewtonianKinetic(AbstractThermalKinetic):
    r"""The Newtonian kinetic energy

    $$T(p) = \tfrac12\, p^\top M^{-1} p, \qquad \nabla T(p) = M^{-1} p,$$

    with $M$ a positive diagonal mass matrix, learnable unless frozen.
    """

    _mass: Positive

    def __init__(
        self,
        dim: int,
        *,
        mass: ArrayLike = 1.0,
        frozen: tuple[Literal["mass"], ...] = (),
    ):
        """**Arguments:**

        - `dim`: the number of coordinates.
        - `mass`: the initial diagonal of $M$, a scalar or of shape `(dim,)`; positive.
        - `frozen`: `("mass",)` to keep the mass fixed: its gradient is then zero.

        **Raises:** `ValueError` if `mass` is not positive or has another shape, or if
        `frozen` names something else.
        """
        check_frozen(frozen, ("mass",))
        self._mass = parameter("mass", mass, (count("dim", dim),), frozen)

    @property
    def mass(self) -> Float[Array, " dim"]:
        """The diagonal of $M$, shape `(dim,)`."""
        return self._mass(self._mass.log.dtype)

    def __call__(self, p: Float[Array, " dim"]) -> Scalar:
        velocity = self.velocity(p)
        return 0.5 * jnp.sum(p * velocity)

    def velocity(self, p: Float[Array, " dim"]) -> Float[Array, " dim"]:
        p = array("p", p, *self._mass.log.shape)
        return p / self._mass(p.dtype)

    def momentum(self, velocity: Float[Array, " dim"]) -> Float[Array, " dim"]:
        velocity = array("velocity", velocity, *self._mass.log.shape)
        return self._mass(velocity.dtype) * velocity

    def sample(
        self, key: PRNGKeyArray, temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        """Gaussian, of variance $M\\,kT$."""
        mass = self.mass
        key = random_key("key", key)
        kT = jnp.asarray(positive("temperature", temperature), mass.dtype)
        return jnp.sqrt(mass * kT) * jr.normal(key, mass.shape, mass.dtype)

    def thermostat(
        self,
        p: Float[Array, " dim"],
        damping: ArrayLike,
        temperature: RealScalarLike,
        noise: Float[Array, " noise"],
    ) -> Float[Array, " dim"]:
        r"""The exact Ornstein-Uhlenbeck step

        $$p \leftarrow e^{-x} p + \sqrt{1 - e^{-2x}} \sqrt{M\,kT}\; \xi.$$
        """
        noise = enough_noise(noise, self.noise_dim)
        width = jnp.sqrt(self.noise_variance(p, temperature))
        return _ornstein_uhlenbeck(p, damping, width, noise)

    def noise_variance(
        self, p: Float[Array, " dim"], temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        r"""$\Sigma = M\,kT$."""
        p = array("p", p, *self._mass.log.shape)
        return self._mass(p.dtype) * jnp.asarray(temperature, p.dtype)

    @property
    def noise_dim(self) -> int:
        return self._mass.log.size


class RelativisticKinetic(AbstractThermalKinetic):
    r"""The relativistic kinetic energy, rest energy included,

    $$T(p) = c \sqrt{p^\top M^{-1} p + (m_0 c)^2}, \qquad
    \nabla T(p) = \frac{c\, M^{-1} p}{\sqrt{p^\top M^{-1} p + (m_0 c)^2}},$$

    with $M$ a positive diagonal mass matrix, $m_0$ the rest mass and $c$ the speed
    limit, each learnable unless frozen. Whatever the momentum, coordinate $i$ moves
    no faster than $c/\sqrt{M_i}$; it reaches $1/\sqrt2$ of that at
    $p_i = m_0 c \sqrt{M_i}$. As $c \to \infty$, $T(p) - m_0c^2$ tends to the Newtonian
    energy of mass $m_0 M$.

    Both are computed on a scaled momentum, so neither they nor their gradients
    overflow anywhere that the energy itself is representable ($|p| = 10^{30}$ in
    float32, say).

    ??? cite "Reference"

        ```bibtex
        @inproceedings{jawahar2026chlu,
            title={{CHLU}: The Causal {H}amiltonian Learning Unit as a Symplectic
                   Primitive for Deep Learning},
            author={Jawahar, Pratik and Pierini, Maurizio},
            booktitle={ICLR 2026 Workshop on AI and Partial Differential Equations},
            year={2026},
            note={arXiv:2603.01768},
        }
        ```
    """

    _mass: Positive
    _rest_mass: Positive
    _speed_limit: Positive

    def __init__(
        self,
        dim: int,
        *,
        mass: ArrayLike = 1.0,
        rest_mass: ArrayLike = 1.0,
        speed_limit: ArrayLike = 1.0,
        frozen: tuple[Literal["mass", "rest_mass", "speed_limit"], ...] = (),
    ):
        """**Arguments:**

        - `dim`: the number of coordinates.
        - `mass`: the initial diagonal of $M$, a scalar or of shape `(dim,)`; positive.
        - `rest_mass`: the initial $m_0$, a positive scalar.
        - `speed_limit`: the initial $c$, a positive scalar, in units of position per
            unit of time.
        - `frozen`: the names of the parameters to keep fixed: their gradients are
            then zero.

        **Raises:** `ValueError` if a parameter is not positive or has another shape, or
        if `frozen` names something else.
        """
        check_frozen(frozen, ("mass", "rest_mass", "speed_limit"))
        self._mass = parameter("mass", mass, (count("dim", dim),), frozen)
        self._rest_mass = parameter("rest_mass", rest_mass, (), frozen)
        self._speed_limit = parameter("speed_limit", speed_limit, (), frozen)

    @property
    def mass(self) -> Float[Array, " dim"]:
        """The diagonal of $M$, shape `(dim,)`."""
        return self._mass(self._mass.log.dtype)

    @property
    def rest_mass(self) -> Scalar:
        """The rest mass $m_0$."""
        return self._rest_mass(self._rest_mass.log.dtype)

    @property
    def speed_limit(self) -> Scalar:
        """The speed limit $c$."""
        return self._speed_limit(self._speed_limit.log.dtype)

    def _scaled(self, p: Float[Array, " dim"]) -> tuple[Array, Array, Array, Array]:
        # u = p / √M and m₀c, both divided by the larger of them: their squares then
        # neither overflow nor lose everything. The scale cancels, so it needs no
        # gradient.
        p = array("p", p, *self._mass.log.shape)
        root_mass = jnp.sqrt(self._mass(p.dtype))
        rest = self._rest_mass(p.dtype) * self._speed_limit(p.dtype)
        u = p / root_mass
        scale = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(u)), rest))
        u = u / scale
        return u, jnp.sqrt(jnp.sum(u**2) + (rest / scale) ** 2), scale, root_mass

    def __call__(self, p: Float[Array, " dim"]) -> Scalar:
        _, norm, scale, _ = self._scaled(p)
        return self._speed_limit(scale.dtype) * norm * scale

    def velocity(self, p: Float[Array, " dim"]) -> Float[Array, " dim"]:
        u, norm, _, root_mass = self._scaled(p)
        return self._speed_limit(u.dtype) / root_mass * (u / norm)

    def momentum(self, velocity: Float[Array, " dim"]) -> Float[Array, " dim"]:
        r"""$p = m_0 M \dot q / \sqrt{1 - \dot q^\top M \dot q / c^2}$; not finite at
        the speed limit and beyond."""
        velocity = array("velocity", velocity, *self._mass.log.shape)
        dtype = velocity.dtype
        mass, c = self._mass(dtype), self._speed_limit(dtype)
        u = jnp.sqrt(mass) * (velocity / c)
        gamma = 1 / jnp.sqrt(1 - jnp.sum(u**2))
        return self._rest_mass(dtype) * gamma * mass * velocity

    def sample(
        self, key: PRNGKeyArray, temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        """From the Maxwell-Jüttner law, by exact rejection; not differentiable by the
        temperature, the rest mass or the speed limit."""
        mass, c = self.mass, self.speed_limit
        rest = self.rest_mass * c
        length, direction = jr.split(random_key("key", key))
        kT = jnp.asarray(positive("temperature", temperature), mass.dtype)
        u = jr.normal(direction, mass.shape, mass.dtype)
        r = radius(length, mass.size, mass.size * kT / (rest * c))
        return jnp.sqrt(mass) * rest * r * u / jnp.linalg.norm(u)

    def thermostat(
        self,
        p: Float[Array, " dim"],
        damping: ArrayLike,
        temperature: RealScalarLike,
        noise: Float[Array, " noise"],
    ) -> Float[Array, " dim"]:
        r"""The Maxwell-Jüttner law is a mixture of Gaussians:

        $$p \mid s \sim \mathcal N\left(0, \tfrac{M}{2s}\right), \qquad
        s \mid p \sim \mathrm{InverseGaussian}\left(\text{mean }
        \tfrac{c^2}{2\,kT\,T(p)},\ \text{shape } \tfrac{c^2}{2\,(kT)^2}\right).$$

        So draw $s$, and then make an Ornstein-Uhlenbeck step,
        $p \leftarrow e^{-x} p + \sqrt{1 - e^{-2x}} \sqrt{M/2s}\; \xi$. The first `dim`
        numbers of the noise are $\xi$, the next two give $s$.

        Differentiable by everything, with derivatives whose mean is the derivative of
        the mean.
        """
        dim, energy = p.size, self(p)
        noise = enough_noise(noise, self.noise_dim)
        kT = jnp.asarray(temperature, p.dtype)
        # s over its mean; no division by kT, which may go to zero.
        s = inverse_gaussian(kT / energy, noise[dim], ndtr(noise[dim + 1]))
        width = jnp.sqrt(self._mass(p.dtype) * (kT * energy / s))
        width = width / self._speed_limit(p.dtype)
        return _ornstein_uhlenbeck(p, damping, width, noise)

    def noise_variance(
        self, p: Float[Array, " dim"], temperature: RealScalarLike
    ) -> Float[Array, " dim"]:
        r"""$\Sigma(p) = M\,kT\,(T(p) + kT)/c^2$."""
        energy, kT = self(p), jnp.asarray(temperature, p.dtype)
        scale = kT * (energy + kT) / self._speed_limit(p.dtype) ** 2
        return self._mass(p.dtype) * scale

    @property
    def noise_dim(self) -> int:
        return self._mass.log.size + 2


def enough_noise(noise: Array, least: int) -> Array:
    # JAX would take the last number again for those that are missing.
    if array("noise", noise, "n").size < least:
        raise ValueError(
            f"`noise` must have shape ({least},) or longer, got {noise.shape}."
        )
    return noise


def _ornstein_uhlenbeck(
    p: Float[Array, " dim"], damping: ArrayLike, width: Array, noise: Array
) -> Float[Array, " dim"]:
    # Of a short step too, 1 - e^(-2x) has all its digits.
    x = jnp.broadcast_to(jnp.asarray(damping, p.dtype), p.shape)
    return jnp.exp(-x) * p + jnp.sqrt(-jnp.expm1(-2 * x)) * width * noise[: p.size]
