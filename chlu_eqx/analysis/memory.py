"""How long a state near a critical point of the potential is remembered."""

import enum
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree, Scalar

from .._checks import energy, function, instance, nonnegative, positive, state
from .._types import RealScalarLike
from ..hamiltonian import AbstractHamiltonian, SeparableHamiltonian
from ..term import HamiltonianTerm


RootFinder: TypeAlias = optx.AbstractRootFinder | optx.AbstractLeastSquaresSolver


class MemoryBand(enum.IntEnum):
    r"""What kind of memory a mode is, by its mass $\mu$, the step $h$ and the friction.

    | band | where | what a mode does |
    | --- | --- | --- |
    | `UNSTABLE` | $\mu^2 < 0$ | grows, whatever the friction |
    | `LATCH` | $\mu^2 = 0$ | stays where friction brings it to rest |
    | `REGISTER` | $0 < h\mu < \eta$ | creeps back, overdamped |
    | `WORKING_MEMORY` | $\eta \le h\mu < 2$ | oscillates and decays, underdamped |
    | `BEYOND_STEP_LIMIT` | $2 \le h\mu$ | does not decay, whatever the friction |

    The lighter a register, the longer it lasts; the half-life of a working memory is
    $2 \ln 2 / \Gamma$ at any mass. The threshold between them is critical damping,

    $$\eta = \left(1 - e^{-\Gamma h/2}\right) \sqrt{\frac{2}{1 + e^{-\Gamma h}}}
    \approx \frac{\Gamma h}{2}.$$

    The numbers of the bands ascend with $\mu^2$.
    """

    UNSTABLE = 0
    LATCH = 1
    REGISTER = 2
    WORKING_MEMORY = 3
    BEYOND_STEP_LIMIT = 4


class MemoryModes(NamedTuple):
    r"""The outcome of [`chlu_eqx.analysis.memory_modes`][], in ascending order of
    $\mu^2$.

    **Attributes:**

    - `squared_masses`: $\mu^2$ of each mode, negative where the potential curves down.
    - `half_lives`: in units of time, as of [`chlu_eqx.analysis.mode_half_life`][].
    - `bands`: the number of each mode's [`chlu_eqx.analysis.MemoryBand`][].
    - `directions`: the displacements $v$ of the modes, as `q` with a leading axis for
        the modes, with $v^\top M v = 1$. The momentum of a mode points along $M v$.
    """

    squared_masses: Float[Array, " modes"]
    half_lives: Float[Array, " modes"]
    bands: Int[Array, " modes"]
    directions: PyTree[Float[Array, "modes ..."]]


def memory_modes(
    term: diffrax.AbstractTerm,
    q: PyTree,
    *,
    dt: RealScalarLike,
    rtol: RealScalarLike | None = None,
    tolerance: RealScalarLike | None = None,
) -> MemoryModes:
    r"""The modes of small motion about a critical point of the potential: their masses,
    half-lives and bands.

    A mode is a direction $v$ in which a small displacement stays,

    $$\nabla^2 V(q)\, v = \mu^2 M v, \qquad M^{-1} = \nabla^2 T(0),$$

    and in its own coordinate $x$ the energy is
    $\tfrac12 (\dot x^2 + \mu^2 x^2)$: the **mass** $\mu$ of a mode, a word of field
    theory, is its frequency. It says how stiff the mode is, and is not the inertia $M$,
    which is `mass` for a [`chlu_eqx.NewtonianKinetic`][] and `rest_mass * mass` for a
    [`chlu_eqx.RelativisticKinetic`][]. What comes after is exact for the step, not for
    the flow it approximates: see [`chlu_eqx.analysis.mode_half_life`][].

    The analysis is of Jawahar & Pierini's map (arXiv 2603.01768), and linear. Pure,
    for `jax.jit` and `jax.vmap`; [`chlu_eqx.analysis.memory_table`][] shows the result.

    **Arguments:**

    - `term`: a [`chlu_eqx.HamiltonianTerm`][] of a separable energy, whose friction is
        the same for all coordinates. If it depends on the state, its rate at $(q, 0)$
        counts: no other does to first order.
    - `q`: the critical point, as of [`chlu_eqx.analysis.critical_point`][]; `d`
        coordinates in all. Its precision is that of the computation.
    - `dt`: the length of the step, positive.
    - `rtol`: a mode is a latch if $\lvert \mu^2 \rvert$ is at most this part of the
        largest. By default $10\, d$ times the machine epsilon: what rounding makes of
        zero.
    - `tolerance`: how far from a critical point `q` may be, where the distance, in the
        units of `q`, is taken to be $\lVert \nabla V \rVert / \lVert \nabla^2 V \rVert$
        (Frobenius). By default $\sqrt{\epsilon}\, (1 + \lVert q \rVert)$; infinity
        allows any point.

    **Returns:** a [`chlu_eqx.analysis.MemoryModes`][] of `d` modes.

    **Raises:** `ValueError` if `term` is another or its friction no scalar, `dt` is not
    positive, `rtol` or `tolerance` negative, `q` not critical, or the kinetic energy
    has no positive definite Hessian at $p = 0$. All but the first raise when run, if
    they are traced.
    """
    equation = _separable(term)
    flat, unravel = _flat(q)
    rest = jnp.zeros_like(flat)
    rate = jnp.asarray(_rate(equation, unravel(flat), unravel(rest)), flat.dtype)

    def force(x: Array) -> Array:
        return ravel_pytree(equation.force((unravel(x), unravel(rest))))[0]

    def velocity(p: Array) -> Array:
        return ravel_pytree(equation.velocity((unravel(flat), unravel(p))))[0]

    # Full precision also where an accelerator's default is less.
    with jax.default_matmul_precision("highest"):
        stiffness, inverse_mass = -jax.jacfwd(force)(flat), jax.jacfwd(velocity)(rest)
        distance = _distance(force(flat), stiffness)
        if tolerance is None:
            tolerance = _tolerance(flat)
        tolerance = jnp.asarray(tolerance, flat.dtype)
        tolerance = _checked(
            tolerance, tolerance >= 0, "`tolerance` must be non-negative", tolerance
        )
        stiffness = _checked(
            stiffness,
            distance <= tolerance,
            "`q` must be a critical point of the potential, from which it may be no "
            "further than `tolerance`; `chlu_eqx.analysis.critical_point` finds one",
            f"|∇V(q)| / |∇²V(q)| = {distance}",
        )
        # M⁻¹ = L Lᵀ turns K v = μ² M v into Lᵀ K L u = μ² u, symmetric, with v = L u.
        factor = jnp.linalg.cholesky(inverse_mass)
        factor = _checked(
            factor,
            jnp.all(jnp.isfinite(factor)),
            "`term` must have a kinetic energy with a positive definite Hessian at "
            "p = 0",
            inverse_mass,
        )
        squared, u = jnp.linalg.eigh(factor.T @ stiffness @ factor)
        directions = jax.vmap(unravel)((factor @ u).T)

    if rtol is None:
        rtol = 10 * flat.size * float(jnp.finfo(flat.dtype).eps)
    nonnegative("rtol", rtol)
    zero = jnp.asarray(rtol, flat.dtype) * jnp.max(jnp.abs(squared))
    latch = jnp.abs(squared) <= zero
    half_lives = mode_half_life(
        jnp.where(latch, jnp.zeros_like(squared), squared), dt=dt, friction=rate
    )
    h = jnp.asarray(dt, flat.dtype)
    h2 = h**2 * squared
    bands = jnp.select(
        [latch, squared < 0, h2 < _overdamped_below(h * rate), h2 < 4],
        [
            MemoryBand.LATCH.value,
            MemoryBand.UNSTABLE.value,
            MemoryBand.REGISTER.value,
            MemoryBand.WORKING_MEMORY.value,
        ],
        MemoryBand.BEYOND_STEP_LIMIT.value,
    )
    return MemoryModes(squared, half_lives, bands, directions)


def mode_half_life(
    squared_mass: Float[ArrayLike, "*shape"],
    *,
    dt: RealScalarLike,
    friction: RealScalarLike,
) -> Float[Array, "*shape"]:
    r"""The time in which a mode of mass $\mu$ falls to half, exactly that of the map.

    One mode's step of length $h$ is a 2x2 matrix of trace
    $(1 + e^{-\Gamma h})(1 - h^2\mu^2/2)$ and determinant $e^{-\Gamma h}$ for
    [`chlu_eqx.KickDriftKickDamp`][], [`chlu_eqx.CHLUSolver`][] and
    [`chlu_eqx.DriftKickDrift`][] alike; the friction per step of Jawahar & Pierini
    (arXiv 2603.01768) is $\gamma = 1 - e^{-\Gamma h}$. Of its eigenvalues the larger
    has

    $$\ln \lvert \lambda \rvert = -\tfrac12 \Gamma h + \operatorname{arcosh} \max\left(
    1,\; \left\lvert 1 - \tfrac12 h^2\mu^2 \right\rvert \cosh \tfrac12 \Gamma h \right),
    \qquad t_{1/2} = -\frac{h \ln 2}{\ln \lvert \lambda \rvert}.$$

    That is $2 \ln 2 / \Gamma$ while the maximum is 1 (underdamped), about
    $\Gamma \ln 2 / \mu^2$ for small $\mu$ (overdamped), infinite at $\mu = 0$, and
    negative for a mode that grows, $\mu^2 < 0$ or $h\mu > 2$: minus the time in which
    it doubles. Shortly before $h\mu = 2$ the maximum exceeds 1 once more: there the
    mode changes its sign at every step, which the flow does not do, and lasts longer.

    Without friction nothing decays: from $0$ to $2$ the half-life is infinite, and at
    the ends of that range, $\mu = 0$ and $h\mu = 2$, a mode then drifts away linearly.

    **Arguments:**

    - `squared_mass`: $\mu^2$, of any shape; its precision is that of the computation.
    - `dt`: the length $h$ of the step, positive.
    - `friction`: the rate $\Gamma$, non-negative; [`chlu_eqx.friction_rate`][] makes it
        of $\gamma$.

    **Returns:** the half-life, in units of time, of the shape of `squared_mass`.

    **Raises:** `ValueError` if `dt` or `friction` is out of range.
    """
    squared_mass = jnp.asarray(state("squared_mass", squared_mass))
    dtype = squared_mass.dtype
    h = jnp.asarray(positive("dt", dt), dtype)
    damping = h * jnp.asarray(nonnegative("friction", friction), dtype)
    # The eigenvalues at 4 - h²μ² are minus those at h²μ².
    h2 = h**2 * squared_mass
    h2 = jnp.minimum(h2, 4 - h2)
    # The formula without its cancellation, by which small masses would lose all
    # digits: 1 - λ is the ratio of (1 - λ)(1 - λ') = (1 + e^(-Γh)) h²μ²/2 to 1 - λ'.
    below = _overdamped_below(damping)
    discriminant = (below - h2) * (4 - below - h2)
    real = discriminant > 0
    root = jnp.sqrt(jnp.where(real, discriminant, jnp.ones_like(h2)))
    lost = 2 * h2 / (2 * jnp.tanh(damping / 2) + h2 + root)
    decay = -jnp.log1p(-jnp.where(real, lost, jnp.zeros_like(h2)))
    decay = jnp.where(real, decay, damping / 2)
    return math.log(2) * h / decay


def memory_table(modes: MemoryModes) -> str:
    r"""The modes as text, one line each under a heading: mass, half-life and band.

    Masses of unstable modes are imaginary, `1.5i`, and those of latches zero.
    Half-lives of modes that grow are minus the time in which they double.

    **Arguments:**

    - `modes`: those of one critical point, not traced.

    **Raises:** `ValueError` if they are of a batch.
    """
    instance("modes", modes, MemoryModes, "a `MemoryModes`")
    if jnp.ndim(modes.squared_masses) != 1:
        raise ValueError(
            "`modes` must be those of one critical point, with `squared_masses` of "
            f"shape (modes,), got shape {jnp.shape(modes.squared_masses)}."
        )
    rows = [("mass", "half-life", "band")]
    for squared, half_life, number in zip(*map(np.asarray, modes[:3]), strict=True):
        band = MemoryBand(number)
        size = 0.0 if band is MemoryBand.LATCH else abs(squared) ** 0.5
        unit = "i" if band is MemoryBand.UNSTABLE else ""
        label = band.name.lower().replace("_", " ")
        rows.append((f"{size:.4g}{unit}", f"{half_life:.4g}", label))
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{a:>{first}}  {b:>{second}}  {c}" for a, b, c in rows)


def critical_point(
    potential: Callable[[PyTree], Scalar],
    q: PyTree,
    *,
    root_finder: RootFinder | None = None,
) -> PyTree:
    r"""A critical point of a potential, $\nabla V = 0$, near a position.

    It may be a minimum or a saddle: from nearby, whichever that is. From afar the
    search often ends where $\lVert \nabla V \rVert$ is small but not zero, which is an
    error. So let friction settle a [`chlu_eqx.rollout`][] first, and start from its
    end: that gives the attractor of a state. Flat directions do no harm.

    **Arguments:**

    - `potential`: a callable from a position to a scalar, such as
        `hamiltonian.potential`.
    - `q`: where to start, a pytree of floating-point arrays.
    - `root_finder`: of optimistix. Defaults to `optimistix.LevenbergMarquardt`, to
        rounding. (In optimistix 0.1.0 not in float32 while JAX has 64 bits enabled;
        `optimistix.Newton` then serves, if no direction is flat.)

    **Returns:** the critical point, as `q`.

    **Raises:** `ValueError` if it finds none, to the default `tolerance` of
    [`chlu_eqx.analysis.memory_modes`][]; when run, if it is traced.
    """
    flat, unravel = _flat(q)
    checked = energy("potential", function("potential", potential))
    gradient = jax.grad(lambda x: checked(unravel(x)))
    if root_finder is None:
        rounding = 100 * float(jnp.finfo(flat.dtype).eps)
        root_finder = optx.LevenbergMarquardt(rtol=rounding, atol=rounding)
    with jax.default_matmul_precision("highest"):
        # Rounding keeps large forces above any tolerance on them: what comes out is
        # judged by its own scale.
        found = optx.root_find(
            lambda x, args: gradient(x), root_finder, flat, throw=False
        ).value
        distance = _distance(gradient(found), jax.jacfwd(gradient)(found))
    found = _checked(
        found,
        distance <= _tolerance(found),
        "`q` must be near a critical point of `potential` that `root_finder` finds",
        f"|∇V| / |∇²V| = {distance} at {found}",
    )
    return unravel(found)


def _overdamped_below(damping: Array) -> Array:
    """The value of (hμ)², η², below which a mode is overdamped."""
    return 2 * jnp.expm1(-damping / 2) ** 2 / (1 + jnp.exp(-damping))


def _flat(q: PyTree) -> tuple[Array, Callable[[Array], PyTree]]:
    return ravel_pytree(state("q", q))


def _separable(term: diffrax.AbstractTerm) -> HamiltonianTerm:
    if not isinstance(term, HamiltonianTerm):
        raise ValueError(
            "`term` must be a `HamiltonianTerm`, which says what its energy and its "
            f"friction are, got {type(term).__name__}."
        )
    energy = term.hamiltonian
    if isinstance(energy, AbstractHamiltonian) and not isinstance(
        energy, SeparableHamiltonian
    ):
        raise ValueError(
            "`term` must have a separable energy T(p) + V(q), a `SeparableHamiltonian` "
            f"or a callable that is separable, got {type(energy).__name__}."
        )
    return term


def _rate(term: HamiltonianTerm, q: PyTree, p: PyTree) -> Any:
    friction = term.friction(q, p) if callable(term.friction) else term.friction
    if friction is None:
        return 0.0
    if jax.tree.map(jnp.shape, friction) != ():
        raise ValueError(
            "`term` must have the same friction rate for all coordinates, a scalar: "
            f"others couple the modes. Got friction={friction}."
        )
    return friction


def _distance(gradient: Array, hessian: Array) -> Scalar:
    """How far away a critical point is, about."""
    residual = jnp.linalg.norm(gradient)
    # A flat potential has one everywhere.
    return jnp.where(residual == 0, residual, residual / jnp.linalg.norm(hessian))


def _tolerance(q: Array) -> Scalar:
    return float(jnp.finfo(q.dtype).eps) ** 0.5 * (1 + jnp.linalg.norm(q))


def _checked(value: Array, ok: Bool[Array, ""], requirement: str, got: Any) -> Array:
    if isinstance(ok, Tracer):
        # Only the run can know; the check rides on the value returned.
        return eqx.error_if(value, ~ok, requirement + ".")
    if not ok:
        raise ValueError(f"{requirement}. Got {got}.")
    return value
