from inspect import unwrap

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx
from chlu_eqx.analysis import energy_drift, ShadowHamiltonian, step_map

from ..problems import learned, pendulum, PENDULUM_STATE, random_state, reference
from .test_structure import H, OSCILLATOR, STEP_MATRICES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_of_a_line(dtype):
    """Slope and standard error as numpy has them."""
    noise = np.random.default_rng(0).normal(size=50)
    times = np.linspace(1000.0, 1020.0, 50)
    energies = (3 + 0.25 * times + 0.1 * noise).astype(dtype)
    (slope, _), covariance = np.polyfit(times, energies, 1, cov=True)
    got = jax.jit(energy_drift)(times, energies)
    rtol = 1e-10 if dtype == np.float64 else 1e-3
    assert got.slope.dtype == dtype
    np.testing.assert_allclose(got.slope, slope, rtol=rtol)
    np.testing.assert_allclose(got.standard_error, covariance[0, 0] ** 0.5, rtol=rtol)


def test_line_and_oscillation():
    """An even oscillation about an odd line: each found exactly."""
    times = np.linspace(-1.0, 1.0, 201)
    line = energy_drift(times, 2.0 - 0.5 * times)
    np.testing.assert_allclose(line, [-0.5, 0.0, 0.0], atol=1e-14)
    wave = energy_drift(times, 2.0 - 0.5 * times + 0.1 * np.cos(10 * np.pi * times))
    np.testing.assert_allclose(wave.slope, -0.5, rtol=1e-14)
    np.testing.assert_allclose(wave.amplitude, 0.1, rtol=1e-2)


def test_drift_is_told_from_oscillation():
    """A pendulum for 1000 units of time: Verlet's energy oscillates, Heun's drifts, and
    for the unit oscillator by h³/4 of itself per unit of time."""
    ts = 0.1 * np.arange(10_001)
    run = dict(dt=0.1, num_steps=10_000)
    drifts = {}
    for name, solver in (("Verlet", cx.CHLUSolver()), ("Heun", diffrax.Heun())):
        q, p = cx.rollout(pendulum(), solver, PENDULUM_STATE, **run)
        drifts[name] = energy_drift(ts, jax.vmap(pendulum().hamiltonian)(q, p))
    verlet, heun = drifts["Verlet"], drifts["Heun"]
    assert abs(verlet.slope) < 3 * verlet.standard_error
    assert abs(verlet.slope) * 1000 < 0.1 * verlet.amplitude
    assert heun.slope > 100 * heun.standard_error
    assert heun.slope * 1000 > 3 * heun.amplitude

    q, p = cx.rollout(OSCILLATOR, diffrax.Heun(), PENDULUM_STATE, dt=0.1, num_steps=100)
    energies = jax.vmap(OSCILLATOR.hamiltonian)(q, p)
    oscillator = energy_drift(ts[:101], energies / energies[0])
    np.testing.assert_allclose(oscillator.slope, 0.1**3 / 4, rtol=2e-3)


@eqx.filter_jit
def _hessian(shadow):
    return jax.hessian(lambda z: shadow(z[:1], z[1:]))(jnp.zeros(2))


@pytest.mark.parametrize("name", ["velocity Verlet", "position Verlet"])
def test_shadow_energy_of_the_oscillator(name):
    """A Verlet step conserves p² + (1 - h²/4) q², or q² + (1 - h²/4) p²; the shadow
    energy is that to O(h⁴), and with its right scale: ½ zᵀSz with S = Ωᵀ log(M)/h."""
    errors = []
    for h in (H, H / 2):
        u = 1 - h**2 / 4
        invariant = np.diag([u, 1.0] if name == "velocity Verlet" else [1.0, u])
        # The step turns by θ, with cos θ = 1 - h²/2.
        exact = np.arccos(1 - h**2 / 2) / (h * np.sqrt(u)) * invariant
        shadow = ShadowHamiltonian(OSCILLATOR.hamiltonian, STEP_MATRICES[name][0], h)
        got = _hessian(shadow)
        errors.append(np.abs(got - exact).max())
        assert np.abs(got - np.eye(2)).max() > 20 * errors[-1]
    assert abs(np.log2(errors[0] / errors[1]) - 4) < 0.05


def test_shadow_energy_of_symplectic_euler():
    """Drift then kick conserves q² + p² + h q p: the ratios are right to O(h²)."""
    shadow = ShadowHamiltonian(OSCILLATOR.hamiltonian, cx.SymplecticEuler(), H)
    got = _hessian(shadow)
    scale = 1 + H**2 / 6
    np.testing.assert_allclose(got, [[scale, H / 2], [H / 2, scale]], rtol=1e-15)


# What is conserved to which order: the energy, and the shadow energy.
CONSERVED = {
    cx.CHLUSolver: (2, 4),
    cx.DriftKickDrift: (2, 4),
    cx.SymplecticEuler: (1, 3),
}


@pytest.mark.parametrize("solver", CONSERVED, ids=lambda solver: solver.__name__)
def test_shadow_energy_is_conserved(solver):
    """On a learned relativistic energy, to two orders more than the energy; and its
    exact flow, by Dopri8, is where the steps go, to the same order."""
    energy = learned(0, 3, True)
    y0 = random_state(1, 3)

    @jax.jit
    def errors(n):
        dt = 2.0 / n.astype(float)
        shadow = ShadowHamiltonian(energy, solver(), dt)
        term = cx.HamiltonianTerm(energy)
        y1 = step_map(term, solver(), dt=dt, num_steps=n)(y0)
        flow = reference(cx.HamiltonianTerm(shadow), y0, 0.0, 2.0).ys
        apart = jnp.abs(jnp.stack(y1) - jnp.stack(flow)[:, 0])
        changes = jnp.stack([H(*y1) - H(*y0) for H in (energy, shadow)])
        return jnp.append(jnp.abs(changes), jnp.max(apart))

    ns = np.array([32, 64, 128])
    fits = np.polyfit(np.log(ns), np.log([errors(n) for n in ns]), 1)
    plain, corrected = CONSERVED[solver]
    np.testing.assert_allclose(-fits[0], [plain, corrected, corrected], atol=0.15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_shadow_energy_of_pytrees(dtype):
    """As of one array; along a trajectory, in the precision of the state."""

    def split(x):
        return {"a": x[..., :1], "b": x[..., None, 1:]}

    def potential(q):
        return jnp.sum(q**4) + jnp.prod(jnp.cos(q))

    def joined(f):
        return lambda x: f(jnp.concatenate([x["a"], x["b"][0]]))

    kinetic = cx.RelativisticKinetic(3)
    arrays = cx.SeparableHamiltonian(kinetic, potential)
    trees = cx.SeparableHamiltonian(joined(kinetic), joined(potential))
    q, p = jax.random.normal(jax.random.key(0), (2, 4, 3), dtype)
    shadow = ShadowHamiltonian(arrays, cx.CHLUSolver(), 0.1)
    shadow = jax.jit(jax.vmap(shadow))(q, p)
    in_trees = ShadowHamiltonian(trees, cx.CHLUSolver(), jnp.array(0.1))
    assert shadow.dtype == dtype and shadow.shape == (4,)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(in_trees))(split(q), split(p)),
        shadow,
        rtol=10 * jnp.finfo(dtype).eps,
    )


def test_refusals():
    # Without the type checker of the tests, which refuses them first.
    for times, energies in (((2,), (2,)), ((4,), (5,)), ((4, 1), (4, 1))):
        with pytest.raises(ValueError, match="`times` and `energies` must have"):
            unwrap(energy_drift)(np.ones(times), np.ones(energies))
    energy = OSCILLATOR.hamiltonian
    neural = cx.NeuralHamiltonian(1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="`hamiltonian` must be a `Separable"):
        ShadowHamiltonian(neural, cx.CHLUSolver(), 0.1)
    with pytest.raises(ValueError, match="`solver` must be a composition"):
        ShadowHamiltonian(energy, diffrax.Tsit5(), 0.1)
    # It is not separable itself.
    shadow = cx.HamiltonianTerm(ShadowHamiltonian(energy, cx.CHLUSolver(), 0.1))
    with pytest.raises(ValueError, match="separable"):
        step_map(shadow, cx.CHLUSolver(), dt=0.1)(PENDULUM_STATE)
