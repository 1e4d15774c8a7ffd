"""Learn the lemniscate from three cycles, then trace it for a thousand.

The CHLU paper's first task (Jawahar & Pierini, arXiv 2603.01768): the figure-eight
x = sin t/(1 + cos² t), y = x cos t, as states (q, q̇) every 0.05; windows of three
cycles to train on, then a free run from the last training point.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import PRNGKeyArray
from rich.console import Console
from scipy.interpolate import CubicSpline
from scipy.spatial import KDTree

import chlu_eqx as cx
from chlu_eqx.training import fit_trajectories

from . import lemniscate_figures as figures
from .baselines import LSTM, NeuralODE
from .data import lemniscate
from .record import (
    drawn,
    environment,
    finite,
    keep,
    progress_bars,
    shown_in,
    spread,
    write,
)


DT = 0.05
CYCLES = (50, 1000)
TRAINING_CYCLES = 3
BATCH = 32
# (window, steps, learning rate at the start of the stage). Each stage's rate decays by
# a cosine to 2 % of its start.
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


class Run(NamedTuple):
    """One trained model, its free run of the most cycles, and its numbers."""

    model: Any
    trajectory: tuple[np.ndarray, np.ndarray]
    metrics: dict[str, Any]


def training_data() -> tuple[jax.Array, jax.Array]:
    steps = int(TRAINING_CYCLES * lemniscate.PERIOD / DT) + 1
    return lemniscate.orbit(DT * jnp.arange(steps))


def optimizer(curriculum: tuple) -> optax.GradientTransformation:
    schedules = [
        optax.cosine_decay_schedule(rate, steps, alpha=0.02)
        for _, steps, rate in curriculum
    ]
    ends = np.cumsum([steps for _, steps, _ in curriculum])[:-1].tolist()
    return optax.adam(optax.join_schedules(schedules, ends))


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


def train(name: str, seed: int, curriculum: tuple, optim: Any, report: Any) -> Run:
    model_key, data_key = jr.split(jr.key(seed))
    model = eqx.filter_jit(MODELS[name])(model_key)
    began = time.perf_counter()
    fit = fit_trajectories(
        model,
        jax.tree.map(lambda x: x[None], training_data()),
        optim,
        curriculum=[(window, steps) for window, steps, _ in curriculum],
        key=data_key,
        batch_size=BATCH,
        callback=report,
    )
    seconds = time.perf_counter() - began
    trajectory, metrics = evaluate(fit.model)
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    head = {
        "model": name,
        "seed": seed,
        "parameters": sum(leaf.size for leaf in leaves),
        "training_seconds": round(seconds, 2),
        "training_loss": fit.history[-1].best,
    }
    return Run(fit.model, trajectory, head | metrics)


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
    models = list(dict.fromkeys(run["model"] for run in runs))
    return {
        metric: {
            model: spread(run[metric] for run in runs if run["model"] == model)
            for model in models
        }
        for metric in METRICS
    }


def _number(x: float | None) -> str:
    if x is None:
        return "diverged"
    return f"{x:.0f}" if x >= 10 else f"{x:.2g}"


def table(summary: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each metric: median (range) for each model."""
    lines = [["median (range)", *next(iter(summary.values()))]]
    for metric, models in summary.items():
        cells = [METRICS[metric]]
        for found in models.values():
            low, middle, high = (_number(found[k]) for k in ("min", "median", "max"))
            cells.append(middle if low == high else f"{middle} ({low} – {high})")
        lines.append(cells)
    return lines


def main(
    seeds: int = 5,
    quick: bool = False,
    out: Path = Path("out/lemniscate"),
    record: bool = False,
) -> None:
    """Learn the lemniscate from three cycles and trace it for a thousand.

    Args:
        seeds: how many times to train each model.
        quick: one seed, a short curriculum and no relativistic unit, which needs a
            longer one: under a minute on two cores.
        out: where to write metrics.json and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
    """
    seeds = 1 if quick else seeds
    curriculum = QUICK if quick else CURRICULUM
    optim = optimizer(curriculum)
    total = sum(steps for _, steps, _ in curriculum)
    console = Console()
    models = [name for name in MODELS if not quick or "relativistic" not in name]
    runs: dict[str, list[Run]] = {name: [] for name in models}
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
    with progress_bars(console) as bars:
        everything = bars.add_task("all runs", total=total * seeds * len(models))
        for seed in range(seeds):
            for name in models:
                bar = bars.add_task(f"{name}, seed {seed}", total=total)

                report = shown_in(bars, bar, everything, f"{name}, seed {seed}")
                run = train(name, seed, curriculum, optim, report)
                runs[name].append(run)
                # Whatever comes, what was found so far is kept.
                metrics["runs"] = [r.metrics for found in runs.values() for r in found]
                metrics["summary"] = summarise(metrics["runs"])
                write(out / "metrics.json", metrics)

    title = f"{seeds} seed{'s' if seeds > 1 else ''}"
    console.print(drawn(table(metrics["summary"]), title))
    shown = {name: _median_run(found) for name, found in runs.items()}
    pictures = figures.draw(shown, out, DT)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")


def _median_run(runs: list[Run]) -> Run:
    """The run of the median seed, by its distance after 50 cycles."""

    def distance(run: Run) -> float:
        value = run.metrics["trajectory_to_curve_50"]
        return np.inf if value is None else value

    return sorted(runs, key=distance)[(len(runs) - 1) // 2]
