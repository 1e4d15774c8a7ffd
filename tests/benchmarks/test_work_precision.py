import json

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ellipj

import chlu_eqx as cx
from benchmarks import costs, work_precision
from benchmarks.data import hamiltonians
from benchmarks.record import RESULTS


def dopri8(problem, t, tolerance=1e-13):
    control = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    ys = diffrax.diffeqsolve(
        cx.HamiltonianTerm(problem.hamiltonian),
        diffrax.Dopri8(),
        0.0,
        t,
        None,
        problem.y0,
        stepsize_controller=control,
    ).ys
    return jax.tree.map(lambda y: y[-1], ys)


@pytest.mark.parametrize("eccentricity", [0.6, 0.9])
@pytest.mark.parametrize("t", [0.0, 0.1, 3.5, 12.0])
def test_kepler_by_formula(eccentricity, t):
    problem = hamiltonians.kepler(eccentricity)
    assert problem.orbit is not None
    found = problem.orbit(t)
    np.testing.assert_allclose(problem.hamiltonian(*found), -0.5, rtol=1e-13)
    expected = dopri8(problem, t) if t else problem.y0
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_pendulum_by_formula():
    """The reference against q = 2 arcsin(k sn(t + K, k)) at k = sin(amplitude / 2)."""
    problem = hamiltonians.pendulum()
    t = 7.3
    k = np.sin(1.0)
    sn, cn, _, _ = ellipj(t + problem.period / 4, k**2)
    q, p = costs.reference(problem, t, 2000)
    np.testing.assert_allclose(q[0], 2 * np.arcsin(k * sn), rtol=1e-12)
    np.testing.assert_allclose(p[0], 2 * k * cn, rtol=1e-12)


def test_energies():
    henon_heiles = hamiltonians.henon_heiles()
    np.testing.assert_allclose(henon_heiles.hamiltonian(*henon_heiles.y0), 1 / 12)
    # The chain's equation as Fermi, Pasta, Ulam and Tsingou have it.
    chain = hamiltonians.fput()
    q = np.concatenate([[0], np.random.default_rng(0).normal(size=32), [0]])
    left, right = q[1:-1] - q[:-2], q[2:] - q[1:-1]
    np.testing.assert_allclose(
        chain.hamiltonian.force(jnp.asarray(q[1:-1])),
        (right - left) * (1 + 0.25 * (right + left)),
        rtol=1e-12,
        atol=1e-12,
    )
    # Linear, it would swing at the period given.
    linear = hamiltonians.fput(alpha=0.0)
    acceleration = linear.hamiltonian.force(linear.y0[0]) / linear.y0[0]
    np.testing.assert_allclose(acceleration, -((2 * np.pi / linear.period) ** 2))


@pytest.mark.parametrize(
    "solver", work_precision.COMPOSITIONS, ids=lambda solver: type(solver).__name__
)
def test_forces_of_a_table(solver):
    """As many calls a step as are counted, and one more at the start where the first
    force is carried."""
    problem = hamiltonians.kepler(0.6)
    calls = [_calls(problem, solver, n) for n in (10, 30)]
    per_step = costs.forces_per_step(solver)
    assert calls[1] - calls[0] == 20 * per_step
    assert calls[0] - 10 * per_step in (0, 1)


@pytest.mark.parametrize(
    "name, least", [("TaoSolver", 3), ("TaoSolver, order 4", 15), ("GaussLegendre4", 8)]
)
def test_forces_that_are_counted(name, least):
    case = costs.case(hamiltonians.pendulum(), 10, 101, 0.5)
    found = costs.counted_forces(case, work_precision.GENERAL[name])(3)
    if name.startswith("Tao"):
        # One at the start.
        assert found == least + 0.01
    else:
        # Two iterations of Newton's method at least, each with two columns a stage.
        assert least < found < 5 * least


def _calls(problem, solver, num_steps):
    term, count = costs.counting(problem)
    y = cx.rollout(term, solver, problem.y0, dt=0.01, num_steps=num_steps)
    jax.block_until_ready(y)
    return count[0]


def _solves():
    case = costs.case(hamiltonians.kepler(0.6), 2, 101, 0.5)
    problem = case.problem
    for solver in work_precision.RUNGE_KUTTA:
        yield case, costs.adaptive(problem, solver), 1e-7
    yield case, costs.semi_implicit_euler(case), 3
    for solver in work_precision.IN_VARIABLE_STEPS:
        yield case, costs.variable_steps(case, solver, problem.time_scale), 3


@pytest.mark.parametrize("which", range(5))
def test_forces_of_a_solve(which):
    """Rejected steps and the choice of the first among them."""
    case, solve, setting = list(_solves())[which]
    term, count = costs.counting(case.problem)
    if isinstance(solve.terms, tuple):
        drift = diffrax.ODETerm(lambda t, p, args: p)
        kick = diffrax.ODETerm(lambda t, q, args: term.vf(t, (q, q), args)[1])
        counted = solve._replace(terms=(drift, kick))
    else:
        counted = solve._replace(terms=term)
    run = counted.compiled(case.problem.y0, diffrax.SaveAt(t1=True), 10_000)
    _, steps, done = run(case.problem.y0, case.duration, float(setting))
    assert done
    assert abs(count[0] - (int(steps) * solve.forces + solve.forces_at_start)) <= 2


def test_a_sweep():
    """Errors that fall by the order, at costs that are known."""
    case = costs.case(hamiltonians.pendulum(), 10, 101, 0.5)
    size = work_precision.Size(1.0, 101, (4, 6, 8), (1e-5, 1e-8), 1, None)
    methods = {m.name: m for m in work_precision.methods(case, size)}
    for name, order in (("CHLUSolver", 2), ("SymplecticEuler", 1)):
        curves = work_precision.sweep(methods[name], case.periods)
        for curve in curves.values():
            np.testing.assert_allclose(curve["forces"], [40.4, 80.8])
            assert abs(np.log2(curve["error"][0] / curve["error"][1]) - order) < 0.4
    # The same map by diffrax, and the errors are the same.
    twin = work_precision.sweep(methods["SemiImplicitEuler"], case.periods)
    np.testing.assert_allclose(
        twin["trajectory"]["error"], curves["trajectory"]["error"], rtol=1e-2
    )
    curves = work_precision.sweep(methods["Dopri8"], case.periods)
    assert curves["energy"]["error"][1] < 1e-6 < curves["energy"]["error"][0]


def test_variable_steps():
    """They tell, on an eccentric orbit."""
    case = costs.case(hamiltonians.kepler(0.9), 10, 101, 0.5)
    size = work_precision.Size(1.0, 101, (50,), (), 1, None)
    methods = {m.name: m for m in work_precision.methods(case, size)}
    fixed, variable = (
        work_precision.sweep(methods[name], case.periods)["energy"]
        for name in ("CHLUSolver", "CHLUSolver, variable steps")
    )
    assert variable["error"][0] < fixed["error"][0] / 50
    assert variable["forces"][0] < 2 * fixed["forces"][0]


def test_cost_at():
    """Exact on a power law, whatever its points; the last crossing of a curve that
    turns; nothing beyond the last run."""
    forces = [10.0, 17.0, 40.0, 90.0]
    curve = {"forces": forces, "error": [3 * n**-4 for n in forces]}
    for level in (1e-4, 1e-6):
        found = work_precision.cost_at(curve, level)
        np.testing.assert_allclose(found, (3 / level) ** 0.25, rtol=1e-13)
    assert work_precision.cost_at(curve, 1e-9) is None
    assert work_precision.cost_at(curve, 1.0) == 10
    turning = {"forces": forces, "error": [1e-4, 1e-9, 1e-4, 1e-8]}
    found = work_precision.cost_at(turning, 1e-6)
    np.testing.assert_allclose(found, 60.0, rtol=1e-13)


def test_comparison():
    def curve(factor):
        runs = {"forces": [10 * factor, 100 * factor], "error": [1e-4, 1e-8]}
        return {"energy": runs, "trajectory": runs}

    comparison = work_precision.Comparison("a", ("b", "c"), ("energy",), (1e-6,))
    curves = {"a": curve(3.0), "b": curve(2.0), "c": curve(1.5)}
    found = work_precision.ratio(curves, "energy", 1e-6, comparison)
    assert (found["best"], found["ratio"]) == ("c", 2.0)
    found = work_precision.ratio(curves, "energy", 1e-9, comparison)
    assert (found["best"], found["forces"], found["ratio"]) == (None, None, None)


def test_committed_comparisons_are_those_of_the_curves():
    path = RESULTS / "work_precision" / "cpu.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    for title, comparisons in work_precision.COMPARISONS.items():
        assert work_precision.compare(metrics["curves"], comparisons) == metrics[title]
