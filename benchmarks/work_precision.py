"""What an error costs, in force evaluations and in seconds: the solvers here beside
diffrax's.

A run in float64 keeps states throughout. The error of its energy is the largest of
|H - H0|/|H0| over them; that of its trajectory the distance to the true state, over the
norm of that, at the end of the first fiftieth of the run.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import numpy as np
from rich.console import Console

import chlu_eqx as cx

from . import costs, work_precision_figures as figures
from .costs import Case, Cost, Costs, Run, Solve
from .data.hamiltonians import fput, henon_heiles, kepler, pendulum
from .record import drawn, environment, keep, progress_bars, write


# The part of a run after which its trajectory is compared with the true one.
PART = 1 / 50
# The run that takes more forces than this is a solver's last: of those in plain scans,
# and of those in diffrax's loop, which takes longer.
BUDGET, LOOP_BUDGET = 10_000_000, 2_000_000

COMPOSITIONS = (
    cx.SymplecticEuler(),
    cx.CHLUSolver(),
    cx.DriftKickDrift(),
    cx.Yoshida4(),
    cx.Suzuki4(),
    cx.BlanesMoan4(),
    cx.BlanesMoanNystrom4(),
    cx.BlanesMoan6(),
    cx.BlanesMoanNystrom6(),
    cx.KahanLi6(),
    cx.KahanLi8(),
)
# For energies of any form, which none here needs.
GENERAL = {
    "TaoSolver": cx.TaoSolver(),
    "TaoSolver, order 4": cx.TaoSolver(order=4),
    **{
        solver.__name__: solver()
        for solver in (cx.ImplicitMidpoint, cx.GeneralizedLeapfrog, cx.GaussLegendre4)
    },
}
RUNGE_KUTTA = (diffrax.Tsit5(), diffrax.Dopri8())
# Also in steps that vary, on the problems that say how.
IN_VARIABLE_STEPS = (cx.CHLUSolver(), cx.BlanesMoanNystrom6())


def name_of(solver: Any) -> str:
    return type(solver).__name__


def varied(name: str) -> str:
    return f"{name}, variable steps"


FIXED = tuple(map(name_of, COMPOSITIONS))
VARIABLE = tuple(varied(name_of(solver)) for solver in IN_VARIABLE_STEPS)
OTHERS_OF_ORDER_4 = ("Suzuki4", "BlanesMoan4", "BlanesMoanNystrom4")
DIFFRAX = ("SemiImplicitEuler", *map(name_of, RUNGE_KUTTA))
# On the eccentric orbit, of which variable steps are the point.
ECCENTRIC = (*map(name_of, IN_VARIABLE_STEPS), *VARIABLE, "Dopri8")
_TARGETS = {("Dopri8", "Kepler, e = 0.6", "energy"): 3.0}


class Size(NamedTuple):
    """How much to run: the part of the full durations, how many states to keep, forces
    between two of them, tolerances, how often to time a run, and which solvers (`None`
    for all)."""

    part: float
    saves: int
    forces: Sequence[float]
    tolerances: Sequence[float]
    repeats: int
    solvers: tuple[str, ...] | None


FULL = Size(
    part=1.0,
    saves=5003,
    forces=np.geomspace(4, 2400, 15).tolist(),
    tolerances=np.logspace(-3, -14, 23).tolist(),
    repeats=5,
    solvers=None,
)
QUICK = Size(
    part=0.1,
    saves=503,
    forces=np.geomspace(10, 600, 6).tolist(),
    tolerances=np.logspace(-4, -12, 5).tolist(),
    repeats=1,
    solvers=("Yoshida4", "BlanesMoanNystrom4", VARIABLE[-1], "Dopri8"),
)


class Method(NamedTuple):
    """A solver, what it is drawn as, how it is made ready to run, the settings from
    coarse to fine, and the forces to spend on one run."""

    name: str
    family: str
    make: Callable[[], Run]
    settings: Sequence[Any]
    budget: int


def methods(case: Case, size: Size) -> list[Method]:
    """Everything that is compared on a problem."""
    problem, repeats = case.problem, size.repeats
    anything = cx.HamiltonianTerm(problem.hamiltonian)

    def steps(forces: int) -> list[int]:
        return sorted({max(1, round(f / forces)) for f in size.forces})

    def plain(solver: Any) -> Method:
        s, order = costs.forces_per_step(solver), solver.order(anything)
        make = partial(costs.fixed_steps, case, solver, lambda every: s, repeats)
        # Of straight lines a few points will do, here and below.
        settings = steps(s)[:: 1 if order > 2 else 2]
        return Method(name_of(solver), f"order {order}", make, settings, BUDGET)

    def looped(name: str, family: str, solve: Solve, settings: Sequence[Any]) -> Method:
        make = partial(costs.by_diffeqsolve, case, solve, 2 * LOOP_BUDGET, repeats)
        return Method(name, family, make, settings, LOOP_BUDGET)

    def general(name: str, solver: Any) -> Method:
        forces = costs.counted_forces(case, solver)
        make = partial(costs.fixed_steps, case, solver, forces, repeats)
        return Method(name, "any energy", make, steps(9)[::2], LOOP_BUDGET)

    found = [plain(solver) for solver in COMPOSITIONS]
    found += [general(name, solver) for name, solver in GENERAL.items()]
    if (scale := problem.time_scale) is not None:
        found += [
            looped(name, "variable steps", solve, steps(solve.forces))
            for name, solver in zip(VARIABLE, IN_VARIABLE_STEPS, strict=True)
            for solve in [costs.variable_steps(case, solver, scale)]
        ]
    euler = costs.semi_implicit_euler(case)
    found.append(looped(name_of(euler.solver), "diffrax", euler, steps(1)[::2]))
    found += [
        looped(name_of(solver), "diffrax", solve, size.tolerances)
        for solver in RUNGE_KUTTA
        for solve in [costs.adaptive(problem, solver)]
    ]
    return found


# By the names of `Cost`, a number for every run.
Curve = dict[str, list[float]]


def sweep(method: Method, periods: float) -> dict[str, Curve]:
    """Run from coarse to fine, until a run takes more than the budget or is no better
    than the last, for rounding. A curve for each kind of error."""
    curves = {kind: {key: [] for key in Cost._fields} for kind in Costs._fields}
    run = method.make()
    for setting in method.settings:
        found = run(setting)
        if found is None:
            continue
        at_the_floor = True
        for kind, cost in found._asdict().items():
            last = (curves[kind]["error"] or [1.0])[-1]
            at_the_floor &= last / 2 < cost.error < 1e-9
            # An error of all there is tells nothing.
            if cost.error < 1:
                for key, value in cost._asdict().items():
                    curves[kind][key].append(_rounded(value))
        if at_the_floor or found.energy.forces * periods > method.budget:
            break
    return curves


def _rounded(x: float) -> float:
    return float(f"{x:.3g}")


def cost_at(curve: Curve, error: float, cost: str = "forces") -> float | None:
    """What an error costs: on the straight line, in logarithms, between the last run
    that misses it and the one after that. If none misses it, what the first costs, and
    `None` if the last does."""
    errors, prices = np.log(curve["error"]), np.log(curve[cost])
    missed = np.flatnonzero(errors > np.log(error))
    if not len(missed):
        return curve[cost][0] if curve[cost] else None
    i = missed[-1]
    if i + 1 == len(errors):
        return None
    part = (np.log(error) - errors[i]) / (errors[i + 1] - errors[i])
    return float(np.exp(prices[i] + part * (prices[i + 1] - prices[i])))


class Comparison(NamedTuple):
    """The forces of one solver over the fewest that any of some others takes for the
    same error, and the least that this ratio is to be."""

    other: str
    ours: tuple[str, ...]
    kinds: tuple[str, ...]
    errors: tuple[float, ...]
    target: float | None = None


COMPARISONS = {
    "fixed_steps": (
        Comparison("Dopri8", FIXED, Costs._fields, (1e-8,)),
        Comparison("Yoshida4", OTHERS_OF_ORDER_4, Costs._fields, (1e-6, 1e-8), 3.0),
    ),
    "variable_steps": (
        Comparison("CHLUSolver", VARIABLE[:1], ("energy",), (1e-2,)),
        Comparison("BlanesMoanNystrom6", VARIABLE[1:], ("energy",), (1e-6,)),
        Comparison("Dopri8", VARIABLE, Costs._fields, (1e-8,)),
    ),
}


def compare(
    curves: dict[str, dict[str, dict[str, Curve]]], comparisons: Sequence[Comparison]
) -> list[dict[str, Any]]:
    """What the comparisons come to, on the problems that have both sides of them."""
    return [
        {
            "problem": problem,
            "kind": kind,
            "other": comparison.other,
            "at": [
                ratio(found, kind, error, comparison) for error in comparison.errors
            ],
            "target": comparison.target
            or _TARGETS.get((comparison.other, problem, kind)),
        }
        for comparison in comparisons
        for problem, found in curves.items()
        for kind in comparison.kinds
        if comparison.other in found and any(n in found for n in comparison.ours)
    ]


def ratio(
    found: dict[str, dict[str, Curve]], kind: str, error: float, comparison: Comparison
) -> dict[str, Any]:
    """The two sides of a comparison at one error, and the ratio if both reach it."""
    reached = {
        name: forces
        for name in (comparison.other, *comparison.ours)
        if name in found and (forces := cost_at(found[name][kind], error)) is not None
    }
    other = reached.pop(comparison.other, None)
    best = min(reached, key=reached.__getitem__, default=None)
    return {
        "error": error,
        "other": other and _rounded(other),
        "best": best,
        "forces": best and _rounded(reached[best]),
        "ratio": best and other and _rounded(other / reached[best]),
    }


def _number(x: float | None) -> str:
    return "not reached" if x is None else f"{x:,.0f}"


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each comparison."""
    lines = [["problem", "error", "forces a period", "fewest", "ratio", "at least"]]
    for row in rows:
        lines += [
            [
                row["problem"],
                f"{row['kind']} {at['error']:.0e}",
                f"{row['other']} {_number(at['other'])}",
                f"{at['best'] or ''} {_number(at['forces'])}".strip(),
                f"{at['ratio']:.1f}" if at["ratio"] else "",
                f"{row['target']:g}" if row["target"] else "",
            ]
            for at in row["at"]
        ]
    return lines


def main(
    quick: bool = False,
    out: Path = Path("out/work_precision"),
    record: bool = False,
) -> None:
    """Measure what an error costs, by problem and solver.

    Args:
        quick: a tenth of the time, four solvers and few settings: under a minute on
            two cores.
        out: where to write metrics.json and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
    """
    jax.config.update("jax_enable_x64", True)
    console = Console()
    size = QUICK if quick else FULL
    separable = (*FIXED, *VARIABLE, *DIFFRAX)
    followed = [
        (kepler(0.6), 1000, separable),
        (henon_heiles(), 1000, (*separable, *GENERAL)),
        (fput(), 100, separable),
        (pendulum(), 1000, (*separable, *GENERAL)),
        (kepler(0.9), 1000, ECCENTRIC),
    ]
    plan = []
    for problem, periods, names in followed:
        case = costs.case(problem, size.part * periods, size.saves, PART)
        plan += [
            (case, method)
            for method in methods(case, size)
            if all(
                only is None or method.name in only for only in (names, size.solvers)
            )
        ]
    curves: dict[str, Any] = {case.problem.name: {} for case, _ in plan}
    metrics: dict[str, Any] = {
        "task": "work_precision",
        "command": "python -m benchmarks work_precision" + " --quick" * quick,
        "environment": environment(),
        "settings": {
            "precision": "float64",
            "periods": {case.problem.name: case.periods for case, _ in plan},
            "kept_states": size.saves,
            "repeats": size.repeats,
        },
        "families": {method.name: method.family for _, method in plan},
        "curves": curves,
    }
    with progress_bars(console) as bars:
        bar = bars.add_task("", total=len(plan))
        for case, method in plan:
            name = case.problem.name
            bars.update(bar, description=f"{name}: {method.name}")
            curves[name][method.name] = sweep(method, case.periods)
            bars.advance(bar)
            # Whatever comes, what was found so far is kept.
            for title, comparisons in COMPARISONS.items():
                metrics[title] = compare(curves, comparisons)
            write(out / "metrics.json", metrics)
    for title in COMPARISONS:
        console.print(drawn(table(metrics[title]), title.replace("_", " ")))
    pictures = figures.draw(metrics, out)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
