"""Learn densities by Hamiltonian flows, beside flows whose likelihood is exact.

The density task of the Hamiltonian Generative Networks (Toth et al., ICLR 2020, arXiv
1909.13789): mixtures of normal distributions on a ring and on a grid, two moons and a
checkerboard, whose own log-likelihoods are known, and the digits that come with
scikit-learn, in their first eight principal components. Hamiltonian flows of 1, 2, 4
and 8 energies, a step with each, by the evidence's lower bound; RealNVP and neural
spline flows by the likelihood; about 40 000 parameters, the same steps of Adam over the
same batches for all.

Hamiltonian flows are scored by the importance-weighted bound of 1000 momenta, which is
compared with the integral over all momenta where there are two.
"""

import importlib.metadata
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.random as jr
from rich.console import Console

from chlu_eqx.training import Progress

from . import densities_figures as figures, densities_models as models
from .data.densities import LAWS, load
from .densities_metrics import (
    evaluate,
    INTEGRATED,
    NODES,
    SAMPLES,
    standardised,
)
from .record import cell, drawn, environment, keep, number, spread
from .runs import by_model, median_run, Report, Run, train_all


STEPS, QUICK_STEPS = 3000, 500
# The digits, a thousand images, are soon learned by heart: not all models bear the rate
# that is good for others.
RATES, DIGITS_RATES = (3e-3,), (3e-3, 5e-4)
TARGETS = (*LAWS, "digits")
# What takes long, where there is something to reach.
ONLY = {"NHF, 4, 5 momenta": ("ring", "grid")}
QUICK_MODELS = ("NHF, 4", "RealNVP")
# Of each run, and what is told of it.
METRICS = {
    "log_likelihood": "log-likelihood",
    "elbo": "ELBO",
    "short": "nats short",
    "beyond_bound": "exact, beyond the bound",
    "outside": "samples outside",
    "modes": "modes",
    "least_weight": "least weight",
    "parameters": "parameters",
    "training_seconds": "seconds",
}


class Case(NamedTuple):
    """A model and a target, by their names in the tables."""

    kind: models.Kind
    name: str
    target: str


def train(case: Case, seed: int, steps: int, report: Report) -> Run:
    """With its share of the steps by each rate, of which the best is kept."""
    rates = RATES if case.target in LAWS else DIGITS_RATES
    data, share = standardised(case.target), steps // len(rates)

    def by(n: int) -> Run:
        def told(progress: Progress) -> None:
            report(progress._replace(step=n * share + progress.step))

        return models.train(case.kind, data, seed, rates[n], share, told)

    runs = [by(n) for n in range(len(rates))]
    run = min(runs, key=_validation)
    head = {"target": case.target, "kind": case.name}
    return run._replace(metrics=head | run.metrics | evaluate(run.model, case.target))


def _validation(run: Run) -> float:
    loss = run.metrics["validation_loss"]
    return float("inf") if loss is None else loss


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds, by metric, kind of model and target."""
    found: dict[str, Any] = {metric: {} for metric in METRICS}
    for same in by_model(runs).values():
        target, kind = same[0]["target"], same[0]["kind"]
        for metric in METRICS:
            if metric in same[0]:
                values = [run[metric] for run in same]
                of = best_last if metric in ("log_likelihood", "elbo") else spread
                found[metric].setdefault(kind, {})[target] = of(values)
    return found


def best_last(values: list[float | None]) -> dict[str, float | None]:
    """Their spread, where more is better and `None` less than any number."""
    found = spread(None if v is None else -v for v in values)
    ends = {"median": "median", "min": "max", "max": "min"}
    return {k: None if (v := found[o]) is None else -v for k, o in ends.items()}


def table(metrics: dict[str, Any]) -> list[list[str]]:
    """Log-likelihoods: a row for each model, a column for each target."""
    found, limits = metrics["summary"]["log_likelihood"], metrics["limits"]
    targets = list(next(iter(found.values())))
    return [
        ["log-likelihood, median (range)", *targets],
        ["the target itself", *(_limit(limits.get(t)) for t in targets)],
        *([kind, *(cell(row.get(t)) for t in targets)] for kind, row in found.items()),
    ]


def _limit(value: float | None) -> str:
    return "" if value is None else number(value)


def short_table(metrics: dict[str, Any]) -> list[list[str]]:
    """How far below the targets' own log-likelihoods, of the same points."""
    found = metrics["summary"]["short"]
    targets = list(next(iter(found.values())))
    return [
        ["nats short of the target, median (range)", *targets],
        *([kind, *(cell(row.get(t)) for t in targets)] for kind, row in found.items()),
    ]


def bounds_table(metrics: dict[str, Any]) -> list[list[str]]:
    """How far the bound that is trained lies below the importance-weighted one."""
    summary = metrics["summary"]
    low, high = (summary[name] for name in ("elbo", "log_likelihood"))
    targets = list(next(iter(low.values())))

    def both(kind: str, target: str) -> str:
        if target not in low[kind]:
            return ""
        ends = (end[kind][target]["median"] for end in (low, high))
        return " → ".join(map(number, ends))

    return [
        ["ELBO → log-likelihood, medians", *targets],
        *([kind, *(both(kind, target) for target in targets)] for kind in low),
    ]


def samples_table(metrics: dict[str, Any]) -> list[list[str]]:
    """Modes and outliers of samples."""
    return _columns(
        metrics,
        {
            "modes": ("ring", "grid"),
            "least_weight": ("ring", "grid"),
            "outside": tuple(LAWS),
        },
    )


def costs_table(metrics: dict[str, Any]) -> list[list[str]]:
    """Sizes and times."""
    targets = ("ring", "digits")
    return _columns(metrics, {"parameters": targets, "training_seconds": targets})


def _columns(
    metrics: dict[str, Any], shown: dict[str, tuple[str, ...]]
) -> list[list[str]]:
    """A row for each model, a column for each of some metrics of some targets."""
    summary = metrics["summary"]
    columns = [(metric, target) for metric in shown for target in shown[metric]]
    return [
        ["median (range)", *(f"{METRICS[m]}, {t}" for m, t in columns)],
        *(
            [kind, *(cell(summary[m].get(kind, {}).get(t)) for m, t in columns)]
            for kind in summary["log_likelihood"]
        ),
    ]


def main(
    seeds: int = 3,
    quick: bool = False,
    out: Path = Path("out/densities"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Learn densities by Hamiltonian flows, RealNVP and neural spline flows.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many times to train each model.
        quick: one seed, two models, the ring alone, and fewer steps: under a minute.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    seeds, steps = (1, QUICK_STEPS) if quick else (seeds, STEPS)
    targets = TARGETS[:1] if quick else TARGETS
    console = Console()
    metrics: dict[str, Any] = {
        "task": "densities",
        "command": "python -m benchmarks densities"
        + (" --quick" if quick else f" --seeds {seeds}"),
        "environment": environment(),
        "settings": {
            "steps": steps,
            "batch": models.BATCH,
            "rates": RATES,
            "digits_rates": DIGITS_RATES,
            "clip": models.CLIP,
            "widths": models.WIDTHS,
            "couplings": models.LAYERS,
            "knots": models.KNOTS,
            "interval": models.INTERVAL,
            "importance_samples": SAMPLES,
            "quadrature": {"nodes": NODES, "points": INTEGRATED},
            "points": {t: [len(x) for x in load(t)] for t in targets},
            "precision": "float32",
            "flowjax": importlib.metadata.version("flowjax"),
        },
        "limits": {t: -LAWS[t].entropy for t in targets if t in LAWS},
    }
    cases = {}
    for target in targets:
        kinds = models.kinds(load(target).train.shape[1])
        for name in QUICK_MODELS if quick else kinds:
            if target in ONLY.get(name, TARGETS):
                cases[f"{target}, {name}"] = Case(kinds[name], name, target)
    runs = train_all(
        {name: case.kind.make for name, case in cases.items()},
        seeds,
        lambda name, seed, report: train(cases[name], seed, steps, report),
        num_steps=steps,
        metrics=metrics,
        summarise=summarise,
        out=out,
        restart=restart,
        console=console,
    )
    for lines in (table, short_table, bounds_table, samples_table, costs_table):
        console.print(drawn(lines(metrics), f"seeds: {seeds}"))
    shown: dict[str, dict[str, models.Model]] = {}
    for name, case in cases.items():
        if case.target in LAWS:
            run = median_run(runs[name], lambda m: m["short"])
            # Static parts of a model that was loaded hold what its shapes were traced
            # with.
            arrays = eqx.filter(run.model, eqx.is_array)
            model = eqx.combine(arrays, case.kind.make(jr.key(0)))
            shown.setdefault(case.target, {})[case.name] = model
    pictures = figures.draw(shown, out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
