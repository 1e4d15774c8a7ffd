"""What diffrax expects of its solvers."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import chlu_eqx as cx

from ..problems import (
    HOSTED,
    pendulum,
    pendulum_ode,
    PENDULUM_STATE,
    solve,
    SOLVERS,
)


each_solver = pytest.mark.parametrize("name", HOSTED)
solvers_both_ways = pytest.mark.parametrize(
    "name, t0, t1",
    [
        ("CHLUSolver", 0.0, 2.0),
        ("CHLUSolver", 2.0, -0.5),
        ("DriftKickDrift", 2.0, -0.5),
        ("KickDriftKickDamp", 0.0, 2.0),
    ],
)


@solvers_both_ways
def test_every_saveat(name, t0, t1):
    """They all tell of one trajectory: that of the fixed grid."""
    solver, term, n = SOLVERS[name], pendulum(0.2), 20
    grid = np.linspace(t0, t1, n + 1)
    if t1 > t0:
        ys = cx.rollout(term, solver, PENDULUM_STATE, dt=(t1 - t0) / n, num_steps=n)
    else:
        steps = solve(
            term,
            solver,
            PENDULUM_STATE,
            t0,
            t1,
            n,
            saveat=diffrax.SaveAt(t0=True, steps=True),
            max_steps=n,
        )
        ys = steps.ys
    every = jax.tree.map(np.asarray, ys)

    def check(saveat, times, rows):
        sol = solve(term, solver, PENDULUM_STATE, t0, t1, n, saveat=saveat, max_steps=n)
        np.testing.assert_allclose(sol.ts, times, atol=1e-12)
        for got, want in zip(sol.ys, every, strict=True):
            np.testing.assert_allclose(got, want[rows], atol=1e-12)
        return sol

    check(diffrax.SaveAt(t0=True), grid[:1], slice(0, 1))
    check(diffrax.SaveAt(t1=True), grid[-1:], slice(n, n + 1))
    check(diffrax.SaveAt(steps=True), grid[1:], slice(1, None))
    check(diffrax.SaveAt(t0=True, steps=5), grid[::5], slice(0, None, 5))
    check(
        diffrax.SaveAt(ts=jnp.asarray(grid[[0, 3, 7, n]])),
        grid[[0, 3, 7, n]],
        [0, 3, 7, n],
    )
    subs = diffrax.SubSaveAt(t1=True, fn=lambda t, y, args: y[0] * t)
    sol = solve(
        term,
        solver,
        PENDULUM_STATE,
        t0,
        t1,
        n,
        saveat=diffrax.SaveAt(subs={"a": subs, "b": diffrax.SubSaveAt(t0=True)}),
    )
    np.testing.assert_allclose(sol.ys["a"][0], every[0][-1] * t1, atol=1e-12)
    np.testing.assert_allclose(sol.ys["b"][0][0], every[0][0])


@solvers_both_ways
def test_dense_output(name, t0, t1):
    """It passes through the steps, with the vector field for a derivative there."""
    solver, term, n = SOLVERS[name], pendulum(0.2), 10
    sol = solve(
        term,
        solver,
        PENDULUM_STATE,
        t0,
        t1,
        n,
        saveat=diffrax.SaveAt(steps=True, dense=True),
        max_steps=n,
    )
    assert sol.ts is not None and sol.ys is not None
    values = jax.vmap(sol.evaluate)(sol.ts)
    np.testing.assert_allclose(values, sol.ys, atol=1e-12)
    slopes = jax.vmap(sol.derivative)(sol.ts)
    field = jax.vmap(lambda y: term.vf(0.0, y, None))(sol.ys)
    np.testing.assert_allclose(slopes, field, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("CHLUSolver", jnp.float32),
        ("CHLUSolver", jnp.float64),
        ("DriftKickDrift", jnp.float64),
        ("KickDriftKickDamp", jnp.float32),
    ],
)
def test_dtypes_and_pytrees(name, dtype):
    """Pairs of any pytree, in either precision; vmap and jit change nothing."""
    q0 = {"a": jnp.array([0.3, -0.2], dtype), "b": (jnp.array(1.0, dtype),)}
    p0 = jax.tree.map(lambda x: -0.5 * x, q0)

    def energy(q, p):
        squares = [jnp.sum(x**2) for x in jax.tree.leaves(p)]
        return sum(squares) / 2 - jnp.sum(jnp.cos(q["a"])) * jnp.cos(q["b"][0])

    term = cx.HamiltonianTerm(energy, 0.1)
    zero, one, dt = (jnp.asarray(x, dtype) for x in (0.0, 1.0, 0.1))

    def run(y0):
        return diffrax.diffeqsolve(term, SOLVERS[name], zero, one, dt, y0).ys

    ys = run((q0, p0))
    assert jax.tree.structure(ys) == jax.tree.structure((q0, p0))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(ys))
    two = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), (q0, p0))
    batched = jax.jit(jax.vmap(run))(two)
    eps = jnp.finfo(dtype).eps
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, atol=10 * eps), batched, ys
    )
    other = cx.rollout(
        term, SOLVERS[name], (q0, p0), dt=dt, num_steps=10, save_every=10
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1:], b, atol=40 * eps), other, ys
    )


def test_result_and_statistics():
    solver = cx.CHLUSolver()
    sol = solve(pendulum(), solver, PENDULUM_STATE, 0.0, 1.0, 10)
    assert sol.result == diffrax.RESULTS.successful
    assert sol.stats["num_steps"] == 10
    forever = solve(pendulum(), solver, PENDULUM_STATE, 0.0, 1.0, 10, max_steps=None)
    np.testing.assert_array_equal(forever.ys, sol.ys)
    few = solve(
        pendulum(),
        solver,
        PENDULUM_STATE,
        0.0,
        1.0,
        10,
        max_steps=5,
        throw=False,
    )
    assert few.result == diffrax.RESULTS.max_steps_reached


@each_solver
def test_step_to(name):
    """Uneven steps are those of the map, one by one."""
    ts = jnp.array([0.0, 0.1, 0.35, 0.4, 1.0])
    sol = diffrax.diffeqsolve(
        pendulum(0.3),
        SOLVERS[name],
        0.0,
        1.0,
        None,
        PENDULUM_STATE,
        stepsize_controller=diffrax.StepTo(ts=ts),
        saveat=diffrax.SaveAt(steps=True),
        max_steps=4,
    )
    y = PENDULUM_STATE
    for i in range(4):
        y = cx.rollout(
            pendulum(0.3), SOLVERS[name], y, dt=ts[i + 1] - ts[i], num_steps=1
        )
        y = jax.tree.map(lambda x: x[1], y)
        np.testing.assert_allclose([sol.ys[0][i], sol.ys[1][i]], y, atol=1e-14)


@each_solver
def test_t0_equals_t1(name):
    sol = diffrax.diffeqsolve(pendulum(), SOLVERS[name], 1.0, 1.0, 0.1, PENDULUM_STATE)
    np.testing.assert_array_equal([y[0] for y in sol.ys], PENDULUM_STATE)


@each_solver
def test_carried_force_after_jumps(name):
    """A force that jumps at t = 1, with the grid on the jump: told of it, the solver
    takes the new force at once, as two separate solves do."""

    def kicked(t, y, args):
        q, p = y
        return p, jnp.where(t < 1.0, -q, -5.0 * q)

    term, solver = diffrax.ODETerm(kicked), SOLVERS[name]
    before = jnp.nextafter(1.0, 0.0)
    keep = diffrax.SaveAt(t1=True, solver_state=True)
    first = diffrax.diffeqsolve(
        term, solver, 0.0, before, before / 10, PENDULUM_STATE, saveat=keep
    )
    y1 = jax.tree.map(lambda x: x[0], first.ys)

    def second(**kwargs):
        return diffrax.diffeqsolve(term, solver, 1.0, 2.0, 0.1, y1, **kwargs).ys

    fresh = second()
    told = second(solver_state=first.solver_state, made_jump=True)
    np.testing.assert_array_equal(told, fresh)
    traced = eqx.filter_jit(second)(
        solver_state=first.solver_state, made_jump=jnp.array(True)
    )
    np.testing.assert_allclose(traced, fresh, rtol=1e-14)
    if solver.kicks[0]:
        stale = second(solver_state=first.solver_state, made_jump=False)
        assert np.abs(stale[0] - fresh[0]).max() > 1e-3


@each_solver
def test_solver_state_continues_a_solve(name):
    solver, term = SOLVERS[name], pendulum(0.1)
    keep = diffrax.SaveAt(t1=True, solver_state=True)
    half = solve(term, solver, PENDULUM_STATE, 0.0, 1.0, 10, saveat=keep)
    y1 = jax.tree.map(lambda x: x[0], half.ys)
    rest = solve(term, solver, y1, 1.0, 2.0, 10, solver_state=half.solver_state)
    whole = solve(term, solver, PENDULUM_STATE, 0.0, 2.0, 20)
    np.testing.assert_allclose(rest.ys, whole.ys, rtol=1e-13)


@each_solver
def test_events(name):
    """The pendulum's first passage through the bottom."""
    event = diffrax.Event(
        lambda t, y, args, **kwargs: y[0][0], optx.Newton(1e-10, 1e-10)
    )
    sol = diffrax.diffeqsolve(
        pendulum(), SOLVERS[name], 0.0, 10.0, 0.01, PENDULUM_STATE, event=event
    )
    exact = diffrax.diffeqsolve(
        pendulum(),
        diffrax.Dopri8(),
        0.0,
        10.0,
        0.01,
        PENDULUM_STATE,
        event=event,
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12),
    )
    assert sol.result == diffrax.RESULTS.event_occurred
    np.testing.assert_allclose(sol.ts, exact.ts, atol=1e-2)
    assert np.abs(sol.ys[0]) < 1e-9


@each_solver
def test_citation(name, capsys):
    diffrax.citation(solver=SOLVERS[name])
    printed = capsys.readouterr().out
    assert f"`chlu_eqx.{name}`" in printed and "@" in printed


@pytest.mark.parametrize("name", ["CHLUSolver", "DriftKickDrift"])
def test_nonfinite_state_stops_the_solve(name):
    """q̈ = q² from rest at 6 blows up in finite time: the result says so, and what was
    saved before it is kept."""
    term = cx.HamiltonianTerm(
        cx.SeparableHamiltonian(cx.NewtonianKinetic(1), lambda q: -jnp.sum(q**3) / 3)
    )
    y0 = (jnp.array([6.0]), jnp.array([0.0]))
    ts = jnp.linspace(0, 10, 41)

    def run(y0, throw):
        return solve(
            term,
            SOLVERS[name],
            y0,
            0.0,
            10.0,
            200,
            throw=throw,
            saveat=diffrax.SaveAt(ts=ts),
        )

    sol = run(y0, False)
    assert sol.result == diffrax.RESULTS.nonfinite
    assert sol.stats["num_steps"] < 200
    saved = np.isfinite(sol.ts)
    assert saved.any() and not saved.all()
    early = ts < 0.9
    assert np.isfinite(sol.ys[0][early]).all() and (sol.ys[0][early] >= 6).all()
    with pytest.raises(Exception, match="Nonfinite"):
        run(y0, True)
    # In a batch, the others go on.
    both = (jnp.array([[6.0], [0.0]]), jnp.zeros((2, 1)))
    sol = jax.vmap(lambda y0: run(y0, False))(both)
    np.testing.assert_array_equal(
        sol.result == diffrax.RESULTS.successful, [False, True]
    )
    assert np.isfinite(sol.ys[0][1]).all()


@each_solver
def test_adaptive_steps_are_refused(name):
    """With a word on what to use instead."""
    pid = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    for controller in (pid, diffrax.ClipStepSizeController(pid)):
        for dt0 in (None, 0.1):
            with pytest.raises(Exception, match="Use .*ConstantStepSize.*Tsit5"):
                diffrax.diffeqsolve(
                    pendulum(),
                    SOLVERS[name],
                    0.0,
                    1.0,
                    dt0,
                    PENDULUM_STATE,
                    stepsize_controller=controller,
                )


def test_bad_vector_fields():
    solver = cx.CHLUSolver()

    def run(field, y0=PENDULUM_STATE):
        return solve(diffrax.ODETerm(field), solver, y0, 0.0, 1.0, 10)

    # diffrax's own words come first.
    for field in (lambda t, y, args: -y[0], lambda t, y, args: (y[1], -y[0], y[0])):
        with pytest.raises(ValueError, match="must return a pytree with the same"):
            run(field)
    with pytest.raises(ValueError, match="must return a pytree with the same"):
        run(pendulum_ode, jnp.ones(2))
    with pytest.raises(ValueError, match=r"`y0` must be a pair `\(q, p\)`"):
        run(lambda t, y, args: -y, jnp.ones(2))
    with pytest.raises(ValueError, match="`p` must have the shapes and dtypes of `q`"):
        run(lambda t, y, args: y, (jnp.ones(2), jnp.ones(1)))
    neural = cx.NeuralHamiltonian(1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="`hamiltonian` must be a `SeparableHamilton"):
        solve(cx.HamiltonianTerm(neural), solver, PENDULUM_STATE, 0.0, 1.0, 10)
    noise = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-2, (1,), jax.random.key(0))
    sde = diffrax.ControlTerm(lambda t, y, args: (y[1][:, None], y[0][:, None]), noise)
    with pytest.raises(ValueError, match="the control of `terms` must be time"):
        cx.CHLUSolver().init(sde, 0.0, 0.1, PENDULUM_STATE, None)


@pytest.mark.parametrize(
    ("name", "dense"),
    [*((name, False) for name in SOLVERS), *((name, True) for name in HOSTED)],
)
def test_one_force_a_stage(name, dense):
    """Counted as they run: one for every stage of a step, and one at the start;
    position Verlet, whose force is not at the ends of the step, needs those two for
    dense output."""
    calls = []

    def count(q):
        calls.append(1)
        return -q

    def field(t, y, args):
        q, p = y
        return p, jax.pure_callback(count, jax.ShapeDtypeStruct((1,), q.dtype), q)

    n, solver = 5, SOLVERS[name]
    stages = {"SymplecticEuler": 1, "DriftKickDrift": 1}.get(name, len(solver.drifts))
    term, between = diffrax.ODETerm(field), diffrax.SaveAt(ts=jnp.array([0.33]))
    saveat = between if dense else diffrax.SaveAt(t1=True)
    solve(term, solver, PENDULUM_STATE, 0.0, 1.0, n, saveat=saveat)
    jax.effects_barrier()
    most = 3 * n if dense and name == "DriftKickDrift" else stages * n + 1
    assert stages * n <= len(calls) <= most
