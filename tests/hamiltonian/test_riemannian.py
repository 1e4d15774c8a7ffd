import functools

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.stats import multivariate_normal

import chlu_eqx as cx
from chlu_eqx.mcmc import SoftAbsMetric


def dense(q):
    away = jnp.stack([jnp.sin(q[0]), q[1]])
    return jnp.eye(2) + jnp.outer(away, away)


def diagonal(q):
    return 1 + q**2


def funnel(q):
    """Its Hessian has an eigenvalue of multiplicity three everywhere."""
    v, x = q[0], q[1:]
    return v**2 / 18 + jnp.sum(jnp.exp(v) * x**2) / 2 - 3 * v / 2


@pytest.mark.parametrize("metric", [dense, diagonal])
def test_momenta_are_normal(metric):
    """K is the negative logarithm of N(0, G(q)), less a constant."""
    q, p = jr.normal(jr.key(0), (2, 2))
    hamiltonian = cx.RiemannianHamiltonian(lambda q: jnp.sum(q**4), metric)
    covariance = metric(q) if metric is dense else jnp.diag(metric(q))
    law = multivariate_normal(np.zeros(2), np.asarray(covariance))
    expected = -law.logpdf(p) - np.log(2 * np.pi)
    assert hamiltonian.kinetic(q, p) == pytest.approx(expected, rel=1e-12)
    total = hamiltonian(q, p) - hamiltonian.kinetic(q, p)
    assert total == pytest.approx(float(jnp.sum(q**4)), rel=1e-12)


SOLVERS = {
    "TaoSolver": cx.TaoSolver(omega=5.0, order=4),
    "ImplicitMidpoint": cx.ImplicitMidpoint(),
    "GeneralizedLeapfrog": cx.GeneralizedLeapfrog(),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(name):
    """On a softened metric whose eigenvalues coincide, where Newton's method asks for
    second derivatives of it; against an adaptive solver."""
    term = cx.HamiltonianTerm(
        cx.RiemannianHamiltonian(funnel, SoftAbsMetric(lambda q: -funnel(q)))
    )
    y0 = jnp.array([0.3, 0.5, 0.5, 0.5]), jnp.array([0.4, -0.2, 0.3, 0.1])
    run = jax.jit(functools.partial(cx.rollout, term, SOLVERS[name], y0, num_steps=16))
    ends = [
        ravel_pytree(jax.tree.map(lambda x: x[-1], run(dt=sign * 0.5 / 16)))[0]
        for sign in (1, -1)
    ]
    errors = np.abs(np.asarray(ends) - _exact(term, y0))
    assert errors.max() < (1e-5 if name == "TaoSolver" else 2e-3)


@functools.cache
def _kept() -> list:
    return []


def _exact(term, y0):
    """Forward and backward in time."""
    if not _kept():
        solution = jax.jit(
            lambda t1: (
                diffrax.diffeqsolve(
                    term,
                    diffrax.Tsit5(),
                    0.0,
                    t1,
                    None,
                    y0,
                    stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9),
                ).ys
            )
        )
        _kept().extend(ravel_pytree(solution(t))[0] for t in (0.5, -0.5))
    return np.stack(_kept())


def test_pytrees():
    """Counted as `ravel_pytree` has them."""
    tree = {"b": jnp.array(0.3), "a": jnp.array([0.5])}
    momentum = {"b": jnp.array(1.0), "a": jnp.array([-2.0])}
    flat = cx.RiemannianHamiltonian(lambda q: jnp.sum(q**2), dense)
    whole = cx.RiemannianHamiltonian(
        lambda q: q["b"] ** 2 + jnp.sum(q["a"] ** 2),
        lambda q: dense(ravel_pytree(q)[0]),
    )
    q, p = (ravel_pytree(x)[0] for x in (tree, momentum))
    assert whole(tree, momentum) == pytest.approx(float(flat(q, p)), rel=1e-14)
    gradient = ravel_pytree(jax.grad(whole)(tree, momentum))[0]
    np.testing.assert_allclose(gradient, jax.grad(flat)(q, p), rtol=1e-12)


def test_not_separable():
    term = cx.HamiltonianTerm(cx.RiemannianHamiltonian(lambda q: q @ q, dense))
    y0 = jnp.ones(2), jnp.ones(2)
    with pytest.raises(ValueError, match="needs a separable energy"):
        cx.rollout(term, cx.CHLUSolver(), y0, dt=0.1, num_steps=1)


def test_bad_input():
    wrong = cx.RiemannianHamiltonian(lambda q: q @ q, lambda q: jnp.eye(3))
    with pytest.raises(ValueError, match=r"shape \(2, 2\) .* got shape \(3, 3\)"):
        wrong(jnp.ones(2), jnp.ones(2))
    indefinite = cx.RiemannianHamiltonian(lambda q: q @ q, lambda q: jnp.diag(q))
    assert jnp.isnan(indefinite(jnp.array([1.0, -1.0]), jnp.ones(2)))
