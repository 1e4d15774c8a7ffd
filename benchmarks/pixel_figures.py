"""The pictures of the pixel dynamics task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .pictures import save_all
from .pixel_metrics import frame_errors, mean_image_error


COLORS = {
    "HGN": "tab:blue",
    "VIN": "tab:green",
    "neural ODE": "tab:orange",
    "recurrent": "tab:red",
}
SEQUENCES = 12
SAMPLES = 4


class Shown(NamedTuple):
    """A trained model, where it goes from the test frames' states, and its energy."""

    model: Any
    rollouts: Any
    energy: Callable | None


def draw(
    system: str, shown: dict[str, Shown], truth: Any, out: Path, full: bool
) -> list[Path]:
    """Write every picture of a system under `out` and return their paths."""
    figures = {
        "strips": strips(shown, truth),
        "errors": errors(shown, truth),
        "phase": phase_portraits(shown, truth),
        "samples": samples(shown),
    }
    head = f"pixel_dynamics_{'full_' if full else ''}{system}"
    return save_all({f"{head}_{k}": figure for k, figure in figures.items()}, out)


def _strip(ax: Any, frames: np.ndarray, label: str) -> None:
    """Frames side by side, with gaps."""
    frames = np.asarray(frames)
    white = np.ones((frames.shape[1], 1, frames.shape[3]), frames.dtype)
    gapped = [part for frame in frames for part in (frame, white)][:-1]
    ax.imshow(np.concatenate(gapped, axis=1), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    for side in ax.spines.values():
        side.set_visible(False)


def strips(shown: dict[str, Shown], truth: Any) -> Figure:
    """One test sequence, what is true above what each model makes of it: backward and
    forward from the frame in the middle."""
    far = truth.frames.shape[1] // 2
    at = np.array([0, 5, 10, 15, 20, 29, 45, 60, 75, 89])
    rows = [("truth", truth.frames[0, far + at], truth.frames[0, far - at[::-1]])]
    for name, found in shown.items():
        back = found.rollouts.back
        rows.append(
            (
                name,
                found.rollouts.frames[0, at],
                None if back is None else back.frames[0, at[::-1]],
            )
        )
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(11, 0.6 * len(rows) + 0.5), layout="constrained"
    )
    for (left, right), (name, ahead, behind) in zip(axes, rows, strict=True):
        if behind is None:
            left.axis("off")
            left.text(
                0.5, 0.5, f"{name}: no way back", ha="center", va="center", fontsize=8
            )
        else:
            _strip(left, behind, name)
        _strip(right, ahead, "")
    size = truth.frames.shape[2] + 1
    for ax, labels in ((axes[0, 0], -at[::-1]), (axes[0, 1], at)):
        ax.set_xticks(size * np.arange(len(at)) + size / 2, labels, fontsize=7)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
    return figure


def errors(shown: dict[str, Shown], truth: Any) -> Figure:
    """The median error over the test sequences of every frame, backward and forward."""
    figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
    far = truth.frames.shape[1] // 2
    n = np.arange(far)
    for name, found in shown.items():
        ahead = frame_errors(found.rollouts.frames, truth.frames[:, far:])
        ax.plot(n, np.median(ahead, axis=0), color=COLORS[name], label=name)
        if found.rollouts.back is not None:
            behind = frame_errors(found.rollouts.back.frames, truth.frames[:, far:0:-1])
            ax.plot(-n, np.median(behind, axis=0), color=COLORS[name])
    ax.axhline(
        mean_image_error(truth.frames), color="0.6", ls=":", label="the mean image"
    )
    ax.axvspan(0, 29, color="0.93", zorder=0)
    ax.set(
        xlabel="frame, from that of the state (grey: trained on)",
        ylabel="squared error a pixel, median",
        yscale="log",
        ylim=(1e-7, 1e-1),
        xlim=(-far, far),
    )
    figure.legend(fontsize=8, ncols=5, loc="outside upper center")
    return figure


def phase_portraits(shown: dict[str, Shown], truth: Any) -> Figure:
    """Trajectories in the plane of most variance of the latent states, coloured by
    their true energies; below, the learned energies over the true ones."""
    figure, axes = plt.subplots(
        2,
        len(shown),
        figsize=(2.7 * len(shown), 5),
        layout="constrained",
        squeeze=False,
        height_ratios=(1.25, 1),
    )
    energies = np.asarray(truth.energies)
    order = np.argsort(energies)[:: max(1, len(energies) // SEQUENCES)]
    scale = Normalize(energies.min(), energies.max())
    for (above, below), (name, found) in zip(axes.T, shown.items(), strict=True):
        states = found.rollouts.trajectory
        if isinstance(states, tuple):
            states = jnp.concatenate(states, axis=-1)
        states = np.asarray(states)[order]
        flat = states.reshape(-1, states.shape[-1])
        _, _, axes_ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
        plane = (states - flat.mean(0)) @ axes_[:2].T
        for path, value in zip(plane, energies[order], strict=True):
            above.plot(*path.T, color=plt.cm.viridis(scale(value)), lw=0.8)
        above.set(title=name, xticks=[], yticks=[])
        if found.energy is None:
            below.axis("off")
            below.text(0.5, 0.5, "no energy", ha="center", va="center", color="0.5")
            continue
        start = jax.tree.map(lambda y: y[:, 0], found.rollouts.trajectory)
        learned = np.asarray(jax.vmap(found.energy)(*start))
        below.scatter(energies, learned, s=8, color=COLORS[name])
        below.set(xlabel="true energy", ylabel="learned energy")
    return figure


def samples(shown: dict[str, Shown]) -> Figure:
    """Sequences from states that are drawn from the prior, every third frame."""
    figure, axes = plt.subplots(
        SAMPLES,
        len(shown),
        figsize=(3.2 * len(shown), 0.36 * SAMPLES + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for column, (name, found) in zip(axes.T, shown.items(), strict=True):
        keys = jr.split(jr.key(0), SAMPLES)
        frames = jax.vmap(lambda key, m=found.model: m.sample(27, key=key))(keys)
        for ax, sequence in zip(column, frames, strict=True):
            _strip(ax, sequence[::3], "")
        column[0].set_title(name, fontsize=9)
    return figure
