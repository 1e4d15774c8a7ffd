"""Langevin's equation: by the splittings, and by diffrax's own solvers."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import integrate, linalg

import chlu_eqx as cx


class _Given(diffrax.AbstractBrownianPath):
    """A path whose every step has the given standard normal numbers."""

    normals: jax.Array
    levy_area = diffrax.BrownianIncrement
    t0 = -np.inf
    t1 = np.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return jnp.sqrt(t1 - t0) * self.normals


def _tree(key=0, t1=2.0, shape=(1,), levy_area=diffrax.BrownianIncrement):
    return diffrax.VirtualBrownianTree(0.0, t1, 1e-3, shape, jr.key(key), levy_area)


def _quartic(q):
    return jnp.sum(q**4) / 4 + jnp.sum(q**2) / 2


def _energy(relativistic, potential=_quartic, dim=1):
    if relativistic:
        kinetic = cx.RelativisticKinetic(dim, mass=2.0, rest_mass=0.7, speed_limit=1.3)
    else:
        kinetic = cx.NewtonianKinetic(dim, mass=2.0)
    return cx.SeparableHamiltonian(kinetic, potential)


def _term(path, relativistic=False, friction=0.8, temperature=0.7, **kwargs):
    energy = _energy(relativistic, **kwargs)
    return cx.LangevinTerm(energy, path, friction=friction, temperature=temperature)


def _solve(term, solver, h, n, y0=None, **kwargs):
    y0 = (jnp.array([0.4]), jnp.array([-0.3])) if y0 is None else y0
    return diffrax.diffeqsolve(
        term, solver, 0.0, n * h, h, y0, **{"max_steps": n, **kwargs}
    )


def _end(*args, **kwargs):
    q, p = _solve(*args, **kwargs).ys
    return jnp.concatenate([q[-1], p[-1]])


each_solver = pytest.mark.parametrize("solver", [cx.BAOAB(), cx.BABO()])
each_energy = pytest.mark.parametrize(
    "relativistic", [False, True], ids=["Newtonian", "relativistic"]
)


@each_energy
def test_one_step(relativistic):
    """The letters, written out."""
    normals, h, rate, kT = jnp.array([0.3, -1.2, 0.5, 0.1]), 0.2, 0.8, 0.7
    term = _term(_Given(normals), relativistic, rate, kT)
    kinetic = term.terms[1].kinetic
    force = jax.grad(lambda q: -_quartic(q))
    q, p = jnp.array([0.4]), jnp.array([-0.3])

    def bath(p):
        return kinetic.thermostat(p, rate * h, kT, normals)

    half = p + h / 2 * force(q)
    middle = q + h / 2 * kinetic.velocity(half)
    warm = bath(half)
    end = middle + h / 2 * kinetic.velocity(warm)
    exact = jnp.concatenate([end, warm + h / 2 * force(end)])
    np.testing.assert_allclose(_end(term, cx.BAOAB(), h, 1), exact, rtol=1e-14)

    end = q + h * kinetic.velocity(half)
    exact = jnp.concatenate([end, bath(half + h / 2 * force(end))])
    np.testing.assert_allclose(_end(term, cx.BABO(), h, 1), exact, rtol=1e-14)


@each_energy
def test_without_heat(relativistic):
    """Without friction both are velocity Verlet; without temperature BABO is the
    paper's map of friction per step."""
    path = _Given(jnp.ones(4))
    energy = _energy(relativistic)
    verlet = _end(cx.HamiltonianTerm(energy), cx.CHLUSolver(), 0.1, 30)
    for solver in (cx.BAOAB(), cx.BABO()):
        found = _end(_term(path, relativistic, friction=0.0), solver, 0.1, 30)
        np.testing.assert_allclose(found, verlet, rtol=1e-12)
    damped = _end(cx.HamiltonianTerm(energy, 0.8), cx.KickDriftKickDamp(), 0.1, 30)
    cold = _end(_term(path, relativistic, temperature=0.0), cx.BABO(), 0.1, 30)
    np.testing.assert_allclose(cold, damped, rtol=1e-12)


# A harmonic oscillator: mean and covariance follow from one step's matrices.
STIFFNESS, MASS, RATE, KT = 3.0, 2.0, 0.8, 0.7


def _linear(solver, h):
    """y → A y + b ξ, and the A and b of the equation itself over the time h."""

    def step(y, xi):
        term = _term(
            _Given(xi),
            potential=lambda q: STIFFNESS * jnp.sum(q**2) / 2,
            friction=RATE,
            temperature=KT,
        )
        y0 = (y[:1], y[1:])
        return _end(term, solver, h, 1, y0, adjoint=diffrax.ForwardMode())

    return jax.jit(jax.jacfwd(step, (0, 1)))(jnp.zeros(2), jnp.zeros(1))


@pytest.mark.parametrize("h", [0.1, 0.7, 1.5])
def test_stationary_law_of_an_oscillator(h):
    """BAOAB: ⟨q²⟩ = kT/k exactly, at any stable step (Leimkuhler & Matthews, 2013).
    BABO: ⟨p²⟩ = M kT exactly, and ⟨q²⟩ = kT / k(1 - h²k/4M)."""
    exact_q, exact_p = KT / STIFFNESS, MASS * KT
    shadow = 1 - h**2 * STIFFNESS / MASS / 4
    for solver, q2, p2 in (
        (cx.BAOAB(), exact_q, exact_p * shadow),
        (cx.BABO(), exact_q / shadow, exact_p),
    ):
        a, b = map(np.asarray, _linear(solver, h))
        covariance = linalg.solve_discrete_lyapunov(a, b @ b.T)
        np.testing.assert_allclose(np.diag(covariance), [q2, p2], rtol=1e-11)


@pytest.mark.parametrize("solver, order", [(cx.BAOAB(), 2), (cx.BABO(), 1)])
def test_weak_order(solver, order):
    """Of the mean and the covariance of an oscillator after a time 2."""
    drift = np.array([[0, 1 / MASS], [-STIFFNESS, -RATE]])
    exact_a = linalg.expm(2.0 * drift)
    limit = np.diag([KT / STIFFNESS, MASS * KT])
    exact = np.concatenate([exact_a, limit - exact_a @ limit @ exact_a.T])
    errors, steps = [], [16, 32, 64]
    for n in steps:
        a, b = map(np.asarray, _linear(solver, 2.0 / n))
        mean, covariance = np.eye(2), np.zeros((2, 2))
        for _ in range(n):
            mean, covariance = a @ mean, a @ covariance @ a.T + b @ b.T
        errors.append(np.abs(np.concatenate([mean, covariance]) - exact).max())
    measured = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    np.testing.assert_allclose(measured, order, atol=0.15)


def _gibbs_mean(kT):
    """⟨q²⟩ by quadrature."""
    moments = [
        integrate.quad(lambda q, k=k: q**k * np.exp(-(q**4 / 4 + q**2 / 2) / kT), -8, 8)
        for k in (2, 0)
    ]
    return moments[0][0] / moments[1][0]


@eqx.filter_jit
def _position_mean(solver, relativistic, h, kT=0.7, chains=2000, time=120):
    n = int(time / h)

    def run(key):
        path = cx.FixedGridBrownianPath(h, (4,), key)
        term = _term(path, relativistic, temperature=kT)
        q, _ = _solve(term, solver, h, n, saveat=diffrax.SaveAt(steps=True)).ys
        return jnp.mean(q[n // 8 :] ** 2)

    means = jax.vmap(run)(jr.split(jr.key(3), chains))
    return means.mean(), means.std() / np.sqrt(chains)


def test_position_law():
    """Of a relativistic particle: O(h²) off by BABO, less by BAOAB, and not at all
    with the correction."""
    exact = _gibbs_mean(0.7)
    bias = {}
    for h in (0.4, 0.8):
        mean, error = _position_mean(cx.BABO(), True, h)
        bias[h] = mean - exact
        assert bias[h] > 6 * error
        less, _ = _position_mean(cx.BAOAB(), True, h)
        assert abs(less - exact) < bias[h] / 3
    assert 3 < bias[0.8] / bias[0.4] < 7
    mean, error = _position_mean(cx.MetropolisBAOAB(), True, 0.8)
    assert abs(mean - exact) < 4 * error < bias[0.4]


@each_energy
def test_metropolis(relativistic):
    """A step is rejected as often as the work asks for, and then turned round."""
    h, kT = 1.5, 0.2
    y0 = (jnp.array([0.9]), jnp.array([1.1]))

    def end(solver, normals):
        return _end(
            _term(_Given(normals), relativistic, temperature=kT), solver, h, 1, y0
        )

    normals = jr.normal(jr.key(0), (4000, 4))
    corrected, plain = (
        jax.jit(jax.vmap(lambda x, s=s: end(s, x)))(normals)
        for s in (cx.MetropolisBAOAB(), cx.BAOAB())
    )
    energy = _energy(relativistic)
    half = y0[1] - h / 2 * jax.grad(_quartic)(y0[0])
    warm = jax.vmap(lambda x: energy.kinetic.thermostat(half, 0.8 * h, kT, x))(normals)
    heat = jax.vmap(energy.kinetic)(warm) - energy.kinetic(half)
    work = jax.vmap(lambda y: energy(y[:1], y[1:]))(plain) - energy(*y0) - heat
    accepted = jax.scipy.special.ndtr(normals[:, 3]) <= jnp.exp(-work / kT)
    assert 0.02 < accepted.mean() < 0.98
    turned = jnp.concatenate([y0[0], -y0[1]])
    expected = jnp.where(accepted[:, None], plain, turned[None])
    np.testing.assert_allclose(corrected, expected, rtol=1e-12)


def test_metropolis_survives_any_step():
    """Where the splitting alone is off to infinity."""
    path = cx.FixedGridBrownianPath(5.0, (4,), jr.key(0))
    y0 = (jnp.array([3.0]), jnp.array([0.0]))
    q, p = _solve(_term(path), cx.MetropolisBAOAB(), 5.0, 200, y0).ys
    assert np.isfinite(q).all() and np.isfinite(p).all()
    sol = _solve(_term(path), cx.BAOAB(), 5.0, 200, y0, throw=False)
    assert sol.result == diffrax.RESULTS.nonfinite


@pytest.mark.parametrize("name", ["ALIGN", "QUICSORT"])
def test_agrees_with_diffrax(name):
    """On one Brownian path, with their x = q, v = p/M, u = kT/M and f = V/kT."""
    levy = diffrax.SpaceTimeTimeLevyArea
    path = _tree(levy_area=levy)
    rate, kT, mass = 0.8, 0.7, 2.0
    y0 = (jnp.array([0.4]), jnp.array([-0.3]))
    theirs = diffrax.diffeqsolve(
        diffrax.MultiTerm(
            diffrax.UnderdampedLangevinDriftTerm(
                jnp.array([rate]),
                jnp.array([kT / mass]),
                lambda q, args: jax.grad(_quartic)(q) / kT,
            ),
            diffrax.UnderdampedLangevinDiffusionTerm(
                jnp.array([rate]), jnp.array([kT / mass]), path
            ),
        ),
        getattr(diffrax, name)(0.01),
        0.0,
        2.0,
        0.01,
        (y0[0], y0[1] / mass),
    ).ys
    ours = _end(_term(path, friction=rate, temperature=kT), cx.BAOAB(), 0.01, 200)
    np.testing.assert_allclose(ours[0], theirs[0][-1, 0], atol=3e-3)
    np.testing.assert_allclose(ours[1] / mass, theirs[1][-1, 0], atol=1e-2)


def test_diffrax_solvers_of_either_sense():
    """Itô solvers on the term and Stratonovich solvers on its other form meet, on one
    path, as the steps get shorter."""
    dim = 2
    y0 = (jnp.full(dim, 0.4), jnp.full(dim, -0.3))
    path = _tree(shape=(dim,), t1=1.0)
    term = _term(path, True, dim=dim, temperature=2.0)

    def end(term, solver, n):
        h = jnp.asarray(1 / n)
        return _end(term, solver, h, n, y0, max_steps=1024)

    fine = end(term.stratonovich(), diffrax.EulerHeun(), 1024)
    errors = [
        np.abs(end(term, diffrax.ItoMilstein(), n) - fine).max() for n in (64, 1024)
    ]
    assert errors[1] < 0.01 and errors[1] < errors[0] / 3
    euler = end(term, diffrax.Euler(), 1024)
    np.testing.assert_allclose(euler, fine, atol=0.05)
    # The forms do differ: in the wrong sense it is another equation.
    wrong = end(term, diffrax.EulerHeun(), 1024)
    assert np.abs(wrong - fine).max() > 3 * errors[1]


@pytest.mark.parametrize("name", ["SEA", "SRA1"])
def test_diffrax_solvers_for_additive_noise(name):
    term = _term(_tree(levy_area=diffrax.SpaceTimeLevyArea))
    theirs = _end(term, getattr(diffrax, name)(), 0.01, 200)
    np.testing.assert_allclose(theirs, _end(term, cx.BAOAB(), 0.01, 200), atol=0.02)


def test_temperature_of_a_schedule():
    """Taken at the middle of a step; in the noise of the term at its time."""
    schedule = optax.linear_schedule(1.0, 0.0, 2)
    path = _Given(jnp.ones(1))
    scheduled = _end(_term(path, temperature=schedule), cx.BAOAB(), 0.5, 1)
    constant = _end(_term(path, temperature=0.875), cx.BAOAB(), 0.5, 1)
    np.testing.assert_allclose(scheduled, constant, rtol=1e-14)
    _, width = (
        _term(path, temperature=schedule)
        .terms[1]
        .vf(jnp.asarray(1.0), (jnp.zeros(1), jnp.zeros(1)), None)
    )
    np.testing.assert_allclose(width, np.sqrt(2 * 0.8 * 2.0 * 0.5), rtol=1e-14)


@pytest.mark.parametrize(
    "solver, relativistic", [(cx.BAOAB(), True), (cx.MetropolisBAOAB(), False)]
)
def test_gradients(solver, relativistic):
    """By finite differences along one path, for every way through."""
    path = cx.FixedGridBrownianPath(0.1, (4,), jr.key(1))

    def loss(x, adjoint):
        strength, friction, kT = x
        term = _term(
            path,
            relativistic,
            friction=friction,
            temperature=kT,
            potential=lambda q: strength * _quartic(q),
        )
        return jnp.sum(_end(term, solver, 0.1, 20, adjoint=adjoint) ** 2)

    x, default = jnp.array([1.0, 0.8, 0.7]), diffrax.RecursiveCheckpointAdjoint()
    run = jax.jit(loss, static_argnums=1)
    found = jax.jit(jax.grad(loss), static_argnums=1)(x, default)
    if not relativistic:  # whose derivative is along the quantile, not of the draw
        eps = 1e-6
        for i, e in enumerate(np.eye(3) * eps):
            slope = (run(x + e, default) - run(x - e, default)) / (2 * eps)
            np.testing.assert_allclose(found[i], slope, rtol=1e-6, atol=1e-8)
    direct = jax.jit(jax.grad(loss), static_argnums=1)(x, diffrax.DirectAdjoint())
    np.testing.assert_allclose(direct, found, rtol=1e-9)


@each_solver
def test_single_precision_stays(solver):
    key = jr.key(0)
    shape = jax.ShapeDtypeStruct((4,), jnp.float32)
    with jax.enable_x64(False):
        path = cx.FixedGridBrownianPath(0.1, shape, key)
        energy = cx.SeparableHamiltonian(cx.RelativisticKinetic(1), _quartic)
        term = cx.LangevinTerm(energy, path, friction=0.8, temperature=0.7)
        end = _end(term, solver, 0.1, 10, y0=(jnp.zeros(1), jnp.zeros(1)))
        assert end.dtype == jnp.float32 and np.isfinite(end).all()


def test_refusals():
    energy, path = _energy(True), _tree()
    with pytest.raises(ValueError, match="`temperature` must be non-negative"):
        cx.LangevinTerm(energy, path, friction=1.0, temperature=-1.0)
    with pytest.raises(ValueError, match="`friction` must be non-negative"):
        cx.LangevinTerm(energy, path, friction=-1.0, temperature=1.0)
    plain = cx.SeparableHamiltonian(lambda p: jnp.sum(p**2) / 2, _quartic)
    with pytest.raises(ValueError, match="`hamiltonian` must be"):
        cx.LangevinTerm(plain, path, friction=1.0, temperature=1.0)
    with pytest.raises(ValueError, match=r"shape \(3,\) or longer.*got shape \(1,\)"):
        _end(_term(path, True), cx.BAOAB(), 0.1, 1)
    with pytest.raises(ValueError, match=r"shape \(4,\) or longer"):
        _end(_term(_tree(shape=(3,)), True), cx.MetropolisBAOAB(), 0.1, 1)
    with pytest.raises(ValueError, match="solves `chlu_eqx.LangevinTerm"):
        both = diffrax.MultiTerm(*_term(path).terms)
        _end(both, cx.BAOAB(), 0.1, 1)
    with pytest.raises(RuntimeError, match="runs forward"):
        eqx.filter_jit(_end)(_term(_Given(jnp.ones(1))), cx.BAOAB(), -0.1, 1)
    with pytest.raises(ValueError, match="ConstantStepSize"):
        control = diffrax.PIDController(1e-3, 1e-3)
        _end(_term(path), cx.BAOAB(), 0.1, 10, stepsize_controller=control)
