"""What every results file holds beside its numbers, and how it is written."""

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax


RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "chlu_eqx")


def environment() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def results_file(task: str) -> Path:
    """Where the numbers of a task on this kind of device are kept, under version
    control: the source of every number in README and docs."""
    return RESULTS / task / f"{jax.devices()[0].platform}.json"


def write(path: Path, metrics: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Median and range; a run that diverged, `None`, is worse than any number."""
    ordered = sorted(float("inf") if v is None else v for v in values)
    found = {
        "median": statistics.median(ordered),
        "min": ordered[0],
        "max": ordered[-1],
    }
    return {k: v if v < float("inf") else None for k, v in found.items()}
