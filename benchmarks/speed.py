"""What the solvers cost, as ratios of times measured side by side in one run, and the
memory that gradients take."""

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
from rich.console import Console

from .record import drawn, environment, keep, progress_bars, write
from .speed_cases import Comparison, COMPARISONS, MEMORY


def seconds(run: Callable, y0: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run(y0))
    return time.perf_counter() - began


def states(batch: int) -> Any:
    return tuple(0.5 * jr.normal(jr.key(1), (2, batch, 2), jnp.float32))


def compare(comparison: Comparison, batch: int, repeats: int) -> dict[str, Any]:
    """Alternate the two, so that both meet the same machine, and take medians."""
    n, target = comparison.cases[batch]
    one = batch == 1 and not comparison.batched
    y0 = tuple(x[0] for x in states(1)) if one else states(batch)

    def compiled(f: Callable) -> Callable:
        run = functools.partial(f, n=n)
        return jax.jit(run if one or comparison.batched else jax.vmap(run))

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
        "target": target,
        "microseconds_per_step": 1e6 * statistics.median(a for a, _ in pairs) / n,
    }


def memory(name: str, batch: int, n: int) -> dict[str, Any]:
    """What the compiled gradient allocates beside its inputs and outputs."""
    run, _ = MEMORY[name]
    compiled = jax.jit(functools.partial(run, n=n)).lower(states(batch)).compile()
    size = compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore
    return {"gradient": name, "batch": batch, "steps": n, "bytes": size}


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """The ratios, with their quartiles and targets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
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


def memory_table(found: list[dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each gradient."""
    lines = [["temporary memory of the gradient of", "batch", "steps", "MB"]]
    for row in found:
        size = f"{row['bytes'] / 1e6:.3f}"
        lines.append([row["gradient"], str(row["batch"]), f"{row['steps']:,}", size])
    return lines


def main(
    repeats: int = 31,
    quick: bool = False,
    out: Path = Path("out/speed"),
    record: bool = False,
) -> None:
    """Time the solvers against code written by hand and against diffrax's own.

    Args:
        repeats: how many times to run each pair.
        quick: three times: about a minute.
        out: where to write metrics.json and the picture.
        record: also keep the numbers under benchmarks/results and the picture under
            docs.
    """
    # So that both precisions can be had; the states say which.
    jax.config.update("jax_enable_x64", True)
    console = Console()
    cases = [(c, batch) for c in COMPARISONS for batch in c.cases]
    repeats = 3 if quick else repeats
    with progress_bars(console) as bars:
        found = [
            compare(*case, repeats)
            for case in bars.track(cases, description="comparing")
        ]
    sizes = [
        memory(name, 64, n) for name, (_, numbers) in MEMORY.items() for n in numbers
    ]
    metrics = {
        "task": "speed",
        "command": "python -m benchmarks speed"
        + (" --quick" if quick else f" --repeats {repeats}"),
        "environment": environment(),
        "found": found,
        "memory": sizes,
    }
    write(out / "metrics.json", metrics)
    picture = out / "speed.png"
    draw(found, picture)
    if record:
        keep(metrics, [picture])
    console.print(drawn(table(found)), drawn(memory_table(sizes)))
