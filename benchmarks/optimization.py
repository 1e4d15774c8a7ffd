"""Optimisers on test functions, each tuned by the same random search.

The functions are those of França, Sulam, Robinson & Vidal (NeurIPS 2020, arXiv
1903.04100) and a small network, in float64. An optimiser is tuned for every function
alone: of as many random configurations as every other it keeps the one whose value is
the least after the tuning horizon. The result is the value of that one after twice as
many steps, by median and range over searches; every search has other configurations,
and another function where that is random. The horizons are those that the authors'
scripts tune with, twice of which is about what they show; but half of that for matrix
completion, of which they show no more than they tune with.

The authors' search gives relativistic descent two or three times as many tries as the
others, has ranges for every function, and asks a model for the next try. Here:

- Ranges are the same for all functions, and wide: most of a range is of no use for any
  one function. So the share of configurations that fail, by a value that is not finite
  or above that at the start, tells how much a first guess must get right.
- The learning rate and 1 - momentum of the n-th configuration of a search are the same
  for all optimisers; but Adam's rate, a length, is ten times that of the others.
- Momentum with its gradient clipped, by the norm of it all, has a speed limit as
  well. It is what relativistic descent is to be compared with.

Rates stay what they are: Adam, whose steps do not shrink with the gradient, pays for
that after the horizon that it was tuned for.

Relativistic descent is judged on its trajectory, not where gradients are taken. Values
below an objective's floor count as the floor. Of configurations that come to the same
value the first is kept.

Every optimiser that is done with a function is stored with its numbers: a run that was
killed goes on from there.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar
from rich.console import Console

from chlu_eqx.optim import relativistic_eval_params, relativistic_gradient_descent

from . import optimization_figures as figures
from .data.objectives import all_objectives, Objective
from .record import (
    drawn,
    environment,
    file_name,
    finite,
    keep,
    progress_bars,
    spread,
    stored,
    write,
)
from .search import configurations, Range


RATE = Range(1e-7, 1.0)
# 1 - momentum.
FRICTION = Range(0.01, 0.5)
RELATIVITY = Range(0.01, 100.0)


class Optimiser(NamedTuple):
    """`make` takes numbers by the names of the ranges. `evaluated(state, params)` is
    what to judge."""

    make: Callable[..., optax.GradientTransformation]
    ranges: dict[str, Range]
    evaluated: Callable[[Any, PyTree], PyTree] = lambda state, params: params


OPTIMISERS = {
    "momentum": Optimiser(
        lambda rate, friction: optax.sgd(rate, 1 - friction),
        {"rate": RATE, "friction": FRICTION},
    ),
    "Nesterov": Optimiser(
        lambda rate, friction: optax.sgd(rate, 1 - friction, nesterov=True),
        {"rate": RATE, "friction": FRICTION},
    ),
    "Adam": Optimiser(
        lambda rate, friction, forget: optax.adam(rate, 1 - friction, 1 - forget),
        {
            "rate": Range(10 * RATE.low, 10 * RATE.high),
            "friction": FRICTION,
            "forget": Range(1e-3, 0.1),
        },
    ),
    "clipped momentum": Optimiser(
        lambda rate, friction, norm: optax.chain(
            optax.clip_by_global_norm(norm), optax.sgd(rate, 1 - friction)
        ),
        {"rate": RATE, "friction": FRICTION, "norm": Range(0.1, 1e4)},
    ),
    "RGD, α = 1": Optimiser(
        lambda rate, friction, relativity: relativistic_gradient_descent(
            rate, 1 - friction, relativity
        ),
        {"rate": RATE, "friction": FRICTION, "relativity": RELATIVITY},
        relativistic_eval_params,
    ),
    "RGD, any α": Optimiser(
        lambda rate, friction, relativity, alpha: relativistic_gradient_descent(
            rate, 1 - friction, relativity, alpha
        ),
        {
            "rate": RATE,
            "friction": FRICTION,
            "relativity": RELATIVITY,
            "alpha": Range(0.0, 1.0, log=False),
        },
        relativistic_eval_params,
    ),
}

# Steps to tune for.
HORIZONS = {
    "correlated quadratic": 400,
    "random quadratic": 350,
    "Rosenbrock, n = 2": 1000,
    "Rosenbrock, n = 100": 1000,
    "matrix completion": 100,
    "Booth": 150,
    "Matyas": 200,
    "Lévi 13": 200,
    "sum of squares": 100,
    "Beale": 1000,
    "camel": 100,
    "Chung–Reynolds": 1000,
    "quartic": 500,
    "Schwefel 2.23": 200,
    "Qing": 500,
    "Zakharov": 100,
    "network": 200,
}
QUICK = ("Rosenbrock, n = 2", "camel")
CONFIGURATIONS, QUICK_CONFIGURATIONS = 300, 100
# At most, of a stored curve.
POINTS = 100


class Found(NamedTuple):
    """What a search found: the value of every configuration after the horizon, which
    failed, which is best, and the value of that one from the start to twice as far."""

    values: Float[Array, " configurations"]
    failed: Bool[Array, " configurations"]
    best: Int[Array, ""]
    curve: Float[Array, " times"]


@eqx.filter_jit
def search(
    objective: Objective,
    optimiser: Optimiser,
    horizon: int,
    start: tuple[PyTree, PyTree],
    configurations: dict[str, Float[Array, " configurations"]],
) -> Found:
    """Run every configuration to the horizon, and the best to twice that."""
    x, data = start

    def run(numbers: dict[str, Scalar], steps: int, every: bool) -> Array:
        transformation = optimiser.make(**numbers)

        def value(x: PyTree, state: Any) -> Scalar:
            return objective.value(optimiser.evaluated(state, x), data)

        def step(carry: tuple, _: None) -> tuple[tuple, Scalar | None]:
            x, state = carry
            gradient = jax.grad(objective.value)(x, data)
            updates, state = transformation.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), value(x, state) if every else None

        end, values = jax.lax.scan(step, (x, transformation.init(x)), length=steps)
        return value(*end) if values is None else values

    first = objective.value(x, data)
    values = jax.vmap(lambda numbers: run(numbers, horizon, False))(configurations)
    failed = ~(values <= first)
    best = jnp.argmin(jnp.where(failed, jnp.inf, jnp.maximum(values, objective.floor)))
    numbers = jax.tree.map(lambda x: x[best], configurations)
    curve = run(numbers, 2 * horizon, True)
    return Found(values, failed, best, jnp.concatenate([first[None], curve]))


def logarithm(value: Any, floor: float) -> float | None:
    """Base 10; `None` of what is not finite."""
    return finite(np.round(np.log10(np.maximum(value, floor)), 3))


def tune(
    name: str,
    objective: Objective,
    optimiser: str,
    seeds: int,
    count: int,
    report: Callable[[], None],
) -> dict[str, Any]:
    """The numbers of an optimiser on a function; `report` is called after each seed."""
    began, horizon = time.perf_counter(), HORIZONS[name]
    found, best = [], []
    for seed in range(seeds):
        tried = configurations(OPTIMISERS[optimiser].ranges, count, seed)
        start = objective.start(seed)
        found.append(search(objective, OPTIMISERS[optimiser], horizon, start, tried))
        i = int(found[-1].best)
        best.append({k: float(f"{x[i]:.3g}") for k, x in tried.items()})
        report()
    ends = [logarithm(each.curve[-1], objective.floor) for each in found]
    order = np.argsort([np.inf if x is None else x for x in ends], kind="stable")
    curve = found[order[(seeds - 1) // 2]].curve
    times = np.unique(np.linspace(0, 2 * horizon, POINTS).round().astype(int))
    return {
        "problem": name,
        "optimiser": optimiser,
        "log10": ends,
        "log10_at_horizon": [
            logarithm(each.curve[horizon], objective.floor) for each in found
        ],
        "failures": [float(np.mean(each.failed)) for each in found],
        "overflows": [float(np.mean(~np.isfinite(each.values))) for each in found],
        "best": best,
        # Of the seed of the median.
        "steps": times.tolist(),
        "curve": [logarithm(x, objective.floor) for x in np.asarray(curve)[times]],
        "seconds": round(time.perf_counter() - began, 2),
    }


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By problem and optimiser: median and range over seeds of the logarithm of the
    value, the share of configurations that failed, and of those whose value is not
    finite."""
    found: dict[str, Any] = {}
    for run in runs:
        shares = {k: float(np.mean(run[k])) for k in ("failures", "overflows")}
        numbers = spread(run["log10"]) | shares
        found.setdefault(run["problem"], {})[run["optimiser"]] = numbers
    return found


def lowest(found: dict[str, Any]) -> list[str]:
    """The optimisers of the lowest median on a problem, to half a power of ten."""
    medians = {k: v["median"] for k, v in found.items() if v["median"] is not None}
    return [k for k, v in medians.items() if v <= min(medians.values()) + 0.5]


def _digits(x: float | None) -> str:
    if x is None:
        return "failed"
    # Not "-0.0".
    return f"{x:.0f}" if abs(x) >= 10 else f"{round(x, 1) + 0.0:.1f}"


def table(summary: dict[str, Any]) -> list[list[str]]:
    """The head, a row for each problem and one for all of them."""
    names = list(dict.fromkeys(name for found in summary.values() for name in found))

    def cell(found: dict[str, Any] | None) -> str:
        if found is None:
            return ""
        low, middle, high = (_digits(found[key]) for key in ("min", "median", "max"))
        text = middle if low == high else f"{middle} ({low} to {high})"
        return f"{text}; {found['failures']:.0%}"

    def over_all(name: str) -> str:
        rows = [found for found in summary.values() if name in found]
        failures, overflows = (
            np.mean([found[name][key] for found in rows])
            for key in ("failures", "overflows")
        )
        count = sum(name in lowest(found) for found in rows)
        return f"lowest {count}; {failures:.0%}, not finite {overflows:.0%}"

    return [
        ["log10 f, median (range); failures", *names, "lowest"],
        *(
            [problem, *(cell(found.get(n)) for n in names), ", ".join(lowest(found))]
            for problem, found in summary.items()
        ),
        ["all", *map(over_all, names), ""],
    ]


def main(
    seeds: int = 5,
    quick: bool = False,
    out: Path = Path("out/optimization"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Compare optimisers on test functions, all tuned by the same random search.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many searches to make for each optimiser and function.
        quick: two searches of few configurations on two functions: under a minute on
            two cores.
        out: where to write metrics.json, the numbers of what is done and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: tune everything anew.
    """
    if seeds < 1:
        raise ValueError(f"`seeds` must be positive, got {seeds}.")
    jax.config.update("jax_enable_x64", True)
    console = Console()
    seeds = 2 if quick else seeds
    count = QUICK_CONFIGURATIONS if quick else CONFIGURATIONS
    objectives = {
        name: objective
        for name, objective in all_objectives().items()
        if not quick or name in QUICK
    }
    metrics: dict[str, Any] = {
        "task": "optimization",
        "command": "python -m benchmarks optimization"
        + (" --quick" if quick else f" --seeds {seeds}"),
        "environment": environment(),
        "settings": {
            "precision": "float64",
            "seeds": seeds,
            "configurations": count,
            "horizons": {name: HORIZONS[name] for name in objectives},
            "ranges": {name: each.ranges for name, each in OPTIMISERS.items()},
        },
    }
    folder = out / "runs"
    if restart:
        for path in folder.glob("*.json"):
            path.unlink()
    settings = metrics["settings"] | metrics["environment"]
    runs = []
    plan = [(name, optimiser) for name in objectives for optimiser in OPTIMISERS]
    with progress_bars(console) as bars:
        bar = bars.add_task("", total=len(plan) * seeds)
        for name, optimiser in plan:
            bars.update(bar, description=f"{name}: {optimiser}")
            path = folder / f"{file_name(f'{name} {optimiser}')}.json"
            run = stored(path, settings)
            if run is None:
                objective, report = objectives[name], lambda: bars.advance(bar)
                run = tune(name, objective, optimiser, seeds, count, report)
                write(path, {"settings": settings, "run": run})
            else:
                bars.advance(bar, seeds)
            runs.append(run)
            metrics["runs"] = runs
            metrics["summary"] = summarise(runs)
            write(out / "metrics.json", metrics)
    console.print(drawn(table(metrics["summary"]), f"searches: {seeds}"))
    pictures = figures.draw(metrics, out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
