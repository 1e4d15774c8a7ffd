from decimal import Decimal, localcontext

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import chlu_eqx as cx
from chlu_eqx.analysis import (
    critical_point,
    memory_modes,
    memory_table,
    MemoryBand,
    MemoryModes,
    mode_half_life,
    step_jacobian,
    step_map,
)

from ..problems import learned, pendulum_ode, random_state


LN2 = np.log(2)
# All whose step has the trace and the determinant of the CHLU paper's.
SOLVERS = [cx.KickDriftKickDamp(), cx.CHLUSolver(), cx.DriftKickDrift()]

DT, RATE = 0.5, 0.1
# (hμ)² from -0.02² to 2.0001², and what each mode is there. Of the last but one the
# eigenvalues are real and negative.
H2 = np.array([-4e-4, 0, 1e-4, 0.49, 1.9999**2, 4.0004])
BANDS = [
    MemoryBand.UNSTABLE,
    MemoryBand.LATCH,
    MemoryBand.REGISTER,
    MemoryBand.WORKING_MEMORY,
    MemoryBand.WORKING_MEMORY,
    MemoryBand.BEYOND_STEP_LIMIT,
]
MASS = np.array([0.3, 2.0, 1.0, 0.7, 1.6, 5.0])


def _six_modes(relativistic):
    """Masses unequal, and the modes along no coordinate."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    modes = np.sqrt(MASS)[:, None] * rotation
    stiffness = jnp.asarray(modes * (H2 / DT**2) @ modes.T)
    kinetic = (
        cx.RelativisticKinetic(6, mass=MASS / 0.8, rest_mass=0.8, speed_limit=3.0)
        if relativistic
        else cx.NewtonianKinetic(6, mass=MASS)
    )
    energy = cx.SeparableHamiltonian(kinetic, lambda q: 0.5 * (q @ (stiffness @ q)))
    return cx.HamiltonianTerm(energy, RATE)


@pytest.mark.parametrize("solver", SOLVERS[:2], ids=str)
@pytest.mark.parametrize("relativistic", [False, True])
def test_simulated_half_lives(solver, relativistic):
    """The envelope of each mode, displaced alone, over a thousand steps."""
    term = _six_modes(relativistic)
    modes = memory_modes(term, jnp.zeros(6), dt=DT)
    np.testing.assert_allclose(modes.squared_masses, H2 / DT**2, rtol=1e-9, atol=1e-13)
    assert modes.bands.tolist() == BANDS
    directions = np.asarray(modes.directions)
    np.testing.assert_allclose(
        directions * MASS @ directions.T, np.eye(6), rtol=0, atol=1e-14
    )

    @jax.jit
    @jax.vmap
    def displaced(q0):
        y0 = (1e-8 * q0, jnp.zeros(6))
        return cx.rollout(term, solver, y0, dt=DT, num_steps=1000)

    q, p = displaced(modes.directions)
    x = np.einsum("mni,mi->mn", q, directions * MASS)
    velocity = np.einsum("mni,mi->mn", p, directions)
    # The energy of an oscillator, and the displacement of the others.
    frequency = np.sqrt(np.abs(H2[:, None])) / DT
    envelope = np.log(np.hypot(np.where(frequency == 0, 1, frequency) * x, velocity))
    # What starts at rest forgets that soon.
    n = np.arange(500, 1001)
    slopes = np.polyfit(n, envelope[:, 500:].T, 1)[0]
    np.testing.assert_allclose(
        slopes, -LN2 * DT / modes.half_lives, rtol=1e-3, atol=1e-15
    )


@pytest.mark.parametrize("relativistic", [False, True])
def test_eigenvalues_of_learned_steps(relativistic):
    """Where learned energies settle, the eigenvalues of one step's Jacobian have the
    moduli e^(-h ln 2 / t½), and e^(-Γh) over it, for every mode; those of another
    solver do not."""
    dt, rate = 0.7, 3.0

    @jax.jit
    def both(seed):
        term = cx.HamiltonianTerm(learned(seed, 3, relativistic), rate)
        y0 = random_state(seed, 3)
        q, _ = cx.rollout(term, SOLVERS[0], y0, dt=dt, num_steps=200, save_every=200)
        q = critical_point(term.hamiltonian.potential, q[-1])
        jacobians = [
            step_jacobian(step_map(term, solver, dt=dt), (q, jnp.zeros(3)))
            for solver in (*SOLVERS, cx.SymplecticEuler())
        ]
        return memory_modes(term, q, dt=dt), jacobians

    bands = set()
    for seed in range(4):
        modes, jacobians = both(seed)
        bands |= set(modes.bands.tolist())
        larger = np.exp(-LN2 * dt / np.asarray(modes.half_lives))
        expected = np.sort([*larger, *np.exp(-rate * dt) / larger])
        *ours, other = (
            np.sort(np.abs(np.linalg.eigvals(np.asarray(J)))) for J in jacobians
        )
        for moduli in ours:
            np.testing.assert_allclose(moduli, expected, rtol=1e-10)
        assert np.abs(other / expected - 1).max() > 1e-3
    assert {MemoryBand.REGISTER, MemoryBand.WORKING_MEMORY} <= bands


def _exact(h2, damping):
    """Half-life in steps, from the eigenvalues to 50 digits."""
    with localcontext(prec=50):
        h2, a = Decimal(float(h2)), (-Decimal(float(damping))).exp()
        half_trace = (1 + a) * (1 - h2 / 2) / 2
        discriminant = half_trace**2 - a
        largest = (
            abs(half_trace) + discriminant.sqrt() if discriminant > 0 else a.sqrt()
        )
        log = largest.ln() if abs(largest - 1) > Decimal("1e-40") else Decimal(0)
        return -float(Decimal(2).ln() / log) if log else np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_life_to_rounding(dtype):
    """However light the mode and weak the friction, in either precision."""
    near = np.logspace(-14, 0, 15)
    h2 = np.concatenate([-near, near, [0, 2, 3, 4], 4 - near, 4 + near]).astype(dtype)
    damping = np.array([0, 1e-6, 1e-3, 0.1, 1, 5, 30], dtype)
    get = jax.vmap(lambda rate: mode_half_life(h2, dt=1.0, friction=rate))
    half_lives = jax.jit(get)(damping)
    assert half_lives.dtype == dtype
    exact = [[_exact(x, y) for x in h2] for y in damping]
    np.testing.assert_allclose(half_lives, exact, rtol=16 * np.finfo(dtype).eps)
    # In units of time.
    np.testing.assert_allclose(
        mode_half_life(h2 / dtype(0.25), dt=0.5, friction=2 * damping[3]),
        0.5 * half_lives[3],
        rtol=16 * np.finfo(dtype).eps,
    )


def test_closed_forms():
    """With γ per step: 2 ln 2/-ln(1-γ) steps underdamped, 2γ ln 2/((2-γ)h²) overdamped
    and light, for ever without mass or friction. A step of hμ = 2 is neutral at any
    friction, a saddle grows at any."""
    for gamma in (0.01, 0.9):
        rate = cx.friction_rate(gamma, 1.0)

        def steps(h2, rate=rate):
            return mode_half_life(jnp.asarray(h2), dt=1.0, friction=rate)

        threshold = (1 - np.sqrt(1 - gamma)) * np.sqrt(2 / (2 - gamma))
        underdamped = 2 * LN2 / -np.log1p(-gamma)
        h = np.array([1.001 * threshold, 1.0, np.sqrt(2)])
        np.testing.assert_allclose(steps(h**2), underdamped, rtol=1e-13)
        assert steps((0.999 * threshold) ** 2) > 1.001 * underdamped
        h = 1e-6 * threshold
        np.testing.assert_allclose(
            steps(h**2), 2 * gamma * LN2 / ((2 - gamma) * h**2), rtol=1e-11
        )
        assert np.isposinf(steps([0.0, 4.0])).all()
        assert (steps([-1e-9, -1.0, 4.001]) < 0).all()
        assert np.isfinite(jax.vmap(jax.grad(steps))(jnp.array([-1, 0.01, 1]))).all()
    free = mode_half_life(np.array([0.0, 0.5, 2.0, 4.0]), dt=1.0, friction=0.0)
    assert np.isposinf(free).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_ring(dtype):
    """The minima of (|q|² - 1)²/4 are a circle: along it a latch, across it mass √2,
    everywhere on it."""
    ring = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(2), lambda q: (jnp.sum(q**2) - 1) ** 2 / 4
    )
    term = cx.HamiltonianTerm(ring, 0.4)
    angles = jnp.linspace(0, 6, 7, dtype=dtype)
    q = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    modes = jax.jit(jax.vmap(lambda q: memory_modes(term, q, dt=0.1)))(q)
    assert modes.squared_masses.dtype == modes.half_lives.dtype == dtype
    assert (modes.bands == np.array([[1, 3]])).all()
    tolerance = 40 * jnp.finfo(dtype).eps
    np.testing.assert_allclose(
        modes.squared_masses, np.full((7, 2), [0, 2]), rtol=tolerance, atol=tolerance
    )
    assert np.isposinf(modes.half_lives[:, 0]).all()
    np.testing.assert_allclose(modes.half_lives[:, 1], 5 * LN2, rtol=tolerance)
    along, across = np.moveaxis(modes.directions, 1, 0)
    np.testing.assert_allclose(np.sum(along * q, -1), 0, atol=tolerance)
    np.testing.assert_allclose(np.abs(np.sum(across * q, -1)), 1, rtol=tolerance)


@pytest.mark.parametrize(
    "kinetic, potential",
    [
        (cx.NewtonianKinetic(2, mass=1.8), lambda q: (q[0] + 2 * q[1]) ** 2),
        (
            cx.RelativisticKinetic(2, mass=1.2, rest_mass=1.5),
            lambda q: (jnp.sum(q**2) - 1) ** 2 / 4,
        ),
    ],
    ids=["valley", "ring"],
)
def test_latch_keeps_what_was_written(kinetic, potential):
    """A momentum along a latch moves it by ε p/(mγ), and there it stays; by √(1-γ) less
    with friction on both sides. Round the ring this is so to first order."""
    dt, gamma, inertia, size = 0.2, 0.1, 1.8, 1e-5
    energy = cx.SeparableHamiltonian(kinetic, potential)
    term = cx.HamiltonianTerm(energy, cx.friction_rate(gamma, dt))
    q0 = critical_point(potential, jnp.array([0.7, 0.9]))
    modes = memory_modes(term, q0, dt=dt)
    assert modes.bands[0] == MemoryBand.LATCH
    p0 = size * np.asarray(modes.directions)[0]
    for solver, less in ((SOLVERS[0], 1.0), (SOLVERS[1], np.sqrt(1 - gamma))):
        q, _ = cx.rollout(term, solver, (q0, p0), dt=dt, num_steps=1000)
        moved = less * dt * p0 / (inertia * gamma)
        np.testing.assert_allclose(q[-1] - q0, moved, atol=1e-4 * size)
        np.testing.assert_allclose(q[-1], q[500], rtol=1e-13)


def test_general_energies():
    """Pytrees, an inertia that is not diagonal, a callable energy, and friction by
    state, of which the rate at rest counts."""
    mass = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
    stiffness = np.array([[1.0, 0.2, 0.0], [0.2, 3.0, 0.5], [0.0, 0.5, 2.0]])
    inverse = jnp.asarray(np.linalg.inv(mass))
    K = jnp.asarray(stiffness)

    def flat(x):
        return jnp.concatenate([x["a"], x["b"].reshape(2)])

    def energy(q, p):
        q, p = flat(q), flat(p)
        # Not quadratic beyond the origin.
        return q @ (K @ q) / 2 + jnp.sinh(p @ (inverse @ p) / 2) + jnp.sum(q**4)

    def rate(q, p):
        return 0.3 + jnp.sum(flat(q)) + jnp.sum(flat(p)) ** 2

    q = {"a": np.zeros(1), "b": np.zeros((2, 1))}
    modes = memory_modes(cx.HamiltonianTerm(energy, rate), q, dt=0.1)
    expected = np.sort(np.linalg.eigvals(np.linalg.inv(mass) @ stiffness))
    np.testing.assert_allclose(modes.squared_masses, expected, rtol=1e-13)
    np.testing.assert_allclose(modes.half_lives, 2 * LN2 / 0.3, rtol=1e-13)
    assert {k: v.shape for k, v in modes.directions.items()} == {
        "a": (3, 1),
        "b": (3, 2, 1),
    }
    v = np.asarray(jax.vmap(flat)(modes.directions)).T
    np.testing.assert_allclose(stiffness @ v, mass @ v * expected, atol=1e-13)
    np.testing.assert_allclose(v.T @ mass @ v, np.eye(3), atol=1e-13)

    conservative = memory_modes(cx.HamiltonianTerm(energy), q, dt=0.1)
    assert np.isposinf(conservative.half_lives).all()
    assert conservative.bands.tolist() == [MemoryBand.WORKING_MEMORY] * 3


def test_band_edges():
    """At (1 - √(1-γ))√(2/(2-γ)) and at 2; around zero, where a latch is one relative to
    the heaviest mode."""
    dt, gamma = 0.1, 0.2

    def bands(h, **kwargs):
        squared_masses = jnp.asarray(h) ** 2 / dt**2
        energy = cx.SeparableHamiltonian(
            cx.NewtonianKinetic(4), lambda q: jnp.sum(squared_masses * q**2) / 2
        )
        term = cx.HamiltonianTerm(energy, cx.friction_rate(gamma, dt))
        return memory_modes(term, jnp.zeros(4), dt=dt, **kwargs).bands.tolist()

    threshold = (1 - np.sqrt(1 - gamma)) * np.sqrt(2 / (2 - gamma))
    below, above = 1 - 1e-9, 1 + 1e-9
    edges = [threshold * below, threshold * above, 2 * below, 2 * above]
    assert bands(edges) == [2, 3, 3, 4]
    assert bands([0, 1e-6, 1e-4, 1]) == [1, 2, 2, 3]
    assert bands([0, 1e-6, 1e-4, 1], rtol=1e-10) == [1, 1, 2, 3]
    assert bands(np.zeros(4)) == [1, 1, 1, 1]


def test_table():
    term = _six_modes(False)
    # The half-lives by numpy's eigenvalues of the 2x2 matrices.
    lines = memory_table(memory_modes(term, jnp.zeros(6), dt=DT)).splitlines()
    assert [line.split(maxsplit=2) for line in lines] == [
        ["mass", "half-life", "band"],
        ["0.04i", "-49.39", "unstable"],
        ["0", "inf", "latch"],
        ["0.02", "166", "register"],
        ["1.4", "13.86", "working memory"],
        ["4", "34.65", "working memory"],
        ["4", "-49.39", "beyond step limit"],
    ]
    assert len({line.index(line.split(maxsplit=2)[2]) for line in lines}) == 1


def test_critical_points():
    """The minima and the saddle of a double well, and of one with a flat direction."""

    def wells(q):
        return (q[0] ** 2 - 1) ** 2 + q[1] ** 2 / 2

    for start, expected in (([1.3, 2.0], [1, 0]), ([-0.8, -1], [-1, 0])):
        found = critical_point(wells, jnp.array(start))
        np.testing.assert_allclose(found, expected, atol=1e-15)
    top = jax.jit(lambda q: critical_point(wells, q))(jnp.array([0.2, 0.1]))
    np.testing.assert_allclose(top, 0, atol=1e-15)
    saddle = cx.HamiltonianTerm(
        cx.SeparableHamiltonian(cx.NewtonianKinetic(2), wells), 50.0
    )
    modes = memory_modes(saddle, jnp.zeros(2), dt=0.1)
    assert modes.bands[0] == MemoryBand.UNSTABLE and modes.half_lives[0] < 0

    pair = critical_point(
        lambda q: (q["a"] - 1) ** 2, {"a": jnp.array(3.0), "b": jnp.ones(2)}
    )
    np.testing.assert_allclose(pair["a"], 1, rtol=1e-15)
    np.testing.assert_array_equal(pair["b"], 1)
    # Stiff, and in single precision.
    found = critical_point(lambda q: 1e12 * jnp.sum(jnp.cosh(q - 1)), jnp.zeros(2))
    np.testing.assert_allclose(found, 1, rtol=1e-12)
    found = critical_point(
        wells, jnp.array([1.3, 2.0], jnp.float32), root_finder=optx.Newton(1e-4, 1e-4)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [1, 0], atol=1e-6)


def test_refusals():
    pendulum = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(1), lambda q: -jnp.sum(jnp.cos(q))
    )
    bottom = jnp.zeros(1)

    def refused(term, match, q=bottom, dt=0.1):
        with pytest.raises(ValueError, match=match):
            memory_modes(term, q, dt=dt)

    term = cx.HamiltonianTerm(pendulum, 0.1)
    refused(diffrax.ODETerm(pendulum_ode), "`term` must be a `HamiltonianTerm`")
    neural = cx.NeuralHamiltonian(1, width=2, key=jax.random.key(0))
    refused(cx.HamiltonianTerm(neural), "`term` must have a separable energy")
    for friction in (np.array([0.1]), lambda q, p: 0.1 + 0 * q):
        other = cx.HamiltonianTerm(pendulum, friction)
        refused(other, "`term` must have the same friction rate for all coordinates")
    refused(term, "`dt` must be positive", dt=0.0)
    refused(term, "`q` must hold floating-point", q=jnp.zeros(1, int))
    refused(term, r"`q` must be a critical point .* = 0\.1003", q=bottom + 0.1)
    massless = cx.SeparableHamiltonian(lambda p: jnp.sum(p**4), pendulum.potential)
    refused(cx.HamiltonianTerm(massless), "kinetic energy with a positive definite")

    off = memory_modes(term, bottom + 0.1, dt=0.1, tolerance=0.2)
    np.testing.assert_allclose(off.squared_masses, np.cos(0.1))
    with pytest.raises(eqx.EquinoxRuntimeError, match="`q` must be a critical point"):
        eqx.filter_jit(memory_modes)(term, bottom + 0.1, dt=0.1)
    with pytest.raises(ValueError, match="`q` must be near a critical point of `poten"):
        critical_point(lambda q: jnp.sum(q), bottom)
    with pytest.raises(ValueError, match="`friction` must be non-negative"):
        mode_half_life(np.ones(2), dt=0.1, friction=-1.0)
    batch = MemoryModes(*(jnp.zeros((2, 1)) for _ in range(4)))
    with pytest.raises(ValueError, match="`modes` must be those of one critical point"):
        memory_table(batch)
