"""The samplers, each as a transition with numbers to tune."""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax.numpy as jnp
import optimistix as optx
from blackjax.mcmc import integrators
from blackjax.mcmc.metrics import gaussian_euclidean
from jaxtyping import Array, PRNGKeyArray, Scalar

import chlu_eqx as cx
from chlu_eqx import mcmc

from .search import Range


Numbers = dict[str, Scalar]
# From a key, a state and a number of steps: the next state, and BlackJAX's information.
Transition = Callable[[PRNGKeyArray, Any, Any], tuple[Any, Any]]

STEP, TIME = Range(0.05, 1.5), Range(0.5, 3.0)
TURN, SPREAD, SPEED = Range(0.2, 3.0), Range(0.1, 1.0), Range(0.5, 20.0)

MAX_STEPS = 60

# To 1e-9, as is usual in Riemannian Monte Carlo.
ROOTS = (optx.FixedPointIteration(1e-9, 1e-9), 50)


class Target(NamedTuple):
    """What is sampled, and with which metric."""

    logdensity: Callable[[Array], Scalar]
    metric: Callable[[Array], Array]
    dim: int


class Method(NamedTuple):
    """`make` takes numbers by the names of the ranges. `cost` tells of what BlackJAX
    tells of a transition how many gradients and how many metrics it evaluated; `None`
    where that has to be counted."""

    make: Callable[[Target, Numbers], Transition]
    ranges: dict[str, Range]
    cost: Callable[[Any], tuple[Any, Any]] | None
    riemannian: bool = True


def _method(
    integrator: Callable[[Numbers], Callable],
    momenta: Callable[[Target, Numbers], Any],
    cost: Callable[[Any], tuple[Any, Any]] | None,
    riemannian: bool = True,
    **ranges: Range,
) -> Method:
    """With the kernel of `blackjax.hmc` and `blackjax.rmhmc`, which is the same."""

    def make(target: Target, numbers: Numbers) -> Transition:
        kernel = blackjax.rmhmc.build_kernel(integrator(numbers))
        law = momenta(target, numbers)
        return lambda key, state, steps: kernel(
            key, state, target.logdensity, numbers["step"], law, steps
        )

    return Method(make, {"step": STEP, "time": TIME} | ranges, cost, riemannian)


def _nuts(target: Target, numbers: Numbers) -> Transition:
    kernel, mass = blackjax.nuts.build_kernel(), jnp.ones(target.dim)
    return lambda key, state, steps: kernel(
        key, state, target.logdensity, numbers["step"], mass
    )


def _tao(numbers: Numbers) -> Callable:
    # The angle by which a step's binding turns is 2 ω h.
    omega = numbers["turn"] / (2 * numbers["step"])
    return mcmc.integrator(cx.TaoSolver(omega))


def _implicit(integrator: Callable) -> Method:
    momenta = lambda target, n: mcmc.riemannian_metric(target.metric)  # noqa: E731
    return _method(lambda n: integrator, momenta, None)


# A trajectory of L explicit steps has 3 L + 1 gradients, and four metrics more: one to
# draw the momentum, one for its first force, two for the energies at its ends.
def _copies(info: Any) -> tuple[Any, Any]:
    steps = 3 * info.num_integration_steps
    return steps + 1, steps + 4


# The distance of the copies takes one more for its draw and two for its energies.
def _own_copies(info: Any) -> tuple[Any, Any]:
    gradients, metrics = _copies(info)
    return gradients, metrics + 3


def _euclidean(info: Any) -> tuple[Any, Any]:
    return info.num_integration_steps, 0 * info.num_integration_steps


EXPLICIT, RESET, MIDPOINT = "explicit", "copies reset", "implicit midpoint"
METHODS = {
    EXPLICIT: _method(
        _tao,
        lambda target, n: mcmc.extended_metric(target.metric, n["spread"]),
        _copies,
        turn=TURN,
        spread=SPREAD,
    ),
    "explicit, D = G": _method(
        _tao,
        lambda target, n: mcmc.extended_metric(
            target.metric, n["spread"], target.metric
        ),
        _own_copies,
        turn=TURN,
        spread=SPREAD,
    ),
    RESET: _method(
        _tao,
        lambda target, n: mcmc.biased_reset_copies_metric(target.metric),
        _copies,
        turn=TURN,
    ),
    "generalised leapfrog": _implicit(mcmc.integrator(cx.GeneralizedLeapfrog(*ROOTS))),
    "semi-explicit": _implicit(mcmc.integrator(cx.SemiExplicit(*ROOTS))),
    # With its own solver and tolerance.
    MIDPOINT: _implicit(integrators.implicit_midpoint),
    "HMC": _method(
        lambda n: integrators.velocity_verlet,
        lambda target, n: gaussian_euclidean(jnp.ones(target.dim)),
        _euclidean,
        riemannian=False,
    ),
    "relativistic HMC": _method(
        lambda n: integrators.velocity_verlet,
        lambda target, n: mcmc.thermal_metric(
            cx.RelativisticKinetic(target.dim, speed_limit=n["speed"])
        ),
        _euclidean,
        riemannian=False,
        speed=SPEED,
    ),
    "NUTS": Method(_nuts, {"step": STEP}, _euclidean, riemannian=False),
}
