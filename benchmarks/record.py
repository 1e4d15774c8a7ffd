"""What every results file holds beside its numbers, and how it is written."""

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress as Bars,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "figures"
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


def write(path: Path, metrics: dict[str, Any]) -> None:
    """Write JSON whole or not at all; several processes may."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    # Lists of numbers on one line each.
    text = re.sub(r"\[\n[^][{}\"]+\]", lambda found: " ".join(found[0].split()), text)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def stored(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The numbers of a run that a file holds, if they are of the same settings."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    same = found["settings"] == json.loads(json.dumps(settings))
    return found["run"] if same else None


def results(name: str) -> dict[str, Any]:
    """The committed results file TASK/DEVICE."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def file_name(title: str) -> str:
    """The words of a title."""
    return "_".join(re.findall(r"\w+", title.lower()))


def keep(metrics: dict[str, Any], pictures: Iterable[Path]) -> None:
    """Put the numbers of a task on this kind of device, and its pictures, under version
    control: the source of every number in README and docs."""
    device = metrics["environment"]["platform"]
    write(RESULTS / metrics["task"] / f"{device}.json", metrics)
    for picture in pictures:
        shutil.copy(picture, FIGURES)


# The bar above all others, where a task is one of many: title, what is done, of what.
_whole: list[tuple[str, int, int]] = []


@contextlib.contextmanager
def whole(title: str, done: int, total: int) -> Iterator[None]:
    """Inside, every view of progress begins with a bar of what this is part of."""
    _whole.append((title, done, total))
    try:
        yield
    finally:
        _whole.pop()


def progress_bars(console: Console) -> Bars:
    """Progress bars that tell what is done, of how much, and the times."""
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    for title, done, total in _whole:
        bars.add_task(title, completed=done, total=total)
    return bars


def markdown(lines: list[list[str]]) -> list[str]:
    """A head and its rows, for README and docs."""
    head, *rows = lines
    lines = [head, ["---"] * len(head), *rows]
    # A bar would end its cell.
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return ["| " + " | ".join(line) + " |" for line in escaped]


def finite(x: Any) -> float | None:
    """The number, or `None` where there is none."""
    return float(x) if math.isfinite(x) else None


def drawn(lines: list[list[str]], title: str | None = None) -> Table:
    """A head and its rows, for the terminal."""
    head, *rows = lines
    table = Table(*head, title=title)
    for row in rows:
        table.add_row(*row)
    return table


def spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Median and range; a run that diverged, `None`, is worse than any number."""
    ordered = sorted(float("inf") if v is None else v for v in values)
    found = {
        "median": statistics.median(ordered),
        "min": ordered[0],
        "max": ordered[-1],
    }
    return {k: v if v < float("inf") else None for k, v in found.items()}


def number(x: float | None) -> str:
    """To three digits; `None` for a run that diverged."""
    if x is None:
        return "diverged"
    return f"{x:.0f}" if 100 <= x < 1e5 else f"{x:.3g}"


def cell(found: dict[str, float | None] | None) -> str:
    """A spread in a table; nothing where there is none."""
    if found is None:
        return ""
    low, middle, high = (number(found[k]) for k in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} – {high})"
