"""Whether the chains have the law they are asked for."""

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import pytest
from scipy.special import kn
from scipy.stats import norm

import chlu_eqx as cx
from chlu_eqx import mcmc


def normal(q):
    return -jnp.sum(q**2) / 2


def steep(q):
    return 1 + 4 * q**2


def observed(q):
    x = q[0]
    return jnp.stack([x**2, x**4, jnp.where(jnp.abs(x) < 0.5, 1.0, 0.0)])


EXACT = np.array([1, 3, 2 * norm.cdf(0.5) - 1])


def _gate(momenta, solver, settings, chains=1000, steps=300):
    """How many standard errors the means of chains that start from N(0, 1) are away
    from it, for each setting: the length of a step, and what makes the solver."""

    @jax.jit
    def run(h, *parameters):
        build = mcmc.integrator(solver(*parameters))
        kernel = blackjax.rmhmc.build_kernel(build)

        def chain(key, q):
            def move(state, key):
                state, info = kernel(key, state, normal, h, momenta, 5)
                return state, (observed(state.position), info.acceptance_rate)

            state = blackjax.rmhmc.init(q, normal)
            _, (found, rates) = jax.lax.scan(move, state, jr.split(key, steps))
            return found.mean(0), rates.mean()

        start, keys = jr.split(jr.key(0))
        q = jr.normal(start, (chains, 1))
        return jax.vmap(chain)(jr.split(keys, chains), q)

    scores = []
    for setting in settings:
        found, rates = (np.asarray(x) for x in run(*setting))
        assert 0.05 < rates.mean() < 1
        scores.append((found.mean(0) - EXACT) / (found.std(0) / np.sqrt(chains)))
    return np.abs(scores)


STEPS = (0.5, 0.25, 0.1)
BOUND = [(h, omega) for h in STEPS for omega in (2.0, 10.0, 100.0)]


@pytest.mark.parametrize("distance", [None, steep])
def test_explicit_is_unbiased(distance):
    given = {} if distance is None else {"distance": distance}
    momenta = mcmc.extended_metric(steep, **given)
    assert _gate(momenta, cx.TaoSolver, BOUND).max() < 4


def test_copies_apart_are_unbiased():
    """For other spreads and orders, whatever they are worth."""
    apart = mcmc.extended_metric(steep, 0.5)
    order4 = lambda omega: cx.TaoSolver(omega, 4)  # noqa: E731
    assert _gate(apart, order4, [(0.3, 3.0)], 1000, 250).max() < 4


def test_reset_copies_are_biased():
    """The published rule, at acceptances above 0.8."""
    scores = _gate(mcmc.biased_reset_copies_metric(steep), cx.TaoSolver, BOUND)
    assert scores.max() > 20
    assert (scores.max(1) > 4).sum() >= 4


IMPLICIT = {
    "GeneralizedLeapfrog": (cx.GeneralizedLeapfrog, 500),
    "ImplicitMidpoint": (cx.ImplicitMidpoint, 300),
    "SemiExplicit": (cx.SemiExplicit, 300),
}


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_is_unbiased(name):
    solver, chains = IMPLICIT[name]
    scores = _gate(
        mcmc.riemannian_metric(steep), solver, [(h,) for h in STEPS], chains, 250
    )
    assert scores.max() < 4


def test_relativistic_is_unbiased():
    """And a kick-drift solver of a higher order."""
    kinetic = cx.RelativisticKinetic(1, mass=2.0, rest_mass=0.7, speed_limit=1.5)
    scores = _gate(mcmc.thermal_metric(kinetic), cx.BlanesMoan4, [(0.8,)], 1000, 250)
    assert scores.max() < 4


X = jr.normal(jr.key(5), (12, 2))


def _loglikelihood(q, y):
    eta = X @ q
    return jnp.sum(y * jax.nn.log_sigmoid(eta) + (1 - y) * jax.nn.log_sigmoid(-eta))


GEWEKE = {
    "explicit": (cx.TaoSolver(5.0), lambda metric: mcmc.extended_metric(metric)),
    "implicit": (
        cx.GeneralizedLeapfrog(optx.FixedPointIteration(1e-10, 1e-10), 50),
        mcmc.riemannian_metric,
    ),
}


@pytest.mark.parametrize("name", GEWEKE)
def test_joint(name):
    """Geweke, "Getting it right" (JASA 99, 2004): if parameters are moved by the chain
    given the data, and the data are drawn anew given these, the joint law stays what it
    is: that of the prior and the likelihood, of which moments are known."""
    solver, build = GEWEKE[name]
    kernel = blackjax.rmhmc.build_kernel(mcmc.integrator(solver))

    def data(key, q):
        uniform = jr.uniform(key, (len(X),))
        return jnp.where(uniform < jax.nn.sigmoid(X @ q), 1.0, 0.0)

    def alternate(carry, key):
        q, y = carry
        posterior = lambda q: _loglikelihood(q, y) + normal(q)  # noqa: E731
        metric = mcmc.SoftAbsMetric(posterior, 2.0)
        if name == "explicit":
            # Of another mass, and not symmetric about the mode.
            metric = lambda q: jnp.diag(1 + (q - 0.5) ** 2) + 0.3  # noqa: E731
        move, redraw = jr.split(key)
        state = blackjax.rmhmc.init(q, posterior)
        state, info = kernel(move, state, posterior, 0.2, build(metric), 3)
        q = state.position
        return (q, data(redraw, q)), info.is_accepted

    @jax.jit
    @jax.vmap
    def run(key):
        first, second, rest = jr.split(key, 3)
        q = jr.normal(first, (2,))
        keys = jr.split(rest, 6)
        (q, y), accepted = jax.lax.scan(alternate, (q, data(second, q)), keys)
        residual = y - jax.nn.sigmoid(X @ q)
        # All of mean zero.
        found = [q, q**2 - 1, q**4 - 3, q[:1] * q[1:], residual, residual * jnp.sum(q)]
        return jnp.concatenate(found), accepted

    n = 1000
    found, accepted = run(jr.split(jr.key(6), n))
    assert 0.2 < accepted.mean() < 1
    z = found.mean(0) / (found.std(0) / np.sqrt(n))
    assert np.abs(z).max() < 4


def test_agrees_with_nuts():
    """On a logistic regression."""
    y = jnp.where(jnp.arange(12) % 3 == 0, 1.0, 0.0)
    posterior = lambda q: _loglikelihood(q, y) + normal(q)  # noqa: E731
    weights = lambda eta: jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)  # noqa: E731
    metric = mcmc.FisherMetric(lambda q: X @ q, weights, 1.0)
    samplers = (
        mcmc.rmhmc(posterior, 0.5, metric, 4, solver=cx.TaoSolver(4.0)),
        blackjax.nuts(posterior, 0.5, jnp.ones(2)),
    )
    means, errors = [], []
    for sampler in samplers:

        @jax.jit
        @jax.vmap
        def run(key, sampler=sampler):
            move = lambda state, key: sampler.step(key, state)  # noqa: E731
            state = sampler.init(jnp.zeros(2))
            state, _ = jax.lax.scan(move, state, jr.split(key, 50))
            step = lambda state, key: (move(state, key)[0],) * 2  # noqa: E731
            _, kept = jax.lax.scan(step, state, jr.split(jr.fold_in(key, 1), 300))
            q = kept.position
            return jnp.concatenate([q, q**2, q[:, :1] * q[:, 1:]], 1).mean(0)

        found = np.asarray(run(jr.split(jr.key(7), 200)))
        means.append(found.mean(0))
        errors.append(found.std(0) / np.sqrt(200))
    z = (means[0] - means[1]) / np.hypot(*errors)
    assert np.abs(z).max() < 4
    assert np.all(np.hypot(*errors) < 0.03)


def test_relativistic_momenta():
    """Of the Maxwell-Jüttner law, whose mean energy is one of Bessel functions."""
    momenta = mcmc.thermal_metric(cx.RelativisticKinetic(1))
    draw = jax.jit(jax.vmap(momenta.sample_momentum, (0, None)))
    p = draw(jr.split(jr.key(0), 40_000), {"a": jnp.zeros(1)})
    energy = jax.vmap(momenta.kinetic_energy)(p)
    # Z = 2 K1(b); -d log Z / db at b = 1 is K0 + K1 over K1.
    expected = (kn(0, 1) + kn(1, 1)) / kn(1, 1)
    error = energy.std() / np.sqrt(40_000)
    assert abs(energy.mean() - expected) < 4 * error


def test_relativistic_hmc():
    """It agrees with the plain kernel, and its positions move no faster than c."""
    kinetic = cx.RelativisticKinetic(2, speed_limit=0.5)
    sampler = mcmc.relativistic_hmc(normal, 0.5, kinetic, 4)
    kernel = blackjax.hmc(normal, 0.5, mcmc.thermal_metric(kinetic), 4)
    state = sampler.init(jnp.array([3.0, -4.0]))
    ours, info = jax.jit(sampler.step)(jr.key(0), state)
    theirs, _ = jax.jit(kernel.step)(jr.key(0), state)
    np.testing.assert_allclose(ours.position, theirs.position, atol=1e-12)
    away = np.linalg.norm(info.proposal.position - state.position)
    assert 0.1 < away <= 0.5 * 4 * 0.5
    nuts = blackjax.nuts(normal, 0.5, mcmc.thermal_metric(kinetic))
    _, info = jax.jit(nuts.step)(jr.key(0), nuts.init(jnp.ones(2)))
    assert info.num_integration_steps > 1


def test_random_lengths():
    """The parts in another kernel of BlackJAX."""
    kernel = blackjax.dynamic_hmc(
        normal,
        0.5,
        mcmc.extended_metric(steep),
        integrator=mcmc.integrator(cx.TaoSolver(5.0)),
        integration_steps_fn=lambda key: jr.randint(key, (), 1, 6),
    )
    state = kernel.init(jnp.ones(1), jr.key(0))
    step = jax.jit(kernel.step)
    lengths = set()
    for key in jr.split(jr.key(1), 20):
        state, info = step(key, state)
        lengths.add(int(info.num_integration_steps))
    assert lengths == {1, 2, 3, 4, 5}
    assert np.all(np.isfinite(state.position))


def test_bad_proposals_are_counted():
    """Where the density or the metric is not defined, nothing is accepted, and the
    rejections count as divergences."""
    half = lambda q: jnp.sum(jnp.log(q) - q)  # noqa: E731
    wall = lambda q: jnp.where(q < 0.5, jnp.nan, 1.0)  # noqa: E731
    for metric, least in ((jnp.ones_like, 0.0), (wall, 0.5)):
        sampler = mcmc.rmhmc(half, 1.0, metric, 3)

        def move(state, key, sampler=sampler):
            state, info = sampler.step(key, state)
            return state, (state.position, info.is_accepted, info.is_divergent)

        state = sampler.init(jnp.ones(1))
        _, (q, accepted, divergent) = jax.jit(
            lambda keys, state=state, move=move: jax.lax.scan(move, state, keys)
        )(jr.split(jr.key(0), 300))
        assert q.min() > least
        assert divergent.any() and accepted.any()
        assert not np.any(accepted & divergent)


GOOD = dict(logdensity_fn=normal, step_size=0.1, metric=steep, num_integration_steps=2)


@pytest.mark.parametrize(
    "bad",
    [
        {"step_size": 0.0},
        {"step_size": -0.1},
        {"step_size": np.nan},
        {"num_integration_steps": 0},
        {"spread": 0.0},
    ],
    ids=str,
)
def test_bad_arguments(bad):
    [name] = bad
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        mcmc.rmhmc(**(GOOD | bad))
    if name in ("step_size", "num_integration_steps"):
        arguments = {k: v for k, v in (GOOD | bad).items() if k != "metric"}
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            mcmc.relativistic_hmc(**arguments, kinetic=cx.RelativisticKinetic(1))


def test_bad_shapes():
    wrong = mcmc.rmhmc(**(GOOD | {"metric": lambda q: jnp.eye(3)}))
    state = wrong.init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"`metric` must return .* got shape \(3, 3\)"):
        wrong.step(jr.key(0), state)
    small = mcmc.relativistic_hmc(normal, 0.1, cx.RelativisticKinetic(1), 2)
    with pytest.raises(ValueError, match="`kinetic` must have the dimension"):
        small.step(jr.key(0), small.init(jnp.ones(2)))
    with pytest.raises(ValueError, match="`omega` must be positive"):
        mcmc.rmhmc(**GOOD, solver=cx.TaoSolver(0.0))


@pytest.mark.parametrize(
    "metric",
    [
        lambda q: jnp.zeros(2),
        lambda q: -jnp.ones(2),
        lambda q: jnp.array([[1.0, 0.5], [0.0, 1.0]]),
        lambda q: jnp.ones((2, 2)) - 1e-3,
        lambda q: jnp.full((2, 2), jnp.nan),
    ],
    ids=["singular", "negative", "not symmetric", "not positive", "not finite"],
)
@pytest.mark.parametrize("solver", [cx.TaoSolver(), cx.GeneralizedLeapfrog()], ids=str)
def test_bad_metric(metric, solver):
    sampler = mcmc.rmhmc(**(GOOD | {"metric": metric}), solver=solver)
    with pytest.raises(eqx.EquinoxRuntimeError, match="`metric` must be finite, symm"):
        jax.block_until_ready(sampler.step(jr.key(0), sampler.init(jnp.ones(2))))


def test_bad_start():
    sampler = mcmc.rmhmc(**(GOOD | {"logdensity_fn": lambda q: jnp.sum(jnp.log(q))}))
    for q in (-jnp.ones(1), jnp.zeros(1)):
        with pytest.raises(eqx.EquinoxRuntimeError, match="`logdensity_fn` and its"):
            sampler.init(q)
