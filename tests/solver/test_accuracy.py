"""Orders, energies and symmetries, measured."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx
from chlu_eqx.analysis import (
    measured_order,
    step_map,
)

from ..problems import (
    henon_heiles,
    HENON_HEILES_STATE,
    HOSTED,
    learned,
    ORDER,
    ORDER_WITH_FRICTION,
    pendulum,
    PENDULUM_STATE,
    random_state,
    reference,
    solve,
    SOLVERS,
    SYMMETRIC,
)


FRICTIONS = {
    "none": None,
    "scalar": 0.4,
    "each": np.array([0.1, 0.7]),
    # Bounded: going backward, friction magnifies rounding by e^(Γt).
    "position": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(q)),
    "momentum": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(p)),
}


# Numbers of steps at which errors are small and far from rounding.
NUM_STEPS = {
    1: (256, 512),
    2: (64, 128),
    4: (24, 32, 48),
    6: (8, 10, 12),
    8: (6, 8, 12),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_order(name):
    """Of every method, with a kinetic energy that is not quadratic, and with one that
    is where that matters."""
    for relativistic in (False, True) if "Nystrom" in name else (True,):
        order = ORDER[name]
        if relativistic and name == "BlanesMoanNystrom6":
            order = 4  # as its documentation has it
        term = henon_heiles(relativistic)
        run = dict(t1=4.0, num_steps=NUM_STEPS[order])
        found = measured_order(term, SOLVERS[name], HENON_HEILES_STATE, **run)
        assert abs(found.order - order) < 0.25
        assert 1e-11 < found.errors[-1] < 0.02
        assert SOLVERS[name].order(term) == ORDER[name]


@pytest.mark.parametrize(
    "name, friction",
    [
        *(("CHLUSolver", friction) for friction in FRICTIONS if friction != "none"),
        ("DriftKickDrift", "position"),
        ("KickDriftKickDamp", "momentum"),
        ("SymplecticEuler", "scalar"),
        ("BlanesMoan4", "none"),
        ("BlanesMoan4", "each"),
    ],
)
def test_order_of_output(name, friction):
    """With friction, and in between the steps by dense output."""
    term = cx.HamiltonianTerm(henon_heiles(True).hamiltonian, FRICTIONS[friction])
    y0, ts = HENON_HEILES_STATE, jnp.linspace(0.0, 4.0, 24)
    exact = reference(term, y0, 0.0, 4.0, saveat=diffrax.SaveAt(ts=ts)).ys

    @jax.jit
    def errors(dt):
        saveat = diffrax.SaveAt(ts=ts)
        sol = diffrax.diffeqsolve(term, SOLVERS[name], 0.0, 4.0, dt, y0, saveat=saveat)
        error = jnp.abs(jnp.stack(sol.ys) - jnp.stack(exact))
        return error[:, -1].max(), error[:, :-1].max()

    expected = (ORDER if friction == "none" else ORDER_WITH_FRICTION)[name]
    steps = np.array([64, 128, 256])
    found = np.array([errors(4.0 / n) for n in steps])
    for column in found.T:
        slope = -np.polyfit(np.log(steps), np.log(column), 1)[0]
        np.testing.assert_allclose(slope, expected, atol=0.2)
    assert SOLVERS[name].order(term) == expected


@pytest.mark.parametrize("name", ["CHLUSolver", "DriftKickDrift", "KahanLi6"])
def test_time_symmetric(name):
    """Steps back undo as many forward, to rounding, friction included. (One step of
    every solver is in `test_properties.py`.)"""
    for friction in ("none", "each", "position") if name in HOSTED else ("each",):
        term = cx.HamiltonianTerm(learned(2, 2, True), FRICTIONS[friction])
        y0 = random_state(3, 2)
        there = step_map(term, SOLVERS[name], dt=0.1, num_steps=30)(y0)
        back = step_map(term, SOLVERS[name], dt=-0.1, num_steps=30)(there)
        assert np.abs(there[0] - y0[0]).max() > 0.1
        np.testing.assert_allclose(back[0], y0[0], atol=2e-13)
        np.testing.assert_allclose(back[1], y0[1], atol=2e-13)


@pytest.mark.parametrize("name", HOSTED)
def test_backward_in_time(name):
    """The same through diffeqsolve: forward by the method, and back by its inverse if
    it is symmetric."""
    there = solve(pendulum(0.3), SOLVERS[name], PENDULUM_STATE, 0.0, 3.0, 30).ys
    y1 = jax.tree.map(lambda x: x[0], there)
    back = solve(pendulum(0.3), SOLVERS[name], y1, 3.0, 0.0, 30).ys
    error = np.abs(np.stack(back)[:, 0] - np.stack(PENDULUM_STATE)).max()
    assert error < 1e-13 if name in SYMMETRIC else error > 1e-3


@pytest.mark.parametrize("name", SOLVERS)
def test_backward_step_undoes_a_step(name):
    """Of every method, symmetric or not; of the solver's own state too."""
    solver, y0 = SOLVERS[name], random_state(3, 2)
    for friction in ("none", "each", "position") if name in HOSTED else ("each",):
        term = cx.HamiltonianTerm(learned(2, 2, True), FRICTIONS[friction])
        state0 = solver.init(term, 0.0, 0.2, y0, None)
        y1, _, info1, state1, _ = solver.step(
            term, 0.0, 0.2, y0, None, state0, made_jump=False
        )
        y, info, state, result = solver.backward_step(
            term, 0.0, 0.2, y1, None, state1, made_jump=False
        )
        assert result == diffrax.RESULTS.successful
        assert np.abs(y1[0] - y0[0]).max() > 1e-3
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-13),
            (y, info, state),
            (y0, info1, state0),
        )


@pytest.mark.parametrize("name", ["CHLUSolver", "DriftKickDrift"])
def test_reversible_under_momentum_flip(name):
    """ρ ∘ Φ ∘ ρ ∘ Φ = 1 with ρ(q, p) = (q, -p)."""
    term = cx.HamiltonianTerm(learned(4, 2, True))
    q0, p0 = random_state(5, 2)
    run = dict(dt=0.1, num_steps=50, save_every=50)
    q, p = cx.rollout(term, SOLVERS[name], (q0, p0), **run)
    q, p = cx.rollout(term, SOLVERS[name], (q[-1], -p[-1]), **run)
    np.testing.assert_allclose(q[-1], q0, atol=1e-12)
    np.testing.assert_allclose(p[-1], -p0, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_dissipation_settles_in_a_minimum(name):
    q, p = cx.rollout(
        pendulum(0.5), SOLVERS[name], PENDULUM_STATE, dt=0.1, num_steps=1000
    )
    np.testing.assert_allclose([q[-1], p[-1]], 0.0, atol=1e-9)


def test_verlet_by_hand():
    """Two steps of the paper's formulas, in numpy."""
    dt, gamma, k = 0.1, 0.2, 3.0
    m = np.array([0.5, 2.0])
    q, p = np.array([1.0, -0.4]), np.array([0.2, 0.9])
    c, m0 = 1.5, 0.7
    energy = cx.SeparableHamiltonian(
        cx.RelativisticKinetic(2, mass=m, rest_mass=m0, speed_limit=c),
        lambda q: k * jnp.sum(q**4) / 4,
    )
    term = cx.HamiltonianTerm(energy, cx.friction_rate(gamma, dt))
    got_q, got_p = cx.rollout(
        term, cx.KickDriftKickDamp(), (jnp.array(q), jnp.array(p)), dt=dt, num_steps=2
    )
    for n in (1, 2):
        p = p - dt / 2 * k * q**3
        q = q + dt * c * p / m / np.sqrt(np.sum(p**2 / m) + (m0 * c) ** 2)
        p = (1 - gamma) * (p - dt / 2 * k * q**3)
        np.testing.assert_allclose(got_q[n], q, rtol=1e-14)
        np.testing.assert_allclose(got_p[n], p, rtol=1e-14)


@pytest.mark.parametrize(
    "name", [*HOSTED, "SymplecticEuler", "BlanesMoan4", "BlanesMoanNystrom6"]
)
def test_explicit_time(name):
    """A driven oscillator: q̈ = -q + cos 2t, by its closed form, and of full order."""

    def driven(t, y, args):
        q, p = y
        return p, -q + jnp.cos(2 * t)

    def exact(t):
        # q(0) = 1, q̇(0) = 0; particular solution -cos(2t)/3.
        q = 4 / 3 * np.cos(t) - np.cos(2 * t) / 3
        return q, -4 / 3 * np.sin(t) + 2 / 3 * np.sin(2 * t)

    ts = jnp.linspace(0, 3, 7)
    field, y0 = diffrax.ODETerm(driven), (jnp.ones(1), jnp.zeros(1))
    errors, coarse = [], {1: 102, 2: 102, 4: 36, 6: 18, 8: 12}[ORDER[name]]
    for n in (coarse, 2 * coarse):
        sol = solve(field, SOLVERS[name], y0, 0.0, 3.0, n, saveat=diffrax.SaveAt(ts=ts))
        ys = np.stack(sol.ys)[..., 0]
        errors.append(np.abs(ys - exact(ts)).max())
    assert abs(np.log2(errors[0] / errors[1]) - ORDER[name]) < 0.2
