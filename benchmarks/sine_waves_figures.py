"""The pictures of the sine waves' task."""

from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline

from .pictures import save_all


TRUE = "0.75"
# The waves that are drawn, of phases well apart, and their colours.
WAVES = {1: "tab:blue", 16: "tab:orange", 19: "tab:green"}
# Of a governed mode: after the comma.
STYLES = {"": "o-", " governed": "s--"}

Pair = tuple[np.ndarray, np.ndarray]


def draw(
    summary: dict[str, Any],
    truth: Pair,
    paths: dict[str, Pair],
    sigma: float,
    out: Path,
    dt: float,
) -> list[Path]:
    """Write every picture under `out` and return their paths. `paths` are the test
    waves as each mode follows them from one noisy start of size `sigma`, `truth` the
    clean ones, of shape `(waves, times)`."""
    figures = {
        "sine_waves_mse": errors_by_noise(summary),
        "sine_waves_kinetic": kinetic_energies(truth, paths, sigma, dt),
        "sine_waves_phase": phase_space(truth, paths, sigma, dt),
        "sine_waves_error": error_maps(truth, paths, sigma, dt),
    }
    return save_all(figures, out)


def errors_by_noise(summary: dict[str, Any]) -> Figure:
    """Mean squared error against σ: median over seeds, the range shaded."""
    figure, ax = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    sigmas = np.array([float(sigma) for sigma in summary["limit"]])
    ax.plot(
        sigmas, list(summary["limit"].values()), color="k", lw=4, alpha=0.25,
        label="limit, σ² (2 + ω² + 1/ω²)/4",
    )  # fmt: skip
    colours: dict[str, Any] = {}
    for mode, found in summary["mse"].items():
        name, _, how = mode.partition(",")
        exact = mode == "exact flow"
        colour = "k" if exact else colours.setdefault(name, f"C{len(colours)}")
        style = "+" if exact else STYLES.get(how, "x:")
        low, middle, high = (
            np.array([found[s][key] for s in summary["limit"]], float)
            for key in ("min", "median", "max")
        )
        ax.plot(
            sigmas, middle, style, color=colour, lw=1, label=mode,
            ms=12 if exact else 4,
        )  # fmt: skip
        ax.fill_between(sigmas, low, high, color=colour, alpha=0.15, lw=0)
    ax.set(xscale="log", yscale="log", xlabel="σ", ylabel="mean squared error")
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def _panels(count: int, height: float) -> tuple[Figure, np.ndarray]:
    columns = 3
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.9 * columns, height * rows),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes.flat[:count]


def kinetic_energies(
    truth: Pair, paths: dict[str, Pair], sigma: float, dt: float
) -> Figure:
    """The kinetic energy of three waves at the end of the run: from the slope of a
    spline through q, and from p."""
    figure, axes = _panels(len(paths), 2.3)
    t = dt * np.arange(truth[0].shape[1])
    last = t >= t[-1] - 1.5
    fine = np.linspace(t[last][0], t[-1], 200)

    def from_q(q: np.ndarray) -> np.ndarray:
        return CubicSpline(t, q)(fine, 1) ** 2 / 2

    for ax, (mode, (q, p)) in zip(axes, paths.items(), strict=True):
        for i, colour in WAVES.items():
            ax.plot(fine, from_q(truth[0][i]), color=colour, lw=5, alpha=0.2)
            if np.isfinite(q[i]).all():
                ax.plot(fine, from_q(q[i]), color=colour, lw=1.2)
            ax.plot(t[last], p[i, last] ** 2 / 2, ".", color=colour, ms=5)
        ax.set_title(mode, fontsize=10)
    axes[0].set_ylim(0, 30)
    figure.supxlabel("t")
    figure.supylabel("kinetic energy")
    figure.suptitle(
        f"thick: the clean wave; lines: ½ q̇², dots: ½ p² from a start with σ = {sigma}",
        fontsize=10,
    )
    return figure


def phase_space(truth: Pair, paths: dict[str, Pair], sigma: float, dt: float) -> Figure:
    """Three waves from their noisy starts: the whole run faint, the last two periods
    solid, the clean orbit grey."""
    figure, axes = _panels(len(paths), 2.7)
    two = round(2 / dt)
    for ax, (mode, (q, p)) in zip(axes, paths.items(), strict=True):
        ax.plot(truth[0][0, :two], truth[1][0, :two], color=TRUE, lw=5)
        for i, colour in WAVES.items():
            ax.plot(q[i], p[i], color=colour, lw=0.4, alpha=0.3)
            ax.plot(q[i, -two:], p[i, -two:], color=colour, lw=1.2)
            ax.plot(q[i, 0], p[i, 0], "o", color=colour, ms=5, mec="k")
        ax.set_title(mode, fontsize=10)
    axes[0].set(xlim=(-1.7, 1.7), ylim=(-10, 10))
    figure.supxlabel("q")
    figure.supylabel("p")
    figure.suptitle(f"dots: starts with σ = {sigma}", fontsize=10)
    return figure


def error_maps(truth: Pair, paths: dict[str, Pair], sigma: float, dt: float) -> Figure:
    """The error of every wave, the root mean square over q, p and a period each."""
    figure, axes = _panels(len(paths), 2.1)
    waves, times = truth[0].shape
    period = round(1 / dt)
    norm = LogNorm(0.03, 10)
    for ax, (mode, path) in zip(axes, paths.items(), strict=True):
        square = sum((x - y) ** 2 for x, y in zip(path, truth, strict=True)) / 2
        means = np.mean(np.reshape(square, (waves, -1, period)), -1)
        ax.imshow(
            np.sqrt(means),
            norm=norm,
            cmap="magma",
            aspect="auto",
            interpolation="nearest",
            origin="lower",
            extent=(0, times * dt, -0.5, waves - 0.5),
        )
        ax.set_title(mode, fontsize=10)
    colours = ScalarMappable(norm, "magma")
    figure.colorbar(colours, ax=list(axes), label="error", extend="both")
    figure.supxlabel("t")
    figure.supylabel("test wave")
    figure.suptitle(f"starts with σ = {sigma}", fontsize=10)
    return figure
