"""Samplers on laws of which draws are known, each tuned by the same random search.

The samplers: Riemannian Monte Carlo with explicit steps (`chlu_eqx.mcmc`), with those
of Cobb et al. (arXiv 1910.06243), which are biased, with the generalised leapfrog, the
semi-explicit method and BlackJAX's implicit midpoint rule; HMC, with Newtonian and
relativistic momenta, and NUTS, all three with a unit mass. The laws: Bayesian logistic
regressions with Fisher's metric, in whitened coordinates; a banana, with the metric in
which it is flat; eight schools, centred, and Neal's funnel, with the softened Hessian.

Every sampler is tuned for every law alone: of as many random configurations as every
other, tried by chains of the same number and length, it keeps the one of the largest
effective sample size for each gradient. The number of steps of a trajectory is random,
from half of the tuned one to half more. Chains begin with draws of the law: what they
drift away from it is bias, or slowness. The effective sample size is the least of all
coordinates and their squares.

A gradient is one of the energy: of the log density and, in Riemannian Monte Carlo, the
metric's derivative along with it. Those of the implicit steps are counted as they are
made, by one chain. Seconds are those of all chains side by side: of steps that differ
from chain to chain in what they take, each waits for the slowest.

All in float64. What is done is stored: a run that was killed goes on from there, and
several may share a folder.
"""

import time
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.progress import Progress as Bars

from . import sampling_figures as figures
from .data.posteriors import POSTERIORS
from .record import (
    drawn,
    environment,
    file_name,
    keep,
    progress_bars,
    spread,
    stored,
    write,
)
from .sampling_gate import gate, RULES
from .sampling_methods import METHODS
from .sampling_runs import Sampling, Size


SIZE = Size(chains=16, transitions=50, trials=16, blocks=6)
# Fewer chains where gradients are dear, longer ones where draws are worth little.
FUNNELS = Size(chains=8, transitions=80, trials=10, blocks=12)
OWN_SIZES = {
    "logistic, d = 25": Size(chains=8, transitions=50, trials=16, blocks=6),
    "eight schools": FUNNELS,
    "funnel, 1 + 2": FUNNELS,
    "funnel, 1 + 10": FUNNELS,
}
QUICK = Size(chains=8, transitions=30, trials=3, blocks=2)
# Of the softened metrics.
SHARPNESS = {
    "funnel, 1 + 2": (1.0, 100.0, 1e6),
    "funnel, 1 + 10": (1.0, 100.0, 1e6),
    "eight schools": (1.0,),
}
# Three times the price of the generalised leapfrog, so not on the large ones.
SEMI_EXPLICIT = ("logistic, d = 5", "banana", "funnel, 1 + 2")
QUICK_LAWS, QUICK_METHODS = ("banana",), ("explicit", "implicit midpoint", "NUTS")


def laws_of(law: str, method: str) -> list[float | None]:
    """The sharpnesses with which a sampler is run on a law."""
    if method == "semi-explicit" and law not in SEMI_EXPLICIT:
        return []
    if not METHODS[method].riemannian or law not in SHARPNESS:
        return [None]
    return [*SHARPNESS[law]]


def title(law: str, alpha: float | None) -> str:
    return law if alpha is None else f"{law}, α = {alpha:g}"


# What is told of every seed, and what of all together.
SIZES = {
    "ess_per_1000_gradients": "ESS per 1000 gradients, median (range)",
    "ess_per_1000_metrics": "ESS per 1000 metrics, median (range)",
    "ess_per_second": "ESS per second, median (range)",
}
WHOLE = {
    "bias": "bias, in standard errors",
    "distance": "Kolmogorov's distance to exact draws",
    "acceptance": "acceptance",
    "divergent": "divergent",
}


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By metric, law and sampler: median and range over seeds; and what there is one of
    for all seeds."""
    found: dict[str, Any] = {name: {} for name in (*SIZES, *WHOLE)}
    for run in runs:
        row = title(run["law"], run["alpha"])
        for name in SIZES:
            if run[name]:
                found[name].setdefault(row, {})[run["method"]] = spread(run[name])
        for name in WHOLE:
            found[name].setdefault(row, {})[run["method"]] = run[name]
    return found


def _digits(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.2g}"


def _cell(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, float):
        return _digits(found)
    if not found["median"]:
        return "stuck"
    low, middle, high = (_digits(found[k]) for k in ("min", "median", "max"))
    return f"{middle} ({low} – {high})"


def table(summary: dict[str, Any], metric: str) -> list[list[str]]:
    """A row for each law and a column for each sampler."""
    rows = summary[metric]
    names = [n for n in METHODS if any(n in found for found in rows.values())]
    return [
        [(SIZES | WHOLE)[metric], *names],
        *([law, *(_cell(found.get(n)) for n in names)] for law, found in rows.items()),
    ]


def gate_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Of each rule, the mean of q² and by how many standard errors it is off."""
    return [
        ["rule", "h", "ω", "E q² (1)", "off by", "acceptance"],
        *(
            [
                row["rule"],
                f"{row['step']:g}",
                "" if row["binding"] is None else f"{row['binding']:g}",
                f"{row['mean']:.3f} ± {row['error']:.3f}",
                f"{row['score']:.1f} σ",
                f"{row['acceptance']:.2f}",
            ]
            for row in rows
        ),
    ]


def run_all(
    plan: dict[str, tuple[str, ...]],
    sizes: dict[str, Size],
    seeds: int,
    metrics: dict[str, Any],
    out: Path,
    bars: Bars,
) -> figures.Shown:
    """All runs, each as it is stored or made. After each the numbers of all and their
    summary go into `metrics` and its file; what is to be shown of their draws is
    returned, by law and sampler."""
    runs, shown = [], {}
    count = sum(
        (sizes[law].trials + seeds) * len(laws_of(law, method))
        for law, methods in plan.items()
        for method in methods
    )
    bar = bars.add_task("", total=count)
    for law, methods in plan.items():
        # Made when they are first needed, and no longer kept than that.
        posterior = cache(POSTERIORS[law])
        for method in methods:
            sampling = cache(
                lambda law=law, method=method, posterior=posterior: Sampling(
                    posterior(), METHODS[method], sizes[law]
                )
            )
            settings = metrics["environment"] | {
                "seeds": seeds,
                "size": sizes[law]._asdict(),
                "ranges": METHODS[method].ranges,
            }
            for alpha in laws_of(law, method):
                name = f"{title(law, alpha)}: {method}"
                bars.update(bar, description=name)
                path = out / "runs" / f"{file_name(name)}.json"
                run = stored(path, settings)
                if run is None:
                    began = time.perf_counter()
                    sharpness = jnp.asarray(1.0 if alpha is None else alpha)
                    run = {"law": law, "alpha": alpha, "method": method}
                    run |= sampling().run(sharpness, seeds, lambda: bars.advance(bar))
                    run["seconds"] = round(time.perf_counter() - began, 1)
                    write(path, {"settings": settings, "run": run})
                else:
                    bars.advance(bar, sizes[law].trials + seeds)
                pictured = run.pop("pairs"), run.pop("trace")
                shown[title(law, alpha), method] = pictured
                runs.append(run)
                metrics |= {"runs": runs, "summary": summarise(runs)}
                write(out / "metrics.json", metrics)
    return shown


def gates(environment: dict[str, Any], out: Path, bars: Bars) -> list[dict[str, Any]]:
    """The rows of all rules, as they are stored or made."""
    rows = []
    for rule in bars.track(RULES, description="gate"):
        path = out / "runs" / f"gate_{file_name(rule)}.json"
        found = stored(path, environment)
        if found is None:
            found = {"rows": gate(rule)}
            write(path, {"settings": environment, "run": found})
        rows += found["rows"]
    return rows


def main(
    seeds: int = 3,
    quick: bool = False,
    laws: tuple[str, ...] = tuple(POSTERIORS),
    out: Path = Path("out/sampling"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Compare samplers on laws of which draws are known, all tuned alike.

    Goes on where a run with the same settings and the same `out` was killed.

    Args:
        seeds: how many runs to make of each tuned sampler on each law.
        quick: three samplers on one law, hardly tuned: two minutes on two cores.
        laws: which to sample.
        out: where to write metrics.json, what is done and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: make every run anew.
    """
    if seeds < 1:
        raise ValueError(f"`seeds` must be positive, got {seeds}.")
    if not set(laws) <= set(POSTERIORS):
        raise ValueError(f"`laws` must be of {tuple(POSTERIORS)}, got {laws}.")
    jax.config.update("jax_enable_x64", True)
    console = Console()
    seeds = 1 if quick else seeds
    command = f"python -m benchmarks sampling --seeds {seeds}"
    if quick:
        laws, command = QUICK_LAWS, "python -m benchmarks sampling --quick"
    elif laws != tuple(POSTERIORS):
        command += " --laws " + " ".join(f'"{law}"' for law in laws)
    methods = QUICK_METHODS if quick else tuple(METHODS)
    metrics: dict[str, Any] = {
        "task": "sampling",
        "command": command,
        "environment": environment(),
        "settings": {
            "precision": "float64",
            "seeds": seeds,
            "size": (QUICK if quick else SIZE)._asdict(),
            "own_sizes": {law: size._asdict() for law, size in OWN_SIZES.items()},
            "ranges": {name: METHODS[name].ranges for name in methods},
        },
    }
    if restart:
        for path in (out / "runs").glob("*.json"):
            path.unlink()
    sizes = {law: QUICK if quick else OWN_SIZES.get(law, SIZE) for law in POSTERIORS}
    plan = {law: methods for law in laws}
    with progress_bars(console) as bars:
        if not quick:
            metrics["gate"] = gates(metrics["environment"], out, bars)
        shown = run_all(plan, sizes, seeds, metrics, out, bars)
    summary = metrics["summary"]
    for metric in (*SIZES, *WHOLE):
        console.print(drawn(table(summary, metric), f"seeds: {seeds}"))
    if not quick:
        head = "N(0, 1) with the metric 1 + 4 q²"
        console.print(drawn(gate_table(metrics["gate"]), head))
    pictures = figures.draw(metrics, shown, out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
