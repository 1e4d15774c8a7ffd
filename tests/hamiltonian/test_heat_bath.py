"""Momenta in a heat bath: Gaussian and Maxwell-Jüttner."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import integrate, stats

import chlu_eqx as cx


# kT over m₀c².
RATIOS = [0.01, 1.0, 10.0]
N = 20_000


def _relativistic(dim):
    mass = np.linspace(0.5, 2.0, dim)
    return cx.RelativisticKinetic(dim, mass=mass, rest_mass=0.7, speed_limit=1.3)


def _law(dim, ratio):
    """The distribution of r = |p/√M| / m₀c: the density is rᵈ⁻¹ exp(-√(1 + r²)/ratio).
    By quadrature."""
    mode = np.sqrt(dim * ratio / 2 * (dim * ratio + np.sqrt((dim * ratio) ** 2 + 4)))
    z = np.linspace(-40 / dim - 3 / np.sqrt(dim), 4 + 6 / np.sqrt(dim), 40_001)
    r = mode * np.exp(z)
    root, top = np.sqrt(1 + r**2), np.sqrt(1 + mode**2)
    log_density = dim * z - (r**2 - mode**2) / (root + top) / ratio
    f = integrate.cumulative_trapezoid(np.exp(log_density), z, initial=0)
    return lambda r: np.interp(np.log(r / mode), z, f / f[-1])


def _p_value(kinetic, p, ratio):
    rest = float(kinetic.rest_mass * kinetic.speed_limit)
    u = np.asarray(p, np.float64) / np.sqrt(np.asarray(kinetic.mass, np.float64))
    r = np.linalg.norm(u, axis=1) / rest
    return stats.kstest(r, _law(kinetic.mass.size, ratio)).pvalue


def _temperature(kinetic, ratio):
    return ratio * kinetic.rest_mass * kinetic.speed_limit**2


@eqx.filter_jit
def _sample(kinetic, key, kT):
    return jax.vmap(lambda k: kinetic.sample(k, kT))(jr.split(key, N))


@eqx.filter_jit
def _warm(kinetic, p, key, damping, kT, num_steps=1):
    def step(p, key):
        noise = jr.normal(key, (len(p), kinetic.noise_dim), p.dtype)
        warm = jax.vmap(lambda p, x: kinetic.thermostat(p, damping, kT, x))
        return warm(p, noise), None

    return jax.lax.scan(step, p, jr.split(key, num_steps))[0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("dim", [1, 3, 64])
def test_maxwell_juettner(dim, ratio, dtype):
    kinetic = jax.tree.map(lambda x: x.astype(dtype), _relativistic(dim))
    kT = _temperature(kinetic, ratio)
    p = _sample(kinetic, jr.key(0), kT)
    assert p.dtype == dtype and p.shape == (N, dim)
    assert _p_value(kinetic, p, ratio) > 1e-3
    # Every coordinate for itself: ⟨pᵢ vᵢ⟩ = kT.
    heat = np.asarray(p * jax.vmap(kinetic.velocity)(p), np.float64) / float(kT)
    error = heat.std(0) / np.sqrt(N)
    assert np.all(np.abs(heat.mean(0) - 1) < 5 * error)
    # The thermostat leaves the law as it is, and forgets.
    after = _warm(kinetic, p, jr.key(1), 0.7, kT)
    assert after.dtype == dtype
    assert _p_value(kinetic, after, ratio) > 1e-3


def test_thermostat_finds_the_law():
    """From a cold start, and with a different damping for every coordinate."""
    kinetic, ratio = _relativistic(3), 1.0
    p = jnp.full((N, 3), 1e-3)
    damping = jnp.array([0.5, 1.0, 2.0])
    p = _warm(kinetic, p, jr.key(2), damping, _temperature(kinetic, ratio), 60)
    assert _p_value(kinetic, p, ratio) > 1e-3


@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 1e6])
def test_extreme_temperatures_in_float32(ratio):
    """Cold it is Gaussian of variance M m₀ kT; hot the energy is Γ(d)-distributed."""
    kinetic = jax.tree.map(lambda x: x.astype(jnp.float32), _relativistic(2))
    kT = _temperature(kinetic, ratio)
    p = _sample(kinetic, jr.key(3), kT)
    p = np.asarray(_warm(kinetic, p, jr.key(4), 0.5, kT), np.float64)
    root_mass = np.sqrt(np.asarray(kinetic.mass * kinetic.rest_mass, np.float64))
    if ratio < 1:
        for x in (p / root_mass).T:
            assert stats.kstest(x / np.sqrt(float(kT)), "norm").pvalue > 1e-3
    else:
        energy = np.asarray(jax.vmap(kinetic)(jnp.asarray(p, jnp.float32)))
        assert stats.kstest(energy / float(kT), stats.gamma(2).cdf).pvalue > 1e-3


def test_newtonian():
    """A Gaussian, and Ornstein and Uhlenbeck's step exactly."""
    mass = np.array([0.5, 2.0, 8.0])
    kinetic = cx.NewtonianKinetic(3, mass=mass)
    p = _sample(kinetic, jr.key(0), 0.3)
    for x in (np.asarray(p) / np.sqrt(mass * 0.3)).T:
        assert stats.kstest(x, "norm").pvalue > 1e-3
    noise = jnp.array([0.3, -1.0, 2.0])
    stepped = kinetic.thermostat(p[0], 0.4, 0.3, noise)
    decay = np.exp(-0.4)
    exact = decay * p[0] + np.sqrt(1 - decay**2) * np.sqrt(mass * 0.3) * noise
    np.testing.assert_allclose(stepped, exact, rtol=1e-13)


@pytest.mark.parametrize("kinetic", [cx.NewtonianKinetic(2), _relativistic(2)])
def test_limits_of_the_thermostat(kinetic):
    p, noise = jnp.array([0.3, -0.2]), jnp.array([1.0, 2.0, -0.5, 0.4])
    np.testing.assert_array_equal(kinetic.thermostat(p, 0.0, 1.0, noise), p)
    cold = kinetic.thermostat(p, 0.5, 0.0, noise)
    np.testing.assert_allclose(cold, np.exp(-0.5) * p, rtol=1e-14)


@pytest.mark.parametrize("damping", [1e-6, 1e-3])
def test_short_steps_keep_the_temperature_in_float32(damping):
    """The variance that a step adds, 1 - e^(-2x), has all its digits."""
    kinetic = cx.NewtonianKinetic(1)
    p = jnp.zeros(1, jnp.float32)
    noise = jnp.ones(1, jnp.float32)
    added = kinetic.thermostat(p, damping, 1.0, noise)[0] ** 2
    np.testing.assert_allclose(added, -np.expm1(-2 * damping), rtol=1e-6)


@pytest.mark.parametrize("dim, ratio", [(1, 0.1), (3, 2.0)])
def test_noise_and_friction_balance(dim, ratio):
    """The flux of e^(-T/kT) vanishes: ∂ᵢ(Σᵢ e^(-T/kT)) = -pᵢ e^(-T/kT)."""
    kinetic = _relativistic(dim)
    kT = _temperature(kinetic, ratio)
    p = 0.5 * jr.normal(jr.key(0), (dim,))

    def spread(p):
        return kinetic.noise_variance(p, kT) * jnp.exp(-kinetic(p) / kT)

    flux = jnp.diag(jax.jacfwd(spread)(p))
    np.testing.assert_allclose(flux, -p * jnp.exp(-kinetic(p) / kT), rtol=1e-12)


@pytest.mark.parametrize("ratio", RATIOS)
def test_derivatives_of_the_thermostat(ratio):
    """Their mean is the derivative of the mean: of |p|² after a step, which is
    e^(-2x)|p|² + (1 - e^(-2x)) tr Σ(p), by the mean of 1/s."""
    kinetic = _relativistic(2)
    p = jnp.array([0.4, -0.9])

    def mean(kT):
        variance = kinetic.noise_variance(p, kT)
        return jnp.exp(-0.6) * jnp.sum(p**2) - jnp.expm1(-0.6) * jnp.sum(variance)

    def drawn(kT, noise):
        return jnp.sum(kinetic.thermostat(p, 0.3, kT, noise) ** 2)

    kT = _temperature(kinetic, ratio)
    noise = jr.normal(jr.key(5), (200_000, 4))
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(drawn), in_axes=(None, 0)))(
        kT, noise
    )
    exact, slope = jax.value_and_grad(mean)(kT)
    for found, expected in ((values, exact), (slopes, slope)):
        error = found.std() / np.sqrt(len(found))
        assert abs(found.mean() - expected) < 4 * error < 0.05 * abs(expected)


def test_sample_has_no_derivative():
    with pytest.raises(ValueError, match="no derivative by `temperature`"):
        jax.grad(lambda kT: _relativistic(2).sample(jr.key(0), kT).sum())(1.0)
    spread = jax.grad(lambda kT: cx.NewtonianKinetic(2).sample(jr.key(0), kT).sum())(
        1.0
    )
    assert spread != 0
