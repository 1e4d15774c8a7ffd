"""Variational integrator networks against their recursions, written out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import ellipj, ellipk

import chlu_eqx as cx
from chlu_eqx.nn import VariationalIntegratorNetwork


H, N = 0.1, 30
MASS = np.array([[2.0, 0.3], [0.3, 0.7]])
Q0, V0 = jnp.array([0.4, -0.2]), jnp.array([0.1, 0.9])


def _network(**arguments):
    kinetic = cx.DenseNewtonianKinetic(2, mass=MASS)
    potential = cx.MLPPotential(2, width=8, key=jr.key(0)) + cx.Confinement(0.5)
    defaults = {"dt": H, "kinetic": kinetic, "potential": potential, "key": jr.key(1)}
    return VariationalIntegratorNetwork(2, **(defaults | arguments))


def _slope(network, q):
    return np.asarray(jax.grad(network.unit.hamiltonian.potential)(jnp.asarray(q)))


def test_velocity_verlet():
    network = _network()
    found = eqx.filter_jit(network)((Q0, V0), N)
    q, v, inverse = np.array(Q0), np.array(V0), np.linalg.inv(MASS)
    for k in range(N + 1):
        np.testing.assert_allclose(found[0][k], q, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found[1][k], v, rtol=1e-12, atol=1e-13)
        slope = _slope(network, q)
        q = q + H * v - H**2 / 2 * inverse @ slope
        v = v - H / 2 * inverse @ (slope + _slope(network, q))


@pytest.mark.parametrize("friction", [None, 0.3, cx.PositionGatedFriction(jnp.sum)])
def test_positions_are_those_of_velocity_verlet(friction):
    network = _network(friction=friction)
    q, _ = eqx.filter_jit(network)((Q0, V0), N)
    found = eqx.filter_jit(network.positions)((q[0], q[1]), N)
    np.testing.assert_allclose(found, q, rtol=1e-11, atol=1e-12)


def test_stormer_verlet():
    """q₊ = 2q - q₋ - h² M⁻¹ V'(q)."""
    network = _network()
    q1 = Q0 + 0.02
    found = np.asarray(eqx.filter_jit(network.positions)((Q0, q1), N))
    np.testing.assert_allclose(found[:2], [Q0, q1], rtol=1e-14)
    slopes = np.stack([_slope(network, q) for q in found])
    second = found[2:] - 2 * found[1:-1] + found[:-2]
    expected = -(H**2) * slopes[1:-1] @ np.linalg.inv(MASS).T
    np.testing.assert_allclose(second, expected, rtol=1e-10, atol=1e-14)


def test_external_force():
    """-V'(q) + F(t, q) at its own time, from velocities and from positions."""
    network = _network(forcing=lambda t, q, args: jnp.cos(4 * t) * q[::-1] + 0.3)
    q, v = eqx.filter_jit(network)((Q0, V0), N)
    found = eqx.filter_jit(network.positions)((q[0], q[1]), N)
    np.testing.assert_allclose(found, q, rtol=1e-11, atol=1e-12)
    pushes = np.cos(4 * H * np.arange(N + 1))[:, None] * q[:, ::-1] + 0.3
    slopes = np.stack([_slope(network, x) for x in q]) - pushes
    accelerations = -slopes @ np.linalg.inv(MASS).T
    second = q[2:] - 2 * q[1:-1] + q[:-2]
    np.testing.assert_allclose(second, H**2 * accelerations[1:-1], atol=1e-13)
    mean = (accelerations[1:] + accelerations[:-1]) / 2
    np.testing.assert_allclose(np.diff(v, axis=0), H * mean, atol=1e-13)


def test_on_the_circle():
    """sin(q₊ - q) = sin(q - q₋) - h²/m V'(q), and only turns matter."""
    network = _network(
        kinetic=cx.RotationKinetic(2, H, mass=np.array([0.5, 2.0])),
        potential=cx.PeriodicPotential(cx.MLPPotential(4, width=8, key=jr.key(0))),
    )
    q1 = Q0 + jnp.array([0.3, -0.2])
    run = eqx.filter_jit(network.positions)
    found = np.asarray(run((Q0, q1), N))
    slopes = np.stack([_slope(network, q) for q in found])
    sines = np.sin(np.diff(found, axis=0))
    expected = -(H**2) * slopes[1:-1] / np.array([0.5, 2.0])
    np.testing.assert_allclose(np.diff(sines, axis=0), expected, rtol=1e-9, atol=1e-13)
    turned = np.asarray(run((Q0 + 2 * np.pi, q1 + 2 * np.pi), N))
    np.testing.assert_allclose(turned - 2 * np.pi, found, atol=1e-11)


def _pendulum(t, top):
    """Released at rest from the angle `top`, at g = l = 1."""
    k = np.sin(top / 2)
    sn, *_ = ellipj(ellipk(k**2) - t, k**2)
    return 2 * np.arcsin(k * sn)


def test_orders_on_a_pendulum():
    """Both forms converge to the exact pendulum at order 2."""
    errors = {"flat": [], "circle": []}
    for n in (50, 100, 200):
        h = 5.0 / n
        truth = _pendulum(h * np.arange(n + 1), 2.0)
        for form, kinetic in (
            ("flat", cx.NewtonianKinetic(1)),
            ("circle", cx.RotationKinetic(1, h)),
        ):
            network = VariationalIntegratorNetwork(
                1,
                dt=h,
                kinetic=kinetic,
                potential=lambda q: -jnp.cos(q[0]),
                key=jr.key(0),
            )
            y0 = tuple(jnp.array([x]) for x in truth[:2])
            found = network.positions(y0, n)[:, 0]
            errors[form].append(np.abs(found - truth).max())
    for found in errors.values():
        rates = np.log2(np.array(found)[:-1] / np.array(found)[1:])
        np.testing.assert_allclose(rates, 2, atol=0.1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_trained_by_batches(dtype):
    """Gradients by everything learned, full mass included, under jit and vmap."""
    network = jax.tree.map(
        lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, _network()
    )
    y0 = tuple(jnp.stack([x, -x]).astype(dtype) for x in (Q0, V0))

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(network):
        q, v = jax.vmap(lambda y: network(y, 5))(y0)
        assert q.dtype == v.dtype == dtype
        return jnp.sum(q**2) + jnp.sum(v**2)

    leaves = jax.tree.leaves(slope(network))
    assert all(np.isfinite(x).all() and x.dtype == dtype for x in leaves)
    kinetic = slope(network).unit.hamiltonian.kinetic
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(kinetic))


def test_defaults_and_refusals():
    network = VariationalIntegratorNetwork(3, key=jr.key(0))
    np.testing.assert_allclose(network.unit.hamiltonian.kinetic.mass, 1)
    with pytest.raises((ValueError, TypeError), match="kinetic"):
        _network(kinetic=lambda p: jnp.sum(p**2))
    for mass in (np.diag([1.0, -1.0]), np.array([[1.0, 0.5], [0.0, 1.0]])):
        with pytest.raises(ValueError, match="`mass` must be symmetric and positive"):
            cx.DenseNewtonianKinetic(2, mass=mass)
    with pytest.raises(ValueError, match=r"`mass` must have shape \(3, 3\)"):
        cx.DenseNewtonianKinetic(3, mass=np.eye(2))
    with pytest.raises(ValueError, match="`dt` must be positive"):
        cx.RotationKinetic(2, 0.0)
