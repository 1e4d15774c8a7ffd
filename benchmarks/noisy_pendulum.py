"""Learn a pendulum from a few noisy observations.

The first task of the Variational Integrator Networks (Saemundsson, Terenin, Hofmann &
Deisenroth, AISTATS 2020, arXiv 1910.09349): 30, 90 or 150 observations of q and q̇ with
noise 0.33, as 1, 3 or 5 trajectories of 30; then free runs of 100 steps from true
states that training has not seen. Windows of 20 steps, their initial states inferred
from the first 10 observations by an LSTM, a Gaussian likelihood of learned scale, 3000
steps of Adam at 1e-3 over all windows at once: for all models alike.

Each seed draws its own trajectories, noise and initial weights; the test is the same
for all.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray
from rich.console import Console

from chlu_eqx.nn import ObservedDynamics

from . import noisy_pendulum_figures as figures, noisy_pendulum_models as models
from .data import noisy_pendulum as data
from .noisy_pendulum_metrics import (
    evaluate,
    free_runs,
    GRID,
    learned_potential,
    references,
    test_data,
)
from .record import cell, drawn, environment, keep, number, spread
from .runs import (
    by_model,
    fit,
    median_run,
    num_parameters,
    Report,
    Run,
    train_all,
)


TIMES = 30
TRAJECTORIES = (1, 3, 5)
WINDOW = 20
STEPS, RATE = 3000, 1e-3
# Of the one row that has two parameters, not thousands.
FORM_RATE = 3e-2
QUICK = 600

# Rows of the tables at all sizes of the data; the HNN, which takes several times as
# long as the others, is trained on the smallest only.
INFERRED = ("VIN-VV", "VIN-VV, periodic", "VIN-SV", "CHLU", "ResNet")
SMALLEST_ONLY = ("HNN",)
FREE = ("VIN-VV", "VIN-VV, periodic", "ResNet", models.FORM)
QUICK_DYNAMICS = ("VIN-VV, periodic", "ResNet")


class Case(NamedTuple):
    """A row of the tables, at a size of the data."""

    dynamics: str
    free: bool
    trajectories: int

    @property
    def row(self) -> str:
        return f"{self.dynamics}; free states" if self.free else self.dynamics

    @property
    def points(self) -> str:
        return f"{self.trajectories * TIMES} points"

    def make(self, key: PRNGKeyArray) -> ObservedDynamics:
        if not self.free:
            return models.inferred(key, self.dynamics)
        zeros = jnp.zeros((self.trajectories, 1))
        return models.free(key, self.dynamics, (zeros, zeros))


def cases(quick: bool) -> dict[str, Case]:
    smallest = TRAJECTORIES[0]
    found = [Case(name, False, smallest) for name in QUICK_DYNAMICS]
    if not quick:
        kinds = [*((n, False) for n in INFERRED), *((n, True) for n in FREE)]
        found = [Case(*kind, size) for size in TRAJECTORIES for kind in kinds]
        found += [Case(name, False, smallest) for name in SMALLEST_ONLY]
    return {f"{case.row}, {case.points}": case for case in found}


def train(case: Case, seed: int, steps: int, report: Report) -> Run:
    truth, observed = data.observations(seed, case.trajectories, TIMES)
    first = jax.tree.map(lambda x: x[:, 0], observed)
    rate = FORM_RATE if case.dynamics == models.FORM else RATE
    if case.free:
        window = TIMES - 1
        seen = models.windows(observed, TIMES)
        index = jnp.arange(case.trajectories)
        cue = jnp.broadcast_to(index, (1, TIMES, case.trajectories))
        make = lambda key: models.free(key, case.dynamics, first)  # noqa: E731
    else:
        window = WINDOW
        if case.dynamics in models.OF_POSITIONS:
            observed = observed[0]
        cue = seen = models.windows(observed, WINDOW + 1)
        make = case.make
    run = fit(
        make,
        seed,
        (cue, seen),
        optax.adam(rate),
        ((window, steps, rate),),
        report,
        batch_size=1,
        loss=models.loss,
    )
    visited = float(jnp.abs(truth[0]).max())
    numbers = {
        "row": case.row,
        "points": case.points,
        "parameters": num_parameters(models.rolled(run.model)),
        "visited": visited,
    }
    return run._replace(metrics=run.metrics | numbers | evaluate(run.model, visited))


METRICS = (
    "mse",
    "energy_drift",
    "scale",
    "potential_rmse",
    "parameters",
    "training_seconds",
)


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds, by metric, row and size of the data."""
    found: dict[str, Any] = {metric: {} for metric in METRICS}
    for same in by_model(runs).values():
        row, points = same[0]["row"], same[0]["points"]
        for metric in METRICS:
            values = [run[metric] for run in same]
            # A run that diverged has no error; a model without a potential none either.
            if metric != "potential_rmse" or any(v is not None for v in values):
                found[metric].setdefault(row, {})[points] = spread(values)
    return found


def _sizes(summary: dict[str, Any]) -> list[str]:
    return list(next(iter(summary["mse"].values())))


def table(metrics: dict[str, Any], metric: str, title: str) -> list[list[str]]:
    """A row for each model and reference, a column for each size of the data."""
    summary = metrics["summary"]
    sizes = _sizes(summary)
    return [
        [f"{title}, median (range)", *sizes],
        *(
            [row, *(number(values[metric]) for _ in sizes)]
            for row, values in metrics["references"].items()
        ),
        *(
            [row, *(cell(found.get(size)) for size in sizes)]
            for row, found in summary[metric].items()
        ),
    ]


def error_table(metrics: dict[str, Any]) -> list[list[str]]:
    return table(metrics, "mse", "MSE")


def drift_table(metrics: dict[str, Any]) -> list[list[str]]:
    return table(metrics, "energy_drift", "energy drift")


def models_table(metrics: dict[str, Any]) -> list[list[str]]:
    """What else is known of the models, at the smallest and the largest size."""
    summary, sizes = metrics["summary"], _sizes(metrics["summary"])
    shown = {
        "parameters": ("parameters", sizes[:1]),
        "scale": ("σ", [sizes[0], sizes[-1]]),
        "potential_rmse": ("error of the potential", [sizes[0], sizes[-1]]),
        "training_seconds": ("seconds", [sizes[0], sizes[-1]]),
    }
    columns = [
        (m, f"{t}, {n}" if len(ns) > 1 else t, n)
        for m, (t, ns) in shown.items()
        for n in ns
    ]
    return [
        ["median (range)", *(title for _, title, _ in columns)],
        *(
            [row, *(cell(summary[m].get(row, {}).get(n)) for m, _, n in columns)]
            for row in summary["mse"]
        ),
    ]


def main(
    seeds: int = 5,
    quick: bool = False,
    out: Path = Path("out/noisy_pendulum"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Learn a pendulum from 30, 90 or 150 noisy observations.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many times to draw the data and to train each model.
        quick: one seed, two models, 30 observations and fewer steps: under a minute.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    seeds, steps = (1, QUICK) if quick else (seeds, STEPS)
    console = Console()
    metrics: dict[str, Any] = {
        "task": "noisy_pendulum",
        "command": "python -m benchmarks noisy_pendulum"
        + (" --quick" if quick else f" --seeds {seeds}"),
        "environment": environment(),
        "settings": {
            "dt": data.DT,
            "noise": data.NOISE,
            "times": TIMES,
            "window": WINDOW,
            "observed": models.OBSERVED,
            "width": models.WIDTH,
            "steps": steps,
            "rate": RATE,
            "form_rate": FORM_RATE,
            "speed_limit": models.SPEED_LIMIT,
            "precision": "float32",
        },
        "references": references(),
    }
    found = cases(quick)
    runs = train_all(
        {name: case.make for name, case in found.items()},
        seeds,
        lambda name, seed, report: train(found[name], seed, steps, report),
        num_steps=steps,
        metrics=metrics,
        summarise=summarise,
        out=out,
        restart=restart,
        console=console,
    )

    for lines in (error_table, drift_table, models_table):
        console.print(drawn(lines(metrics), f"seeds: {seeds}"))
    shown: dict[str, dict[str, figures.Shown]] = {}
    for name, case in found.items():
        if case.free:
            continue
        run = median_run(runs[name], lambda m: m["mse"])
        trajectories = free_runs(models.rolled(run.model))
        angles = np.linspace(-np.pi, np.pi, GRID)
        potential = learned_potential(run.model, angles, run.metrics["visited"])
        shown.setdefault(case.points, {})[case.dynamics] = figures.Shown(
            trajectories, potential, run.metrics["visited"]
        )
    pictures = figures.draw(shown, test_data(), out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
