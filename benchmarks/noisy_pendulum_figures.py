"""The pictures of the noisy pendulum."""

from pathlib import Path
from typing import NamedTuple

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .data import noisy_pendulum as data
from .pictures import save_all


INK, TRUE = "tab:blue", "0.75"
# Free runs in the phase portraits: the first few.
PORTRAITS = 4


class Shown(NamedTuple):
    """The free runs of a model's median seed; its potential from -π to π, if it has
    one; the angles that it was trained on, either way."""

    runs: data.Pair
    potential: np.ndarray | None
    visited: float


def draw(shown: dict[str, dict[str, Shown]], truth: data.Pair, out: Path) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    smallest = next(iter(shown.values()))
    figures = {
        "noisy_pendulum_phase": phase_portraits(smallest, truth),
        "noisy_pendulum_energy": energies(smallest),
        "noisy_pendulum_potential": potentials(shown),
    }
    return save_all(figures, out)


def _panels(names: list[str], height: float) -> tuple[Figure, list[Axes]]:
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.1 * columns, height * rows),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, names, strict=False):
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)
    return figure, list(axes.flat)


def phase_portraits(models: dict[str, Shown], truth: data.Pair) -> Figure:
    """Some free runs of every model over the true orbits."""
    figure, axes = _panels([*models], 2.6)
    for ax, shown in zip(axes, models.values(), strict=False):
        for i in range(PORTRAITS):
            q, v = (x[i, :, 0] for x in truth)
            ax.plot(q, v, color=TRUE, lw=3)
            q, v = (x[i, :, 0] for x in shown.runs)
            ax.plot(q, v, color=INK, lw=0.8)
        ax.set(xlim=(-4, 4), ylim=(-8, 8))
    figure.supxlabel("q", fontsize=10)
    figure.supylabel("q̇", fontsize=10)
    return figure


def energies(models: dict[str, Shown]) -> Figure:
    """The pendulum's own energy along every free run, off that of its start."""
    figure, axes = _panels([*models], 2.2)
    for ax, shown in zip(axes, models.values(), strict=False):
        q, v = (np.asarray(x)[..., 0] for x in shown.runs)
        energy = v**2 / 2 + data.potential_at(q)
        time = data.DT * np.arange(q.shape[1])
        ax.plot(time, (energy - energy[:, :1]).T, color=INK, lw=0.8, alpha=0.7)
        ax.axhline(0, color="k", lw=0.8, ls=":")
        ax.set(ylim=(-8, 8))
    figure.supxlabel("time", fontsize=10)
    figure.supylabel("energy, off the start's", fontsize=10)
    return figure


def potentials(shown: dict[str, dict[str, Shown]]) -> Figure:
    """Learned potentials and the true one, for every size of the data."""
    figure, axes = _panels([*shown], 3.2)
    for ax, models in zip(axes, shown.values(), strict=False):
        for name, model in models.items():
            if model.potential is not None:
                q = np.linspace(-np.pi, np.pi, len(model.potential))
                inside = np.abs(q) <= model.visited
                [line] = ax.plot(
                    q, np.where(inside, model.potential, np.nan), label=name
                )
                ax.plot(q, model.potential, color=line.get_color(), lw=0.8, ls=":")
        q = np.linspace(-np.pi, np.pi, 201)
        ax.plot(q, data.potential_at(q), color="k", lw=1, label="true")
        ax.set(ylim=(-5, 25), xlabel="q")
    axes[0].set_ylabel("potential over mass")
    axes[0].legend(fontsize=7)
    return figure
