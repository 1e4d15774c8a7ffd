"""Kinetic energies of coupled coordinates, and of angles."""

from typing import Literal

import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import array, count, positive
from .._types import RealScalarLike
from ._parameter import check_frozen, parameter, Positive
from .kinetic import AbstractKineticEnergy


# The sine of the largest turn of a step.
_LARGEST = 1 - 1e-4


class DenseNewtonianKinetic(AbstractKineticEnergy):
    r"""The Newtonian kinetic energy

    $$T(p) = \tfrac12\, p^\top M^{-1} p, \qquad \nabla T(p) = M^{-1} p, \qquad
    M = L L^\top,$$

    with $M$ any positive definite mass matrix. $L$ is learned, lower triangular, its
    diagonal as logarithms.
    """

    _diagonal: Positive
    _lower: Float[Array, "dim dim"]

    def __init__(self, dim: int, *, mass: Float[ArrayLike, "dim dim"] | None = None):
        """**Arguments:**

        - `dim`: the number of coordinates.
        - `mass`: the initial $M$, of shape `(dim, dim)`; symmetric and positive
            definite, and not traced. Defaults to the identity.

        **Raises:** `ValueError` if `mass` is another matrix.
        """
        dim = count("dim", dim)
        matrix = np.eye(dim) if mass is None else np.asarray(mass, float)
        if matrix.shape != (dim, dim):
            raise ValueError(
                f"`mass` must have shape {(dim, dim)}, got shape {matrix.shape}."
            )
        values = np.linalg.eigvalsh(matrix) if np.allclose(matrix, matrix.T) else [-1]
        if not min(values) > 0:
            raise ValueError(
                f"`mass` must be symmetric and positive definite, got {mass}."
            )
        lower = np.linalg.cholesky(matrix)
        self._diagonal = parameter("mass", np.diagonal(lower), (dim,), ())
        self._lower = jnp.asarray(np.tril(lower, -1), jnp.result_type(float))

    def _cholesky(self, dtype) -> Float[Array, "dim dim"]:
        return jnp.tril(self._lower, -1).astype(dtype) + jnp.diag(self._diagonal(dtype))

    @property
    def mass(self) -> Float[Array, "dim dim"]:
        """The matrix $M$."""
        lower = self._cholesky(self._lower.dtype)
        return lower @ lower.T

    def __call__(self, p: Float[Array, " dim"]) -> Scalar:
        p = array("p", p, len(self._lower))
        u = jsp.linalg.solve_triangular(self._cholesky(p.dtype), p, lower=True)
        return 0.5 * jnp.sum(u**2)

    def velocity(self, p: Float[Array, " dim"]) -> Float[Array, " dim"]:
        p = array("p", p, len(self._lower))
        return jsp.linalg.cho_solve((self._cholesky(p.dtype), True), p)

    def momentum(self, velocity: Float[Array, " dim"]) -> Float[Array, " dim"]:
        velocity = array("velocity", velocity, len(self._lower))
        lower = self._cholesky(velocity.dtype)
        return lower @ (lower.T @ velocity)


class RotationKinetic(AbstractKineticEnergy):
    r"""The kinetic energy with which a drift of length $h$ is a step of the variational
    integrator on the circle, for angles $q$:

    $$q \leftarrow q + \arcsin\frac{h p}{m}, \qquad
    T(p) = \frac{p}{h} \arcsin\frac{h p}{m}
    + \frac{m}{h^2} \left(\sqrt{1 - (h p/m)^2} - 1\right),$$

    which tends to $p^2/2m$ as $h \to 0$ (Saemundsson, Terenin, Hofmann & Deisenroth,
    AISTATS 2020, arXiv 1910.09349). With velocity Verlet,

    $$\sin(q_{k+1} - q_k) = \sin(q_k - q_{k-1}) - \tfrac{h^2}{m}\, V'(q_k).$$

    The sine is held within $\pm(1 - 10^{-4})$: no angle turns by a quarter or more in
    one step. The momentum is $m \sin(h \dot q)/h$, not $m \dot q$. One mass for each
    angle, learned unless frozen.
    """

    _mass: Positive
    dt: RealScalarLike

    def __init__(
        self,
        dim: int,
        dt: RealScalarLike,
        *,
        mass: ArrayLike = 1.0,
        frozen: tuple[Literal["mass"], ...] = (),
    ):
        """**Arguments:**

        - `dim`: the number of angles.
        - `dt`: the step $h$ of the solver, positive.
        - `mass`: the initial moments of inertia, a scalar or of shape `(dim,)`;
            positive.
        - `frozen`: `("mass",)` to keep them fixed.

        **Raises:** `ValueError` if `dt` or `mass` is not positive or `mass` has another
        shape, or if `frozen` names something else.
        """
        check_frozen(frozen, ("mass",))
        self._mass = parameter("mass", mass, (count("dim", dim),), frozen)
        self.dt = positive("dt", dt)

    @property
    def mass(self) -> Float[Array, " dim"]:
        """The moments of inertia, shape `(dim,)`."""
        return self._mass(self._mass.log.dtype)

    def _sine(self, p: Float[Array, " dim"]) -> tuple[Array, Array]:
        p = array("p", p, *self._mass.log.shape)
        h = jnp.asarray(self.dt, p.dtype)
        return h, jnp.clip(h * p / self._mass(p.dtype), -_LARGEST, _LARGEST)

    def __call__(self, p: Float[Array, " dim"]) -> Scalar:
        h, sine = self._sine(p)
        versed = sine**2 / (1 + jnp.sqrt(1 - sine**2))
        mass = self._mass(h.dtype)
        return jnp.sum(p * jnp.arcsin(sine) / h - mass * versed / h**2)

    def velocity(self, p: Float[Array, " dim"]) -> Float[Array, " dim"]:
        h, sine = self._sine(p)
        return jnp.arcsin(sine) / h

    def momentum(self, velocity: Float[Array, " dim"]) -> Float[Array, " dim"]:
        velocity = array("velocity", velocity, *self._mass.log.shape)
        h = jnp.asarray(self.dt, velocity.dtype)
        return self._mass(velocity.dtype) * jnp.sin(h * velocity) / h
