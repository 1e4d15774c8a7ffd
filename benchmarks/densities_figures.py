"""The pictures of the densities."""

from pathlib import Path

import matplotlib


matplotlib.use("Agg")

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from chlu_eqx.nn import HamiltonianFlow

from .data.densities import LAWS, load
from .densities_metrics import log_density, samples, Scaling
from .densities_models import Model
from .pictures import save_all


SHOWN = ("NHF, 1", "NHF, 4", "NHF, 8", "RealNVP", "spline flow")
PIXELS, MOMENTA, DRAWN = 100, 400, 3000
REACH = 3.0  # of the potentials, in the standard coordinates
BASINS = ("NHF, 1", "NHF, 4")

Shown = dict[str, dict[str, Model]]


def draw(shown: Shown, out: Path) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    figures = {
        "densities_density": densities(shown),
        "densities_samples": drawn(shown),
        "densities_potentials": potentials(shown),
    }
    return save_all(figures, out)


def _box(target: str) -> tuple[np.ndarray, np.ndarray]:
    """The lower left and the upper right corner of a square around the points."""
    x = load(target).held_out
    middle, half = (x.max(0) + x.min(0)) / 2, 0.55 * np.ptp(x, axis=0).max()
    return middle - half, middle + half


def _panels(shown: Shown, first: str) -> tuple[Figure, np.ndarray, list[str]]:
    """A row for each target, a column for it and each model."""
    names = [n for n in SHOWN if n in next(iter(shown.values()))]
    figure, axes = plt.subplots(
        len(shown),
        len(names) + 1,
        figsize=(1.9 * (len(names) + 1), 1.9 * len(shown) + 0.2),
        layout="constrained",
        squeeze=False,
    )
    for ax, title in zip(axes[0], [first, *names], strict=True):
        ax.set_title(title, fontsize=10)
    for row, target in zip(axes, shown, strict=True):
        low, high = _box(target)
        for ax in row:
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
            ax.set(xticks=[], yticks=[])
    return figure, axes, names


def _pixels(target: str) -> np.ndarray:
    low, high = _box(target)
    edges = [np.linspace(a, b, PIXELS) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*edges), axis=-1).reshape(-1, 2)


def densities(shown: Shown) -> Figure:
    """The densities of the targets and of the models, in shades of one scale a row."""
    figure, axes, names = _panels(shown, "target")
    for row, (target, models) in zip(axes, shown.items(), strict=True):
        x, scaling = _pixels(target), Scaling(target)
        standard = jnp.asarray(scaling.standard(x))
        found = [np.exp(LAWS[target].log_density(x))]
        for name in names:
            log = np.asarray(log_density(models[name], standard, MOMENTA))
            found.append(np.exp(log + scaling.log_volume))
        low, high = _box(target)
        for ax, density in zip(row, found, strict=True):
            ax.imshow(
                density.reshape(PIXELS, PIXELS),
                origin="lower",
                extent=(low[0], high[0], low[1], high[1]),
                vmin=0,
                vmax=found[0].max(),
                cmap="magma",
            )
    return figure


def drawn(shown: Shown) -> Figure:
    """Points to train on, and samples of the models."""
    figure, axes, names = _panels(shown, "training points")
    for row, (target, models) in zip(axes, shown.items(), strict=True):
        clouds = [load(target).train[:DRAWN]]
        for name in names:
            x = np.asarray(samples(models[name], DRAWN))
            clouds.append(Scaling(target).natural(x))
        for ax, x in zip(row, clouds, strict=True):
            ax.scatter(*x.T, s=1, lw=0, alpha=0.5, color="tab:blue")
    return figure


def potentials(shown: Shown) -> Figure:
    """The potentials of two flows, from the first on, with the positions of samples as
    they are when it acts, and where the last leaves them."""
    names = [name for name in BASINS if name in next(iter(shown.values()))]
    titles = []
    for name in names:
        numbers = range(1, int(name.split()[-1]) + 1)
        titles += [f"{name}: $V_{i}$" for i in numbers] + ["samples"]
    figure, axes = plt.subplots(
        len(shown),
        len(titles),
        figsize=(1.7 * len(titles), 1.7 * len(shown) + 0.2),
        layout="constrained",
        squeeze=False,
    )
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=10)
    for row, models in zip(axes, shown.values(), strict=True):
        panels = [
            panel
            for name in names
            for panel in zip(
                positions(models[name]), (*models[name].potentials, None), strict=True
            )
        ]
        for ax, (q, potential) in zip(row, panels, strict=True):
            ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
            ax.set(xticks=[], yticks=[])
            if potential is not None:
                line = jnp.linspace(-REACH, REACH, PIXELS)
                grid = jnp.stack(jnp.meshgrid(line, line), axis=-1)
                value = jax.vmap(jax.vmap(potential))(grid)
                ax.contourf(line, line, value, levels=20, cmap="viridis")
            color = "tab:blue" if potential is None else "w"
            ax.scatter(*q.T, s=1, lw=0, alpha=0.5, color=color)
    return figure


def positions(flow: HamiltonianFlow) -> np.ndarray:
    """Of some samples, before every energy of the flow and after the last, of shape
    `(energies + 1, samples, dim)`, in the standard coordinates."""

    @eqx.filter_jit
    def run(parts: list[HamiltonianFlow]) -> list[jax.Array]:
        keys = jr.split(jr.key(2), DRAWN // 3)
        y = jax.vmap(lambda key: jnp.split(flow.base.sample(key), 2))(keys)
        found = [y[0]]
        for part in parts:
            y = jax.vmap(part.forward)(*y)
            found.append(y[0])
        return found

    parts = [
        eqx.tree_at(lambda f: f.hamiltonians, flow, (hamiltonian,))
        for hamiltonian in flow.hamiltonians
    ]
    return np.stack(run(parts))
