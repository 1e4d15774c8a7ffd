"""The pictures of the lemniscate task."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import chlu_eqx as cx

from .data import lemniscate
from .pictures import save_all


INK, TRUE = "tab:blue", "0.8"
LIMITS = (-1.3, 1.3)


def draw(runs: dict[str, Any], out: Path, dt: float) -> list[Path]:
    """Write every picture under `out` and return their paths."""
    chlu = runs["CHLU"]
    figures = {
        "lemniscate_phase": phase_portraits(runs, dt),
        "lemniscate_energy": energies(runs, dt),
        "lemniscate_potential": potentials(chlu),
        "lemniscate_force": forces(chlu),
    }
    return save_all(figures, out)


def _curve() -> np.ndarray:
    return np.asarray(lemniscate.curve(jnp.linspace(0, lemniscate.PERIOD, 1000)))


def phase_portraits(runs: dict[str, Any], dt: float) -> Figure:
    """Each model's path after 50 and after 1000 cycles: early cycles faint, the last
    two solid, over the true curve."""
    figure, axes = plt.subplots(
        2, len(runs), figsize=(3 * len(runs), 4.2), layout="constrained", squeeze=False
    )
    period = lemniscate.PERIOD / dt
    for column, (name, run) in zip(axes.T, runs.items(), strict=True):
        q, _ = run.trajectory
        for ax, cycles, faint in zip(column, (50, 1000), (48, 200), strict=True):
            end, last = round(cycles * period), round(2 * period)
            first = end - last - round(faint * period)
            ax.plot(*_curve().T, color=TRUE, lw=5, solid_capstyle="round")
            early = q[max(first, 0) : end - last + 1]
            ax.plot(*early.T, color=INK, lw=0.4, alpha=0.15, rasterized=True)
            ax.plot(*q[end - last : end + 1].T, color=INK, lw=1.2)
            ax.set(xlim=LIMITS, ylim=(-0.75, 0.75), aspect="equal")
            ax.tick_params(labelsize=7)
        column[0].set_title(name)
    for ax, cycles in zip(axes[:, 0], (50, 1000), strict=True):
        ax.set_ylabel(f"after {cycles} cycles")
    return figure


def energies(runs: dict[str, Any], dt: float) -> Figure:
    """The lemniscate's own energy along each free run, averaged over every cycle."""
    figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for name, run in runs.items():
        q, p = run.trajectory
        energy = np.asarray(lemniscate.energy(q, p))
        n = int(len(q) * dt / lemniscate.PERIOD)
        # Cut into cycles by time: a period is not a whole number of steps.
        edges = np.round(np.arange(n) * lemniscate.PERIOD / dt).astype(int)
        ax.plot(
            1 + np.arange(n),
            np.add.reduceat(energy, edges) / np.diff([*edges, len(q)]),
            label=name,
            lw=1,
        )
    ax.axhline(lemniscate.ENERGY, color="k", lw=0.8, ls=":", label="true, 1/4")
    ax.set(xlabel="cycle", ylabel="energy, mean over the cycle", xscale="log")
    ax.set_ylim(-0.05, 0.55)
    ax.legend(fontsize=8)
    return figure


def _grid(n: int) -> tuple[np.ndarray, np.ndarray, jax.Array]:
    x, y = np.meshgrid(np.linspace(*LIMITS, n), np.linspace(-0.9, 0.9, n))
    return x, y, jnp.stack([jnp.asarray(x), jnp.asarray(y)], -1).reshape(-1, 2)


def potentials(run: Any) -> Figure:
    """The learned potential beside the exact one, as heat maps and as a surface with
    the orbit on it; both are shifted to vanish at the origin."""
    unit: cx.nn.CHLU = run.model
    x, y, points = _grid(121)
    origin = jnp.zeros((1, 2))

    def values(potential: Any, at: jax.Array) -> np.ndarray:
        found = eqx.filter_jit(eqx.filter_vmap(potential))(jnp.vstack([at, origin]))
        return np.asarray(found[:-1] - found[-1])

    learned = values(unit.hamiltonian.potential, points).reshape(x.shape)
    exact = values(lemniscate.potential, points).reshape(x.shape)
    curve = _curve()
    top = 0.6
    figure = plt.figure(figsize=(13, 3.8), layout="constrained")
    for i, (title, z) in enumerate((("learned V", learned), ("exact V", exact))):
        ax = figure.add_subplot(1, 3, i + 1)
        levels = np.linspace(-0.35, top, 20)
        filled = ax.contourf(x, y, z, levels, extend="both", cmap="viridis")
        ax.plot(*curve.T, "w", lw=1.2)
        ax.set(title=title, aspect="equal")
        figure.colorbar(filled, ax=ax, shrink=0.75)
    ax = figure.add_subplot(1, 3, 3, projection="3d")
    surface = np.where(learned > top, np.nan, learned)
    ax.plot_surface(
        x, y, surface, cmap="viridis", vmax=top, alpha=0.8, rcount=70, ccount=70
    )
    height = values(unit.hamiltonian.potential, jnp.asarray(curve))
    ax.plot(*curve.T, height + 0.01, "r", lw=1.5, zorder=10)
    ax.set_title("learned V and the orbit")
    ax.set_box_aspect((1.4, 1, 0.6))
    return figure


def forces(run: Any) -> Figure:
    """The learned force field beside the exact one, over the orbit."""
    unit: cx.nn.CHLU = run.model
    x, y, points = _grid(23)
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
    learned = eqx.filter_jit(eqx.filter_vmap(unit.hamiltonian.force))(points)
    exact = -jax.jit(jax.vmap(jax.grad(lemniscate.potential)))(points)
    for ax, title, force in zip(
        axes, ("learned force", "exact force"), (learned, exact), strict=True
    ):
        force = np.asarray(force)
        size = np.linalg.norm(force, axis=-1)
        # Directions by arrows, sizes by colour: far out the force is large.
        arrows = force / np.maximum(size, 1e-9)[:, None]
        field = ax.quiver(
            x, y, *arrows.T.reshape(2, *x.shape), size.reshape(x.shape), cmap="magma_r"
        )
        field.set_clim(0, 4)
        figure.colorbar(field, ax=ax, label="|force|", extend="max", shrink=0.85)
        ax.plot(*_curve().T, color="tab:blue", lw=1.5)
        ax.set(title=title, aspect="equal")
    return figure
