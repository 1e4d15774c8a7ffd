"""Follow sine waves from noisy first states.

The CHLU paper's second task (Jawahar & Pierini, arXiv 2603.01768): waves
q = sin(2πt + φ) of 100 phases as states (q, q̇), 1000 of them 0.05 apart; 80 waves to
train on, clean; the other 20 to follow from a first state with noise σ on q and p. The
error is the mean square over both against the clean wave. The oscillator's exact flow
from the noisy state has σ² (2 + ω² + 1/ω²)/4; a model that does better uses that all
training waves have the same energy.

All models have about 4400 parameters and are trained alike: the same clean windows,
steps, rates and clipping, none seeing noise or another amplitude than one. So errors at
large σ tell how a model goes on off its data:

- The unit's potential is the usual multilayer perceptron with the activation x², hence
  a polynomial of degree 4, which data on |q| <= 1 determine everywhere; it need not be
  bounded below, so a kick may carry it off. The choice was made for this task, after
  tanh, the default, which leaves the force free beyond |q| = 1: CHLU (tanh). A neural
  ODE with x² diverged in training, or kept to no wave when started small.
- The mass is learned, as in the authors' script: at M = ωh/sin(ωh) velocity Verlet of
  step h is the exact flow.
- p is the velocity of the relativistic unit only far below its speed limit c, which is
  learned, from 10 or from 100 on; the top speed of the waves is 2π. Near c the
  frequency depends on the amplitude; far below, kicks are not slowed.
- The governor takes out energy above the first percentile of the training data's. At
  the paper's strength s = 0.95 a step takes up to 95 % of the momentum, far more than
  is too much; at s = 1/ω², one over the largest p², it takes at most the excess.

Every trained model is stored with its numbers: a run that was killed goes on from
there.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar
from rich.console import Console

import chlu_eqx as cx
from chlu_eqx.training import trajectory_mse

from . import sine_waves_figures as figures
from .baselines import LSTM, NeuralODE
from .data import sine_waves
from .record import cell, drawn, environment, finite, keep, number, spread
from .runs import (
    by_model,
    Curriculum,
    fit,
    median_run,
    num_steps,
    optimizer,
    Report,
    Run,
    train_all,
)


DT = 0.05
TIMES = 1000
TRAIN, TEST = 80, 20
SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Noisy starts of every test wave, the same at every σ.
DRAWS = 20
BATCH = 32
CLIP = 1.0
# (window, steps, learning rate at the start of the stage), as in the lemniscate's task.
CURRICULUM = ((4, 500, 1e-2), (16, 500, 3e-3), (64, 400, 1e-3), (128, 200, 5e-4))
QUICK = ((4, 400, 1e-2), (16, 200, 3e-3))
# Of a governor, see above: the paper's, and the largest that hardly overshoots.
STRONG, GENTLE = 0.95, sine_waves.OMEGA**-2
# Of the relativistic units, to start with.
SPEED_LIMITS = (10, 100)
# Kicks as multiples of the largest momentum in training, and for how long to watch.
KICKS = (5, 50)
KICKED_STEPS = 2000
# The σ of the pictures of single trajectories.
PICTURED = 0.5


def _unit(
    key: PRNGKeyArray, kinetic: Callable, activation: Callable = jnp.square
) -> cx.nn.CHLU:
    potential = cx.MLPPotential(1, activation=activation, key=key) + cx.Confinement()
    return cx.nn.CHLU(1, dt=DT, kinetic=kinetic, potential=potential, key=key)


MODELS: dict[str, Callable[[PRNGKeyArray], Callable]] = {
    "CHLU": lambda key: _unit(key, cx.NewtonianKinetic(1)),
    **{
        f"CHLU (c = {c})": lambda key, c=c: _unit(
            key, cx.RelativisticKinetic(1, speed_limit=c)
        )
        for c in SPEED_LIMITS
    },
    "CHLU (tanh)": lambda key: _unit(key, cx.NewtonianKinetic(1), jnp.tanh),
    "neural ODE": lambda key: NeuralODE(1, width=63, dt=DT, key=key),
    "LSTM": lambda key: LSTM(1, hidden=31, key=key),
}
EXACT = "exact flow"


def data() -> tuple[sine_waves.Trajectories, sine_waves.Trajectories]:
    return sine_waves.split(TRAIN, TEST, TIMES, DT)


def loss(
    model: Callable, window: sine_waves.Pair, *, key: PRNGKeyArray | None = None
) -> Scalar:
    if isinstance(model, cx.nn.CHLU):
        # A unit that has learned little yet may not find its way back.
        model = functools.partial(model, adjoint=diffrax.DirectAdjoint())
    return trajectory_mse(model, window, key=key)


def exact(y0: sine_waves.Pair, num_steps: int) -> sine_waves.Pair:
    return sine_waves.flow(y0, num_steps + 1, DT)


def modes(name: str, model: Callable) -> dict[str, Callable]:
    """The ways to run a trained model: a unit also governed, the first at the paper's
    strength too."""
    if not isinstance(model, cx.nn.CHLU):
        return {name: model}
    energies = eqx.filter_jit(eqx.filter_vmap(eqx.filter_vmap(model.hamiltonian)))
    threshold = jnp.percentile(energies(*data()[0]), 1)
    found = {name: model, f"{name}, governed": model.governed(threshold, GENTLE)}
    if name == "CHLU":
        found[f"{name}, governed, s = {STRONG}"] = model.governed(threshold, STRONG)
    return found


@eqx.filter_jit
def followed(
    model: Callable,
    waves: sine_waves.Trajectories,
    sigma: Float[Array, ""],
    noise: Float[Array, "waves 2"],
) -> sine_waves.Trajectories:
    """The waves from one noisy start each."""
    y0 = tuple(x[:, 0] + sigma * noise[:, i, None] for i, x in enumerate(waves))
    num_steps = waves[0].shape[1] - 1
    return jax.vmap(lambda y0: model(y0, num_steps))(y0)


@eqx.filter_jit
def squared_errors(
    model: Callable,
    waves: sine_waves.Trajectories,
    sigmas: Float[Array, " sigmas"],
    noise: Float[Array, "draws waves 2"],
) -> Float[Array, " sigmas"]:
    """The mean squared error by σ, over draws, waves, times and both coordinates."""

    def error(sigma: Float[Array, ""], noise: Float[Array, "waves 2"]) -> Scalar:
        found = followed(model, waves, sigma, noise)
        q, p = (jnp.mean((x - y) ** 2) for x, y in zip(found, waves, strict=True))
        return (q + p) / 2

    # One σ after another: what is computed at once then fits the cache.
    return jax.lax.map(
        lambda sigma: jnp.mean(jax.vmap(lambda n: error(sigma, n))(noise)), sigmas
    )


def kicked(model: Callable, kick: float) -> dict[str, float | None]:
    """What comes of starting the test waves with `kick` times the largest momentum of
    training."""
    (_, momenta), (q, p) = data()
    y0 = q[:, 0], jnp.full_like(p[:, 0], kick * jnp.abs(momenta).max())
    run = eqx.filter_jit(eqx.filter_vmap(model, in_axes=(0, None)))
    trajectory = run(y0, KICKED_STEPS)
    q = np.asarray(trajectory[0], float)
    found = {"speed": np.abs(np.diff(q, axis=1)).max() / DT, "reach": np.abs(q).max()}
    if isinstance(model, cx.nn.CHLU):
        kinetic = model.hamiltonian.kinetic
        if isinstance(kinetic, cx.RelativisticKinetic):
            # Of p itself: differences of a large q are rounded.
            velocities = eqx.filter_vmap(eqx.filter_vmap(kinetic.velocity))
            found["speed"] = jnp.abs(velocities(trajectory[1])).max()
            found["limit"] = kinetic.speed_limit / jnp.sqrt(kinetic.mass).min()
            found["speed_over_limit"] = found["speed"] / found["limit"]
        energies = eqx.filter_vmap(eqx.filter_vmap(model.hamiltonian))
        energy = np.asarray(eqx.filter_jit(energies)(*trajectory), float)
        usual = np.mean(eqx.filter_jit(energies)(*data()[0]))
        # Means over many periods: Verlet's energy swings within each.
        early, late = (x.mean(1) for x in np.array_split(energy, 5, axis=1)[::4])
        found["energy_drift"] = np.abs((late - early) / (early - usual)).max()
    return {k: finite(v) for k, v in found.items()}


def evaluate(name: str, model: Callable) -> dict[str, Any]:
    """What a model's free runs, and a unit's governed ones, are worth."""
    _, waves = data()
    sigmas, noise = jnp.asarray((0.0, *SIGMAS)), sine_waves.noise(DRAWS, TEST)
    errors = {
        mode: [finite(x) for x in squared_errors(run, waves, sigmas, noise)]
        for mode, run in modes(name, model).items()
    }
    clean, *_ = errors[name]
    return {
        "clean_mse": clean,
        "mse": {mode: found for mode, (_, *found) in errors.items()},
        "kicks": {str(kick): kicked(model, kick) for kick in KICKS},
    }


def train(name: str, seed: int, curriculum: Curriculum, report: Report) -> Run:
    waves, _ = data()
    run = fit(
        MODELS[name],
        seed,
        waves,
        optax.chain(optax.clip_by_global_norm(CLIP), optimizer(curriculum)),
        curriculum,
        report,
        batch_size=BATCH,
        loss=loss,
        # The waves differ by their phases only: a few tell.
        validation=jax.tree.map(lambda x: x[:8], waves),
    )
    return run._replace(metrics=run.metrics | evaluate(name, run.model))


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds: of the error by mode and σ, and of its ratio to the
    limit where that is largest; of the other numbers by model."""
    limits = sine_waves.limit(np.array(SIGMAS))
    noise = sine_waves.noise(DRAWS, TEST)
    flow = np.asarray(squared_errors(exact, data()[1], jnp.asarray(SIGMAS), noise))
    by_mode: dict[str, list[list[float | None]]] = {EXACT: [flow.tolist()]}
    for run in runs:
        for mode, found in run["mse"].items():
            by_mode.setdefault(mode, []).append(found)

    def worst(found: list[float | None]) -> float | None:
        values = [np.inf if x is None else x for x in found]
        return finite(np.max(np.divide(values, limits)))

    return {
        "limit": {str(s): float(x) for s, x in zip(SIGMAS, limits, strict=True)},
        "mse": {
            mode: {
                str(sigma): spread(values)
                for sigma, *values in zip(SIGMAS, *found, strict=True)
            }
            | {"worst": spread(map(worst, found))}
            for mode, found in by_mode.items()
        },
        "models": {
            name: {key: spread(run[key] for run in found) for key in PLAIN}
            | {
                f"{key}_{kick}": spread(run["kicks"][str(kick)][key] for run in found)
                for kick in KICKS
                for key in found[0]["kicks"][str(kick)]
            }
            for name, found in by_model(runs).items()
        },
    }


PLAIN = ("parameters", "training_seconds", "clean_mse")
SHOWN = {
    **{str(sigma): f"σ = {sigma}" for sigma in (0.1, 0.2, 0.5, 1.0)},
    "worst": "over the limit, at most",
}
OTHERS = {
    "parameters": "parameters",
    "clean_mse": "MSE from clean starts",
    "limit_5": "speed limit",
    "speed_5": "top speed after a kick of 5",
    "speed_over_limit_5": "over the speed limit",
    "reach_5": "largest |q|",
    "energy_drift_5": "energy drift",
    "speed_50": "top speed after a kick of 50",
    "speed_over_limit_50": "over the speed limit",
    "reach_50": "largest |q|",
    "training_seconds": "training, seconds",
}


def table(summary: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each mode: median (range) of the mean squared error
    by σ."""
    limits = [number(summary["limit"].get(key)) for key in SHOWN if key != "worst"]
    return [
        ["MSE, median (range)", *SHOWN.values()],
        ["limit, σ² (2 + ω² + 1/ω²)/4", *limits, "1"],
        *(
            [mode, *(cell(found[key]) for key in SHOWN)]
            for mode, found in summary["mse"].items()
        ),
    ]


def models_table(summary: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each number: what kicks do to a model, and what it
    cost."""
    models = summary["models"]
    return [
        ["median (range)", *models],
        *(
            [label, *(cell(found.get(key)) for found in models.values())]
            for key, label in OTHERS.items()
        ),
    ]


def main(
    seeds: int = 3,
    quick: bool = False,
    out: Path = Path("out/sine_waves"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Follow sine waves from noisy first states.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many times to train each model.
        quick: one seed, a short curriculum and of the units only the Newtonian with
            the activation x²: under a minute on two cores.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    seeds = 1 if quick else seeds
    curriculum = QUICK if quick else CURRICULUM
    console = Console()
    metrics: dict[str, Any] = {
        "task": "sine_waves",
        "command": "python -m benchmarks sine_waves"
        + (" --quick" if quick else f" --seeds {seeds}"),
        "environment": environment(),
        "settings": {
            "dt": DT,
            "times": TIMES,
            "waves": (TRAIN, TEST),
            "sigmas": SIGMAS,
            "draws": DRAWS,
            "batch": BATCH,
            "clip": CLIP,
            "curriculum": curriculum,
            "strengths": (GENTLE, STRONG),
            "speed_limits": SPEED_LIMITS,
            "kicks": KICKS,
            "kicked_steps": KICKED_STEPS,
            "precision": str(jnp.zeros(()).dtype),
        },
    }
    runs = train_all(
        {k: v for k, v in MODELS.items() if not quick or "(" not in k},
        seeds,
        lambda name, seed, report: train(name, seed, curriculum, report),
        num_steps=num_steps(curriculum),
        metrics=metrics,
        summarise=summarise,
        out=out,
        restart=restart,
        console=console,
    )

    for lines in (table(metrics["summary"]), models_table(metrics["summary"])):
        console.print(drawn(lines, f"seeds: {seeds}"))
    shown = {
        name: median_run(found, lambda m, name=name: m["mse"][name][0]).model
        for name, found in runs.items()
    }
    truth, paths = followed_for_pictures(shown)
    pictures = figures.draw(metrics["summary"], truth, paths, PICTURED, out, DT)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")


def followed_for_pictures(
    models: dict[str, Callable],
) -> tuple[figures.Pair, dict[str, figures.Pair]]:
    """The clean test waves, and each from one noisy start as every mode follows it."""
    _, waves = data()
    sigma, noise = jnp.asarray(PICTURED), sine_waves.noise(DRAWS, TEST)[0]
    callables = {EXACT: exact}
    for name, model in models.items():
        free_and_governed = list(modes(name, model).items())[:2]
        callables |= dict(free_and_governed)

    def plain(pair: sine_waves.Pair) -> figures.Pair:
        q, p = (np.asarray(x, float)[..., 0] for x in pair)
        return q, p

    return plain(waves), {
        mode: plain(followed(run, waves, sigma, noise))
        for mode, run in callables.items()
    }
