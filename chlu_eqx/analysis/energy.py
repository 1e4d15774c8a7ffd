"""The energy of a trajectory: whether it drifts, and the one that a solver keeps."""

from collections.abc import Callable
from itertools import zip_longest
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float, PyTree, Scalar

from .._checks import finite, positive
from .._types import RealScalarLike
from ..hamiltonian import AbstractHamiltonian, SeparableHamiltonian
from ..solver.composition import AbstractComposition


class EnergyDrift(NamedTuple):
    """The outcome of [`chlu_eqx.analysis.energy_drift`][].

    **Attributes:**

    - `slope`: the energy gained per unit of time.
    - `standard_error`: of the slope.
    - `amplitude`: the largest distance of an energy from the line.
    """

    slope: Scalar
    standard_error: Scalar
    amplitude: Scalar


def energy_drift(
    times: Float[ArrayLike, " times"], energies: Float[ArrayLike, " times"]
) -> EnergyDrift:
    r"""The line $E(t) \approx a + s\,t$ of least squares through the energies of a
    trajectory.

    The energy of a symplectic method oscillates about a constant (Hairer, Lubich &
    Wanner, *Geometric Numerical Integration*, 2006, Theorem IX.8.1): the slope is
    within a few standard errors of zero, and slope times duration well under the
    amplitude. The standard error takes the residuals for independent, so let the times
    span many periods. A small drift shows earlier in the energy that oscillates less,
    [`chlu_eqx.analysis.ShadowHamiltonian`][] (Skeel & Hardy, "Practical construction of
    modified Hamiltonians", SIAM Journal on Scientific Computing 23(4), 2001).

    **Arguments:**

    - `times`: of shape `(n,)`, not all the same.
    - `energies`: of shape `(n,)`, for example `jax.vmap(hamiltonian)(q, p)`.

    **Returns:** a [`chlu_eqx.analysis.EnergyDrift`][].

    **Raises:** `ValueError` if the shapes differ or there are fewer than three times or
    one only.
    """
    times, energies = jnp.asarray(times), jnp.asarray(energies)
    if times.ndim != 1 or times.shape != energies.shape or times.size < 3:
        raise ValueError(
            "`times` and `energies` must have the same shape (n,) with n >= 3, got "
            f"{times.shape} and {energies.shape}."
        )
    t, e = times - jnp.mean(times), energies - jnp.mean(energies)
    t = t.astype(e.dtype)
    spread = t.size * positive("times.var()", jnp.mean(t**2))
    slope = jnp.sum(t * e) / spread
    residuals = e - slope * t
    variance = jnp.sum(residuals**2) / (t.size - 2)
    standard_error = jnp.sqrt(variance / spread)
    return EnergyDrift(slope, standard_error, jnp.max(jnp.abs(residuals)))


class ShadowHamiltonian(AbstractHamiltonian):
    r"""The modified, or shadow, energy of a kick-drift composition,

    $$\tilde H = H + a\,h\, \nabla V \cdot \nabla T + h^2 \left(
    b\, \nabla T^\top\, \nabla^2 V\, \nabla T +
    c\, \nabla V^\top\, \nabla^2 T\, \nabla V \right),$$

    whose exact flow the numerical trajectory follows: the solver conserves it better
    than the energy $H = T(p) + V(q)$ itself, up to $O(h^4)$ if it is time-symmetric and
    $O(h^3)$ if not. A method of order 3 or more has $\tilde H = H$ to these terms.

    | method | a | b | c |
    | --- | --- | --- | --- |
    | [`chlu_eqx.CHLUSolver`][] (kick-drift-kick) | 0 | 1/12 | -1/24 |
    | [`chlu_eqx.DriftKickDrift`][] | 0 | -1/24 | 1/12 |
    | [`chlu_eqx.SymplecticEuler`][] (drift-kick) | 1/2 | 1/12 | 1/12 |

    They are those of the Baker-Campbell-Hausdorff formula for the solver's own kicks
    and drifts. An energy like any other, of one state; use `jax.vmap` for trajectories.
    It costs two Jacobian-vector products, and no Hessian. See Hairer, Lubich & Wanner,
    *Geometric Numerical Integration* (2nd ed., 2006), Sections III.4 and IX.4.
    """

    hamiltonian: SeparableHamiltonian
    solver: AbstractComposition
    dt: RealScalarLike

    def __init__(
        self,
        hamiltonian: Callable[[PyTree, PyTree], Scalar],
        solver: diffrax.AbstractSolver,
        dt: RealScalarLike,
    ):
        """**Arguments:**

        - `hamiltonian`: a [`chlu_eqx.SeparableHamiltonian`][].
        - `solver`: a composition of kicks and drifts. Its friction is left out: with
            friction, nothing is conserved.
        - `dt`: the length of its step.

        **Raises:** `ValueError` if either is of another kind.
        """
        if not isinstance(hamiltonian, SeparableHamiltonian):
            raise ValueError(
                "`hamiltonian` must be a `SeparableHamiltonian`, got "
                f"{type(hamiltonian).__name__}."
            )
        if not isinstance(solver, AbstractComposition):
            raise ValueError(
                "`solver` must be a composition of kicks and drifts, such as "
                f"`CHLUSolver()`, got {type(solver).__name__}."
            )
        self.hamiltonian = hamiltonian
        self.solver = solver
        self.dt = finite("dt", dt)

    def __call__(self, q: PyTree, p: PyTree) -> Scalar:
        velocity, force = self.hamiltonian.velocity(p), self.hamiltonian.force(q)
        # How the force changes along the drift, and the velocity along the kick.
        _, force_rate = jax.jvp(self.hamiltonian.force, (q,), (velocity,))
        _, acceleration = jax.jvp(self.hamiltonian.velocity, (p,), (force,))
        energy = self.hamiltonian(q, p)
        h = jnp.asarray(self.dt, energy.dtype)
        a, b, c = _brackets(self.solver.kicks, self.solver.drifts)
        return (
            energy
            - a * h * _dot(force, velocity)
            - b * h**2 * _dot(velocity, force_rate)
            + c * h**2 * _dot(force, acceleration)
        )


def _brackets(
    kicks: tuple[float, ...], drifts: tuple[float, ...]
) -> tuple[float, float, float]:
    """The coefficients of [T,V], [T,[T,V]] and [V,[V,T]] in the logarithm of
    exp(b₁V) exp(a₁T) exp(b₂V)...

    One factor more by the formula of Baker, Campbell and Hausdorff,
    log(exp Z exp W) = Z + W + [Z,W]/2 + [Z,[Z,W]]/12 + [W,[W,Z]]/12 + ...
    """
    t = v = tv = ttv = vvt = 0.0
    for kick, drift in zip_longest(kicks, drifts, fillvalue=0.0):
        ttv += kick * t**2 / 12
        vvt += kick * (tv / 2 - t * v / 12 + kick * t / 12)
        tv += kick * t / 2
        v += kick
        vvt += drift * v**2 / 12
        ttv += drift * (-tv / 2 - t * v / 12 + drift * v / 12)
        tv -= drift * v / 2
        t += drift
    return tv, ttv, vvt


def _dot(x: PyTree, y: PyTree) -> Scalar:
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda a, b: jnp.sum(a * b), x, y))
