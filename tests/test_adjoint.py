"""Gradients found by undoing the steps are those of the steps."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx

from .problems import (
    pendulum,
    PENDULUM_STATE,
    random_state,
    solve,
    SOLVERS,
)


SaveAt, Sub = diffrax.SaveAt, diffrax.SubSaveAt
REVERSIBLE, DIRECT = cx.ReversibleAdjoint(), diffrax.DirectAdjoint()


class Gated(eqx.Module):
    """A learned friction that depends on the position."""

    scale: jax.Array

    def __call__(self, q, p):
        return self.scale * jax.nn.sigmoid(jnp.sum(q))


class Well(eqx.Module):
    """A learned potential that couples its two coordinates, and compiles fast."""

    stiffness: jax.Array
    coupling: jax.Array

    def __call__(self, q):
        return jnp.sum(self.stiffness * q**4) + jnp.sin(self.coupling * q[0] * q[1])


def inputs():
    """An energy, a friction, a state, args and times, to differentiate by."""
    potential = Well(jnp.array([0.5, 0.8]), jnp.array(1.7))
    kinetic = cx.RelativisticKinetic(2, mass=jnp.array([0.6, 1.9]), speed_limit=1.3)
    energy = cx.SeparableHamiltonian(kinetic, potential)
    times = jnp.array([0.0, 1.0])
    return energy, Gated(jnp.array(0.4)), random_state(1, 2), jnp.array(1.3), times


def assert_close(got, want, tol=1e-10):
    """To a part in 1/tol of each array's largest entry."""

    def check(a, b):
        np.testing.assert_allclose(a, b, atol=tol * np.abs(b).max(), rtol=0)

    jax.tree.map(check, got, want)


def weigh(ys):
    """A number that every saved row has its own part in."""
    total = jnp.array(0.0)
    for y in jax.tree.leaves(ys):
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        total += jnp.sum(jnp.where(jnp.isfinite(y), weights * y**2, 0))
    return total


def compare(loss, arguments, other=DIRECT):
    """Value and gradients under both adjoints."""
    both = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    (value, got), (same, want) = both(arguments, REVERSIBLE), both(arguments, other)
    np.testing.assert_allclose(value, same, rtol=1e-13)
    assert_close(got, want)


OTHERS = {
    "Substeps": cx.Substeps(cx.CHLUSolver(), 3),
    "TaoSolver": cx.TaoSolver(4.0),
    "ImplicitMidpoint": cx.ImplicitMidpoint(),
    "GeneralizedLeapfrog": cx.GeneralizedLeapfrog(),
}


def some(t, y, args):
    return {"q": y[0] * args + t, "energy": jnp.sum(y[1] ** 2)}


EVERY = {
    "ends": Sub(t0=True, t1=True, fn=some),
    "ts": Sub(ts=jnp.array([0.0, 0.1, 0.33, 0.5, 0.5, 0.77, 1.0]), t1=True),
    "some steps": Sub(t0=True, steps=3, t1=True),
    "all": Sub(t0=True, ts=jnp.array([0.21, 0.5, 0.6]), steps=4, t1=True, fn=some),
}


def backward_in_time(saveat):
    return jax.tree.map(lambda x: x[::-1] if eqx.is_array(x) else x, saveat)


@pytest.mark.parametrize(
    "saveat, backward",
    [
        (SaveAt(t1=True), False),
        (SaveAt(steps=True), True),
        (SaveAt(subs=EVERY), True),
    ],
    ids=["t1", "steps", "every"],
)
def test_every_saveat(saveat, backward):
    """With respect to the energy, friction, state, args, t0, t1 and, by them, dt0; in
    both directions of time."""

    def loss(arguments, adjoint):
        energy, friction, y0, args, (t0, t1) = arguments
        if backward:
            t0, t1 = t1, t0
        sol = diffrax.diffeqsolve(
            cx.HamiltonianTerm(energy, friction),
            cx.CHLUSolver(),
            t0,
            t1,
            (t1 - t0) / 10.5,
            y0,
            args,
            saveat=backward_in_time(saveat) if backward else saveat,
            adjoint=adjoint,
            max_steps=12,
        )
        return weigh(sol.ys) + 0.1 * weigh(sol.ts)

    compare(loss, inputs())


@pytest.mark.parametrize("name", ["DriftKickDrift", "Substeps", "TaoSolver"])
def test_step_to_and_explicit_time(name):
    """Uneven steps, whose times are differentiated by as well; a field that depends on
    time and closes over a parameter."""
    solver = (SOLVERS | OTHERS)[name]

    def loss(arguments, adjoint):
        scale, ts, y0 = arguments

        def field(t, y, args):
            q, p = y
            return p, -scale * jnp.sin(q) + jnp.cos(3 * t)

        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            ts[0],
            ts[-1],
            None,
            y0,
            stepsize_controller=diffrax.StepTo(ts),
            saveat=SaveAt(subs=[Sub(t1=True), Sub(ts=jnp.array([0.3, 0.42, 0.9]))]),
            adjoint=adjoint,
            max_steps=6,
        )
        return weigh(sol.ys)

    ts = jnp.array([0.1, 0.2, 0.5, 0.55, 1.0])
    compare(loss, (jnp.array(1.3), ts, PENDULUM_STATE))


@pytest.mark.parametrize(
    "name", ["CHLUSolver", "KickDriftKickDamp", "BlanesMoan4", *OTHERS]
)
def test_rollout_of_every_kind_of_solver(name):
    solver = (SOLVERS | OTHERS)[name]

    def loss(arguments, adjoint):
        energy, friction, y0, _, (t0, t1) = arguments
        ys = cx.rollout(
            cx.HamiltonianTerm(energy, friction),
            solver,
            y0,
            dt=(t1 - t0) / 10,
            num_steps=20,
            save_every=4,
            adjoint=adjoint,
        )
        return weigh(ys)

    compare(loss, inputs())


def test_finite_differences():
    energy, friction, y0, _, _ = inputs()
    potential = energy.potential

    def loss(x):
        shifted = lambda q: potential(q + x["shift"])  # noqa: E731
        q, p = cx.rollout(
            cx.HamiltonianTerm(
                cx.SeparableHamiltonian(energy.kinetic, shifted), x["friction"]
            ),
            cx.CHLUSolver(),
            (y0[0] * x["scale"], y0[1]),
            dt=x["dt"],
            num_steps=50,
        )
        return jnp.sum(q[-1] ** 2) + jnp.sum(p[25])

    at = {"shift": 0.2, "friction": 0.3, "scale": 1.1, "dt": 0.05}
    at = {key: jnp.array(value) for key, value in at.items()}
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    _, slopes = value_and_grad(at)
    for key, slope in slopes.items():
        up, _ = value_and_grad(at | {key: at[key] + 1e-6})
        down, _ = value_and_grad(at | {key: at[key] - 1e-6})
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("through", ["rollout", "diffeqsolve"])
def test_batches(through):
    """Of states, of args, of times, and batches of batches: the sum of the gradients of
    all, each by itself."""

    def one(scale, q0, args, t1):
        def field(t, y, _):
            q, p = y
            return p, -scale * jnp.sin(q) * args

        term, y0 = diffrax.ODETerm(field), (q0, jnp.ones(2))
        if through == "rollout":
            run = dict(dt=t1 / 8, num_steps=8)
            return weigh(cx.rollout(term, cx.CHLUSolver(), y0, **run))
        saveat = SaveAt(steps=True)
        run = dict(adjoint=REVERSIBLE, max_steps=8, saveat=saveat)
        zero = jnp.array(0.0)
        sol = diffrax.diffeqsolve(term, cx.CHLUSolver(), zero, t1, t1 / 8, y0, **run)
        return weigh(sol.ys)

    every = jax.jit(jax.grad(one, argnums=(0, 1, 2, 3)))
    scale, args, t1 = jnp.array([1.1, 0.7]), jnp.array([0.5, 1.5, 2.5]), jnp.array(1.0)
    q0 = jax.random.normal(jax.random.key(0), (3, 2, 2))
    alone = [[every(scale, q0[i, j], args[i], t1) for j in range(2)] for i in range(3)]
    alone = jax.tree.map(lambda *x: jnp.stack(x), *sum(alone, []))

    def total(scale, q0, args, t1):
        inner = jax.vmap(one, in_axes=(None, 0, None, None))
        return jnp.sum(jax.vmap(inner, in_axes=(None, 0, 0, None))(scale, q0, args, t1))

    d_scale, d_q0, d_args, d_t1 = jax.jit(jax.grad(total, (0, 1, 2, 3)))(
        scale, q0, args, t1
    )
    assert_close(d_scale, jnp.sum(alone[0], 0), 1e-12)
    assert_close(d_q0.reshape(6, 2), alone[1], 1e-12)
    assert_close(d_args, jnp.sum(alone[2].reshape(3, 2), 1), 1e-12)
    assert_close(d_t1, jnp.sum(alone[3]), 1e-12)

    t1s = jnp.array([1.0, 0.6])
    times = jax.vmap(one, in_axes=(None, 0, None, 0))
    d_t1s = jax.grad(lambda t: jnp.sum(times(scale, q0[0], args[0], t)))(t1s)
    want = [every(scale, q0[0, j], args[0], t1s[j])[3] for j in range(2)]
    assert_close(d_t1s, jnp.stack(want), 1e-12)


def test_what_functions_close_over():
    """Parameters that the energy, the friction and `fn` see without being told."""

    def loss(x, adjoint):
        energy = cx.SeparableHamiltonian(
            lambda p: x["mass"] * jnp.sum(p**2) / 2,
            lambda q: -x["force"] * jnp.sum(jnp.cos(q)),
        )
        term = cx.HamiltonianTerm(energy, lambda q, p: x["friction"] * jnp.cos(q))
        saveat = SaveAt(t1=True, fn=lambda t, y, args: y[0] * x["scale"])
        args = (term, cx.CHLUSolver(), PENDULUM_STATE, 0.0, 1.0, 10)
        return weigh(solve(*args, saveat=saveat, adjoint=adjoint).ys)

    names = ("mass", "force", "friction", "scale")
    compare(loss, {name: jnp.array(0.4 + 0.3 * i) for i, name in enumerate(names)})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_pytrees_and_precision(dtype):
    q0 = {"a": jnp.array([0.3, -0.2], dtype), "b": (jnp.array(1.0, dtype),)}

    def energy(q, p):
        squares = [jnp.sum(x**2) for x in jax.tree.leaves(p)]
        return sum(squares) / 2 - jnp.sum(jnp.cos(q["a"])) * jnp.cos(q["b"][0])

    def loss(y0, adjoint):
        term = cx.HamiltonianTerm(energy, 0.1)
        ys = cx.rollout(
            term, cx.CHLUSolver(), y0, dt=0.1, num_steps=10, adjoint=adjoint
        )
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(ys))

    got = jax.grad(loss)((q0, q0), None)
    want = jax.grad(loss)((q0, q0), DIRECT)
    assert all(x.dtype == dtype for x in jax.tree.leaves(got))
    assert_close(got, want, 50 * jnp.finfo(dtype).eps)


def test_memory_does_not_grow_with_steps():
    energy, _, y0, _, _ = inputs()
    diff, static = eqx.partition(energy, eqx.is_inexact_array)

    def roll(diff, n, adjoint):
        term = cx.HamiltonianTerm(eqx.combine(diff, static))
        run = dict(dt=1 / n, num_steps=n, save_every=n)
        return weigh(cx.rollout(term, cx.CHLUSolver(), y0, adjoint=adjoint, **run))

    def through_diffeqsolve(diff, n, adjoint):
        term = cx.HamiltonianTerm(eqx.combine(diff, static))
        args = (term, cx.CHLUSolver(), y0, 0.0, 1.0, n)
        return weigh(solve(*args, adjoint=adjoint).ys)

    def temporary(loss, n, adjoint):
        compiled = jax.jit(jax.grad(lambda diff: loss(diff, n, adjoint)))
        memory = compiled.lower(diff).compile().memory_analysis()
        return memory.temp_size_in_bytes

    for loss in (roll, through_diffeqsolve):
        assert temporary(loss, 100, REVERSIBLE) == temporary(loss, 10_000, REVERSIBLE)
    assert temporary(roll, 10_000, DIRECT) > 20 * temporary(roll, 100, DIRECT)


def test_a_lost_past_is_an_error():
    """Overdamped: the fast direction contracts as e^(-ΓT), by 1e-60, and rounding is
    1e-16."""

    def loss(friction, adjoint):
        energy = cx.SeparableHamiltonian(
            cx.NewtonianKinetic(1), lambda q: 0.05 * jnp.sum(q**2)
        )
        term, run = cx.HamiltonianTerm(energy, friction), dict(dt=0.1, save_every=500)
        run |= dict(num_steps=500, adjoint=adjoint)
        return weigh(cx.rollout(term, cx.CHLUSolver(), PENDULUM_STATE, **run))

    strong = jnp.array(3.0)
    with pytest.raises(Exception, match="could not find the past .*DirectAdjoint"):
        jax.grad(loss)(strong, None)
    want = jax.grad(loss)(strong, DIRECT)
    lost = jax.grad(loss)(strong, cx.ReversibleAdjoint(rtol=jnp.inf))
    assert np.isfinite(want) and np.abs(lost - want) > 0.1 * np.abs(want)
    # Within what rounding allows, the gradient is as good as the bound says.
    weak = jnp.array(0.4)
    got, want = jax.grad(loss)(weak, None), jax.grad(loss)(weak, DIRECT)
    np.testing.assert_allclose(got, want, rtol=np.exp(0.4 * 50) * 1e-15)


def test_failed_solves_have_no_gradient():
    """One of a batch runs off to infinity: the other, at rest, keeps its gradient."""

    def end(q0):
        energy = cx.SeparableHamiltonian(
            cx.NewtonianKinetic(1), lambda q: -jnp.sum(q**3) / 3
        )
        args = (cx.HamiltonianTerm(energy), cx.CHLUSolver(), (q0, 0 * q0))
        sol = solve(*args, 0.0, 10.0, 200, throw=False, adjoint=REVERSIBLE)
        return sol.ys[0][0, 0]

    slopes = jax.vmap(jax.grad(end))(jnp.array([[0.0], [6.0]]))
    np.testing.assert_array_equal(np.isfinite(slopes[:, 0]), [True, False])


def test_interrupted_solve():
    """`max_steps` reached, without `throw`: the gradient of what was solved."""

    def loss(y0, adjoint):
        args = (pendulum(0.1), cx.CHLUSolver(), y0, 0.0, 2.0, 20)
        saveat = SaveAt(t1=True, ts=jnp.array([0.1, 0.35, 1.9]))
        run = dict(max_steps=7, throw=False, saveat=saveat, adjoint=adjoint)
        return weigh(solve(*args, **run).ys)

    compare(loss, PENDULUM_STATE)


def test_no_steps():
    def loss(y0, adjoint):
        saveat = SaveAt(t0=True, t1=True, ts=jnp.array([1.0, 1.0]))
        sol = diffrax.diffeqsolve(
            pendulum(),
            cx.CHLUSolver(),
            1.0,
            1.0,
            0.1,
            y0,
            saveat=saveat,
            adjoint=adjoint,
        )
        return weigh(sol.ys)

    got = jax.grad(loss)(PENDULUM_STATE, REVERSIBLE)
    weights = jnp.sum(jnp.cos(jnp.arange(4.0)))
    np.testing.assert_allclose(got, [2 * weights * y for y in PENDULUM_STATE])


def test_higher_derivatives_through_the_scan():
    def end(q0, adjoint):
        run = dict(dt=0.1, num_steps=10, save_every=10, adjoint=adjoint)
        q, _ = cx.rollout(pendulum(), cx.CHLUSolver(), (q0, PENDULUM_STATE[1]), **run)
        return q[-1, 0]

    q0 = PENDULUM_STATE[0]
    slope = lambda q0: jax.grad(end)(q0, None)  # noqa: E731
    second = jax.hessian(end)(q0, DIRECT)
    apart = (slope(q0 + 1e-5) - slope(q0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(second[0], apart, rtol=1e-6)
    # Forward over reverse needs no more than the walk back.
    _, tangent = jax.jvp(slope, (q0,), (jnp.ones(1),))
    np.testing.assert_allclose(tangent, second[0], rtol=1e-11)


def test_what_it_refuses():
    def run(solver=None, term=None, t1=1.0, dt0=0.1, **kwargs):
        return diffrax.diffeqsolve(
            pendulum() if term is None else term,
            cx.CHLUSolver() if solver is None else solver,
            0.0,
            t1,
            dt0,
            PENDULUM_STATE,
            adjoint=REVERSIBLE,
            **kwargs,
        )

    with pytest.raises(ValueError, match="steps can be undone.*got Tsit5.*Recursive"):
        run(diffrax.Tsit5())
    pid = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="`stepsize_controller` to be.*PIDController"):
        run(stepsize_controller=pid)
    event = diffrax.Event(lambda t, y, args, **kwargs: y[0][0])
    with pytest.raises(ValueError, match="an `event` ended.*RecursiveCheckpoint"):
        run(event=event)
    with pytest.raises(ValueError, match="dense output.*SaveAt.*RecursiveCheckpoint"):
        run(saveat=SaveAt(dense=True))
    with pytest.raises(Exception, match="needs a finite `t1`"):
        run(t1=jnp.inf, max_steps=10, throw=False)
    neural = cx.HamiltonianTerm(cx.NeuralHamiltonian(1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="`hamiltonian` must be a `SeparableHamilton"):
        run(term=neural)
    rolling = dict(dt=0.1, num_steps=2)
    with pytest.raises(ValueError, match="`hamiltonian` must be a `SeparableHamilton"):
        cx.rollout(neural, cx.CHLUSolver(), PENDULUM_STATE, **rolling)
    with pytest.raises(ValueError, match="steps can be undone.*got Tsit5.*Direct"):
        cx.rollout(
            pendulum(), diffrax.Tsit5(), PENDULUM_STATE, adjoint=REVERSIBLE, **rolling
        )
    with pytest.raises(ValueError, match="`adjoint` must be `chlu_eqx.ReversibleAd"):
        backsolve = diffrax.BacksolveAdjoint()
        cx.rollout(
            pendulum(), cx.CHLUSolver(), PENDULUM_STATE, adjoint=backsolve, **rolling
        )
    for rtol in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="`rtol` must be positive"):
            cx.ReversibleAdjoint(rtol)


def test_gradients_of_the_solver_state_are_refused():
    def loss(y0):
        saveat = SaveAt(t1=True, solver_state=True)
        args = (pendulum(), cx.CHLUSolver(), y0, 0.0, 1.0, 10)
        return weigh(solve(*args, saveat=saveat, adjoint=REVERSIBLE).solver_state)

    with pytest.raises(Exception, match="what `SaveAt` saved of the state, and not"):
        jax.grad(loss)(PENDULUM_STATE)


def test_the_binding_of_tao_is_learned():
    """With respect to the solver's own parameter."""

    def loss(omega, adjoint):
        run = dict(dt=0.1, num_steps=10, adjoint=adjoint)
        energy = lambda q, p: jnp.sum((q**2 + 1) * (p**2 + 1)) / 2  # noqa: E731
        term, solver = cx.HamiltonianTerm(energy), cx.TaoSolver(omega)
        return weigh(cx.rollout(term, solver, PENDULUM_STATE, **run))

    compare(loss, jnp.array(4.0))
