"""Read long sequences: what gradients do on the way, the adding problem, and digits
pixel by pixel.

Recurrent cells of about equal size, an LSTM and a tanh RNN among them, by equal
budgets: every cell has eight configurations tried, four learning rates by two settings
of its own, on the adding problem of length 200 and on the digits, by the loss of
validation data; the best goes on to other lengths, and to the digits in random order,
with other seeds. All have the same batches, noise on the digits, steps and clipping.
A run whose dynamics become chaotic starts anew at the next lower rate.

Gradients are told by ∂h_T/∂h_0 of untrained cells of 32 units, over sequences of normal
numbers: by its largest singular value, and by the root of the mean square of all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console
from rich.progress import Progress as Bars

from . import sequences_figures as figures
from .data import digits
from .record import (
    cell,
    drawn,
    environment,
    keep,
    number,
    progress_bars,
    spread,
    write,
)
from .runs import by_model
from .sequences_models import KINDS, start
from .sequences_training import (
    adding,
    ADDING_BATCH,
    CALL,
    Choice,
    CLIP,
    DIGITS_BATCH,
    NOISE,
    pixels,
    RATES,
    trained,
    tuned,
)


# Lengths of the adding problem, and steps of training.
ADDING = {100: 2000, 500: 1500, 2000: 1000}
LONG = 1000  # Beyond this length one seed has to do: it takes half an hour.
# Long enough for an LSTM to leave the plateau, where all its settings look alike.
TUNED_ON = {200: 1500}
DIGITS_STEPS, DIGITS_TUNING_STEPS = 3000, 600
QUICK_STEPS = 100
GRADIENT_LENGTHS = (10, 30, 100, 300, 1000, 2000)
GRADIENT_UNITS = 32


@eqx.filter_jit
def jacobian(cell: Any, inputs: Array) -> Float[Array, "size size"]:
    """∂h_T/∂h_0, from the state of zeros."""
    parts = start(cell)

    def step(carry: tuple, x: Array) -> tuple:
        h, jacobian = carry

        def move(h: Array) -> Array:
            return jnp.concatenate(cell(x, tuple(jnp.split(h, len(parts)))))

        return (move(h), jax.jacfwd(move)(h) @ jacobian), None

    h = jnp.concatenate(parts)
    return jax.lax.scan(step, (h, jnp.eye(h.size)), inputs)[0][1]


def gradients(seeds: int, bars: Bars) -> dict[str, dict[str, Any]]:
    """By kind of cell, in its first setting, and by length: the largest singular value
    of ∂h_T/∂h_0, and the root of the mean square of all, which is what becomes of a
    gradient of random direction."""

    def sigmas(kind: str, length: int, seed: int) -> np.ndarray:
        keys = jr.split(jr.key(seed))
        inputs = jr.normal(keys[0], (length, 2))
        cell = KINDS[kind].make(2, GRADIENT_UNITS, 0, length, keys[1])
        return np.linalg.svd(np.asarray(jacobian(cell, inputs)), compute_uv=False)

    found: dict[str, dict[str, Any]] = {}
    with jax.enable_x64(True):
        for kind in bars.track(KINDS, description="gradients"):
            found[kind] = {}
            for length in GRADIENT_LENGTHS:
                values = [sigmas(kind, length, seed) for seed in range(seeds)]
                found[kind][str(length)] = {
                    "largest": spread(float(s[0]) for s in values),
                    "rms": spread(float(np.mean(s**2) ** 0.5) for s in values),
                }
    return found


def title(task: str) -> str:
    """Of a task, in tables and pictures."""
    name, _, rest = task.partition("_")
    if name == "adding":
        return f"adding, {rest} steps"
    return "digits, in random order" if rest else "digits, row by row"


WHOLE = "LSTM of twice the size"


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Median and range over seeds, by task, model and number."""
    numbers = ("test", "parameters", "training_seconds", "megabytes")
    return {
        task: {
            name: {key: spread(run[key] for run in rows) for key in numbers}
            for name, rows in by_model(found).items()
        }
        for task, found in runs.items()
    }


def _by_task(
    summary: dict[str, Any], shown: Callable[[dict[str, Any]], str]
) -> list[list[str]]:
    """The head, with a task a column, and a row for each model."""
    models = dict.fromkeys(name for found in summary.values() for name in found)
    return [
        ["model", *map(title, summary)],
        *(
            [
                name,
                *(
                    shown(found[name]) if name in found else ""
                    for found in summary.values()
                ),
            ]
            for name in models
        ),
    ]


def table(summary: dict[str, Any]) -> list[list[str]]:
    """Errors: mean squared ones of sums, the fraction of digits misread."""
    return _by_task(summary, lambda numbers: cell(numbers["test"]))


def costs_table(summary: dict[str, Any]) -> list[list[str]]:
    """Parameters, and the seconds and megabytes of training."""

    def shown(numbers: dict[str, Any]) -> str:
        parameters, *rest = (
            number(numbers[key]["median"])
            for key in ("parameters", "training_seconds", "megabytes")
        )
        return f"{parameters}; {rest[0]} s; {rest[1]} MB"

    return _by_task(summary, shown)


def gradients_table(found: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each kind: the largest singular value, and the root
    of the mean square, by length."""
    return [
        ["largest, and root mean square", *(f"T = {n}" for n in GRADIENT_LENGTHS)],
        *(
            [
                kind,
                *(
                    f"{values[key]['largest']['median']:.2g}, "
                    f"{values[key]['rms']['median']:.2g}"
                    for key in map(str, GRADIENT_LENGTHS)
                ),
            ]
            for kind, values in found.items()
        ),
    ]


def main(
    seeds: int = 3,
    quick: bool = False,
    mnist: bool = False,
    data_dir: Path | None = None,
    out: Path = Path("out/sequences"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Read long sequences: gradients, the adding problem, and digits pixel by pixel.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many times to train each model (on the longest sequences, once).
        quick: the shortest adding problem and the digits only, by the CHLU and the
            LSTM, untuned and hardly trained: a minute on two cores.
        mnist: the digits of MNIST, of 784 pixels, downloaded from OpenML, instead of
            those of 64 that come with scikit-learn.
        data_dir: a folder with the four IDX files of MNIST, to load these instead.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    console = Console()
    data = digits.load(mnist, data_dir)
    problems = {
        f"adding_{length}": adding(length, steps) for length, steps in ADDING.items()
    }
    problems |= {
        name: pixels(data, name != "digits", DIGITS_STEPS)
        for name in ("digits", "digits_permuted")
    }
    where: dict[str, Any] = {"restart": restart, "console": console}
    if quick:
        seeds = 1
        best = {
            task: {kind: Choice(kind, size, 0, 3e-3) for kind in ("CHLU", "LSTM")}
            for task, size in (("adding", "small"), ("digits", "half"))
        }
        best["digits"][WHOLE] = Choice("LSTM", "large", 0, 3e-3)
        problems = {
            name: problems[name]._replace(steps=QUICK_STEPS)
            for name in (f"adding_{min(ADDING)}", "digits")
        }
    else:
        [(length, steps)] = TUNED_ON.items()
        tuning = {
            "adding": adding(length, steps),
            "digits": problems["digits"]._replace(steps=DIGITS_TUNING_STEPS),
        }

        def best_of(task: str, size: str, *kinds: str) -> dict[str, Choice]:
            folder = out / f"tuning_{task}_{size}"
            return tuned(tuning[task], size, kinds, out=folder, **where)

        best = {
            "adding": best_of("adding", "small", *KINDS),
            "digits": best_of("digits", "half", *KINDS),
        }
        best["digits"][WHOLE] = best_of("digits", "large", "LSTM")["LSTM"]
    with progress_bars(console) as bars:
        slopes = gradients(seeds, bars)
    metrics: dict[str, Any] = {
        "task": "sequences",
        "command": "python -m benchmarks sequences"
        + (" --quick" if quick else f" --seeds {seeds}")
        + " --mnist" * (mnist or data_dir is not None),
        "environment": environment(),
        "settings": {
            "rates": RATES,
            "clip": CLIP,
            "tuned_on": {"adding": TUNED_ON, "digits": DIGITS_TUNING_STEPS},
            "noise": NOISE,
            "batches": {"adding": ADDING_BATCH, "digits": DIGITS_BATCH},
            "steps": {name: problem.steps for name, problem in problems.items()},
            "best": {
                task: {kind: choice._asdict() for kind, choice in choices.items()}
                for task, choices in best.items()
            },
        },
        "gradients": slopes,
        "runs": {},
    }
    for name, problem in problems.items():
        choices = best["adding" if name.startswith("adding") else "digits"]
        metrics["runs"][name] = trained(
            problem,
            choices,
            range(1 if problem.length > LONG else seeds),
            out=out / name,
            **where,
        )
        metrics["summary"] = summarise(metrics["runs"])
        write(out / "metrics.json", metrics)
    console.print(drawn(gradients_table(metrics["gradients"])))
    console.print(drawn(table(metrics["summary"]), f"errors; seeds: {seeds}"))
    console.print(drawn(costs_table(metrics["summary"]), "parameters, time, memory"))
    pictures = figures.draw(metrics, title, CALL, out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
