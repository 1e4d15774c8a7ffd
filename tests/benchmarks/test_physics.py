"""Simulated systems against closed forms and scipy; pictures against integrals."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.data import physics, rendering


DT, TIMES = 0.125, 31


@functools.cache
def _trajectories(name):
    system = physics.SYSTEMS[name]()
    run = jax.jit(lambda key: physics.simulate(system, key, 4, TIMES))
    return system, *map(np.asarray, run(jr.key(0)))


@pytest.mark.parametrize("name", physics.SYSTEMS)
def test_energy_is_kept_and_keys_tell(name):
    system, q, p = _trajectories(name)
    assert q.shape == p.shape == (4, TIMES, q.shape[2])
    energy = np.asarray(jax.vmap(jax.vmap(system.hamiltonian))(q, p))
    np.testing.assert_allclose(energy, energy[:, :1] + 0 * energy, rtol=1e-6)
    assert np.ptp(energy[:, 0]) > 1e-3
    again = system.start(jr.split(jr.key(0), 4)[2])
    np.testing.assert_allclose(again, (q[2, 0], p[2, 0]), rtol=1e-14)


def test_spring_is_exact():
    """q = q₀ cos 2t + p₀ sin 2t, for m = 1/2 and k = 2."""
    _, q, p = _trajectories("mass_spring")
    t = DT * np.arange(TIMES)[:, None]
    expected = q[:, :1] * np.cos(2 * t) + p[:, :1] * np.sin(2 * t)
    np.testing.assert_allclose(q, expected, atol=1e-7)


def test_double_pendulum():
    """Against Lagrange's equations for two equal pendulums, by Runge-Kutta:
    2θ₁″ + θ₂″ cos Δ + θ₂′² sin Δ + 2g sin θ₁ = 0,
    θ₂″ + θ₁″ cos Δ - θ₁′² sin Δ + g sin θ₂ = 0."""
    _, q, p = _trajectories("double_pendulum")
    m, g = 0.5, 3.0

    def field(t, y):
        a, b, u, v = y
        cosine, sine = np.cos(a - b), np.sin(a - b)
        matrix = np.array([[2, cosine], [cosine, 1]])
        right = [-(v**2) * sine - 2 * g * np.sin(a), u**2 * sine - g * np.sin(b)]
        return [u, v, *np.linalg.solve(matrix, right)]

    for angles, momenta in zip(q, p, strict=True):
        cosine = np.cos(angles[0, 0] - angles[0, 1])
        rates = np.linalg.solve(m * np.array([[2, cosine], [cosine, 1]]), momenta[0])
        end = DT * 12
        found = solve_ivp(
            field, (0, end), [*angles[0], *rates], "DOP853", rtol=1e-11, atol=1e-11
        )
        np.testing.assert_allclose(angles[12], found.y[:2, -1], atol=1e-4)


@pytest.mark.parametrize("n", [2, 3])
def test_bodies(n):
    """Momentum and angular momentum are kept; at the circular speed the circle is."""
    _, q, p = _trajectories({2: "two_body", 3: "three_body"}[n])
    x, y = (z.reshape(4, TIMES, n, 2) for z in (q, p))
    np.testing.assert_allclose(y.sum(2), 0, atol=1e-12)
    spin = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(2)
    np.testing.assert_allclose(spin, spin[:, :1] + 0 * spin, rtol=1e-12)
    radius = np.linalg.norm(x[:, 0], axis=-1)
    np.testing.assert_allclose(radius, radius[:, :1] + 0 * radius, rtol=1e-12)
    speed = np.linalg.norm(y[:, 0], axis=-1)
    # v²/r is the pull towards the centre: 1/4r² of one body, 1/√3 r² of two.
    circular = np.sqrt({2: 1 / 4, 3: 3**-0.5}[n] / radius)
    assert (np.abs(speed / circular - 1) <= 0.1).all()
    assert len({*np.sign(spin[:, 0])}) == 2


def test_starts():
    """Uniform in the distance from the origin of phase space, and in the direction."""
    start = jax.jit(jax.vmap(physics.pendulum().start))
    q, p = start(jr.split(jr.key(0), 4000))
    radius = np.hypot(q, p)[:, 0]
    assert radius.min() >= 1.3 and radius.max() <= 2.3
    np.testing.assert_allclose(
        np.quantile(radius, [0.25, 0.75]), [1.55, 2.05], atol=0.03
    )
    angle = np.arctan2(p, q)[:, 0]
    assert np.abs(np.exp(1j * angle).mean()) < 0.05


@pytest.mark.parametrize("size", rendering.SIZES)
def test_disc(size):
    """Its brightness is the integral of a soft disc, π R² + π³/3s², and lies around its
    centre; x to the right, y upward."""
    centre = jnp.array([0.62, 0.3])
    image = np.asarray(rendering.discs(centre[None], size))
    assert image.shape == (size, size, 3) and image.min() >= 0 and image.max() <= 1
    grey, color = np.array(rendering.BACKGROUND), np.array(rendering.COLORS[0])
    part = ((image - grey) / (color - grey)).mean(-1)
    area = np.pi * rendering.RADIUS**2 + np.pi**3 / (3 * rendering.SHARPNESS**2)
    assert part.sum() / size**2 == pytest.approx(area, rel=0.02)
    at = (np.arange(size) + 0.5) / size
    column, row = part.sum(0) / part.sum(), part.sum(1) / part.sum()
    assert column @ at == pytest.approx(0.62, abs=0.005)
    assert row @ at[::-1] == pytest.approx(0.3, abs=0.005)


def test_rod():
    """White from the middle to the end, as long as that."""
    image = np.asarray(rendering.rod(jnp.array([0.5, 0.1]), 64))[..., 0]
    assert image.max() <= 1 and image[:28].max() < 0.02
    lit = image.max(1) > 0.5
    assert lit.sum() / 64 == pytest.approx(0.4 + rendering.ROD / 2, abs=0.04)
    np.testing.assert_allclose(image, image[:, ::-1], atol=1e-12)


def test_pictures_of_trajectories():
    system, q, _ = _trajectories("two_body")
    draw = functools.partial(rendering.draw, system, size=16)
    clean = np.asarray(draw(q[:2, :3]))
    assert clean.shape == (2, 3, 16, 16, 3)
    centres = 0.5 + q[1, 2].reshape(2, 2) / (2 * system.view)
    np.testing.assert_allclose(clean[1, 2], rendering.discs(centres, 16), atol=1e-12)
    noisy = np.asarray(draw(q[:2, :3], key=jr.key(0)))
    np.testing.assert_array_equal(noisy, draw(q[:2, :3], key=jr.key(0)))
    assert np.abs(noisy - clean).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 5), "`batch` must be positive"), ((2, 0), "`times` must be positive")],
)
def test_refusals(arguments, message):
    system = physics.mass_spring()
    with pytest.raises(ValueError, match=message):
        physics.simulate(system, jr.key(0), *arguments)
    with pytest.raises(ValueError, match="`dt` must be positive"):
        physics.simulate(system, jr.key(0), 2, 2, dt=-1.0)
    with pytest.raises(ValueError, match="`size` must be one of"):
        rendering.draw(system, jnp.zeros((1, 1, 1)), 17)
    with pytest.raises(ValueError, match="`n` must be 2 or 3"):
        physics.bodies(4)
