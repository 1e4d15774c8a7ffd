import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import chlu_eqx as cx
from chlu_eqx.training import (
    largest_exponent,
    lyapunov_exponents,
    positive_exponents,
)

from ..problems import random_state


def _step(unit, num_steps=3):
    def step(y):
        q, p = unit(y, num_steps, adjoint=diffrax.DirectAdjoint())
        return q[-1], p[-1]

    return step


def _unit(friction=None):
    return cx.nn.CHLU(2, dt=0.4, friction=friction, key=jr.key(0))


def test_linear_map():
    matrix = jr.normal(jr.key(0), (4, 4))
    y = (jnp.ones(2), jnp.zeros(2))

    def step(y):
        x = matrix @ jnp.concatenate(y)
        return x[:2], x[2:]

    exact = np.log(np.linalg.svd(np.asarray(matrix), compute_uv=False))
    np.testing.assert_allclose(lyapunov_exponents(step, y), exact, rtol=1e-12)
    np.testing.assert_allclose(
        positive_exponents(step, y), np.maximum(exact, 0).sum(), rtol=1e-12
    )
    largest = largest_exponent(step, y, num_iterations=60, key=jr.key(1))
    np.testing.assert_allclose(largest, exact[0], rtol=1e-9)


def test_the_mean_is_no_regulariser():
    """½ log(1 - γ), whatever the energy: its gradient vanishes, as those of the largest
    and of the positive ones do not."""
    gamma = 0.3
    unit = _unit(cx.friction_rate(gamma, 0.4))
    y = random_state(0, 2)

    def through(measure):
        def value(unit):
            return measure(_step(unit, 1), y)

        return eqx.filter_jit(eqx.filter_value_and_grad(value))(unit)

    mean, slope = through(lambda step, y: jnp.mean(lyapunov_exponents(step, y)))
    np.testing.assert_allclose(mean, np.log(1 - gamma) / 2, atol=1e-13)
    potential = eqx.filter(slope.hamiltonian, eqx.is_inexact_array)
    for leaf in jax.tree.leaves(potential):
        np.testing.assert_allclose(leaf, 0, atol=1e-12)
    for measure in (lambda f, y: lyapunov_exponents(f, y)[0], positive_exponents):
        _, slope = through(measure)
        weights = slope.hamiltonian.potential.potentials[0].mlp.layers[0].weight
        assert np.abs(weights).max() > 1e-4


def test_largest_exponent_without_the_jacobian():
    """Value and gradient, on the way over several steps."""
    y = random_state(1, 2)

    def exact(unit):
        return lyapunov_exponents(_step(unit), y)[0]

    def iterated(unit):
        return largest_exponent(_step(unit), y, num_iterations=40, key=jr.key(0))

    value, slope = eqx.filter_jit(eqx.filter_value_and_grad(exact))(_unit())
    found, its = eqx.filter_jit(eqx.filter_value_and_grad(iterated))(_unit())
    np.testing.assert_allclose(found, value, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(its), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1.0, np.abs(b).max()))
