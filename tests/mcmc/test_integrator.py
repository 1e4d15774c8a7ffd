import math

import blackjax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import pytest
from blackjax.mcmc.integrators import IntegratorState, velocity_verlet
from blackjax.mcmc.metrics import gaussian_euclidean, gaussian_riemannian

import chlu_eqx as cx
from chlu_eqx import mcmc


def logdensity(q):
    return -jnp.sum(q**4) / 4 - q[0] * q[1] / 2


def metric(q):
    away = jnp.stack([jnp.sin(q[0]), q[1]])
    return jnp.eye(2, dtype=q.dtype) + jnp.outer(away, away)


Q0 = jnp.array([0.4, -0.7])
H = 0.2


def _start(momenta, seed=0):
    value, slope = jax.value_and_grad(logdensity)(Q0)
    p = momenta.sample_momentum(jr.key(seed), Q0)
    return IntegratorState(Q0, p, value, slope)


def _close(x, y, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), x, y)


def test_verlet_is_blackjax_verlet():
    momenta = gaussian_euclidean(jnp.array([1.0, 2.0]))
    start = _start(momenta)
    steps = [
        build(logdensity, momenta.kinetic_energy)
        for build in (mcmc.integrator(cx.CHLUSolver()), velocity_verlet)
    ]
    ours, theirs = (step(step(start, H), H) for step in steps)
    _close(ours, theirs, 1e-14)


@pytest.mark.parametrize("solver", [cx.BlanesMoan4(), cx.DriftKickDrift()])
def test_kick_drift(solver):
    """The steps of `rollout`, over a pytree."""
    momenta = gaussian_euclidean(jnp.ones(2))
    tree = lambda x: {"a": x[:1], "b": x[1]}  # noqa: E731
    whole = lambda q: logdensity(jnp.append(q["a"], q["b"]))  # noqa: E731
    value, slope = jax.value_and_grad(whole)(tree(Q0))
    p0 = jnp.array([0.3, 1.0])
    state = IntegratorState(tree(Q0), tree(p0), value, slope)
    step = mcmc.integrator(solver)(whole, momenta.kinetic_energy)
    for _ in range(3):
        state = step(state, H)
    term = cx.HamiltonianTerm(
        cx.SeparableHamiltonian(lambda p: p @ p / 2, lambda q: -logdensity(q))
    )
    q, p = cx.rollout(term, solver, (Q0, p0), dt=H, num_steps=3)
    _close(state[:2], (tree(q[-1]), tree(p[-1])), 1e-13)
    _close(state[2:], jax.value_and_grad(whole)(state.position), 1e-13)


IMPLICIT = (cx.GeneralizedLeapfrog(), cx.ImplicitMidpoint(), cx.SemiExplicit())


@pytest.mark.parametrize("solver", IMPLICIT, ids=lambda s: type(s).__name__)
def test_implicit(solver):
    """The steps of `rollout`."""
    hamiltonian = cx.RiemannianHamiltonian(lambda q: -logdensity(q), metric)
    momenta = mcmc.riemannian_metric(metric)
    start = _start(momenta)
    term = cx.HamiltonianTerm(hamiltonian)
    q, p = cx.rollout(term, solver, start[:2], dt=H, num_steps=2)
    build = mcmc.integrator(solver, reverse_tolerance=math.inf)
    step = jax.jit(build(logdensity, momenta.kinetic_energy))
    end = step(step(start, H), H)
    _close(end[:2], (q[-1], p[-1]), 1e-11)


def test_blackjax_metric():
    """The same energy, less a constant."""
    ours, theirs = mcmc.riemannian_metric(metric), gaussian_riemannian(metric)
    for q in (Q0, 3 * Q0):
        p = jnp.array([0.3, -1.0])
        more = theirs.kinetic_energy(p, q) - ours.kinetic_energy(p, q)
        assert more == pytest.approx(np.log(2 * np.pi), rel=1e-12)


def _extended(solver=cx.TaoSolver(3.0), spread=0.2):  # noqa: B008
    momenta = mcmc.extended_metric(metric, spread)
    step = jax.jit(mcmc.integrator(solver)(logdensity, momenta.kinetic_energy))
    return momenta, step


def test_copies():
    """The steps are those of the solver with the copies that were drawn."""
    solver = cx.TaoSolver(3.0)
    momenta, step = _extended(solver)
    start = _start(momenta)
    m = start.momentum
    end = step(step(start, H), H)
    hamiltonian = cx.RiemannianHamiltonian(lambda q: -logdensity(q), metric)
    term = cx.HamiltonianTerm(hamiltonian)
    y, copy = (Q0, m.p), (Q0 + m.shift, m.p + m.momentum_shift)
    state = copy, term.vf(0.0, (Q0, copy[1]), None)
    for _ in range(2):
        y, _, _, state, _ = solver.step(term, 0.0, H, y, None, state, made_jump=False)
    (q, p), (x, y) = y, state[0]
    _close((end.position, end.momentum.p), (q, p), 1e-13)
    _close((end.momentum.shift, end.momentum.momentum_shift), (x - q, y - p), 1e-13)


@pytest.mark.parametrize("order", [2, 4])
def test_extended_map(order):
    """It preserves volume, and a step back undoes a step."""
    momenta, step = _extended(cx.TaoSolver(3.0, order))
    start = _start(momenta)
    there = step(step(start, H), H)
    _close(step(step(there, -H), -H), start, 1e-12)

    def map_(z):
        q, p, u, v = z.reshape(4, 2)
        plain = momenta.kinetic_energy.plain
        velocity, slope = jax.grad(plain, (0, 1))(p + v, q)
        m = mcmc.ExtendedMomentum(p, u, v, velocity, -slope)
        q, m, *_ = step(IntegratorState(q, m, *jax.value_and_grad(logdensity)(q)), H)
        return jnp.concatenate([q, m.p, m.shift, m.momentum_shift])

    m = start.momentum
    z = jnp.concatenate([Q0, m.p, m.shift, m.momentum_shift])
    jacobian = jax.jit(jax.jacfwd(map_))(z)
    assert np.linalg.slogdet(jacobian)[1] == pytest.approx(0, abs=1e-12)
    assert not np.allclose(jacobian, np.eye(8), atol=0.1)


@pytest.mark.parametrize("distance", [None, metric])
def test_law_of_the_copies(distance):
    """Their covariances, and the energy which is the negative logarithm of their
    density, less a constant."""
    given = {} if distance is None else {"distance": distance}
    momenta = mcmc.extended_metric(metric, 0.3, **given)
    apart = distance or (lambda q: jnp.eye(2))
    draw = jax.jit(jax.vmap(momenta.sample_momentum, (0, None)))
    m = draw(jr.split(jr.key(0), 40_000), Q0)
    g, d = np.asarray(metric(Q0)), np.asarray(apart(Q0))
    for found, covariance in (
        (m.p, g),
        (m.shift, 0.09 * np.linalg.inv(d)),
        (m.momentum_shift, 0.09 * d),
    ):
        np.testing.assert_allclose(np.cov(found.T), covariance, rtol=0.04, atol=0.01)
    one = jax.tree.map(lambda x: x[0], m)
    energies = [momenta.kinetic_energy(one, q) for q in (Q0, 2 * Q0)]
    densities = []
    for q in (Q0, 2 * Q0):
        g, d = np.asarray(metric(q)), np.asarray(apart(q))
        laws = (one.p, g), (one.shift, 0.09 * np.linalg.inv(d))
        laws += ((one.momentum_shift, 0.09 * d),)
        x = sum(a @ np.linalg.solve(c, a) + np.linalg.slogdet(c)[1] for a, c in laws)
        densities.append(x / 2)
    assert energies[1] - energies[0] == pytest.approx(densities[1] - densities[0])


def _counted(f):
    """The same function, and a list whose one entry counts its evaluations."""
    count = [0]

    def called(x):
        count[0] += 1
        return x

    def identity(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(called, shape, x, vmap_method="sequential")

    counted = jax.custom_jvp(identity)
    counted.defjvp(lambda at, along: (counted(*at), *along))
    return lambda q: f(counted(q)), count


def test_cost():
    """Three evaluations of the metric's derivative a step; before and after them, one
    for the momentum and the first force each, and one for each energy."""
    counts = {}
    for steps in (1, 4):
        metric_, count = _counted(metric)
        kernel = blackjax.rmhmc(
            logdensity,
            H,
            mcmc.extended_metric(metric_),
            steps,
            integrator=mcmc.integrator(cx.TaoSolver()),
        )
        step = jax.jit(kernel.step)
        state = kernel.init(Q0)
        jax.block_until_ready(step(jr.key(0), state))
        counts[steps] = count[0]
    assert counts[4] - counts[1] == 9
    assert counts[1] == 3 + 4


def test_tolerance():
    """A step that is not solved, or does not return, is NaN."""
    momenta = mcmc.riemannian_metric(lambda q: 1 + q**2)
    start = _start(momenta)

    def end(root_finder, max_steps, tolerance):
        solver = cx.GeneralizedLeapfrog(root_finder, max_steps)
        build = mcmc.integrator(solver, reverse_tolerance=tolerance)
        q = build(logdensity, momenta.kinetic_energy)(start, H).position
        return np.all(np.isfinite(q))

    loose, tight = (optx.FixedPointIteration(t, t) for t in (1e-3, 1e-13))
    assert end(loose, 50, math.inf) and end(tight, 50, None)
    assert not end(loose, 50, None)
    assert end(loose, 50, 1e-2)
    assert not end(tight, 2, math.inf)


def test_no_other_root():
    """Where the equation has another root, Newton's method may find one that the way
    back does not return by."""
    steep = lambda q: 1 + 4 * q**2  # noqa: E731
    normal = lambda q: -jnp.sum(q**2) / 2  # noqa: E731
    momenta = mcmc.riemannian_metric(steep)
    q = jr.normal(jr.key(0), (2000, 1))
    p = jax.vmap(momenta.sample_momentum)(jr.split(jr.key(1), 2000), q)

    def end(tolerance):
        solver = cx.GeneralizedLeapfrog()
        step = mcmc.integrator(solver, reverse_tolerance=tolerance)(
            normal, momenta.kinetic_energy
        )

        @jax.jit
        @jax.vmap
        def run(q, p):
            there = step(IntegratorState(q, p, normal(q), -q), 0.5)
            back = step(there, -0.5)
            return there.position, back.position

        return (np.asarray(x)[:, 0] for x in run(q, p))

    there, back = end(math.inf)
    # (NaN is what the solver itself gave up.)
    astray = np.abs(back - q[:, 0]) > 1e-4
    assert astray.any()
    checked, _ = end(None)
    assert np.all(np.isnan(checked[astray]))
    fine = np.isfinite(there) & (np.abs(back - q[:, 0]) < 1e-9)
    np.testing.assert_array_equal(checked[fine], there[fine])


def test_reverse_of_what_passes():
    """It passes too: in a funnel, whose scales differ, errors of the roots decide
    nothing. A chain whose ways into the neck pass and whose ways out do not stays
    there."""
    funnel = lambda q: -(q[0] ** 2) / 18 + q[0] - jnp.exp(q[0]) * q[1:] @ q[1:] / 2  # noqa: E731
    momenta = mcmc.riemannian_metric(mcmc.SoftAbsMetric(funnel, 1.0))
    solver = cx.GeneralizedLeapfrog(optx.FixedPointIteration(1e-9, 1e-9), 50)
    step = mcmc.integrator(solver)(funnel, momenta.kinetic_energy)

    @jax.jit
    @jax.vmap
    def run(key):
        keys = jr.split(key, 3)
        v = 3 * jr.normal(keys[0], (1,))
        q = jnp.concatenate([v, jnp.exp(-v / 2) * jr.normal(keys[1], (2,))])
        p = momenta.sample_momentum(keys[2], q)
        there = step(IntegratorState(q, p, *jax.value_and_grad(funnel)(q)), 0.5)
        turned = there._replace(momentum=-there.momentum)
        return jnp.isfinite(there.position[0]), step(turned, 0.5).position - q, q

    passed, away, q = (np.asarray(x) for x in run(jr.split(jr.key(0), 200)))
    assert passed.mean() > 0.8
    size = np.abs(q[passed]).max(-1)
    assert np.max(np.abs(away[passed]).max(-1) / size) < 1e-4


@pytest.mark.parametrize("solver", [cx.ImplicitMidpoint(), cx.TaoSolver()], ids=str)
def test_float32(solver):
    """Steps stay in it, and return to the tolerance that is its default."""
    sampler = mcmc.rmhmc(logdensity, H, metric, 3, solver=solver)
    state = sampler.init(Q0.astype(jnp.float32))
    state, info = jax.jit(sampler.step)(jr.key(1), state)
    assert state.position.dtype == jnp.float32
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(info.momentum))
    assert not info.is_divergent


def test_nuts():
    """With a kick-drift solver; not on a manifold."""
    normal = lambda q: -jnp.sum(q**2) / 2  # noqa: E731
    kernel = blackjax.nuts(
        normal, 0.5, jnp.ones(2), integrator=mcmc.integrator(cx.BlanesMoan4())
    )
    state, info = jax.jit(kernel.step)(jr.key(0), kernel.init(jnp.ones(2)))
    assert info.num_integration_steps > 1 and np.all(np.isfinite(state.position))
    kernel = blackjax.nuts(
        normal,
        0.5,
        mcmc.riemannian_metric(metric),
        integrator=mcmc.integrator(cx.GeneralizedLeapfrog()),
    )
    with pytest.raises(ValueError, match="the mass depends on the position"):
        kernel.step(jr.key(0), kernel.init(jnp.ones(2)))


@pytest.mark.parametrize("inv", [False, True])
def test_scale(inv):
    """By a root of the mass matrix, or by its inverse."""
    momenta = mcmc.riemannian_metric(metric)
    root = jax.vmap(lambda x: momenta.scale(Q0, x, inv=inv, trans=False), out_axes=1)
    turned = jax.vmap(lambda x: momenta.scale(Q0, x, inv=inv, trans=True), out_axes=1)
    root, turned = root(jnp.eye(2)), turned(jnp.eye(2))
    mass = np.asarray(metric(Q0))
    np.testing.assert_allclose(root.T, turned, atol=1e-12)
    found = turned @ root if inv else root @ turned
    np.testing.assert_allclose(found, np.linalg.inv(mass) if inv else mass, rtol=1e-12)


@pytest.mark.parametrize("solver", [cx.SymplecticEuler(), cx.BAOAB()], ids=str)
def test_refused(solver):
    with pytest.raises(ValueError, match="`solver` must be a `TaoSolver`, an implicit"):
        mcmc.integrator(solver)


def test_bad_input():
    with pytest.raises(ValueError, match="`reverse_tolerance` must be positive"):
        mcmc.integrator(cx.GeneralizedLeapfrog(), reverse_tolerance=0.0)
    with pytest.raises(ValueError, match="`reverse_tolerance` is for implicit solvers"):
        mcmc.integrator(cx.TaoSolver(), reverse_tolerance=1e-6)
    plain = mcmc.riemannian_metric(metric)
    with pytest.raises(ValueError, match="go together"):
        mcmc.integrator(cx.TaoSolver())(logdensity, plain.kinetic_energy)
    extended = mcmc.extended_metric(metric)
    with pytest.raises(ValueError, match="go together"):
        mcmc.integrator(cx.GeneralizedLeapfrog())(logdensity, extended.kinetic_energy)
    step = mcmc.integrator(cx.CHLUSolver())(logdensity, plain.kinetic_energy)
    with pytest.raises(ValueError, match="the mass depends on the position"):
        step(_start(plain), H)
    with pytest.raises(ValueError, match="`spread` must be positive"):
        mcmc.extended_metric(metric, 0.0)
