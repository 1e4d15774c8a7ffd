"""The pictures of the sequence tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .pictures import save_all
from .runs import by_model


COLORS = {
    "CHLU": "tab:blue",
    "CHLU (relativistic)": "tab:cyan",
    "Hamiltonian RNN": "tab:green",
    "UnICORNN": "tab:purple",
    "coRNN": "tab:pink",
    "LSTM": "tab:orange",
    "LSTM of twice the size": "tab:red",
    "tanh RNN": "0.5",
}


def draw(
    metrics: dict[str, Any], title: Callable[[str], str], call: int, out: Path
) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    figures = {
        "sequences_gradients": gradients(metrics["gradients"]),
        "sequences_losses": losses(metrics["runs"], title, call),
    }
    return save_all(figures, out)


def gradients(found: dict[str, Any]) -> Figure:
    """Singular values of ∂h_T/∂h_0 against T."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    titles = {"largest": "largest singular value", "rms": "root mean square"}
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        for kind, values in found.items():
            lengths = [int(length) for length in values]
            rows = [values[str(length)][key] for length in lengths]
            # A logarithm has no zero.
            middle = [max(row["median"], 1e-20) for row in rows]
            ax.loglog(lengths, middle, "o-", ms=3, color=COLORS[kind], label=kind)
        ax.axhline(1, color="k", lw=0.8, ls=":")
        ax.set(title=f"{title} of ∂h/∂h₀", xlabel="length T", ylim=(1e-12, 1e12))
    axes[1].legend(fontsize=8)
    return figure


def losses(
    runs: dict[str, list[dict[str, Any]]], title: Callable[[str], str], call: int
) -> Figure:
    """Training losses: the median over seeds, and the range."""
    figure, axes = plt.subplots(
        1, len(runs), figsize=(4 * len(runs), 4), layout="constrained", squeeze=False
    )
    for ax, (task, found) in zip(axes[0], runs.items(), strict=True):
        for name, rows in by_model(found).items():
            # Nothing where dynamics had become chaotic.
            history = np.array([row["history"] for row in rows], float)
            history = np.ma.masked_invalid(history)
            steps = call * (1 + np.arange(history.shape[1]))
            middle = np.ma.median(history, axis=0)
            ax.semilogy(steps, middle, color=COLORS[name], label=name, lw=1)
            ax.fill_between(
                steps,
                history.min(axis=0),
                history.max(axis=0),
                color=COLORS[name],
                alpha=0.15,
                lw=0,
            )
        ax.set(title=title(task), xlabel="step", ylabel="training loss")
        if task.startswith("adding"):
            ax.set_ylim(1e-4, 1)
    axes[0, -1].legend(fontsize=8)
    return figure
