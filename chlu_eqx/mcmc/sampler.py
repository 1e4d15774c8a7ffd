"""Samplers, in BlackJAX's `(init, step)` form."""

from collections.abc import Callable

import blackjax
import diffrax
import equinox as eqx
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import count, energy, function, positive
from .._types import RealScalarLike
from ..hamiltonian import AbstractThermalKinetic
from ..solver import CHLUSolver, TaoSolver
from .integrator import integrator
from .momentum import extended_metric, riemannian_metric, thermal_metric


TAO, VERLET = TaoSolver(omega=3.0), CHLUSolver()


def rmhmc(
    logdensity_fn: Callable[[PyTree], Scalar],
    step_size: RealScalarLike,
    metric: Callable[[PyTree], Float[Array, "..."]],
    num_integration_steps: int,
    *,
    solver: diffrax.AbstractSolver = TAO,
    spread: RealScalarLike = 0.2,
    reverse_tolerance: float | None = None,
    divergence_threshold: float = 1000,
) -> SamplingAlgorithm:
    r"""Riemannian-manifold Hamiltonian Monte Carlo, by default with explicit steps: of
    `blackjax.rmhmc` with [`chlu_eqx.mcmc.extended_metric`][], or
    [`chlu_eqx.mcmc.riemannian_metric`][] if the solver is implicit, and
    [`chlu_eqx.mcmc.integrator`][]. All arguments are looked at first.

    !!! Example

        ```python
        sampler = chlu_eqx.mcmc.rmhmc(
            logdensity_fn, 0.3, chlu_eqx.mcmc.SoftAbsMetric(logdensity_fn), 5
        )
        state = sampler.init(position)
        state, info = jax.jit(sampler.step)(key, state)
        ```

    The binding of Tao's method takes all coordinates alike: whiten them
    ([`chlu_eqx.mcmc.Whitening`][]). Trajectories of one length may return to where they
    began; take `blackjax.dynamic_hmc` with the metric and the integrator for random
    ones.

    **Arguments:**

    - `logdensity_fn`: the log density, up to a constant, of a pytree.
    - `step_size`: the length $h$ of a step, positive.
    - `metric`: $G$, as of [`chlu_eqx.RiemannianHamiltonian`][].
    - `num_integration_steps`: the number of steps of a trajectory.
    - `solver`: as of [`chlu_eqx.mcmc.integrator`][]; defaults to
        [`chlu_eqx.TaoSolver`][] with $\omega = 3$.
    - `spread`: $s$, as of [`chlu_eqx.mcmc.extended_metric`][].
    - `reverse_tolerance`: as of [`chlu_eqx.mcmc.integrator`][].
    - `divergence_threshold`: the error of the energy above which a rejection counts as
        a divergence.

    **Returns:** `init(position)` and `step(key, state)`, as of BlackJAX.

    **Raises:** `ValueError` if an argument is not as it must be; a runtime error if the
    log density or its gradient is not finite at the initial position or the metric not
    symmetric and positive definite at the position of a chain. A proposal where that
    happens is rejected, and counted as divergent.
    """
    explicit = isinstance(solver, TaoSolver)
    momenta = extended_metric(metric, spread) if explicit else riemannian_metric(metric)
    steps = integrator(solver, reverse_tolerance=reverse_tolerance)
    algorithm = blackjax.rmhmc(
        energy("logdensity_fn", function("logdensity_fn", logdensity_fn)),
        positive("step_size", step_size),
        momenta,
        count("num_integration_steps", num_integration_steps),
        divergence_threshold=divergence_threshold,
        integrator=steps,
    )
    return _checked(algorithm)


def relativistic_hmc(
    logdensity_fn: Callable[[PyTree], Scalar],
    step_size: RealScalarLike,
    kinetic: AbstractThermalKinetic,
    num_integration_steps: int,
    *,
    solver: diffrax.AbstractSolver = VERLET,
    divergence_threshold: float = 1000,
) -> SamplingAlgorithm:
    r"""Relativistic Hamiltonian Monte Carlo: `blackjax.hmc` with
    [`chlu_eqx.mcmc.thermal_metric`][], whose momenta are exact draws of the
    Maxwell-Jüttner law (Lu et al., AISTATS 2017, arXiv 1609.04388, where they are found
    by other means).

    **Arguments:**

    - `logdensity_fn`: the log density, up to a constant, of a pytree.
    - `step_size`: the length $h$ of a step, positive.
    - `kinetic`: a [`chlu_eqx.RelativisticKinetic`][] of the position's dimension.
    - `num_integration_steps`: the number of steps of a trajectory.
    - `solver`: any time-symmetric kick-drift solver.
    - `divergence_threshold`: as of [`chlu_eqx.mcmc.rmhmc`][].

    **Returns:** `init(position)` and `step(key, state)`, as of BlackJAX.

    **Raises:** as [`chlu_eqx.mcmc.rmhmc`][].
    """
    algorithm = blackjax.hmc(
        energy("logdensity_fn", function("logdensity_fn", logdensity_fn)),
        positive("step_size", step_size),
        thermal_metric(kinetic),
        count("num_integration_steps", num_integration_steps),
        divergence_threshold=divergence_threshold,
        integrator=integrator(solver),
    )
    return _checked(algorithm)


def _checked(algorithm: SamplingAlgorithm) -> SamplingAlgorithm:
    def init(position: PyTree, rng_key: PRNGKeyArray | None = None):
        state = algorithm.init(position, rng_key)
        flat, _ = ravel_pytree(state)
        return eqx.error_if(
            state,
            ~jnp.all(jnp.isfinite(flat)),
            "`logdensity_fn` and its gradient must be finite at the initial position.",
        )

    return SamplingAlgorithm(init, algorithm.step)
