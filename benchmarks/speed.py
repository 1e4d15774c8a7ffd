"""What the solvers cost, as ratios of times measured side by side in one run.

The problem is the lemniscate unit: two coordinates, a potential of two hidden layers
of 64, steps of 0.05.
"""

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib

import chlu_eqx as cx


matplotlib.use("Agg")

import matplotlib.pyplot as plt
from rich.console import Console
from rich.progress import track

from .record import drawn, environment, keep, write


DT = 0.05
ENERGY = cx.SeparableHamiltonian(
    cx.RelativisticKinetic(2), cx.MLPPotential(2, key=jr.key(0)) + cx.Confinement()
)
TERM = cx.HamiltonianTerm(ENERGY)
PAIR = (
    diffrax.ODETerm(lambda t, p, args: ENERGY.velocity(p)),
    diffrax.ODETerm(lambda t, q, args: ENERGY.force(q)),
)


class Comparison(NamedTuple):
    """Two ways to the same end, and for each batch size the most that the first may
    take of the second's time."""

    name: str
    ours: Callable
    theirs: Callable
    targets: dict[int, float]


def scan_one_force(y0, n: int):
    """Velocity Verlet by hand, the force carried: the least it can take."""

    def step(carry, _):
        q, p, f = carry
        p = p + DT / 2 * f
        q = q + DT * ENERGY.velocity(p)
        f = ENERGY.force(q)
        p = p + DT / 2 * f
        return (q, p, f), (q, p)

    q, p = y0
    _, ys = jax.lax.scan(step, (q, p, ENERGY.force(q)), None, length=n)
    return ys


def scan_two_forces(y0, n: int):
    """Velocity Verlet as often written: both kicks find their force, and the velocity
    is a derivative of T by automatic differentiation."""

    def step(carry, _):
        q, p = carry
        p = p + DT / 2 * ENERGY.force(q)
        q = q + DT * jax.grad(ENERGY.kinetic)(p)
        p = p + DT / 2 * ENERGY.force(q)
        return (q, p), (q, p)

    _, ys = jax.lax.scan(step, y0, None, length=n)
    return ys


def rollout(y0, n: int):
    return cx.rollout(TERM, cx.CHLUSolver(), y0, dt=DT, num_steps=n)


def rollout_double(y0, n: int):
    """The same in float64."""
    double = jax.tree.map(
        lambda x: x.astype(jnp.float64) if eqx.is_array(x) else x, (TERM, y0)
    )
    return cx.rollout(double[0], cx.CHLUSolver(), double[1], dt=DT, num_steps=n)


def solve(terms: Any, solver: diffrax.AbstractSolver) -> Callable:
    def run(y0, n: int):
        # Times of the state's precision: others would promote it.
        t0, t1, dt0 = jnp.asarray([0.0, n * DT, DT], y0[0].dtype)
        return diffrax.diffeqsolve(terms, solver, t0, t1, dt0, y0, max_steps=n + 1).ys

    return run


COMPARISONS = (
    Comparison("rollout / scan by hand", rollout, scan_one_force, {1: 1.1, 256: 1.1}),
    Comparison(
        "diffeqsolve, CHLUSolver / SemiImplicitEuler",
        solve(TERM, cx.CHLUSolver()),
        solve(PAIR, diffrax.SemiImplicitEuler()),
        {1: 1.1, 256: 1.1},
    ),
    Comparison(
        "rollout / scan of two forces and ∇T by autodiff",
        rollout,
        scan_two_forces,
        {256: 1 / 1.8},
    ),
    Comparison("rollout, float64 / float32", rollout_double, rollout, {}),
)


def seconds(run: Callable, y0: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run(y0))
    return time.perf_counter() - began


def compare(comparison: Comparison, batch: int, n: int, repeats: int) -> dict[str, Any]:
    """Alternate the two, so that both meet the same machine, and take medians."""
    y0 = tuple(0.5 * jr.normal(jr.key(1), (2, batch, 2), jnp.float32))
    if batch == 1:
        y0 = tuple(x[0] for x in y0)

    def compiled(f: Callable) -> Callable:
        run = functools.partial(f, n=n)
        return jax.jit(run if batch == 1 else jax.vmap(run))

    ours, theirs = compiled(comparison.ours), compiled(comparison.theirs)
    for run in (ours, theirs):
        seconds(run, y0)
    pairs = [(seconds(ours, y0), seconds(theirs, y0)) for _ in range(repeats)]
    ratios = sorted(a / b for a, b in pairs)
    return {
        "comparison": comparison.name,
        "batch": batch,
        "steps": n,
        "ratio": statistics.median(ratios),
        "lower_quartile": ratios[len(ratios) // 4],
        "upper_quartile": ratios[-1 - len(ratios) // 4],
        "target": comparison.targets.get(batch),
        "microseconds_per_step": 1e6 * statistics.median(a for a, _ in pairs) / n,
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """The ratios, with their quartiles and targets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
    for i, row in enumerate(reversed(found)):
        width = row["upper_quartile"] - row["lower_quartile"]
        ax.barh(i, row["ratio"], color="tab:blue", height=0.6)
        ax.barh(i, width, left=row["lower_quartile"], color="k", height=0.08)
        if row["target"]:
            ax.plot([row["target"]] * 2, [i - 0.4, i + 0.4], "r", lw=2)
    labels = [f"{row['comparison']}, batch {row['batch']}" for row in found]
    ax.set_yticks(range(len(found)), labels[::-1], fontsize=8)
    ax.set_xlabel("ratio of times (red: the most it may be)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each comparison."""
    lines = [["times of", "batch", "ratio", "quartiles", "at most", "µs a step"]]
    for row in found:
        lines.append(
            [
                row["comparison"],
                str(row["batch"]),
                f"{row['ratio']:.2f}",
                f"{row['lower_quartile']:.2f} – {row['upper_quartile']:.2f}",
                f"{row['target']:.2f}" if row["target"] else "",
                f"{row['microseconds_per_step']:.1f}",
            ]
        )
    return lines


def main(
    repeats: int = 31, out: Path = Path("out/speed"), record: bool = False
) -> None:
    """Time the solvers against code written by hand and against diffrax's own.

    Args:
        repeats: how many times to run each pair.
        out: where to write metrics.json and the picture.
        record: also keep the numbers under benchmarks/results and the picture under
            docs.
    """
    # So that both precisions can be had; the states say which.
    jax.config.update("jax_enable_x64", True)
    console = Console()
    cases = [(c, b, n) for c in COMPARISONS for b, n in ((1, 10_000), (256, 1000))]
    found = [
        compare(c, b, n, repeats)
        for c, b, n in track(cases, "comparing", console=console)
    ]
    metrics = {
        "task": "speed",
        "command": f"python -m benchmarks speed --repeats {repeats}",
        "environment": environment(),
        "found": found,
    }
    write(out / "metrics.json", metrics)
    picture = out / "speed.png"
    draw(found, picture)
    if record:
        keep(metrics, [picture])
    console.print(drawn(table(found)))
