"""What a run of a solver costs, in force evaluations and in seconds, and the error that
it leaves."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import numpy as np
from jaxtyping import ArrayLike

import chlu_eqx as cx

from .data.hamiltonians import Pair, Problem


class Cost(NamedTuple):
    """Forces and seconds of a period, and the error."""

    forces: float
    seconds: float
    error: float


class Costs(NamedTuple):
    """Those of a whole run by the error of its energy, and those of the part of it
    after which the trajectory is compared with the true one."""

    energy: Cost
    trajectory: Cost


# From a setting, which is a tolerance or the number of steps between two kept states.
# `None` if the run fails.
Run = Callable[[Any], Costs | None]


class Case(NamedTuple):
    """A problem, how many periods it is followed and how many states are kept, which of
    them is compared with the truth, and that.

    Let the number of states be a prime, and not a divisor of that of the periods: they
    then meet the orbit at all its phases.
    """

    problem: Problem
    periods: float
    saves: int
    compared: int
    truth: Pair

    @property
    def duration(self) -> float:
        return self.periods * self.problem.period

    @property
    def part(self) -> float:
        return self.compared / self.saves

    def energy_error(self, energies: ArrayLike) -> float:
        """The largest |H - H0| / |H0|."""
        start = float(self.problem.hamiltonian(*self.problem.y0))
        return float(np.max(np.abs(np.asarray(energies) / start - 1)))

    def trajectory_error(self, y: Pair) -> float:
        """The distance to the true state, over the norm of that."""
        truth = np.concatenate(self.truth)
        return float(np.linalg.norm(np.concatenate(y) - truth) / np.linalg.norm(truth))


def case(problem: Problem, periods: float, saves: int, part: float) -> Case:
    compared = round(part * saves)
    t = periods * problem.period * compared / saves
    # Finer than any run that is compared with it.
    truth = reference(problem, t, 120 * compared)
    return Case(problem, periods, saves, compared, truth)


def reference(problem: Problem, t: float, num_steps: int) -> Pair:
    """The state at `t`: by formula, or in steps so short that what is left is
    rounding."""
    if problem.orbit is not None:
        return problem.orbit(t)
    term = cx.HamiltonianTerm(problem.hamiltonian)
    ys = cx.rollout(
        term,
        cx.KahanLi8(),
        problem.y0,
        dt=t / num_steps,
        num_steps=num_steps,
        save_every=num_steps,
    )
    return jax.tree.map(lambda y: y[-1], ys)


def counting(problem: Problem) -> tuple[diffrax.ODETerm, list[int]]:
    """The problem's equation, and a list whose one entry counts the evaluations of its
    force, of its derivative in a direction too."""
    energy, count = problem.hamiltonian, [0]

    def called(q: Any) -> Any:
        count[0] += 1
        return q

    def counted(q: jax.Array) -> jax.Array:
        # Pure: what the compiler drops is not evaluated, and not counted.
        shape = jax.ShapeDtypeStruct(q.shape, q.dtype)
        return jax.pure_callback(called, shape, q, vmap_method="sequential")

    position = jax.custom_jvp(counted)
    position.defjvp(lambda at, along: (position(*at), counted(*along)))

    def field(t: Any, y: Pair, args: Any) -> Pair:
        q, p = y
        return energy.velocity(p), energy.force(position(q))

    return diffrax.ODETerm(field), count


def forces_per_step(solver: Any) -> int:
    """One for every kick, but for the last where its force is the next step's first."""
    kicks = [b != 0 for b in solver.kicks]
    return sum(kicks) - (kicks[0] and kicks[-1])


def counted_forces(case: Case, solver: Any, n: int = 100) -> Callable[[int], float]:
    """From a setting to the mean over the first `n` steps, of a solver with no table:
    an implicit one takes as many as it needs."""
    term, count = counting(case.problem)

    @jax.jit
    def run(y0: Pair, dt: float) -> Pair:
        return cx.rollout(
            term,
            solver,
            y0,
            dt=dt,
            num_steps=n,
            save_every=n,
            adjoint=diffrax.DirectAdjoint(),
        )

    def forces(every: int) -> float:
        before = count[0]
        dt = case.duration / (case.saves * every)
        jax.block_until_ready(run(case.problem.y0, dt))
        return (count[0] - before) / n

    return forces


def stages_per_step(solver: Any) -> int:
    """Of an explicit Runge-Kutta method, whose last stage may be the next's first."""
    return solver.tableau.num_stages - solver.tableau.fsal


def timed(run: Callable, *args: Any, repeats: int) -> tuple[float, Any]:
    """The median of the times of a compiled function, of as many as fit in a second;
    and what it returns."""
    seconds, out = [], None
    while len(seconds) < repeats and sum(seconds) < 1:
        began = time.perf_counter()
        out = jax.block_until_ready(run(*args))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), out


def fixed_steps(
    case: Case, solver: Any, forces: Callable[[int], float], repeats: int
) -> Run:
    """By `rollout`. `forces` tells those of a step at a setting."""
    problem = case.problem
    term = cx.HamiltonianTerm(problem.hamiltonian)

    def run(every: int) -> Costs:
        n = every * case.saves

        @jax.jit
        def rollout(y0: Pair) -> Pair:
            dt = case.duration / n
            return cx.rollout(term, solver, y0, dt=dt, num_steps=n, save_every=every)

        compiled = rollout.lower(problem.y0).compile()
        seconds, ys = timed(compiled, problem.y0, repeats=repeats)
        energies = jax.vmap(problem.hamiltonian)(*ys)
        then = jax.tree.map(lambda y: y[case.compared], ys)
        # All steps are alike: a period costs the same throughout.
        cost = n * forces(every) / case.periods, seconds / case.periods
        return Costs(
            Cost(*cost, case.energy_error(energies)),
            Cost(*cost, case.trajectory_error(then)),
        )

    return run


class Solve(NamedTuple):
    """An equation for `diffeqsolve`, a solver, and how a setting becomes a first step
    and a step size controller; the forces of a step and of the start."""

    terms: Any
    solver: diffrax.AbstractSolver
    control: Callable[[Any], tuple[Any, Any]]
    forces: int
    forces_at_start: int

    def compiled(self, y0: Pair, saveat: diffrax.SaveAt, max_steps: int) -> Callable:
        """A function of the initial state, the time and the setting."""

        @jax.jit
        def run(y0: Pair, t: float, setting: float):
            dt0, controller = self.control(setting)
            solution = diffrax.diffeqsolve(
                self.terms,
                self.solver,
                0.0,
                t,
                dt0,
                y0,
                saveat=saveat,
                stepsize_controller=controller,
                max_steps=max_steps,
                throw=False,
            )
            done = solution.result == diffrax.RESULTS.successful
            return solution.ys, solution.stats["num_steps"], done

        return run.lower(y0, 1.0, 1.0).compile()


def by_diffeqsolve(case: Case, solve: Solve, max_forces: int, repeats: int) -> Run:
    """Through diffrax's loop. Timed without saving anything but the end, the least that
    it can take. The energies are those at steps, which no interpolation adds to."""
    energy, y0 = case.problem.hamiltonian, case.problem.y0
    every_step = diffrax.SaveAt(steps=True, fn=lambda t, y, args: energy(*y))
    max_steps = max_forces // solve.forces
    throughout = solve.compiled(y0, every_step, max_steps)
    to_the_end = solve.compiled(y0, diffrax.SaveAt(t1=True), max_steps)

    def measured(part: float, setting: float) -> tuple[Pair, tuple[float, float]]:
        arguments = y0, part * case.duration, setting
        seconds, (ys, n, _) = timed(to_the_end, *arguments, repeats=repeats)
        forces = int(n) * solve.forces + solve.forces_at_start
        periods = part * case.periods
        cost = forces / periods, seconds / periods
        return jax.tree.map(lambda y: y[-1], ys), cost

    def run(setting: float) -> Costs | None:
        energies, _, done = throughout(y0, case.duration, float(setting))
        if not done:
            return None
        energies = np.asarray(energies)
        # Rows that no step has filled are infinite. Of the others as many as all keep.
        energies = energies[np.isfinite(energies)]
        energies = energies[:: -(-len(energies) // case.saves)]
        _, cost = measured(1.0, float(setting))
        then, part_cost = measured(case.part, float(setting))
        return Costs(
            Cost(*cost, case.energy_error(energies)),
            Cost(*part_cost, case.trajectory_error(then)),
        )

    return run


def adaptive(problem: Problem, solver: Any) -> Solve:
    """A Runge-Kutta method at a tolerance, relative and absolute. Steps that are
    rejected are counted too."""

    def control(tolerance: Any) -> tuple[Any, Any]:
        return None, diffrax.PIDController(rtol=tolerance, atol=tolerance)

    term = cx.HamiltonianTerm(problem.hamiltonian)
    return Solve(term, solver, control, stages_per_step(solver), 1)


def semi_implicit_euler(case: Case) -> Solve:
    """diffrax's own symplectic solver."""
    energy = case.problem.hamiltonian
    terms = (
        diffrax.ODETerm(lambda t, p, args: energy.velocity(p)),
        diffrax.ODETerm(lambda t, q, args: energy.force(q)),
    )

    def control(every: Any) -> tuple[Any, Any]:
        return case.duration / (case.saves * every), diffrax.ConstantStepSize()

    return Solve(terms, diffrax.SemiImplicitEuler(), control, 1, 0)


def variable_steps(case: Case, solver: Any, time_scale: Callable) -> Solve:
    """A symmetric method in reversible steps in proportion to the time scale of a
    position: the fixed ones, where that is one."""
    term = cx.HamiltonianTerm(case.problem.hamiltonian)
    controller = cx.StepDensityController(term, lambda t, y, args: time_scale(y[0]))

    def control(every: Any) -> tuple[Any, Any]:
        step = case.duration / (case.saves * every)
        return step * time_scale(case.problem.y0[0]), controller

    return Solve(term, solver, control, forces_per_step(solver), 1)
