"""The pictures of the comparison of optimisers."""

from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .pictures import charts, save_all


COLUMNS = 3
STYLES: dict[str, Any] = {
    "momentum": {"color": "tab:blue", "marker": "o"},
    "Nesterov": {"color": "tab:green", "marker": "s"},
    "Adam": {"color": "tab:gray", "marker": "D"},
    "clipped momentum": {"color": "tab:purple", "marker": "v"},
    "RGD, α = 1": {"color": "tab:red", "marker": "P"},
    "RGD, any α": {"color": "tab:orange", "marker": "X"},
}


def draw(metrics: dict[str, Any], out: Path) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    figures = {
        "optimization_curves": curves(metrics["runs"]),
        "optimization_ends": ends(metrics["summary"]),
    }
    return save_all(figures, out)


def _missing(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if x is None else x for x in values])


def curves(runs: list[dict[str, Any]]) -> Figure:
    """The value by step of every optimiser's best configuration, on each problem."""
    problems = list(dict.fromkeys(run["problem"] for run in runs))
    columns = min(COLUMNS, len(problems))
    rows = -(-len(problems) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.1 * columns, 2.5 * rows + 0.6),
        layout="constrained",
        squeeze=False,
    )
    for ax in axes.flat[len(problems) :]:
        ax.set_visible(False)
    for ax, problem in zip(axes.flat, problems, strict=False):
        found = [run for run in runs if run["problem"] == problem]
        for run in found:
            ax.plot(
                run["steps"],
                _missing(run["curve"]),
                color=STYLES[run["optimiser"]]["color"],
                # Often the same as without clipping.
                ls="--" if "clipped" in run["optimiser"] else "-",
                lw=1.4,
                label=run["optimiser"],
            )
        ax.axvline(found[0]["steps"][-1] / 2, color="k", lw=0.8, ls=":")
        ax.set_title(problem, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.3)
    figure.supxlabel("steps; dotted: tuned up to here", fontsize=10)
    figure.supylabel("log10 f", fontsize=10)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    ncols = min(len(labels), 2 * columns)
    figure.legend(handles, labels, loc="outside upper center", ncols=ncols, fontsize=9)
    return figure


def ends(summary: dict[str, Any]) -> Figure:
    """For each problem and optimiser: median and range of the value in the end, and the
    share of configurations that failed."""
    problems = list(summary)
    figure, left, right = charts(problems)
    places = np.arange(len(problems))
    for i, (name, style) in enumerate(STYLES.items()):
        y = places + 0.13 * (i - (len(STYLES) - 1) / 2)
        found = [summary[problem].get(name, {}) for problem in problems]
        low, middle, high, failures = (
            _missing([each.get(key) for each in found])
            for key in ("min", "median", "max", "failures")
        )
        left.hlines(y, low, high, color=style["color"], lw=1.5)
        left.plot(middle, y, ls="", ms=5, label=name, **style)
        right.plot(100 * failures, y, ls="", ms=5, **style)
    left.set_xlabel("log10 f after twice the tuning horizon, median and range")
    right.set_xlabel("configurations that fail, %")
    right.set_xlim(-3, 103)
    figure.legend(loc="outside upper center", ncols=len(STYLES), fontsize=9)
    return figure
