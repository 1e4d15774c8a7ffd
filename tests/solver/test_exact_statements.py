"""What the map is, to rounding, on random learned energies: the numbered statements of
the CHLU's geometry. γ is the friction per step, Γ = -log(1 - γ)/dt its rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import chlu_eqx as cx
from chlu_eqx.analysis import step_jacobian, step_map

from ..problems import HOSTED, learned, random_state, SOLVERS


DIM = 3
seeds = st.integers(0, 2**31 - 1)
steps = st.floats(0.01, 0.5)
gammas = st.floats(0.0, 0.9)


@jax.jit
def _learned_jacobians(seed, dt, rate, relativistic):
    """The Jacobian of one step of every solver, as (2 dim, 2 dim) matrices."""
    # Both kinds of energy, so that one compilation serves every example.
    out = {}
    for name in HOSTED:
        both = []
        for kind in (False, True):
            term = cx.HamiltonianTerm(learned(seed, DIM, kind), rate)
            both.append(_jacobian(term, SOLVERS[name], random_state(seed + 1, DIM), dt))
        out[name] = jnp.where(relativistic, both[1], both[0])
    return out


def _jacobian(term, solver, y0, dt):
    return step_jacobian(step_map(term, solver, dt=dt), y0)


def _omega(dim):
    eye, zero = np.eye(dim), np.zeros((dim, dim))
    return np.block([[zero, eye], [-eye, zero]])


@given(seed=seeds, dt=steps, gamma=gammas, relativistic=st.booleans())
def test_conformally_symplectic(seed, dt, gamma, relativistic):
    """1 and 2: JᵀΩJ = (1-γ)Ω, det J = (1-γ)^d, singular values pair as (σ, (1-γ)/σ),
    and their mean logarithm is ½ log(1-γ) whatever the energy."""
    rate = cx.friction_rate(gamma, dt)
    jacobians = _learned_jacobians(seed, dt, rate, relativistic)
    omega = _omega(DIM)
    for name, jacobian in jacobians.items():
        J = np.asarray(jacobian)
        size = max(1.0, np.abs(J).max() ** 2)
        defect = np.abs(J.T @ omega @ J - (1 - gamma) * omega).max()
        assert defect < 1e-13 * size, name
        np.testing.assert_allclose(np.linalg.det(J), (1 - gamma) ** DIM, rtol=1e-10)
        singular = np.linalg.svd(J, compute_uv=False)
        np.testing.assert_allclose(singular * singular[::-1], 1 - gamma, rtol=1e-9)
        np.testing.assert_allclose(
            np.log(singular).mean(), np.log1p(-gamma) / 2, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_angular_momentum(name):
    """3: rotation invariance conserves angular momentum exactly at γ = 0 and makes it
    decay exactly as (1-γ)ⁿ."""
    dim, dt, n = 2, 0.1, 200
    mlp = cx.MLPPotential(1, width=8, key=jax.random.key(3))
    energy = cx.SeparableHamiltonian(
        cx.RelativisticKinetic(dim, mass=1.7),
        lambda q: mlp(jnp.sum(q**2, keepdims=True)) + 0.5 * jnp.sum(q**2),
    )

    @jax.jit
    def momenta(rate):
        q, p = cx.rollout(
            cx.HamiltonianTerm(energy, rate),
            SOLVERS[name],
            random_state(5, dim),
            dt=dt,
            num_steps=n,
            save_every=20,
        )
        return q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]

    for gamma in (0.0, 0.03):
        found = momenta(cx.friction_rate(gamma, dt))
        expected = found[0] * (1 - gamma) ** np.arange(0, n + 1, 20)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_flat_direction_is_a_latch():
    """4: with no force, pₙ = (1-γ)ⁿ p₀ and q → q₀ + ε p₀ / (m γ)."""
    gamma, dt, mass = 0.05, 0.3, 2.5
    energy = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(2, mass=mass), lambda q: jnp.sum(0 * q)
    )
    term = cx.HamiltonianTerm(energy, cx.friction_rate(gamma, dt))
    q0, p0 = random_state(0, 2)
    q, p = cx.rollout(term, cx.KickDriftKickDamp(), (q0, p0), dt=dt, num_steps=1000)
    n = np.arange(1001)[:, None]
    np.testing.assert_allclose(p, (1 - gamma) ** n * np.asarray(p0), rtol=1e-11)
    np.testing.assert_allclose(q[-1], q0 + dt * p0 / (mass * gamma), rtol=1e-13)


@jax.jit
def _mode_matrix(curvature, mass, dt, gamma):
    energy = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(1, mass=mass),
        lambda q: 0.5 * jnp.sum(curvature * q**2),
    )
    term = cx.HamiltonianTerm(energy, cx.friction_rate(gamma, dt))
    y0 = random_state(0, 1)
    return _jacobian(term, cx.KickDriftKickDamp(), y0, dt)


@given(curvature=st.floats(-3.0, 3.0), mass=st.floats(0.2, 5.0), dt=steps, gamma=gammas)
def test_one_mode(curvature, mass, dt, gamma):
    """5: the step is the 2x2 matrix of trace (2-γ)(1-h²/2) and determinant 1-γ."""
    h2 = dt**2 * curvature / mass
    step = np.asarray(_mode_matrix(curvature, mass, dt, gamma))
    np.testing.assert_allclose(np.trace(step), (2 - gamma) * (1 - h2 / 2), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.det(step), 1 - gamma, rtol=1e-12)


def _radius(h, gamma):
    """The spectral radius for a mode of frequency h per step; imaginary at a saddle."""
    step = _mode_matrix(curvature=np.real(h**2), mass=1.0, dt=1.0, gamma=gamma)
    return np.abs(np.linalg.eigvals(step)).max()


def test_one_mode_half_lives():
    """5: what follows for memory."""
    gamma = 0.1
    threshold = (1 - np.sqrt(1 - gamma)) * np.sqrt(2 / (2 - gamma))
    underdamped = 2 * np.log(2) / -np.log(1 - gamma)
    for h in (1.01 * threshold, 0.5, 1.9):
        np.testing.assert_allclose(
            np.log(2) / -np.log(_radius(h, gamma)), underdamped, rtol=1e-10
        )
    # Below the threshold one eigenvalue nears 1: memory grows as h^-2.
    h = 1e-3 * threshold
    overdamped = 2 * gamma * np.log(2) / ((2 - gamma) * h**2)
    np.testing.assert_allclose(
        np.log(2) / -np.log(_radius(h, gamma)), overdamped, rtol=1e-5
    )
    assert _radius(0.9 * threshold, gamma) > np.sqrt(1 - gamma)
    # Beyond h = 2 the step is unstable without friction; a saddle is with any.
    assert _radius(2.01, 0.0) > 1 and _radius(1.99, 0.0) < 1 + 1e-12
    assert all(_radius(0.1j, g) > 1 for g in (0.0, 0.5, 0.99))


@given(seed=seeds, dt=steps)
def test_position_gated_friction(seed, dt):
    """6: with γ(q), det J = (1 - γ(qₙ₊₁))^d."""
    determinant, expected = _gated(seed, dt)
    np.testing.assert_allclose(determinant, expected, rtol=1e-11)


@jax.jit
def _gated(seed, dt):
    def rate(q, p):
        return 2 * jax.nn.sigmoid(jnp.sum(q))

    term = cx.HamiltonianTerm(learned(seed, DIM, True), rate)
    y0 = random_state(seed + 1, DIM)
    J = _jacobian(term, cx.KickDriftKickDamp(), y0, dt)
    q, _ = cx.rollout(term, cx.KickDriftKickDamp(), y0, dt=dt, num_steps=1)
    return jnp.linalg.det(J), jnp.exp(-DIM * dt * rate(q[1], None))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", [*HOSTED, "SymplecticEuler", "BlanesMoan4"])
def test_speed_cap(name, dtype):
    """7: no coordinate moves faster than c/√Mᵢ, whatever the momentum."""
    mass = np.array([0.3, 1.0, 9.0])
    kinetic = cx.RelativisticKinetic(3, mass=mass, speed_limit=2.0)
    term = cx.HamiltonianTerm(cx.SeparableHamiltonian(kinetic, cx.Confinement()))
    eps = jnp.finfo(dtype).eps
    sizes = jnp.array([1e-3, 1.0, 1e10, 1e30], dtype)

    def run(size):
        y0 = jnp.zeros(3, dtype), size * jnp.array([1.0, -2.0, 0.5], dtype)
        return cx.rollout(term, SOLVERS[name], y0, dt=0.1, num_steps=1)

    q, p = jax.jit(jax.vmap(run))(sizes)
    assert q.dtype == p.dtype == dtype
    assert jnp.all(jnp.isfinite(q)) and jnp.all(jnp.isfinite(p))
    speed = np.abs(q[:, 1] - q[:, 0]) / 0.1
    assert np.all(speed <= 2.0 / np.sqrt(mass) * (1 + 8 * eps))
