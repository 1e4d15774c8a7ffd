"""Laws of the momentum, in the form of BlackJAX's metrics."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from blackjax.mcmc.metrics import Metric
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import function, positive
from .._types import RealScalarLike
from ..hamiltonian import AbstractThermalKinetic
from ..hamiltonian.riemannian import metric_at, MetricRoot
from .kinetic import (
    CopiesKinetic,
    ExtendedMomentum,
    MetricFunction,
    ResetCopiesKinetic,
    RiemannianKinetic,
)


def riemannian_metric(metric: MetricFunction) -> Metric:
    r"""Momenta $p \mid q \sim \mathcal N(0, G(q))$, for the implicit solvers.

    The same law as `blackjax.mcmc.metrics.gaussian_riemannian`; it looks at the metric
    where a chain stands. Take it with [`chlu_eqx.mcmc.integrator`][] or with
    `blackjax.mcmc.integrators.implicit_midpoint`.

    **Arguments:**

    - `metric`: $G$, as of [`chlu_eqx.RiemannianHamiltonian`][].

    **Raises:** `ValueError` if it is not callable or of another shape; a runtime error
    if, where a chain stands, it is not finite, symmetric and positive definite. Where
    that befalls a proposal the energy is NaN, and the proposal rejected as divergent.
    """
    plain = RiemannianKinetic(function("metric", metric))

    def sample(key: PRNGKeyArray, position: PyTree) -> PyTree:
        root, unravel = _root("metric", plain, position)
        return unravel(root.multiply(_normal(key, position)))

    return _metric(sample, plain, plain)


def isotropic(q: PyTree) -> Float[Array, " dim"]:
    """The metric of white coordinates, one."""
    return jnp.ones_like(ravel_pytree(q)[0])


def extended_metric(
    metric: MetricFunction,
    spread: RealScalarLike = 0.2,
    distance: MetricFunction = isotropic,
) -> Metric:
    r"""Momenta with a copy of the state, for [`chlu_eqx.TaoSolver`][]:

    $$p \sim \mathcal N(0, G(q)), \qquad x - q \sim \mathcal N(0, s^2 D(q)^{-1}),
    \qquad y - p \sim \mathcal N(0, s^2 D(q)),$$

    all given $q$. In the laws of the two differences the determinants of $D$ cancel, so
    the kinetic energy is

    $$K(q, p) + \frac{1}{2 s^2} \left[(x - q)^\top D(q) (x - q)
    + (y - p)^\top D(q)^{-1} (y - p)\right],$$

    and a Metropolis test on it is **exact for every $s$, $\omega$ and step**: Tao's map
    preserves the volume of the four together and is undone by its own steps backward.
    [Why the rule of Cobb et al. is not](../benchmarks.md#explicit-rmhmc).

    A small $s$ keeps the copies close, where the map follows the motion; but how much
    their distance changes along it counts in units of $s$. The binding turns
    $(x - q, y - p)$ and keeps $|x - q|^2 + |y - p|^2$, which with $D = 1$ is the
    distance; what else moves the copies is averaged away by a turn $2\omega h$ that is
    not small. $s$ about 0.2 and $2\omega h$ about $\pi/2$ are good starts.

    **Arguments:**

    - `metric`: $G$, as of [`chlu_eqx.RiemannianHamiltonian`][].
    - `spread`: $s$, positive.
    - `distance`: $D$, a metric too: one, for whitened coordinates, by default. With
        $D = G$ there are [fewer acceptances](../benchmarks.md#sampling).

    **Raises:** as [`chlu_eqx.mcmc.riemannian_metric`][]; `ValueError` if `spread` is
    not positive.
    """
    plain = RiemannianKinetic(function("metric", metric))
    apart = RiemannianKinetic(function("distance", distance))
    spread = positive("spread", spread)

    def shifts(key: PRNGKeyArray, q: PyTree) -> tuple[Array, Array]:
        root, _ = _root("distance", apart, q)
        first, second = jr.split(key)
        u, v = _normal(first, q), _normal(second, q)
        s = jnp.asarray(spread, u.dtype)
        return s * root.solve(u, transposed=True), s * root.multiply(v)

    return _metric(_extended(plain, shifts), CopiesKinetic(plain, apart, spread), plain)


def biased_reset_copies_metric(metric: MetricFunction) -> Metric:
    r"""The rule of Cobb, Baydin, Markham and Roberts (arXiv 1910.06243), **which is
    biased**, for comparison with it: copies that start equal to $(q, p)$ and are
    forgotten at the end, where the proposal is accepted by $H(q, p)$ alone.

    That map, from $(q, p)$ to $(q', p')$, neither preserves volume nor is its own
    inverse with the momentum turned, so that the chain does not have the law it is
    asked for, however often it accepts.
    [How far off it is](../benchmarks.md#explicit-rmhmc). Use
    [`chlu_eqx.mcmc.extended_metric`][], which costs the same.
    """
    plain = RiemannianKinetic(function("metric", metric))

    def shifts(key: PRNGKeyArray, q: PyTree) -> tuple[Array, Array]:
        zeros = jnp.zeros_like(ravel_pytree(q)[0])
        return zeros, zeros

    return _metric(_extended(plain, shifts), ResetCopiesKinetic(plain), plain)


def thermal_metric(kinetic: AbstractThermalKinetic) -> Metric:
    r"""Momenta $p \sim e^{-T(p)}$ of a kinetic energy that does not depend on the
    position: of a [`chlu_eqx.RelativisticKinetic`][] those of the Maxwell-Jüttner law,
    drawn exactly, which makes any sampler of BlackJAX that takes a metric, NUTS too, a
    relativistic one (Lu, Perrone, Hasenclever, Teh & Vollmer, "Relativistic Monte
    Carlo", AISTATS 2017, arXiv 1609.04388).

    However steep the density, no coordinate moves faster than $c/\sqrt{M_i}$.

    **Arguments:**

    - `kinetic`: an [`chlu_eqx.AbstractThermalKinetic`][], of as many coordinates as the
        position has numbers.

    **Raises:** `ValueError` if it is not such an energy, or of another dimension.
    """
    if not isinstance(kinetic, AbstractThermalKinetic):
        raise ValueError(
            "`kinetic` must be a `RelativisticKinetic`, a `NewtonianKinetic` or "
            f"another `AbstractThermalKinetic`, which can be sampled; got {kinetic}."
        )

    def sample(key: PRNGKeyArray, position: PyTree) -> PyTree:
        flat, unravel = ravel_pytree(position)
        p = kinetic.sample(key, 1.0)
        if p.shape != flat.shape:
            raise ValueError(
                f"`kinetic` must have the dimension of the position, {flat.size}, got "
                f"{p.size}."
            )
        return unravel(p.astype(flat.dtype))

    def energy(momentum: PyTree, position: PyTree | None = None) -> Scalar:
        return kinetic(ravel_pytree(momentum)[0])

    def turning(left: PyTree, right: PyTree, total: PyTree, *positions: Any) -> Array:
        left, right, total = (ravel_pytree(p)[0] for p in (left, right, total))
        between = total - (left + right) / 2
        back = [jnp.vdot(kinetic.velocity(p), between) <= 0 for p in (left, right)]
        return back[0] | back[1]

    def scale(position: PyTree, element: PyTree, *, inv: bool, trans: bool) -> PyTree:
        raise NotImplementedError("only Gaussian momenta have a matrix to scale by.")

    checks: Any = turning
    return Metric(sample, energy, checks, scale)


def _root(
    name: str, kinetic: RiemannianKinetic, position: PyTree
) -> tuple[MetricRoot, Callable[[Array], PyTree]]:
    """Where a chain stands, and so where the metric has to be right."""
    matrix = metric_at(kinetic.metric, position)
    root = MetricRoot.of(matrix)
    # Its root is NaN, or the logarithm of its determinant, where it is not positive.
    some = root.kinetic(jnp.ones(matrix.shape[0], matrix.dtype))
    good = jnp.all(jnp.isfinite(matrix)) & jnp.isfinite(some)
    if matrix.ndim == 2:
        tolerance = float(jnp.finfo(matrix.dtype).eps) ** 0.5 * jnp.max(jnp.abs(matrix))
        good &= jnp.all(jnp.abs(matrix - matrix.T) <= tolerance)
    root = eqx.error_if(
        root,
        ~good,
        f"`{name}` must be finite, symmetric and positive definite at the position of "
        "a chain.",
    )
    return root, ravel_pytree(position)[1]


def _normal(key: PRNGKeyArray, position: PyTree) -> Array:
    flat, _ = ravel_pytree(position)
    return jr.normal(key, flat.shape, flat.dtype)


def _extended(
    plain: RiemannianKinetic,
    shifts: Callable[[PRNGKeyArray, PyTree], tuple[Array, Array]],
) -> Callable[[PRNGKeyArray, PyTree], ExtendedMomentum]:
    def sample(key: PRNGKeyArray, position: PyTree) -> ExtendedMomentum:
        root, unravel = _root("metric", plain, position)
        momentum_key, shifts_key = jr.split(key)
        p = root.multiply(_normal(momentum_key, position))
        u, v = shifts(shifts_key, position)
        velocity, slope = jax.grad(plain, (0, 1))(unravel(p + v), position)
        force = jax.tree.map(jnp.negative, slope)
        return ExtendedMomentum(unravel(p), unravel(u), unravel(v), velocity, force)

    return sample


def _metric(sample: Callable, energy: Any, plain: RiemannianKinetic) -> Metric:
    def turning(*momenta: PyTree) -> Any:
        raise NotImplementedError(
            "no-U-turn sampling needs a metric that does not depend on the position; "
            "use `blackjax.dynamic_hmc` for trajectories of random lengths."
        )

    def scale(position: PyTree, element: PyTree, *, inv: bool, trans: bool) -> PyTree:
        root = plain.root(position)
        flat, unravel = ravel_pytree(element)
        return unravel((root.solve if inv else root.multiply)(flat, trans))

    # BlackJAX types them by the names of all their arguments.
    checks: Any = turning
    return Metric(sample, energy, checks, scale)
