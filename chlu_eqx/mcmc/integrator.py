"""The solvers, as BlackJAX's integrators."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from blackjax.mcmc.integrators import IntegratorState
from jaxtyping import Array, PyTree, Scalar

from .._backward import is_lost
from .._checks import positive
from ..hamiltonian import SeparableHamiltonian
from ..solver import AbstractReversibleSolver, TaoSolver
from ..solver.base import all_finite, axpy
from ..solver.composition import AbstractComposition
from ..solver.equation import AbstractImplicit
from ..term import HamiltonianTerm
from .kinetic import AbstractExtendedKinetic, ExtendedMomentum


LogDensity = Callable[[PyTree], Scalar]
Step = Callable[[IntegratorState, Array], IntegratorState]


def integrator(
    solver: diffrax.AbstractSolver, *, reverse_tolerance: float | None = None
) -> Callable[[LogDensity, Callable[..., Scalar]], Step]:
    r"""A solver as an integrator of BlackJAX, for its HMC, RMHMC and, with kick-drift
    solvers, NUTS.

    !!! Example

        ```python
        blackjax.rmhmc(
            logdensity_fn,
            step_size=0.3,
            mass_matrix=chlu_eqx.mcmc.extended_metric(metric),
            num_integration_steps=5,
            integrator=chlu_eqx.mcmc.integrator(chlu_eqx.TaoSolver(omega=10.0)),
        )
        blackjax.hmc(
            logdensity_fn,
            step_size=0.3,
            inverse_mass_matrix=jnp.ones(2),
            num_integration_steps=5,
            integrator=chlu_eqx.mcmc.integrator(chlu_eqx.BlanesMoan4()),
        )
        ```

    A Metropolis test is exact for a step that preserves volume and that a step of the
    opposite sign undoes; others are refused.

    **Arguments:**

    - `solver`: one of
        - [`chlu_eqx.TaoSolver`][], for [`chlu_eqx.mcmc.extended_metric`][]: explicit;
            three gradients a step at order 2, and one more a trajectory, of the log
            density and the kinetic energy together;
        - [`chlu_eqx.GeneralizedLeapfrog`][], [`chlu_eqx.ImplicitMidpoint`][],
            [`chlu_eqx.SemiExplicit`][] or [`chlu_eqx.GaussLegendre4`][], with the
            tolerance of their `root_finder`, for [`chlu_eqx.mcmc.riemannian_metric`][]
            and every other metric;
        - a kick-drift solver of ours that is time-symmetric, for metrics that do not
            depend on the position.
    - `reverse_tolerance`: of an implicit solver: after each step one back is made, and
        the trajectory rejected if that ends elsewhere than where the step began, by
        more than this, relative to the largest entry of each array of `q` or `p` before
        and after the step. For an equation that is solved to rounding may still be
        solved by another root than the way back takes, and the chain is then biased.
        It should be well above what the tolerance of the `root_finder` leaves: a step
        that passes while its own reverse fails, by errors of the roots, biases the
        chain too. Defaults to the cube root of the precision, $6 \cdot 10^{-6}$ in
        float64 and $5 \cdot 10^{-3}$ in float32; `math.inf` leaves the step back out,
        at half the price.

    A step that fails, by an equation that is not solved, a step back that does not
    return, or a state that is not finite, makes the state NaN. BlackJAX then rejects
    the trajectory and counts it as divergent.

    **Raises:** `ValueError` if the solver is another or the tolerance not positive or
    not for an implicit solver; when called, if metric and solver do not match.
    """
    name = type(solver).__name__
    implicit = isinstance(solver, AbstractImplicit)
    explicit = isinstance(solver, AbstractComposition) and (
        (solver.kicks, solver.drifts) == (solver.kicks[::-1], solver.drifts[::-1])
    )
    if not (implicit or explicit or isinstance(solver, TaoSolver)):
        raise ValueError(
            "`solver` must be a `TaoSolver`, an implicit solver or a kick-drift solver "
            f"whose step is undone by one of the opposite sign, got {name}."
        )
    if reverse_tolerance is not None:
        if not implicit:
            raise ValueError(
                "`reverse_tolerance` is for implicit solvers: the steps of others are "
                f"undone to rounding. Got it with {name}."
            )
        if reverse_tolerance != math.inf:
            positive("reverse_tolerance", reverse_tolerance)

    def build(logdensity_fn: LogDensity, kinetic_energy_fn: Callable) -> Step:
        extended = isinstance(kinetic_energy_fn, AbstractExtendedKinetic)
        if extended != isinstance(solver, TaoSolver):
            raise ValueError(
                "`chlu_eqx.TaoSolver` and `chlu_eqx.mcmc.extended_metric` go together, "
                f"and neither without the other; got {name} and {kinetic_energy_fn}."
            )
        if extended:
            step = _with_copies(solver, logdensity_fn, kinetic_energy_fn)
        elif explicit:
            step = _kick_drift(solver, logdensity_fn, kinetic_energy_fn)
        else:
            step = _implicit(
                solver, logdensity_fn, kinetic_energy_fn, reverse_tolerance
            )
        return lambda state, step_size: step(
            state, jnp.asarray(step_size, jnp.result_type(state.logdensity))
        )

    return build


def _with_copies(
    solver: Any, logdensity_fn: LogDensity, kinetic_energy_fn: Any
) -> Step:
    gradient = jax.value_and_grad(logdensity_fn)
    term = _term(gradient, kinetic_energy_fn.plain)

    def step(state: IntegratorState, h: Array) -> IntegratorState:
        m: Any
        q, m, _, slope = state
        copy = axpy(1, m.shift, q), axpy(1, m.momentum_shift, m.p)
        # What ended the step before, of which BlackJAX keeps one part.
        field = m.velocity, axpy(1, slope, m.force)
        (q, p), solver_state = _move(solver, term, h, (q, m.p), (copy, field))
        (x, y), (velocity, force) = solver_state
        logdensity, slope = gradient(q)
        force = axpy(-1, slope, force)
        m = ExtendedMomentum(p, axpy(-1, q, x), axpy(-1, p, y), velocity, force)
        return IntegratorState(q, m, logdensity, slope)

    return step


def _kick_drift(solver: Any, logdensity_fn: LogDensity, kinetic_energy_fn: Any) -> Step:
    gradient = jax.value_and_grad(logdensity_fn)
    term = HamiltonianTerm(
        SeparableHamiltonian(kinetic_energy_fn, lambda q: -logdensity_fn(q))
    )

    def step(state: IntegratorState, h: Array) -> IntegratorState:
        # For a method that kicks first, the force that ended the step before.
        kept = state.logdensity_grad if solver.kicks[-1] else None
        (q, p), _ = _move(solver, term, h, state[:2], (None, kept))
        return IntegratorState(q, p, *gradient(q))

    return step


def _implicit(
    solver: Any,
    logdensity_fn: LogDensity,
    kinetic_energy_fn: Any,
    reverse_tolerance: float | None,
) -> Step:
    gradient = jax.value_and_grad(logdensity_fn)
    term = _term(gradient, kinetic_energy_fn)
    none = None, None

    def step(state: IntegratorState, h: Array) -> IntegratorState:
        y0 = state[:2]
        y1, _ = _move(solver, term, h, y0, none)
        if reverse_tolerance != math.inf:
            tolerance = reverse_tolerance or float(jnp.finfo(h.dtype).eps) ** (1 / 3)
            again, _ = _move(solver, term, -h, y1, none)
            lost = jax.tree.map(partial(is_lost, rtol=tolerance), again, y0, y1)
            # Of what is not finite it says nothing.
            returned = all_finite(again) & ~jax.tree.reduce(jnp.logical_or, lost)
            y1 = jax.tree.map(lambda x: jnp.where(returned, x, jnp.nan), y1)
        q, p = y1
        return IntegratorState(q, p, *gradient(q))

    return step


def _term(gradient: Callable, kinetic_energy_fn: Any) -> diffrax.ODETerm:
    # The gradient of the log density by itself: the end of a step wants it again.
    def field(t: Any, y: PyTree, args: Any) -> tuple[PyTree, PyTree]:
        q, p = y
        _, slope = gradient(q)
        velocity, change = jax.grad(kinetic_energy_fn, (0, 1))(p, q)
        return velocity, axpy(-1, change, slope)

    return diffrax.ODETerm(field)


def _move(
    solver: AbstractReversibleSolver,
    term: diffrax.AbstractTerm,
    h: Array,
    y: PyTree,
    solver_state: PyTree,
) -> tuple[PyTree, PyTree]:
    zero = jnp.zeros_like(h)
    y, _, _, solver_state, _ = solver.step(
        term, zero, h, y, None, solver_state, made_jump=False
    )
    return y, solver_state
