"""Every model of a task trained by every seed. A run that is done is kept in a file: a
task that was killed goes on with the next."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import PRNGKeyArray
from rich.console import Console

from chlu_eqx.training import fit_trajectories, Progress

from .checkpoint import unreadable
from .record import file_name, finite, progress_bars, write


# (window, steps, learning rate at the start of the stage) of every stage.
Curriculum = tuple[tuple[int, int, float], ...]
Report = Callable[[Progress], None]


class Run(NamedTuple):
    """A trained model and its numbers."""

    model: Any
    metrics: dict[str, Any]


def optimizer(curriculum: Curriculum) -> optax.GradientTransformation:
    """Adam, the rate of each stage decaying by a cosine to 2 % of its start."""
    schedules = [
        optax.cosine_decay_schedule(rate, steps, alpha=0.02)
        for _, steps, rate in curriculum
    ]
    ends = np.cumsum([steps for _, steps, _ in curriculum])[:-1].tolist()
    return optax.adam(optax.join_schedules(schedules, ends))


def num_steps(curriculum: Curriculum) -> int:
    return sum(steps for _, steps, _ in curriculum)


def num_parameters(model: Any) -> int:
    """Of a model, or of the shapes that `eqx.filter_eval_shape` gives of one."""
    leaves = [leaf for leaf in jax.tree.leaves(model) if hasattr(leaf, "dtype")]
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))


def fit(
    make: Callable[[PRNGKeyArray], Any],
    seed: int,
    trajectories: Any,
    optim: optax.GradientTransformation,
    curriculum: Curriculum,
    report: Report,
    **arguments: Any,
) -> Run:
    """A model made and fitted from one seed, and what that took."""
    model_key, data_key = jr.split(jr.key(seed))
    model = eqx.filter_jit(make)(model_key)
    began = time.perf_counter()
    fitted = fit_trajectories(
        model,
        trajectories,
        optim,
        curriculum=[(window, steps) for window, steps, _ in curriculum],
        key=data_key,
        callback=report,
        **arguments,
    )
    seconds = time.perf_counter() - began
    metrics = {
        "parameters": num_parameters(model),
        "training_seconds": round(seconds, 2),
        "training_loss": finite(fitted.history[-1].best),
    }
    return Run(fitted.model, metrics)


def train_all(
    models: dict[str, Callable[[PRNGKeyArray], Any]],
    seeds: int,
    train: Callable[[str, int, Report], Run],
    *,
    num_steps: int,
    metrics: dict[str, Any],
    summarise: Callable[[list[dict[str, Any]]], dict[str, Any]],
    out: Path,
    restart: bool,
    console: Console,
) -> dict[str, list[Run]]:
    """All runs, by model: each trained, with bars that show how far it is, or as it was
    kept under `out` by a run of the same settings, unless `restart` forgets them. After
    each the numbers of all and their summary go into `metrics` and its file."""
    if seeds < 1:
        raise ValueError(f"`seeds` must be positive, got {seeds}.")
    folder = out / "runs"
    if restart:
        for path in folder.glob("*.eqx"):
            path.unlink()
    # Numbers of another machine or other versions would not be of this run.
    settings = metrics["settings"] | metrics["environment"]
    runs: dict[str, list[Run]] = {name: [] for name in models}
    with progress_bars(console) as bars:
        everything = bars.add_task("all runs", total=num_steps * seeds * len(models))
        for seed in range(seeds):
            for name, make in models.items():
                title = f"{name}, seed {seed}"
                bar = bars.add_task(title, total=num_steps)

                def report(progress: Progress, bar=bar, title=title) -> None:
                    made = progress.step - bars.tasks[bar].completed
                    bars.advance(everything, made)
                    text = f"windows of {progress.window}, loss {progress.loss:.1e}"
                    bars.update(
                        bar, completed=progress.step, description=f"{title}: {text}"
                    )

                path = folder / f"{file_name(f'{name} {seed}')}.eqx"
                run = load(path, settings, make)
                if run is None:
                    run = train(name, seed, report)
                    head = {"model": name, "seed": seed}
                    run = run._replace(metrics=head | run.metrics)
                    save(path, settings, run)
                else:
                    bars.advance(everything, num_steps)
                    bars.update(
                        bar, completed=num_steps, description=f"{title}: stored"
                    )
                runs[name].append(run)
                metrics["runs"] = [r.metrics for found in runs.values() for r in found]
                metrics["summary"] = summarise(metrics["runs"])
                write(out / "metrics.json", metrics)
    return runs


def save(path: Path, settings: dict[str, Any], run: Run) -> None:
    """Write a line of JSON, the settings and the metrics, and the model's leaves: whole
    or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    head = {"settings": settings, "metrics": run.metrics}
    with partial.open("wb") as file:
        file.write(json.dumps(head, allow_nan=False).encode() + b"\n")
        eqx.tree_serialise_leaves(file, run.model)
    partial.replace(path)


def load(path: Path, settings: dict[str, Any], make: Callable) -> Run | None:
    """What was saved, if it was and with the same settings. A file that is broken is a
    `ValueError`."""
    if not path.exists():
        return None
    like = eqx.filter_eval_shape(make, jr.key(0))
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            if head["settings"] != json.loads(json.dumps(settings)):
                return None
            return Run(eqx.tree_deserialise_leaves(file, like), head["metrics"])
    except (ValueError, KeyError, TypeError, EOFError, RuntimeError) as error:
        raise unreadable(path, error) from error


def median_run(runs: list[Run], score: Callable[[dict], float | None]) -> Run:
    """That of the median seed, by a score of which less is better and `None`, that of a
    run that diverged, the worst."""

    def order(run: Run) -> float:
        value = score(run.metrics)
        return np.inf if value is None else value

    return sorted(runs, key=order)[(len(runs) - 1) // 2]


def by_model(metrics: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The numbers of runs, sorted by model."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in metrics:
        found.setdefault(run["model"], []).append(run)
    return found
