"""Reversible step size control, against its formulas and its promises."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import chlu_eqx as cx
from chlu_eqx.stepsize import StepDensityController

from .problems import (
    pendulum,
    pendulum_ode,
    PENDULUM_STATE,
    reference,
    SOLVERS,
)


PERIOD = 2 * np.pi


def kepler(strength=1.0, friction=None) -> cx.HamiltonianTerm:
    kinetic = cx.NewtonianKinetic(2)
    return cx.HamiltonianTerm(
        cx.SeparableHamiltonian(kinetic, lambda q: -strength / jnp.sqrt(jnp.sum(q**2))),
        friction,
    )


# Two bodies: an orbit of semi-major axis 1 has the period 2π.
KEPLER = kepler()
DAMPED = pendulum(0.5)


def pericentre(eccentricity) -> tuple:
    e = jnp.asarray(eccentricity)
    zero = jnp.zeros_like(e)
    speed = jnp.sqrt((1 + e) / (1 - e))
    return jnp.stack([1 - e, zero]), jnp.stack([zero, speed])


def free_fall(t, y, args):
    """The time scale of the orbit at the present distance."""
    del t, args
    return jnp.sum(y[0] ** 2) ** 0.75


def solve(term, y0, t1, dt0, monitor=free_fall, t0=0.0, solver=None, **kwargs):
    # Times as arrays, so that other values compile nothing anew.
    t0, t1, dt0 = jax.tree.map(jnp.asarray, (t0, t1, dt0))
    kwargs = {"max_steps": 2000, **kwargs}
    return diffrax.diffeqsolve(
        term,
        cx.CHLUSolver() if solver is None else solver,
        t0,
        t1,
        dt0,
        y0,
        stepsize_controller=StepDensityController(term, monitor),
        **kwargs,
    )


def steps_of(sol) -> tuple:
    """The times and states of `SaveAt(t0=True, steps=True)`."""
    n = int(sol.stats["num_steps"]) + 1
    return np.asarray(sol.ts[:n]), jax.tree.map(lambda x: np.asarray(x[:n]), sol.ys)


def node_density(term, monitor, t, y, sol, args=None):
    """The density at the last node of a solve forward, from that of the step which
    would follow: less half of what was added there."""
    controller = StepDensityController(term, monitor)
    solver, t = cx.CHLUSolver(), jnp.asarray(t)
    init = eqx.filter_jit(controller.init)
    _, first = init(term, t, jnp.inf, y, 1.0, args, solver.func, 2)
    return sol.controller_state - (first - 1)


EVERY_STEP = diffrax.SaveAt(t0=True, steps=True, controller_state=True)


def test_constant_monitor_is_constant_step_size():
    run = dict(saveat=diffrax.SaveAt(t0=True, steps=True), max_steps=30)

    def constant(t, y, args):
        return 5.0

    for t1 in (3.0, -3.0):
        t0, t1, dt0 = jnp.array([0.0, t1, t1 / 30])
        got = solve(DAMPED, PENDULUM_STATE, t1, dt0, constant, **run)
        want = diffrax.diffeqsolve(
            DAMPED, cx.CHLUSolver(), t0, t1, dt0, PENDULUM_STATE, **run
        )
        assert got.stats["num_steps"] == 30
        np.testing.assert_allclose(got.ts, want.ts, atol=1e-13)
        for a, b in zip(got.ys, want.ys, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-13)


def test_by_hand():
    """The paper's formulas, with its ρ and ε, in numpy."""

    def growth(q, p):
        return -1.5 * np.sum(q * p) / np.sum(q**2)

    def force(q):
        return -q / np.sum(q**2) ** 1.5

    dt0, n = 0.02, 20
    (q, p), t = jax.tree.map(np.asarray, pericentre(0.7)), 0.0
    density = 1 / np.sum(q**2) ** 0.75
    eps = dt0 * density
    density += eps / 2 * growth(q, p)
    sol = solve(KEPLER, (q, p), 1.0, dt0, saveat=EVERY_STEP, max_steps=200)
    ts, (qs, ps) = steps_of(sol)
    for k in range(1, n):
        h = eps / density
        p = p + h / 2 * force(q)
        q = q + h * p
        p = p + h / 2 * force(q)
        t += h
        density += eps * growth(q, p)
        np.testing.assert_allclose(ts[k], t, rtol=1e-12)
        np.testing.assert_allclose(qs[k], q, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ps[k], p, rtol=1e-12, atol=1e-12)


def test_steps_follow_the_monitor():
    """h / Q is constant to second order."""
    spread = []
    for dt0 in (0.02, 0.01, 0.005):
        sol = solve(KEPLER, pericentre(0.7), PERIOD, dt0, saveat=EVERY_STEP)
        ts, (q, _) = steps_of(sol)
        distance = np.sqrt(np.sum(((q[1:] + q[:-1]) / 2) ** 2, axis=-1))
        ratio = (np.diff(ts) / distance**1.5)[:-1]  # the last step is cut
        spread.append(ratio.max() / ratio.min() - 1)
        assert np.diff(ts).max() > 10 * np.diff(ts)[:-1].min()
    assert spread[-1] < 0.003
    np.testing.assert_allclose(np.log2(np.divide(spread[:-1], spread[1:])), 2, atol=0.1)


def test_default_monitor():
    """It is the arc length in (t, q, p): constant on a circle of a unit oscillator, and
    of equal length per step elsewhere."""
    circle = diffrax.ODETerm(lambda t, y, args: (y[1], -y[0]))
    sol = solve(circle, PENDULUM_STATE, 5.0, 0.1, None, saveat=EVERY_STEP)
    np.testing.assert_allclose(np.diff(steps_of(sol)[0]), 0.1, rtol=1e-12)

    sol = solve(KEPLER, pericentre(0.7), PERIOD, 0.001, None, saveat=EVERY_STEP)
    ts, (q, p) = steps_of(sol)
    squares = [np.sum(np.diff(x, axis=0) ** 2, axis=-1) for x in (ts[:, None], q, p)]
    length = np.sqrt(sum(squares))[:-1]
    assert length.max() / length.min() - 1 < 1e-3


def test_default_monitor_at_rest():
    """Steps stay finite: at an equilibrium, and where friction leads to one."""
    still = jax.tree.map(jnp.zeros_like, PENDULUM_STATE)
    sol = solve(DAMPED, still, 5.0, 0.1, None, saveat=EVERY_STEP)
    np.testing.assert_allclose(np.diff(steps_of(sol)[0]), 0.1, rtol=1e-12)
    sol = solve(DAMPED, PENDULUM_STATE, 100.0, 0.1, None, saveat=EVERY_STEP)
    ts, (q, p) = steps_of(sol)
    assert np.diff(ts).max() < 0.15
    np.testing.assert_allclose([q[-1], p[-1]], 0.0, atol=1e-9)


@functools.cache
def _exact(friction) -> tuple:
    term, y0, ts = (
        kepler(friction=friction),
        pericentre(0.5),
        jnp.linspace(0.5, 5.0, 10),
    )
    sol = reference(term, y0, 0.0, 5.0, saveat=diffrax.SaveAt(ts=ts))
    return term, y0, ts, jnp.stack(sol.ys)


@pytest.mark.parametrize(
    "name, friction, monitor",
    [
        ("CHLUSolver", None, free_fall),
        ("CHLUSolver", 0.1, None),
        ("DriftKickDrift", None, free_fall),
    ],
)
def test_order(name, friction, monitor):
    """That of the solver, at the end of a cut last step and by interpolation."""
    term, y0, ts, exact = _exact(friction)
    solver, saveat = SOLVERS[name], diffrax.SaveAt(ts=ts)
    dt0s, errors = np.array([0.01, 0.005, 0.0025]), []
    for dt0 in dt0s:
        sol = solve(term, y0, 5.0, dt0, monitor, saveat=saveat, solver=solver)
        errors.append(float(jnp.abs(jnp.stack(sol.ys) - exact).max()))
    order = np.polyfit(np.log(dt0s), np.log(errors), 1)[0]
    assert abs(order - solver.order(term)) < 0.2


def test_reversible_under_momentum_flip():
    """There, flip the momentum, and back: the same steps in the opposite order."""
    term, y0, dt0 = KEPLER, pericentre(0.8), 0.005
    run = dict(saveat=EVERY_STEP)
    ts, _ = steps_of(solve(term, y0, 20.0, dt0, **run))
    t1 = float(ts[-50])  # on a node, so that no step is cut
    there = solve(term, y0, t1, dt0, **run)
    there_ts, there_ys = steps_of(there)
    q1, p1 = (jnp.asarray(x[-1]) for x in there_ys)
    density = node_density(term, free_fall, t1, (q1, p1), there)
    back = solve(term, (q1, -p1), t1, 1 / density, **run)
    back_ts, back_ys = steps_of(back)
    assert np.diff(there_ts).max() > 20 * np.diff(there_ts).min()
    np.testing.assert_allclose(t1 - back_ts[::-1], there_ts, atol=1e-10)
    np.testing.assert_allclose(back_ys[0][::-1], there_ys[0], atol=1e-10)
    np.testing.assert_allclose(back_ys[1][::-1], -there_ys[1], atol=1e-10)
    last = node_density(
        term, free_fall, 0.0, jax.tree.map(lambda x: jnp.asarray(x[-1]), back_ys), back
    )
    np.testing.assert_allclose(1 / last, dt0, rtol=1e-9)


def test_backward_in_time():
    """A solve back in time retraces one forward, with friction, a force and a monitor
    that depend on time."""

    def field(t, y, args):
        q, p = y
        return p, -jnp.sin(q) + args * jnp.cos(2 * t)

    def monitor(t, y, args):
        q, p = y
        return 1 / (2 + jnp.sin(3 * t) + args * jnp.sum(q**2 + p**2))

    term, args, dt0 = diffrax.ODETerm(field), jnp.asarray(0.3), 0.05
    run = dict(monitor=monitor, saveat=EVERY_STEP, args=args)
    ts, _ = steps_of(solve(term, PENDULUM_STATE, 5.0, dt0, t0=1.0, **run))
    t1 = jnp.asarray(ts[-10])
    there = solve(term, PENDULUM_STATE, t1, dt0, t0=1.0, **run)
    there_ts, there_ys = steps_of(there)
    y1 = jax.tree.map(lambda x: jnp.asarray(x[-1]), there_ys)
    density = node_density(term, monitor, t1, y1, there, args)
    back = solve(term, y1, 1.0, -1 / density, t0=t1, **run)
    back_ts, back_ys = steps_of(back)
    assert np.diff(there_ts).max() > 2 * np.diff(there_ts).min()
    np.testing.assert_allclose(back_ts[::-1], there_ts, atol=1e-12)
    for a, b in zip(back_ys, there_ys, strict=True):
        np.testing.assert_allclose(a[::-1], b, atol=1e-12)


def _worst_energy_error(controller, dt0, periods, solver=None, y0=None):
    """The largest relative energy error in each period of an orbit of eccentricity 0.9,
    and the number of steps."""
    term = KEPLER
    y0 = pericentre(0.9) if y0 is None else y0
    e0 = term.hamiltonian(*y0)

    @jax.jit
    def run():
        sol = diffrax.diffeqsolve(
            term,
            cx.CHLUSolver() if solver is None else solver,
            0.0,
            periods * PERIOD,
            dt0,
            y0,
            stepsize_controller=controller,
            saveat=diffrax.SaveAt(
                steps=True,
                fn=lambda t, y, args: (t, jnp.abs(term.hamiltonian(*y) / e0 - 1)),
            ),
            max_steps=300 * periods,
        )
        t, error = sol.ys
        saved = jnp.isfinite(t)
        period = jnp.where(saved, t / PERIOD, 0).astype(int)
        error = jnp.where(saved, error, 0)
        worst = jnp.zeros(periods).at[jnp.minimum(period, periods - 1)].max(error)
        return worst, sol.stats["num_steps"]

    worst, num_steps = run()
    return np.asarray(worst), int(num_steps)


@pytest.mark.parametrize("monitor, bound", [(free_fall, 0.004), (None, 0.014)])
def test_energy_of_an_eccentric_orbit(monitor, bound):
    """The error of 200 revolutions is small and does not grow; fixed steps, as many of
    them, lose the orbit."""
    controller = StepDensityController(KEPLER, monitor)
    worst, num_steps = _worst_energy_error(controller, 0.001, 200)
    assert num_steps < 270 * 200
    assert worst.max() < bound
    np.testing.assert_allclose(worst[-20:].max(), worst[:20].max(), rtol=1e-3)
    np.testing.assert_allclose(worst[-20:].mean(), worst[:20].mean(), rtol=1e-3)
    fixed = diffrax.ConstantStepSize()
    lost, _ = _worst_energy_error(fixed, 200 * PERIOD / num_steps, 200)
    assert lost.max() > 1


def test_error_control_does_drift():
    """The test above can fail: under an error-based control the energy drifts."""
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)
    solver = diffrax.HalfSolver(cx.CHLUSolver())
    drifted, _ = _worst_energy_error(controller, None, 200, solver)
    assert drifted[-20:].max() > 5 * drifted[:20].max()
    assert drifted.max() > 0.1


def test_continued():
    """A solve in two parts, on a node, is one solve."""
    term, y0, dt0 = KEPLER, pericentre(0.7), 0.01
    ts, ys = steps_of(solve(term, y0, 6.0, dt0, saveat=EVERY_STEP))
    half = len(ts) // 2
    first = solve(
        term, y0, ts[half], dt0, saveat=diffrax.SaveAt(t1=True, controller_state=True)
    )
    second = solve(
        term,
        jax.tree.map(lambda x: x[-1], first.ys),
        6.0,
        1 / first.controller_state,
        t0=ts[half],
        controller_state=first.controller_state,
        saveat=EVERY_STEP,
    )
    got, (q, p) = steps_of(second)
    np.testing.assert_allclose(got, ts[half:], rtol=1e-12)
    np.testing.assert_allclose(q, ys[0][half:], atol=1e-11)
    np.testing.assert_allclose(p, ys[1][half:], atol=1e-10)


def test_event():
    """Half a revolution, at the apocentre."""
    event = diffrax.Event(
        lambda t, y, args, **kwargs: jnp.sum(y[0] * y[1]),
        optx.Bisection(rtol=1e-10, atol=1e-10),
        direction=False,
    )
    sol = solve(KEPLER, pericentre(0.6), jnp.inf, 0.002, event=event)
    assert sol.result == diffrax.RESULTS.event_occurred
    np.testing.assert_allclose(sol.ts[0], np.pi, atol=3e-4)
    np.testing.assert_allclose(sol.ys[0][0], [-1.6, 0.0], atol=3e-4)


def test_the_last_step_is_cut():
    sol = solve(KEPLER, pericentre(0.6), 2.0, 0.01, saveat=EVERY_STEP)
    ts, _ = steps_of(sol)
    assert ts[-1] == 2.0
    assert ts[-1] - ts[-2] <= 1.1 * (ts[-2] - ts[-3])
    none = solve(KEPLER, pericentre(0.6), 0.0, 0.01)
    assert none.stats["num_steps"] == 0


def test_max_steps():
    sol = solve(KEPLER, pericentre(0.6), 20.0, 0.01, max_steps=50, throw=False)
    assert sol.result == diffrax.RESULTS.max_steps_reached


def test_vmap():
    """Each trajectory has steps of its own."""
    eccentricities = jnp.array([0.1, 0.5, 0.9])

    @jax.jit
    def end(e):
        sol = solve(KEPLER, pericentre(e), 7.0, 0.1 * (1 - e) ** 1.5)
        return sol.ys, sol.stats["num_steps"]

    ys, num_steps = jax.vmap(end)(eccentricities)
    assert len(set(num_steps.tolist())) == 3
    for i, e in enumerate(eccentricities):
        y, n = end(e)
        assert n == num_steps[i]
        for a, b in zip(ys, y, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-9, atol=1e-9)


def test_gradients():
    """Through the step sizes too: with respect to the state, the force, the monitor and
    `dt0`, against differences."""
    q0, p0 = pericentre(0.6)
    x0 = jnp.concatenate([q0, p0 + 0.1, jnp.array([1.1, 0.7, 0.05])])

    def loss(x, adjoint=None, direction=1):
        strength, power, dt0 = x[4:]
        sol = solve(
            kepler(strength),
            (x[:2], x[2:4]),
            0.8 * direction,
            dt0 * direction,
            lambda t, y, args: jnp.sum(y[0] ** 2) ** power,
            adjoint=diffrax.DirectAdjoint() if adjoint is None else adjoint,
            max_steps=16,
        )
        return sol.ys[0][0] @ jnp.array([-1.5, 0.5])

    nearby = jnp.concatenate([jnp.eye(7), -jnp.eye(7)]) * 1e-6
    plus, minus = jax.jit(jax.vmap(loss))(x0[None] + nearby).reshape(2, 7)
    expected = (plus - minus) / 2e-6
    assert np.abs(expected).min() > 1e-5

    def check(differentiate, adjoint, direction=1):
        # Back in time from the opposite momentum is forward in time.
        mirror = np.where(np.isin(np.arange(7), (2, 3)), direction, 1.0)
        got = jax.jit(lambda x: differentiate(loss)(x, adjoint, direction))(mirror * x0)
        np.testing.assert_allclose(got, mirror * expected, rtol=1e-5, atol=1e-8)

    check(jax.grad, diffrax.RecursiveCheckpointAdjoint())
    check(jax.jacfwd, diffrax.ForwardMode())
    check(jax.grad, diffrax.DirectAdjoint(), -1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "monitor", [None, lambda t, y, args: jnp.exp(jnp.cos(y[0][0]))]
)
def test_dtypes(dtype, monitor):
    y0 = jax.tree.map(lambda x: x.astype(dtype), PENDULUM_STATE)
    t0, t1, dt0 = (jnp.asarray(x, dtype) for x in (0.0, 2.0, 0.1))
    sol = solve(
        diffrax.ODETerm(pendulum_ode), y0, t1, dt0, monitor, t0=t0, saveat=EVERY_STEP
    )
    dtypes = {x.dtype for x in jax.tree.leaves((sol.ts, sol.ys, sol.controller_state))}
    assert dtypes == {jnp.dtype(dtype)}


def test_pytrees():
    def circle(t, y, args):
        q, p = y
        return p, jax.tree.map(jnp.negative, q)

    y0 = tuple({"a": x, "b": (2 * x[0], None)} for x in PENDULUM_STATE)
    q, p = solve(diffrax.ODETerm(circle), y0, 2.0, 0.1, None).ys
    np.testing.assert_allclose(q["b"][0], 2 * q["a"][:, 0], rtol=1e-12)
    np.testing.assert_allclose(p["b"][0], 2 * p["a"][:, 0], rtol=1e-12)


def test_no_further_force():
    """A monitor of the positions alone takes velocities, and no force."""
    calls = []

    def count(q):
        calls.append(1)
        return -q

    def field(t, y, args):
        q, p = y
        return p, jax.pure_callback(count, jax.ShapeDtypeStruct((1,), q.dtype), q)

    term = diffrax.ODETerm(field)

    def monitor(t, y, args):
        return 1 / (1 + jnp.sum(y[0] ** 2))

    sol = solve(term, PENDULUM_STATE, 1.0, 0.05, monitor)
    jax.effects_barrier()
    assert sol.stats["num_steps"] <= len(calls) <= sol.stats["num_steps"] + 1


def test_steps_that_blow_up():
    """Too long a step for the monitor stops the solve, at a good state; and only the
    trajectory it belongs to."""

    def run(dt0):
        sol = solve(KEPLER, pericentre(0.9), 10.0, dt0, throw=False)
        ended = sol.result == diffrax.RESULTS.successful
        stopped = sol.result == diffrax.RESULTS.nonfinite
        return ended, stopped, sol.stats["num_rejected_steps"], sol.ts, sol.ys

    ended, stopped, rejected, ts, (q, _) = jax.vmap(run)(jnp.array([0.05, 0.001]))
    assert ended.tolist() == [False, True]
    assert stopped.tolist() == [True, False]
    assert rejected.tolist() == [1, 0]
    assert ts[0, 0] < 10 and ts[1, 0] == 10
    assert np.abs(q).max() < 2
    with pytest.raises(eqx.EquinoxRuntimeError, match="Nonfinite"):
        solve(KEPLER, pericentre(0.9), 10.0, 0.05, saveat=EVERY_STEP)


def test_monitor_that_turns_bad():
    sol = solve(
        pendulum(),
        PENDULUM_STATE,
        10.0,
        0.1,
        lambda t, y, args: jnp.where(t < 2, 1.0, -1.0),
        throw=False,
        saveat=EVERY_STEP,
    )
    assert sol.result == diffrax.RESULTS.nonfinite
    ts, _ = steps_of(sol)
    assert ts[ts < np.inf].max() < 2.1


def test_refusals():
    term = pendulum()
    with pytest.raises((ValueError, TypeError), match="`?term"):
        StepDensityController(term.hamiltonian)  # pyright: ignore
    with pytest.raises((ValueError, TypeError), match="monitor"):
        StepDensityController(term, 1.0)  # pyright: ignore
    with pytest.raises(ValueError, match="needs `dt0`"):
        solve(term, PENDULUM_STATE, 1.0, None)
    for bad in (lambda t, y, args: y[0], lambda t, y, args: (1.0, 1.0)):
        with pytest.raises(ValueError, match="`monitor` must return a floating-point"):
            solve(term, PENDULUM_STATE, 1.0, 0.1, bad)

    def given(t, y, args):
        return args

    for bad in jnp.array([-1.0, 0.0, jnp.inf]):
        with pytest.raises(eqx.EquinoxRuntimeError, match="positive and finite"):
            solve(term, PENDULUM_STATE, 1.0, 0.1, given, args=bad)
    with pytest.raises(eqx.EquinoxRuntimeError, match="`dt0` must not be zero"):
        solve(term, PENDULUM_STATE, 1.0, 0.0)

    noise = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-2, (1,), jax.random.key(0))
    with pytest.raises(ValueError, match="the control of `term` must be time"):
        diffrax.diffeqsolve(
            term,
            cx.CHLUSolver(),
            0.0,
            1.0,
            0.1,
            PENDULUM_STATE,
            stepsize_controller=StepDensityController(
                diffrax.ControlTerm(lambda t, y, args: y, noise)
            ),
        )

    def end(p):
        y0 = (PENDULUM_STATE[0], p)
        sol = solve(term, y0, 1.0, 0.1, None, adjoint=diffrax.BacksolveAdjoint())
        return sol.ys[0].sum()

    with pytest.raises(RuntimeError):
        jax.grad(end)(PENDULUM_STATE[1])


def test_citation(capsys):
    diffrax.citation(stepsize_controller=StepDensityController(pendulum()))
    assert "hairer2005explicit" in capsys.readouterr().out
    diffrax.citation(stepsize_controller=diffrax.ConstantStepSize())
    assert "hairer2005explicit" not in capsys.readouterr().out
