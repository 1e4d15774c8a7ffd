"""The pictures of the digits task."""

from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from .data.digits import Digits


def _montage(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns of images, `(rows, columns, pixels)`, as one picture with a
    border about each."""
    _, height, width = shape
    tiles = np.asarray(images).reshape(*np.shape(images)[:2], height, width)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    rows, columns = tiles.shape[:2]
    return tiles.transpose(0, 2, 1, 3).reshape(rows * (height + 2), -1)


def _show(ax: Any, images: Any, shape: tuple[int, int, int], title: str = "") -> None:
    colors = plt.get_cmap("gray").copy()
    colors.set_bad("#446")
    ax.imshow(_montage(images, shape), cmap=colors, vmin=-1, vmax=1)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw(
    out: Path,
    data: Digits,
    samples: dict[str, np.ndarray],
    way: np.ndarray,
    modes: dict[str, Any],
    energies: dict[str, np.ndarray],
) -> list[Path]:
    """Write the pictures to a folder, and tell their paths."""
    out.mkdir(parents=True, exist_ok=True)
    shape = data.shape

    grids = {"held-out images": data.held_out, **samples}
    figure, axes = plt.subplots(1, len(grids), figsize=(16, 4), layout="constrained")
    for ax, (name, images) in zip(axes, grids.items(), strict=True):
        _show(ax, images[:64].reshape(8, 8, -1), shape, name)
    paths = [_save(figure, out / "digits_samples.png")]

    figure, ax = plt.subplots(figsize=(8, 6), layout="constrained")
    _show(ax, way[:8], shape, "start, every tenth of the Langevin run, and denoised")
    paths.append(_save(figure, out / "digits_evolution.png"))

    figure, axes = plt.subplots(len(modes), 1, figsize=(8, 5), layout="constrained")
    for ax, (name, images) in zip(axes, modes.items(), strict=True):
        _show(ax, np.asarray(images)[None, :10], shape, name)
    paths.append(_save(figure, out / "digits_modes.png"))

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    low = min(np.percentile(x, 0.5) for x in energies.values())
    high = max(np.percentile(x, 99.5) for x in energies.values())
    for name, values in energies.items():
        ax.hist(
            values,
            np.linspace(low, high, 80).tolist(),
            density=True,
            histtype="step",
            label=name,
        )
    ax.set_xlabel("potential energy V, in units of kT")
    ax.set_ylabel("density")
    ax.legend()
    paths.append(_save(figure, out / "digits_energies.png"))
    return paths
