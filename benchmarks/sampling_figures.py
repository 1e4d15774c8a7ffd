"""The pictures of the comparison of samplers."""

from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .data.posteriors import POSTERIORS
from .pictures import charts, save_all
from .record import file_name


# By law and sampler: draws of two coordinates, and a chain's first coordinate.
Shown = dict[tuple[str, str], tuple[list[list[float]], list[float]]]

STYLES: dict[str, Any] = {
    "explicit": {"color": "tab:red", "marker": "P"},
    "explicit, D = G": {"color": "tab:orange", "marker": "d"},
    "copies reset": {"color": "tab:pink", "marker": "X"},
    "generalised leapfrog": {"color": "tab:blue", "marker": "o"},
    "semi-explicit": {"color": "tab:cyan", "marker": "s"},
    "implicit midpoint": {"color": "tab:purple", "marker": "v"},
    "HMC": {"color": "tab:gray", "marker": "D"},
    "relativistic HMC": {"color": "tab:olive", "marker": "^"},
    "NUTS": {"color": "k", "marker": "*"},
}
# Of the softened metrics, and the samplers that have none.
SHARPNESS = ", α = 1"


def draw(metrics: dict[str, Any], shown: Shown, out: Path) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    figures = {"sampling_ess": sizes(metrics["summary"])}
    if metrics.get("gate"):
        figures["sampling_gate"] = gate(metrics["gate"])
    for law, limits in (
        ("banana", ((-3.5, 3.5), (-2, 10))),
        ("funnel, 1 + 10", ((-10, 10), (-12, 12))),
    ):
        found = of_law(shown, law)
        if found:
            name = file_name(law)
            figures[f"sampling_{name}_pairs"] = pairs(found, law, limits)
            figures[f"sampling_{name}_traces"] = traces(found, limits[0])
    return save_all(figures, out)


def of_law(shown: Shown, law: str) -> dict[str, tuple]:
    """What there is of a law, by sampler, with the first sharpness."""
    return {
        method: found
        for (row, method), found in shown.items()
        if row in (law, f"{law}{SHARPNESS}")
    }


def sizes(summary: dict[str, Any]) -> Figure:
    """For each law and sampler: effective sample size for each thousand gradients, and
    by how much its draws are off."""
    laws = list(summary["bias"])
    figure, left, right = charts(laws)
    places = np.arange(len(laws))
    for i, (name, style) in enumerate(STYLES.items()):
        y = places + 0.1 * (i - (len(STYLES) - 1) / 2)
        found = [summary["ess_per_1000_gradients"][law].get(name, {}) for law in laws]
        low, middle, high = (
            # Of chains that stand still there is nothing to show.
            np.array([each.get(key) or np.nan for each in found])
            for key in ("min", "median", "max")
        )
        left.hlines(y, low, high, color=style["color"], lw=1.5)
        left.plot(middle, y, ls="", ms=5, label=name, **style)
        bias = [summary["bias"][law].get(name, np.nan) for law in laws]
        right.plot(bias, y, ls="", ms=5, **style)
    if np.any(np.isfinite(left.dataLim.intervalx)):
        left.set_xscale("log")
    left.set_xlabel("effective sample size per 1000 gradients, median and range")
    right.axvline(4, color="k", lw=0.8, ls=":")
    right.set_xlim(0, None)
    right.set_xlabel("bias, in standard errors, where it is largest")
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    return figure


def gate(rows: list[dict[str, Any]]) -> Figure:
    """The mean of q² of each rule, in its settings."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    figure, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    place, ticks, labels = 0, [], []
    for rule in rules:
        found = [row for row in rows if row["rule"] == rule]
        x = place + np.arange(len(found))
        means, errors = ([row[key] for row in found] for key in ("mean", "error"))
        style = STYLES.get(rule, {"color": "tab:brown", "marker": "h"})
        low, high = (np.add(means, n * np.array(errors)) for n in (-2, 2))
        ax.vlines(x, low, high, color=style["color"])
        ax.plot(x, means, ls="", ms=5, **style)
        ticks.append(x.mean())
        labels.append(rule.replace(", ", ",\n").replace(" ", "\n", 1))
        place += len(found) + 1.5
    ax.axhline(1, color="k", lw=0.8)
    ax.set_xticks(ticks, labels, fontsize=9)
    ax.set_ylabel("E q² of N(0, 1), ± 2 standard errors")
    ax.grid(axis="y", alpha=0.3)
    return figure


def _panels(count: int, width: float, height: float, columns: int) -> tuple:
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, list(axes.flat[:count])


def pairs(found: dict[str, tuple], law: str, limits: tuple) -> Figure:
    """Draws of the first two coordinates, exact ones first."""
    exact = np.asarray(POSTERIORS[law]().draws)[:400, :2]
    panels = {"exact draws": exact} | {k: np.array(v[0]) for k, v in found.items()}
    figure, axes = _panels(len(panels), 2.2, 2.2, 5)
    for ax, (name, points) in zip(axes, panels.items(), strict=True):
        color = STYLES.get(name, {"color": "tab:green"})["color"]
        ax.plot(*points.T, ".", ms=3, alpha=0.6, color=color)
        ax.set_title(name, fontsize=10)
        ax.set_xlim(*limits[0])
        ax.set_ylim(*limits[1])
    figure.supxlabel("first coordinate", fontsize=10)
    figure.supylabel("second", fontsize=10)
    return figure


def traces(found: dict[str, tuple], limits: tuple[float, float]) -> Figure:
    """One chain's first coordinate, by transition."""
    figure, axes = _panels(len(found), 9, 1.0, 1)
    ax: Axes
    for ax, (name, (_, trace)) in zip(axes, found.items(), strict=True):
        ax.plot(trace, lw=0.9, color=STYLES[name]["color"])
        ax.set_title(name, fontsize=9, loc="left", pad=2)
        ax.set_ylim(*limits)
        ax.grid(alpha=0.3)
    axes[-1].set_xlabel("transition")
    figure.supylabel("first coordinate", fontsize=10)
    return figure
