"""Fill the tables of README and docs from the committed results files."""

import re
from collections.abc import Callable
from typing import Any

from . import (
    densities,
    exact_statements,
    lemniscate,
    noisy_pendulum,
    optimization,
    optimization_figures,
    pixel_dynamics,
    sampling,
    sampling_figures,
    scaling,
    scores,
    sequences,
    sequences_figures,
    sine_waves,
    speed,
    work_precision,
    work_precision_figures,
)
from .claims import ledger
from .record import FIGURES, markdown, results, ROOT


PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "precision.md",
    ROOT / "docs" / "memory.md",
    ROOT / "docs" / "devices.md",
)
LEDGER = ROOT / "docs" / "claims.md"
# By the name in the mark: the task whose results these are, on a CPU unless another
# device is named, and the rows.
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], list[list[str]]]]] = {
    "exact_statements": (
        "exact_statements",
        lambda m: exact_statements.table(m["found"]),
    ),
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
    "scaling": ("scaling", lambda m: scaling.table(m["found"])),
    "matmul_precision": (
        "scaling",
        lambda m: scaling.precision_table(m["precision"]),
    ),
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

# The pictures that results files hold all of. Others show states and images, which they
# do not: `python -m benchmarks TASK --record` draws them.
DRAWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "optimization": lambda m: optimization_figures.draw(m, FIGURES),
    "sampling": lambda m: sampling_figures.draw(m, {}, FIGURES),
    "scaling": lambda m: scaling.draw(m["found"], FIGURES / "scaling.png"),
    "sequences": lambda m: sequences_figures.draw(
        m, sequences.title, sequences.CALL, FIGURES
    ),
    "speed": lambda m: speed.draw(m["found"], FIGURES / "speed.png"),
    "work_precision": lambda m: work_precision_figures.draw(m, FIGURES),
}


def _block(name: str) -> str:
    task, table = TABLES[name]
    metrics = results(task if "/" in task else f"{task}/cpu")
    where = metrics["environment"]
    versions = ", ".join(
        f"{name} {where['packages'][name]}" for name in ("jax", "equinox", "diffrax")
    )
    cores = f"{where['cores']} cores"
    device = cores if where["platform"] == "cpu" else where["device"]
    return "\n".join(
        [
            *markdown(table(metrics)),
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
    """From the committed results files make the tables of README and docs, the ledger
    of claims, and the pictures that are of these numbers alone."""
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    LEDGER.write_text(ledger.page(), encoding="utf-8")
    for task, draw in DRAWN.items():
        draw(results(f"{task}/cpu"))
