"""What several devices give: times by their number, and how far results are from those
of one; and what the precision of their products does to reversible rollouts."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
from rich.console import Console

from .record import drawn, environment, keep, number, progress_bars, write
from .scaling_precision import measure


SIMULATED = 4
# Each a core of its own, as far as there are cores; no effect where there are
# accelerators.
FLAGS = (
    f"--xla_force_host_platform_device_count={SIMULATED} "
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)


def times(repeats: int, console: Console) -> list[dict[str, Any]]:
    """The rows of `scaling_cases`, as they come."""
    command = [sys.executable, "-m", f"{__package__}.scaling_cases"]
    found = []
    with (
        progress_bars(console) as bars,
        subprocess.Popen(
            [*command, "--repeats", str(repeats)],
            env=os.environ | {"XLA_FLAGS": FLAGS},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        bar = bars.add_task("measuring", total=None)
        for line in process.stdout or ():
            found.append(json.loads(line))
            counts = {row["devices"] for row in found}
            bars.update(bar, completed=len(found), total=4 * len(counts))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return found


def ideal(row: dict[str, Any], cores: float) -> float:
    """The time, by that of one device, if devices cost nothing but what their work
    does, of which no more than `cores` is done at once."""
    work = 1 if row["fixed"] == "total" else row["devices"]
    return work / min(row["devices"], cores)


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each measurement."""
    head = ["a", "batch", "devices", "ms", "time, by one's", "quartiles", "ideal"]
    lines = [[*head, "results differ by"]]
    for row in found:
        differ = row["difference"]
        lines.append(
            [
                row["case"],
                str(row["batch"]),
                str(row["devices"]),
                number(row["milliseconds"]),
                f"{row['ratio']:.2f}",
                f"{row['lower_quartile']:.2f} – {row['upper_quartile']:.2f}",
                f"{row['ideal']:.2f}",
                "" if differ is None or row["devices"] == 1 else f"{differ:.0e}",
            ]
        )
    return lines


def precision_table(found: list[dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each number of steps and precision."""
    lines = [
        [
            "steps",
            "factors in",
            "start found again to",
            "gradient, to that through memory",
            "that, to float32's",
        ]
    ]
    for row in found:
        errors = (row["start"], row["gradient"], row["gradient_of_float32"])
        texts = [f"{x:.0e}" if x else "" for x in errors]
        lines.append([str(row["steps"]), row["factors"], *texts])
    return lines


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Ratios of times by the number of devices, against the ideal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    titles = {"total": "the same batch in all", "each": "the same batch on each"}
    cases = dict.fromkeys(row["case"] for row in found)
    for ax, (fixed, title) in zip(axes, titles.items(), strict=True):
        rows = [row for row in found if row["fixed"] == fixed]
        counts = sorted({row["devices"] for row in rows})
        for case in cases:
            own = [row for row in rows if row["case"] == case]
            ratios = [row["ratio"] for row in own]
            below = [row["ratio"] - row["lower_quartile"] for row in own]
            above = [row["upper_quartile"] - row["ratio"] for row in own]
            ax.errorbar(counts, ratios, (below, above), marker="o", label=case)
        best = {row["devices"]: row["ideal"] for row in rows}
        ax.plot(counts, [best[n] for n in counts], "k:", label="ideal")
        ax.set_xscale("log", base=2)
        ax.set_xticks(counts, map(str, counts))
        ax.set_ylim(bottom=0)
        ax.set_xlabel("devices")
        ax.set_title(title, fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("time, by that of one device")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    repeats: int = 21,
    quick: bool = False,
    out: Path = Path("out/scaling"),
    record: bool = False,
) -> None:
    """Time training and sampling on 1, 2, 4, ... devices, simulated ones on a CPU.

    Args:
        repeats: how many times to run each.
        quick: three times: about a minute.
        out: where to write metrics.json and the picture.
        record: also keep the numbers under benchmarks/results and the picture under
            docs.
    """
    console = Console()
    repeats = 3 if quick else repeats
    load, _, _ = os.getloadavg()
    found = times(repeats, console)
    where = environment()
    cores = where["cores"] if where["platform"] == "cpu" else math.inf
    for row in found:
        row["ideal"] = ideal(row, cores)
    metrics = {
        "task": "scaling",
        "command": "python -m benchmarks scaling"
        + (" --quick" if quick else f" --repeats {repeats}"),
        "environment": where,
        "load_before": load,
        "found": found,
        "precision": measure(),
    }
    write(out / "metrics.json", metrics)
    picture = out / "scaling.png"
    draw(found, picture)
    if record:
        keep(metrics, [picture])
    console.print(drawn(table(found)), drawn(precision_table(metrics["precision"])))
