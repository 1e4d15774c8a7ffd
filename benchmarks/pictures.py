"""How the pictures of a task are written."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def charts(rows: list[str]) -> tuple[Figure, Axes, Axes]:
    """Two charts side by side, of a line for each name, from 0 on downward."""
    figure, axes = plt.subplots(
        1,
        2,
        figsize=(10.5, 0.55 * len(rows) + 1.4),
        layout="constrained",
        sharey=True,
        width_ratios=(3, 2),
    )
    for ax in axes:
        ax.grid(axis="x", alpha=0.3)
        for place in range(1, len(rows)):
            ax.axhline(place - 0.5, color="0.85", lw=0.8)
        ax.tick_params(labelsize=9)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure, axes[0], axes[1]


def save_all(figures: dict[str, Figure], out: Path) -> list[Path]:
    """Write every figure under `out`, by its name, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
        plt.close(figure)
    return paths
