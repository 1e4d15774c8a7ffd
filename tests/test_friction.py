import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import chlu_eqx as cx
from chlu_eqx.friction import friction_flow


@given(gamma=st.floats(0, 0.99), dt=st.floats(1e-3, 10.0))
def test_friction_rate(gamma, dt):
    """exp(-Γ dt) = 1 - γ."""
    rate = cx.friction_rate(gamma, dt)
    np.testing.assert_allclose(np.exp(-rate * dt), 1 - gamma, rtol=1e-13)


@pytest.mark.parametrize("gamma", [-0.1, 1.0, 2.0, np.nan])
def test_bad_gamma(gamma):
    with pytest.raises(ValueError, match=r"`gamma` must be in \[0, 1\)"):
        cx.friction_rate(gamma, 0.1)
    with pytest.raises(Exception, match=r"`gamma` must be in \[0, 1\)"):
        eqx.filter_jit(cx.friction_rate)(jnp.array(gamma), 0.1)


@pytest.mark.parametrize("dt", [-0.1, 0.0])
def test_bad_dt(dt):
    with pytest.raises(ValueError, match="`dt` must be positive"):
        cx.friction_rate(0.1, dt)


def test_flow_of_every_kind_of_rate():
    q, p = jnp.array([0.5, -1.0]), jnp.array([2.0, 3.0])
    h = 0.7
    each = np.array([0.0, 1.3])
    for friction, rate in (
        (0.4, 0.4),
        (jnp.array(0.4), 0.4),
        (each, each),
        (lambda q, p: q**2, np.asarray(q) ** 2),
        (lambda q, p: 0.4, 0.4),
    ):
        same_q, damped = friction_flow(friction, h, (q, p))
        np.testing.assert_array_equal(same_q, q)
        np.testing.assert_allclose(damped, np.exp(-rate * h) * p, rtol=1e-14)
    tree = ({"a": q}, {"a": p})
    for friction in (0.4, {"a": 0.4}, lambda q, p: 0.4):
        _, damped = friction_flow(friction, h, tree)
        np.testing.assert_allclose(damped["a"], np.exp(-0.4 * h) * p, rtol=1e-14)


def test_flow_of_a_rate_of_the_momentum_has_order_two():
    """ṗ = -|p|² p, whose solution is p / √(1 + 2 |p|² t)."""
    p0 = jnp.array([0.6, -0.8])

    @jax.jit
    def error(h):
        y = (p0, p0)
        for _ in range(4):
            y = friction_flow(lambda q, p: jnp.sum(p**2), h / 4, y)
        return jnp.abs(y[1] - p0 / jnp.sqrt(1 + 2 * h)).max()

    # Four steps to a time that shrinks with them: the local error, of order three.
    np.testing.assert_allclose(error(0.02) / error(0.01), 8, rtol=0.1)


def test_governor():
    """γ = s tanh(max(0, H - E*)) of the momentum is lost per `dt`."""

    def energy(q, p):
        return jnp.sum(q**2 + p**2) / 2

    governor = cx.EnergyGovernor(energy, 0.5, dt=0.05, strength=0.9)
    q, p = jnp.array([0.3]), jnp.array([1.2])
    gamma = 0.9 * np.tanh(energy(q, p) - 0.5)
    np.testing.assert_allclose(governor(q, p), -np.log(1 - gamma) / 0.05, rtol=1e-13)
    assert governor(q, 0.1 * p) == 0
    with pytest.raises(ValueError, match=r"`strength` must be in \[0, 1\)"):
        cx.EnergyGovernor(energy, 0.5, dt=0.05, strength=1.0)


@pytest.mark.parametrize("solver", [cx.KickDriftKickDamp(), cx.CHLUSolver()])
def test_gated_friction_contracts_volume(solver):
    """det J = exp(-d Γ h), with Γ at the position where friction acts: the last, or
    half at either end."""
    gate = eqx.nn.MLP(2, "scalar", 8, 1, key=jax.random.key(0))
    friction = cx.PositionGatedFriction(gate)
    term = cx.HamiltonianTerm(
        cx.SeparableHamiltonian(cx.RelativisticKinetic(2), lambda q: jnp.sum(q**4)),
        friction,
    )

    def step(y):
        q, p = cx.rollout(
            term,
            solver,
            (y[:2], y[2:]),
            dt=0.1,
            num_steps=1,
            adjoint=diffrax.DirectAdjoint(),
        )
        return jnp.concatenate([q[-1], p[-1]])

    y0 = jnp.array([0.4, -0.7, 0.2, 0.5])
    ends = [friction(y[:2], y[2:]) for y in (y0, step(y0))]
    assert ends[0] > 0 and np.log1p(np.exp(gate(y0[:2]))) == pytest.approx(ends[0])
    rate = ends[1] if isinstance(solver, cx.KickDriftKickDamp) else sum(ends) / 2
    volume = jnp.linalg.det(jax.jit(jax.jacfwd(step))(y0))
    np.testing.assert_allclose(volume, np.exp(-2 * rate * 0.1), rtol=1e-12)
