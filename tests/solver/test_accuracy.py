"""Orders, energies and symmetries, measured."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx

from ..problems import (
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
    "each": np.array([0.1, 0.7, 0.0]),
    # Bounded: going backward, friction magnifies rounding by e^(Γt).
    "position": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(q)),
    "momentum": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(p)),
}


def _measured_order(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("name", SOLVERS)
def test_order(name, friction):
    """Of states at the end and, by dense output, in between; on a learned relativistic
    energy; against Dopri8 at tight tolerance."""
    term = cx.HamiltonianTerm(learned(0, 3, True), FRICTIONS[friction])
    y0 = random_state(1, 3)
    ts = jnp.linspace(0.0, 2.0, 24)
    exact = reference(term, y0, 0.0, 2.0, saveat=diffrax.SaveAt(ts=ts)).ys

    @jax.jit
    def errors(dt):
        sol = diffrax.diffeqsolve(
            term,
            SOLVERS[name],
            0.0,
            2.0,
            dt,
            y0,
            saveat=diffrax.SaveAt(ts=ts),
        )
        error = jnp.abs(jnp.stack(sol.ys) - jnp.stack(exact))
        return error[:, -1].max(), error[:, :-1].max()

    steps = np.array([64, 128, 256])
    end, between = np.array([errors(2.0 / n) for n in steps]).T
    expected = (ORDER if friction == "none" else ORDER_WITH_FRICTION)[name]
    assert abs(_measured_order(steps, end) - expected) < 0.15
    assert abs(_measured_order(steps, between) - expected) < 0.15
    assert SOLVERS[name].order(term) == expected


@pytest.mark.parametrize("friction", ["none", "scalar", "each", "position"])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_time_symmetric(name, friction):
    """A step back undoes a step forward, to rounding, friction included."""
    term = cx.HamiltonianTerm(learned(2, 3, True), FRICTIONS[friction])
    y0 = random_state(3, 3)
    there = solve(term, SOLVERS[name], y0, 0.0, 3.0, 30).ys
    y1 = jax.tree.map(lambda x: x[0], there)
    back = solve(term, SOLVERS[name], y1, 3.0, 0.0, 30).ys
    assert np.abs(y1[0] - y0[0]).max() > 0.1
    np.testing.assert_allclose(back[0][0], y0[0], atol=1e-13)
    np.testing.assert_allclose(back[1][0], y0[1], atol=1e-13)


def test_one_sided_methods_are_not_symmetric():
    term = pendulum(0.4)
    for name in set(SOLVERS) - set(SYMMETRIC):
        y1 = solve(term, SOLVERS[name], PENDULUM_STATE, 0.0, 1.0, 10).ys
        y1 = jax.tree.map(lambda x: x[0], y1)
        back = solve(term, SOLVERS[name], y1, 1.0, 0.0, 10).ys
        assert np.abs(back[0][0] - PENDULUM_STATE[0]) > 1e-3


@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize("relativistic", [False, True])
def test_reversible_under_momentum_flip(name, relativistic):
    """ρ ∘ Φ ∘ ρ ∘ Φ = 1 with ρ(q, p) = (q, -p)."""
    term = cx.HamiltonianTerm(learned(4, 2, relativistic))
    q0, p0 = random_state(5, 2)
    run = dict(dt=0.1, num_steps=50, save_every=50)
    q, p = cx.rollout(term, SOLVERS[name], (q0, p0), **run)
    q, p = cx.rollout(term, SOLVERS[name], (q[-1], -p[-1]), **run)
    np.testing.assert_allclose(q[-1], q0, atol=1e-12)
    np.testing.assert_allclose(p[-1], -p0, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_energy_error_does_not_grow(name):
    """A million steps of a pendulum: the energy error of the last tenth is that of the
    first."""
    term = pendulum()
    q, p = cx.rollout(
        term, SOLVERS[name], PENDULUM_STATE, dt=0.1, num_steps=1_000_000, save_every=50
    )
    energy = jax.vmap(term.hamiltonian)(q, p)
    error = np.abs(energy[1:] - energy[0]).reshape(10, -1)
    first, last = error[0], error[-1]
    bound = 0.1 if ORDER[name] == 1 else 0.003
    assert error.max() < bound
    np.testing.assert_allclose(last.max(), first.max(), rtol=1e-2)
    np.testing.assert_allclose(last.mean(), first.mean(), rtol=1e-2)


def test_euler_does_drift():
    """The test above can fail: a method that is not symplectic does."""
    term = pendulum()
    q, p = cx.rollout(
        term, diffrax.Heun(), PENDULUM_STATE, dt=0.1, num_steps=100_000, save_every=100
    )
    energy = jax.vmap(term.hamiltonian)(q, p)
    assert np.abs(energy[-1] - energy[0]) > 0.5


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


@pytest.mark.parametrize("name", SOLVERS)
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
    errors = []
    for n in (102, 204):
        sol = solve(field, SOLVERS[name], y0, 0.0, 3.0, n, saveat=diffrax.SaveAt(ts=ts))
        ys = np.stack(sol.ys)[..., 0]
        errors.append(np.abs(ys - exact(ts)).max())
    assert abs(np.log2(errors[0] / errors[1]) - ORDER[name]) < 0.1
