"""Learn the lemniscate from three cycles, then trace it for a thousand.

The CHLU paper's first task (Jawahar & Pierini, arXiv 2603.01768): the figure-eight
x = sin t/(1 + cos² t), y = x cos t, as states (q, q̇) every 0.05; windows of three
cycles to train on, then a free run from the last training point.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from rich.console import Console
from scipy.interpolate import CubicSpline
from scipy.spatial import KDTree

import chlu_eqx as cx

from . import lemniscate_figures as figures
from .baselines import LSTM, NeuralODE
from .data import lemniscate
from .record import cell, drawn, environment, finite, keep, spread
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
CYCLES = (50, 1000)
TRAINING_CYCLES = 3
BATCH = 32
# (window, steps, learning rate at the start of the stage).
CURRICULUM = ((4, 3000, 1e-2), (32, 1500, 3e-3), (128, 1000, 1e-3), (370, 800, 5e-4))
QUICK = ((8, 900, 1e-2),)


# About 4400 parameters each.
MODELS: dict[str, Callable[[PRNGKeyArray], Callable]] = {
    "CHLU": lambda key: cx.nn.CHLU(
        2, dt=DT, kinetic=cx.NewtonianKinetic(2, frozen=("mass",)), key=key
    ),
    "CHLU (relativistic)": lambda key: cx.nn.CHLU(2, dt=DT, key=key),
    "neural ODE": lambda key: NeuralODE(2, width=62, dt=DT, key=key),
    "LSTM": lambda key: LSTM(2, hidden=29, key=key),
}


class FreeRun(NamedTuple):
    """A trained model, and where it goes."""

    model: Any
    trajectory: tuple[np.ndarray, np.ndarray]


def training_data() -> tuple[jax.Array, jax.Array]:
    steps = int(TRAINING_CYCLES * lemniscate.PERIOD / DT) + 1
    return lemniscate.orbit(DT * jnp.arange(steps))


def distances(q: np.ndarray) -> tuple[float | None, float | None]:
    """Mean distance of the trajectory to the curve and of the curve to the trajectory,
    both sampled finely enough to add less than 3e-4."""
    if not np.isfinite(q).all():
        return None, None
    curve = np.asarray(lemniscate.curve(jnp.linspace(0, lemniscate.PERIOD, 20_001)))
    n = np.arange(len(q))
    fine = CubicSpline(n, q)(np.linspace(0, n[-1], 100 * n[-1] + 1))
    to_curve, _ = KDTree(curve).query(fine, workers=-1)
    to_fine, _ = KDTree(fine).query(curve, workers=-1)
    return float(to_curve.mean()), float(to_fine.mean())


def evaluate(model: Callable) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """The free run from the last training point, and what it is worth."""
    q, p = training_data()
    start = DT * (len(q) - 1)
    steps = [round(cycles * lemniscate.PERIOD / DT) for cycles in CYCLES]
    two_cycles = round(2 * lemniscate.PERIOD / DT)
    y0 = (q[-1], p[-1])
    trajectory = eqx.filter_jit(model)(y0, max(steps))
    q, p = (np.asarray(x, np.float64) for x in trajectory)
    metrics: dict[str, Any] = {}
    for cycles, n in zip(CYCLES, steps, strict=True):
        last = slice(n - two_cycles, n + 1)
        to_curve, to_trajectory = distances(q[last])
        metrics[f"trajectory_to_curve_{cycles}"] = to_curve
        metrics[f"curve_to_trajectory_{cycles}"] = to_trajectory
        drift = abs(lemniscate.energy(q[last], p[last]).mean() - lemniscate.ENERGY)
        metrics[f"energy_drift_{cycles}"] = finite(drift / lemniscate.ENERGY)
    # Reduced in double precision: late times have no digits to spare in float32.
    t = (start + DT * np.arange(steps[0] + 1)) % (2 * np.pi)
    error = np.sum((q[: steps[0] + 1] - lemniscate.curve(jnp.asarray(t))) ** 2, -1)
    metrics[f"rmse_{CYCLES[0]}"] = finite(error.mean() ** 0.5)
    if isinstance(model, cx.nn.CHLU):
        energy = eqx.filter_jit(eqx.filter_vmap(model.hamiltonian))(*trajectory)
        metrics["learned_energy_error"] = finite(
            float(jnp.abs(energy - energy[0]).max())
        )
    return (q, p), metrics


def train(name: str, seed: int, curriculum: Curriculum, report: Report) -> Run:
    data = jax.tree.map(lambda x: x[None], training_data())
    run = fit(
        MODELS[name],
        seed,
        data,
        optimizer(curriculum),
        curriculum,
        report,
        batch_size=BATCH,
    )
    _, metrics = evaluate(run.model)
    return run._replace(metrics=run.metrics | metrics)


METRICS = {
    "parameters": "parameters",
    "trajectory_to_curve_50": "trajectory → curve, 50 cycles",
    "curve_to_trajectory_50": "curve → trajectory, 50 cycles",
    "rmse_50": "RMSE to the orbit over 50 cycles",
    "trajectory_to_curve_1000": "trajectory → curve, 1000 cycles",
    "curve_to_trajectory_1000": "curve → trajectory, 1000 cycles",
    "energy_drift_1000": "energy drift, 1000 cycles",
    "training_seconds": "training, seconds",
}


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds, by metric and model."""
    models = by_model(runs)
    return {
        metric: {
            model: spread(run[metric] for run in found)
            for model, found in models.items()
        }
        for metric in METRICS
    }


def table(summary: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each metric: median (range) for each model."""
    return [
        ["median (range)", *next(iter(summary.values()))],
        *(
            [METRICS[metric], *map(cell, models.values())]
            for metric, models in summary.items()
        ),
    ]


def main(
    seeds: int = 5,
    quick: bool = False,
    out: Path = Path("out/lemniscate"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Learn the lemniscate from three cycles and trace it for a thousand.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many times to train each model.
        quick: one seed, a short curriculum and no relativistic unit, which needs a
            longer one: under a minute on two cores.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    seeds = 1 if quick else seeds
    curriculum = QUICK if quick else CURRICULUM
    console = Console()
    metrics: dict[str, Any] = {
        "task": "lemniscate",
        "command": "python -m benchmarks lemniscate"
        + (" --quick" if quick else f" --seeds {seeds}"),
        "environment": environment(),
        "settings": {
            "dt": DT,
            "training_cycles": TRAINING_CYCLES,
            "batch": BATCH,
            "curriculum": curriculum,
            "precision": "float32",
        },
    }
    runs = train_all(
        {k: v for k, v in MODELS.items() if not quick or "relativistic" not in k},
        seeds,
        lambda name, seed, report: train(name, seed, curriculum, report),
        num_steps=num_steps(curriculum),
        metrics=metrics,
        summarise=summarise,
        out=out,
        restart=restart,
        console=console,
    )

    console.print(drawn(table(metrics["summary"]), f"seeds: {seeds}"))
    shown = {}
    for name, found in runs.items():
        model = median_run(found, lambda m: m["trajectory_to_curve_50"]).model
        trajectory, _ = evaluate(model)
        shown[name] = FreeRun(model, trajectory)
    pictures = figures.draw(shown, out, DT)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
