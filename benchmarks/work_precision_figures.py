"""The pictures of the comparison of work and precision."""

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .pictures import save_all


COLOURS = {
    "order 1": "tab:gray",
    "order 2": "tab:blue",
    "order 4": "tab:green",
    "order 6": "tab:orange",
    "order 8": "tab:red",
    "any energy": "tab:brown",
    "variable steps": "tab:purple",
    "diffrax": "k",
}
MARKERS = "os^DvPX*"
COSTS = {"forces": "force evaluations a period", "seconds": "seconds a period"}
ERRORS = {"energy": "energy error", "trajectory": "trajectory error"}
ECCENTRIC = "Kepler, e = 0.9"


def draw(metrics: dict[str, Any], out: Path) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    problems = [name for name in metrics["curves"] if name != ECCENTRIC]
    figures = {
        "work_precision_forces": panels(metrics, problems, "forces"),
        "work_precision_seconds": panels(metrics, problems, "seconds"),
        "work_precision_steps": panels(metrics, [ECCENTRIC], "forces"),
    }
    return save_all(figures, out)


def panels(metrics: dict[str, Any], problems: list[str], cost: str) -> Figure:
    """Both errors on each problem against the cost. The errors of one problem are one
    below the other, or side by side if there is no other."""
    alone = len(problems) == 1
    figure, axes = plt.subplots(
        *((1, 2) if alone else (2, len(problems))),
        figsize=(8.5, 4.6) if alone else (3.3 * len(problems), 7.5),
        layout="constrained",
        sharex="col",
    )
    styles = _styles(metrics["families"])
    columns = [axes] if alone else axes.T
    for column, problem in zip(columns, problems, strict=True):
        column[0].set_title(problem)
        for ax, (kind, label) in zip(column, ERRORS.items(), strict=True):
            _curves(ax, metrics["curves"][problem], kind, cost, styles)
            if alone or problem == problems[0]:
                ax.set_ylabel(label)
            if alone or kind == "trajectory":
                ax.set_xlabel(COSTS[cost])
    lines = {line.get_label(): line for ax in axes.flat for line in ax.lines}
    names = sorted(styles, key=lambda name: [*COLOURS].index(metrics["families"][name]))
    figure.legend(
        handles=[lines[name] for name in names if name in lines],
        loc="outside lower center",
        ncols=3 if alone else 6,
        fontsize=9,
    )
    return figure


def _styles(families: dict[str, str]) -> dict[str, dict[str, Any]]:
    """A colour for every family, and a marker for every one in it."""
    seen = Counter()
    styles = {}
    for name, family in families.items():
        styles[name] = {
            "color": COLOURS[family],
            "marker": MARKERS[seen[family]],
            "ls": "--" if family == "diffrax" else "-",
        }
        seen[family] += 1
    return styles


def _curves(ax: Axes, found: Any, kind: str, cost: str, styles: Any) -> None:
    for name, curves in found.items():
        curve = curves[kind]
        ax.loglog(
            curve[cost], curve["error"], **styles[name], markersize=4, lw=1, label=name
        )
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=8)
    ax.xaxis.set_minor_formatter(NullFormatter())
