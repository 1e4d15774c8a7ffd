"""The flows that are compared, of about one number of parameters, and how all of them
are trained."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import AbstractDistribution, Normal
from flowjax.flows import coupling_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from jaxtyping import Array, Float, PRNGKeyArray

import chlu_eqx as cx
from chlu_eqx.nn import HamiltonianFlow
from chlu_eqx.training import flow_loss, Progress

from .data.densities import Data
from .record import finite
from .runs import num_parameters, Report, Run


LAYERS, KNOTS, INTERVAL = 8, 8, 4.0
BATCH, CLIP = 256, 5.0
CALL = 50  # steps of training in one call, and between two validations

# A `HamiltonianFlow`, or one of FlowJAX's distributions.
Model = Any


class Kind(NamedTuple):
    """How a model is made, of a key, and what it is trained by."""

    make: Callable[[PRNGKeyArray], Model]
    loss: Callable


def quadratic(dim: int, number: int, width: int, key: PRNGKeyArray) -> HamiltonianFlow:
    """With kinetic energies of a learned mass."""
    energies = [
        cx.SeparableHamiltonian(
            cx.NewtonianKinetic(dim), cx.MLPPotential(dim, width=width, key=k)
        )
        for k in jr.split(key, number)
    ]
    return HamiltonianFlow(dim, energies, width=width, key=jr.fold_in(key, number))


def learned(dim: int, number: int, width: int, key: PRNGKeyArray) -> HamiltonianFlow:
    return HamiltonianFlow(dim, number, width=width, key=key)


def coupling(
    dim: int, transformer: Any, width: int, key: PRNGKeyArray
) -> AbstractDistribution:
    """FlowJAX's alternating couplings."""
    return coupling_flow(
        key,
        base_dist=Normal(jnp.zeros(dim)),
        transformer=transformer,
        flow_layers=LAYERS,
        nn_width=width,
        nn_depth=2,
    )


# The widths of the networks, by the number of coordinates, with which the models have
# about 40 000 parameters.
WIDTHS = {
    "NHF, 1": {2: 112, 8: 103},
    "NHF, 2": {2: 87, 8: 80},
    "NHF, 4": {2: 64, 8: 59},
    "NHF, 8": {2: 46, 8: 42},
    "NHF, 4, quadratic": {2: 87, 8: 80},
    "RealNVP": {2: 68, 8: 64},
    "spline flow": {2: 57, 8: 32},
}


LIKELIHOOD = MaximumLikelihoodLoss()
TIGHTER = functools.partial(flow_loss, num_samples=5)


def kinds(dim: int) -> dict[str, Kind]:
    """The models by their names."""

    def kind(name: str, make: Callable, of: Any, loss: Callable = flow_loss) -> Kind:
        return Kind(functools.partial(make, dim, of, WIDTHS[name][dim]), loss)

    spline = RationalQuadraticSpline(knots=KNOTS, interval=INTERVAL)
    return {
        **{f"NHF, {n}": kind(f"NHF, {n}", learned, n) for n in (1, 2, 4, 8)},
        "NHF, 4, 5 momenta": kind("NHF, 4", learned, 4, TIGHTER),
        "NHF, 4, quadratic": kind("NHF, 4, quadratic", quadratic, 4),
        "RealNVP": kind("RealNVP", coupling, None, LIKELIHOOD),
        "spline flow": kind("spline flow", coupling, spline, LIKELIHOOD),
    }


@functools.cache  # one object, for which all is compiled once
def clipped_adam(rate: float, steps: int) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(rate, steps, 0.02)
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(schedule))


@eqx.filter_jit
def descend(
    params: Model,
    opt_state: Any,
    first: Array,
    static: Model,
    x: Float[Array, "points dim"],
    key: PRNGKeyArray,
    optimizer: optax.GradientTransformation,
    loss: Callable,
) -> tuple[Model, Any, Float[Array, " steps"]]:
    """Some steps of training, the first by its number."""

    def step(carry: tuple, n: Array) -> tuple:
        params, opt_state = carry
        which, draws = jr.split(jr.fold_in(key, n))
        batch = x[jr.randint(which, (BATCH,), 0, len(x))]
        value, slope = jax.value_and_grad(loss)(params, static, batch, key=draws)
        updates, opt_state = optimizer.update(slope, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    numbers = first + jnp.arange(CALL)
    (params, opt_state), losses = jax.lax.scan(step, (params, opt_state), numbers)
    return params, opt_state, losses


def train(
    kind: Kind,
    data: Data,
    seed: int,
    rate: float,
    steps: int,
    report: Report,
) -> Run:
    """The state of training that is best for the points of validation."""
    model_key, key = jr.split(jr.key(seed))
    model = kind.make(model_key)
    optimizer = clipped_adam(rate, steps)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    opt_state, first = optimizer.init(params), jnp.zeros((), jnp.int32)
    rest = (static, jnp.asarray(data.train), key, optimizer, kind.loss)
    validation, validate = jnp.asarray(data.validation), eqx.filter_jit(kind.loss)
    best, kept, began = float("inf"), params, time.perf_counter()
    for done in range(CALL, steps + 1, CALL):
        at = first + (done - CALL)
        params, opt_state, losses = descend(params, opt_state, at, *rest)
        held = float(validate(params, static, validation, key=key))
        if held < best:
            best, kept = held, params
        report(Progress(done, steps, 1, float(losses.mean()), held, best))
        if done == CALL:  # compiled
            began = time.perf_counter()
    seconds = (time.perf_counter() - began) * steps / (steps - CALL)
    metrics = {
        "parameters": num_parameters(model),
        "rate": rate,
        "training_seconds": round(seconds, 1),
        "validation_loss": finite(best),
    }
    return Run(eqx.combine(kept, static), metrics)
