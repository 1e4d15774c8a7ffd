"""Every task, one after the other."""

import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from . import (
    densities,
    digits,
    exact_statements,
    lemniscate,
    noisy_pendulum,
    optimization,
    pixel_dynamics,
    sampling,
    scaling,
    sequences,
    sine_waves,
    speed,
    work_precision,
)
from .record import environment, stored, whole, write


TASKS: dict[str, Callable[..., None]] = {
    "exact_statements": exact_statements.main,
    "lemniscate": lemniscate.main,
    "sine_waves": sine_waves.main,
    "digits": digits.main,
    "noisy_pendulum": noisy_pendulum.main,
    "pixel_dynamics": pixel_dynamics.main,
    "densities": densities.main,
    "sampling": sampling.main,
    "sequences": sequences.main,
    "optimization": optimization.main,
    "work_precision": work_precision.main,
    "speed": speed.main,
    "scaling": scaling.main,
}
# With what the committed results were made, where it is not the default.
FULL: dict[str, dict[str, Any]] = {
    "digits": {"seeds": 3},
    "pixel_dynamics": {"systems": ("mass_spring", "pendulum"), "seeds": 3},
}


def main(
    tasks: tuple[str, ...] = tuple(TASKS),
    quick: bool = False,
    out: Path = Path("out"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Run every task: make every results file anew.

    Goes on where a run with the same `out` was killed: what is done is not done again.
    All of it takes many hours on two cores.

    Args:
        tasks: which to run.
        quick: of each task the quick version, under `out`/quick.
        out: where each task has a folder of its own.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: forget what is there, and do everything anew.
    """
    unknown = set(tasks) - set(TASKS)
    if unknown:
        raise ValueError(f"`tasks` must be of {tuple(TASKS)}, got {tuple(unknown)}.")
    if quick and record:
        raise ValueError("`record` keeps full runs only: leave out `--quick`.")
    console, failed = Console(), []
    precision = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    for number, name in enumerate(tasks):
        arguments = {"quick": True} if quick else FULL.get(name, {})
        arguments = arguments | {"record": record}
        folder = out / "quick" / name if quick else out / name
        made = {"arguments": arguments, "environment": environment()}
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        if stored(folder / "done.json", made):
            console.print(f"{name}: done before, see {folder}")
            continue
        console.rule(name)
        try:
            with whole(f"all tasks: {name}", number, len(tasks)):
                TASKS[name](out=folder, **arguments)
            write(folder / "done.json", {"settings": made, "run": {"done": True}})
        except Exception:
            # The others do not depend on it.
            traceback.print_exc()
            failed.append(name)
        # Some tasks are in float64, and what they have compiled needs memory.
        jax.config.update("jax_enable_x64", precision)
        jax.clear_caches()
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")
