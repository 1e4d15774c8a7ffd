"""Neural Hamiltonian flows: exact maps, exact densities, and bounds of the rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal, norm

import chlu_eqx as cx
from chlu_eqx.nn import Gaussian, HamiltonianFlow


STATE = (jnp.array([0.4, -1.2]), jnp.array([0.1, 0.9]))
SOLVERS = [None, cx.SymplecticEuler(), cx.Yoshida4()]


def _curved(dim, number=2, **arguments):
    """With energies and a base that are far from what they start at."""
    energies = []
    for key in jr.split(jr.key(2), number):
        kinetic, potential = (
            cx.MLPPotential(dim, width=8, depth=1, key=k) for k in jr.split(key)
        )
        kinetic = cx.PotentialSum(lambda p, k=kinetic: 3 * k(p), cx.Confinement(0.3))
        energies.append(
            cx.SeparableHamiltonian(kinetic, lambda q, v=potential: 4 * v(q))
        )
    flow = HamiltonianFlow(dim, energies, width=8, key=jr.key(3), **arguments)
    return _with_base(
        flow, jnp.linspace(-0.3, 0.4, 2 * dim), jnp.linspace(0.7, 1.4, 2 * dim)
    )


def _with_base(flow, mean, scale):
    where = lambda flow: (flow.mean, flow.log_scale)  # noqa: E731
    return eqx.tree_at(where, flow, (mean, jnp.log(scale)))


def _of(map):
    """A map of states as one of arrays."""
    return lambda z: jnp.concatenate(map(*jnp.split(z, 2)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_undone_exactly_and_of_constant_volume(solver):
    flow = _curved(2, solver=solver, num_steps=3)
    z0 = jnp.concatenate(STATE)

    @eqx.filter_jit
    def run(flow):
        z1 = _of(flow.forward)(z0)
        jacobian = jax.jacfwd(_of(flow.forward))(z0)
        inverse = jax.jacrev(_of(flow.inverse))(z1)
        return z1, _of(flow.inverse)(z1), jacobian, inverse

    z1, back, jacobian, inverse = run(flow)
    assert np.abs(z1 - z0).max() > 0.5
    np.testing.assert_allclose(back, z0, atol=1e-13)
    for j in (jacobian, inverse):
        sign, log_det = np.linalg.slogdet(j)
        assert sign == 1 and abs(log_det) < 1e-13
    np.testing.assert_allclose(inverse @ jacobian, np.eye(4), atol=1e-12)


def test_leapfrog_drifts_by_the_kinetic_slope():
    """K = |p|²/4, whose slope is p/2 and not p; and the last energy acts last."""

    def energy(k):
        return cx.SeparableHamiltonian(
            lambda p: jnp.sum(p**2) / 4, lambda q: k * jnp.sum(jnp.cos(q))
        )

    flow = HamiltonianFlow(2, [energy(1), energy(3)], dt=0.3, key=jr.key(0))
    (q, p), h = map(np.array, STATE), 0.3
    for k in (1, 3):
        p = p + h / 2 * k * np.sin(q)
        q = q + h * p / 2
        p = p + h / 2 * k * np.sin(q)
    found = eqx.filter_jit(flow.forward)(*STATE)
    np.testing.assert_allclose(found, (q, p), rtol=1e-13)


def test_density_is_of_both_halves():
    flow = _curved(2)
    q0, p0 = eqx.filter_jit(flow.inverse)(*STATE)
    base = multivariate_normal(flow.base.mean, np.diag(flow.base.scale**2))
    log_joint = eqx.filter_value_and_grad(lambda flow: flow.log_joint(*STATE))
    found, slope = eqx.filter_jit(log_joint)(flow)
    np.testing.assert_allclose(found, base.logpdf(np.concatenate([q0, p0])), rtol=1e-12)
    off = (np.concatenate([q0, p0]) - flow.base.mean) / flow.base.scale**2
    assert np.abs(off).min() > 0.1
    np.testing.assert_allclose(slope.mean, off, rtol=1e-10)


# The flow of a linear system, whose density is normal.


class _LinearEncoder(eqx.Module):
    """Normal, of mean `slope * q + shift`."""

    slope: jax.Array
    shift: jax.Array
    scale: jax.Array

    def __call__(self, q):
        return Gaussian(self.slope * q + self.shift, self.scale)


def _linear():
    """A flow of one coordinate and its density: the means and the covariance."""

    def energy(k):
        return cx.SeparableHamiltonian(
            cx.NewtonianKinetic(1, mass=0.7), cx.Confinement(k)
        )

    flow = HamiltonianFlow(1, [energy(0.4), energy(1.5)], key=jr.key(0))
    flow = _with_base(flow, jnp.array([0.3, -0.5]), jnp.array([0.6, 1.3]))
    matrix = np.asarray(jax.jit(jax.jacfwd(_of(flow.forward)))(jnp.zeros(2)))
    covariance = matrix @ np.diag(np.asarray(flow.base.scale) ** 2) @ matrix.T
    return flow, matrix @ np.asarray(flow.base.mean), covariance


def _posterior(flow, mean, covariance):
    """The same flow with the encoder that is its posterior."""
    slope = covariance[1, 0] / covariance[0, 0]
    variance = covariance[1, 1] - slope * covariance[0, 1]
    numbers = (slope, mean[1] - slope * mean[0], variance**0.5)
    encoder = _LinearEncoder(*(jnp.array([x]) for x in numbers))
    return eqx.tree_at(lambda flow: flow.encoder, flow, encoder)


def test_bound_is_tight_at_the_posterior():
    flow, mean, covariance = _linear()
    assert abs(covariance[0, 1]) > 0.1
    flow = _posterior(flow, mean, covariance)
    q = jnp.array([[-1.3], [0.2], [2.0]])
    exact = norm.logpdf(q, mean[0], covariance[0, 0] ** 0.5)
    weights = jax.vmap(lambda q: flow.log_weights(q, 5, key=jr.key(1)))
    np.testing.assert_allclose(jax.jit(weights)(q), exact + np.zeros(5), rtol=1e-11)


def test_bound_is_below_by_the_divergence():
    flow, mean, covariance = _linear()
    flow = _posterior(flow, mean, covariance)
    exact = norm.logpdf(0.8, mean[0], covariance[0, 0] ** 0.5)
    q = jnp.array([0.8])
    posterior = flow.encoder(q)
    other = _LinearEncoder(jnp.array([0.4]), jnp.array([0.1]), jnp.array([0.7]))
    flow = eqx.tree_at(lambda flow: flow.encoder, flow, other)
    weights, elbo = eqx.filter_jit(
        lambda key: (
            flow.log_weights(q, 20_000, key=key),
            flow.elbo(q, 20_000, key=key),
        )
    )(jr.key(1))
    weights = np.asarray(weights)
    gap = other(q).divergence(posterior)
    assert gap > 0.05
    error = weights.std() / 20_000**0.5
    assert weights.mean() == pytest.approx(exact - gap, abs=4 * error)
    np.testing.assert_allclose(elbo, weights.mean(), rtol=1e-12)


def test_importance_bound_grows_to_the_marginal():
    flow = _curved(1)
    q = jnp.array([0.7])
    log_joint = jax.jit(lambda p: flow.log_joint(q, p[None]))
    mass, _ = quad(lambda p: float(jnp.exp(log_joint(p))), -12, 12, limit=200)

    @eqx.filter_jit
    def bounds(num_samples, number):
        bound = lambda key: flow.importance_bound(q, num_samples, key=key)  # noqa: E731
        return jax.vmap(bound)(jr.split(jr.key(0), number))

    ladder = {k: np.asarray(bounds(k, 20_000 // k)) for k in (1, 4, 16)}
    means = [x.mean() for x in ladder.values()]
    errors = [x.std() / len(x) ** 0.5 for x in ladder.values()]
    for i in range(2):
        assert means[i + 1] - means[i] > 3 * np.hypot(errors[i], errors[i + 1])
    assert means[-1] < np.log(mass)
    [best] = bounds(100_000, 1)
    assert best == pytest.approx(np.log(mass), abs=0.01)


def test_samples_are_of_the_density():
    """The distribution of draws, against the density on a grid, which sums to one."""
    flow = _curved(1)
    grid = jnp.linspace(-10, 10, 401)
    step = float(grid[1] - grid[0])
    columns = jax.vmap(flow.log_joint, (None, 0))
    rows = jax.jit(jax.vmap(columns, (0, None)))
    density = np.exp(rows(grid[:, None], grid[:, None])).sum(1) * step
    assert density.sum() * step == pytest.approx(1, abs=1e-6)
    draws = jax.jit(jax.vmap(flow.sample))(jr.split(jr.key(1), 4000))
    cdf = np.cumsum(density) * step - density * step / 2
    test = kstest(np.asarray(draws)[:, 0], lambda x: np.interp(x, grid, cdf))
    assert test.pvalue > 0.01


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_learned_by_gradients(dtype):
    """Of everything there is, `dt` too; in batches and in either precision."""
    energies = HamiltonianFlow(2, 2, width=4, key=jr.key(0)).hamiltonians
    quadratic = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(2), cx.MLPPotential(2, width=4, key=jr.key(1))
    )
    flow = HamiltonianFlow(
        2, [*energies, quadratic], dt=jnp.array(0.4), width=4, key=jr.key(2)
    )
    flow = jax.tree.map(
        lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, flow
    )
    q = jnp.array([[0.3, -0.2], [1.0, 2.0], [-0.5, 0.1]], dtype)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(flow, q):
        keys = jr.split(jr.key(3), len(q))
        bound = jax.vmap(lambda q, key: flow.importance_bound(q, 4, key=key))(q, keys)
        samples = jax.vmap(flow.sample)(keys)
        assert samples.dtype == dtype
        return jnp.mean(bound)

    value, slopes = loss(flow, q)
    assert value.dtype == dtype and np.isfinite(value)

    # A constant in an energy has no force: the bias of a last layer.
    def last(flow):
        learned = [h.kinetic.potentials[0] for h in flow.hamiltonians[:2]]
        learned += [h.potential for h in flow.hamiltonians]
        return [energy.mlp.layers[-1].bias for energy in learned]

    for leaf in last(slopes):
        np.testing.assert_array_equal(leaf, 0)
    slopes = eqx.tree_at(last, slopes, replace_fn=lambda x: None)
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_number_of_energies():
    flow = HamiltonianFlow(3, 3, width=4, key=jr.key(0))
    assert len(flow.potentials) == len(flow.hamiltonians) == 3
    values = [v(jnp.ones(3)) for v in flow.potentials]
    assert len(np.unique(values)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "`dim` must be a positive integer"),
        ({"hamiltonians": 0}, "`hamiltonians` must be a positive integer"),
        ({"hamiltonians": []}, "`hamiltonians` must be a number or one or more"),
        (
            {"hamiltonians": [cx.NeuralHamiltonian(2, key=jr.key(0))]},
            "`hamiltonians` must be .* `chlu_eqx.SeparableHamiltonian`, got .Neural",
        ),
        ({"num_steps": 0}, "`num_steps` must be a positive integer"),
        ({"dt": -0.1}, "`dt` must be positive"),
        ({"width": 0}, "`width` must be a positive integer"),
        (
            {"solver": cx.ImplicitMidpoint()},
            "`solver` must be an explicit splitting, .* got ImplicitMidpoint",
        ),
        ({"solver": cx.TaoSolver()}, "`solver` must be an explicit splitting"),
        ({"solver": "leapfrog"}, "`solver` must be .* got leapfrog"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        HamiltonianFlow(**({"dim": 2, "key": jr.key(0)} | arguments))


def test_bad_calls():
    flow = HamiltonianFlow(2, 1, width=4, key=jr.key(0))
    q, p = STATE
    with pytest.raises(ValueError, match=r"`q` must be .* \(2,\), got float64\[3\]"):
        flow.forward(jnp.zeros(3), p)
    with pytest.raises(ValueError, match=r"`p` must be .* got float64\[5, 2\]"):
        flow.inverse(q, jnp.zeros((5, 2)))
    for bound in (flow.log_weights, flow.elbo, flow.importance_bound):
        with pytest.raises(ValueError, match=r"`q` must be .* got float64\[4, 2\]"):
            bound(jnp.zeros((4, 2)), 2, key=jr.key(0))
        with pytest.raises(ValueError, match="`num_samples` must be a positive"):
            bound(q, 0, key=jr.key(0))
