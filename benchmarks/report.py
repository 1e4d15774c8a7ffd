"""Fill the tables of README and docs from the committed results files."""

import json
import re
from collections.abc import Callable
from typing import Any

from . import (
    densities,
    lemniscate,
    noisy_pendulum,
    optimization,
    pixel_dynamics,
    sampling,
    scores,
    sequences,
    sine_waves,
    speed,
    work_precision,
)
from .record import RESULTS, ROOT


PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "precision.md",
    ROOT / "docs" / "api" / "adjoint.md",
)
# By the name in the mark: the task whose results these are, on a CPU unless another
# device is named, and the rows.
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], list[list[str]]]]] = {
    "densities": ("densities", densities.table),
    "densities_short": ("densities", densities.short_table),
    "densities_bounds": ("densities", densities.bounds_table),
    "densities_samples": ("densities", densities.samples_table),
    "densities_costs": ("densities", densities.costs_table),
    "lemniscate": ("lemniscate", lambda m: lemniscate.table(m["summary"])),
    "sine_waves": ("sine_waves", lambda m: sine_waves.table(m["summary"])),
    "sine_waves_models": (
        "sine_waves",
        lambda m: sine_waves.models_table(m["summary"]),
    ),
    "digits": ("digits", lambda m: scores.table(m["summary"])),
    "noisy_pendulum": ("noisy_pendulum", noisy_pendulum.error_table),
    "noisy_pendulum_energy": ("noisy_pendulum", noisy_pendulum.drift_table),
    "noisy_pendulum_models": ("noisy_pendulum", noisy_pendulum.models_table),
    "optimization": ("optimization", lambda m: optimization.table(m["summary"])),
    "pixels_pendulum": (
        "pixel_dynamics",
        lambda m: pixel_dynamics.table(m["summary"], "pendulum"),
    ),
    "pixels_ranks": (
        "pixel_dynamics",
        lambda m: pixel_dynamics.ranks_table(m["ranks"]),
    ),
    "pixels_spring": (
        "pixel_dynamics",
        lambda m: pixel_dynamics.table(m["summary"], "mass_spring"),
    ),
    "pixels_full": (
        "pixel_dynamics/gpu",
        lambda m: pixel_dynamics.systems_table(m["summary"]),
    ),
    "sampling": (
        "sampling",
        lambda m: sampling.table(m["summary"], "ess_per_1000_gradients"),
    ),
    "sampling_metrics": (
        "sampling",
        lambda m: sampling.table(m["summary"], "ess_per_1000_metrics"),
    ),
    "sampling_seconds": (
        "sampling",
        lambda m: sampling.table(m["summary"], "ess_per_second"),
    ),
    "sampling_bias": ("sampling", lambda m: sampling.table(m["summary"], "bias")),
    "sampling_gate": ("sampling", lambda m: sampling.gate_table(m["gate"])),
    "sequences": ("sequences", lambda m: sequences.table(m["summary"])),
    "sequences_costs": ("sequences", lambda m: sequences.costs_table(m["summary"])),
    "sequences_gradients": (
        "sequences",
        lambda m: sequences.gradients_table(m["gradients"]),
    ),
    "speed": ("speed", lambda m: speed.table(m["found"])),
    "memory": ("speed", lambda m: speed.memory_table(m["memory"])),
    "work_precision": (
        "work_precision",
        lambda m: work_precision.table(m["fixed_steps"]),
    ),
    "variable_steps": (
        "work_precision",
        lambda m: work_precision.table(m["variable_steps"]),
    ),
}


def _block(name: str) -> str:
    task, table = TABLES[name]
    file = RESULTS / (f"{task}.json" if "/" in task else f"{task}/cpu.json")
    metrics = json.loads(file.read_text(encoding="utf-8"))
    head, *lines = table(metrics)
    rows = [head, ["---"] * len(head), *lines]
    where = metrics["environment"]
    versions = ", ".join(
        f"{name} {where['packages'][name]}" for name in ("jax", "equinox", "diffrax")
    )
    cores = f"{where['cores']} cores"
    device = cores if where["platform"] == "cpu" else where["device"]
    return "\n".join(
        [
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            f"`{metrics['command']}`, {device}, {versions}.",
        ]
    )


def render(text: str) -> str:
    """The same text with every marked block made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_block(match[2])}\n{match[3]}"

    pattern = r"(<!-- results: (\w+) -->)\n.*?(<!-- end of results -->)"
    return re.sub(pattern, fill, text, flags=re.DOTALL)


def main() -> None:
    """Fill the tables of README and docs from the committed results files."""
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
