import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import chlu_eqx as cx
from chlu_eqx.analysis import (
    conformal_factor,
    predicted_volume_factor,
    step_jacobian,
    step_map,
    symplecticity_defect,
    volume_factor,
)

from ..problems import learned, pendulum_ode, PENDULUM_STATE, random_state, solve


H = 0.3
OSCILLATOR = cx.HamiltonianTerm(
    cx.SeparableHamiltonian(cx.NewtonianKinetic(1), lambda q: 0.5 * jnp.sum(q**2))
)
# One step of length H for the unit oscillator, by hand.
C = 1 - H**2 / 2
STEP_MATRICES = {
    "velocity Verlet": (cx.CHLUSolver(), [[C, H], [-H * (1 - H**2 / 4), C]]),
    "position Verlet": (cx.DriftKickDrift(), [[C, H * (1 - H**2 / 4)], [-H, C]]),
    "symplectic Euler": (cx.SymplecticEuler(), [[1, H], [-H, 1 - H**2]]),
    "Heun": (diffrax.Heun(), [[C, H], [-H, C]]),
}


@pytest.mark.parametrize("name", STEP_MATRICES)
def test_oscillator(name):
    """Jacobians of one step, of several, and of one back, by their closed forms. Heun's
    method multiplies areas by 1 + h⁴/4; the others are symplectic."""
    solver, matrix = STEP_MATRICES[name]

    def jacobian(dt, num_steps):
        step = step_map(OSCILLATOR, solver, dt=dt, num_steps=num_steps)
        return step_jacobian(step, PENDULUM_STATE)

    one, three, back = jax.jit(
        lambda: (jacobian(H, 1), jacobian(H, 3), jacobian(-H, 1))
    )()
    np.testing.assert_allclose(one, matrix, atol=1e-15)
    np.testing.assert_allclose(three, np.linalg.matrix_power(matrix, 3), atol=1e-14)
    growth = H**4 / 4 if name == "Heun" else 0.0
    np.testing.assert_allclose(symplecticity_defect(one), growth, atol=1e-15)
    np.testing.assert_allclose(volume_factor(one), 1 + growth, rtol=1e-14)
    np.testing.assert_allclose(volume_factor(three), (1 + growth) ** 3, rtol=1e-14)
    if "Verlet" in name:
        np.testing.assert_allclose(back, np.linalg.inv(matrix), atol=1e-15)


def test_defect_by_hand():
    """(q, p) → (A q, B p) is symplectic if and only if AᵀB = 1, and then preserves
    volume, which by itself is not enough."""
    a = np.array([[2.0, 1.0], [0.5, 3.0]])
    inverse, zero = np.linalg.inv(a).T, np.zeros((2, 2))
    point = np.block([[a, zero], [zero, inverse]])
    assert symplecticity_defect(point) < 1e-15
    np.testing.assert_allclose(symplecticity_defect(3 * point, 9.0), 0, atol=1e-14)
    np.testing.assert_allclose(symplecticity_defect(3 * point), 8, rtol=1e-15)
    np.testing.assert_allclose(volume_factor(3 * point), 81, rtol=1e-14)
    squeeze = np.diag([2.0, 1.0, 0.5, 1.0])
    assert symplecticity_defect(squeeze) == 0
    squeeze = np.diag([2.0, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(volume_factor(squeeze), 1, rtol=1e-15)
    assert symplecticity_defect(squeeze) == 1
    reflection = np.diag([1.0, -1.0])
    assert volume_factor(reflection) == 1 and symplecticity_defect(reflection) == 2


@pytest.mark.parametrize(
    "solver", [cx.CHLUSolver(), cx.KickDriftKickDamp(), diffrax.Tsit5()], ids=str
)
def test_friction(solver):
    """On a learned relativistic energy, ours contract the symplectic form by e^(-Γh)
    and volume by e^(-h tr Γ) to rounding; an accurate method that is not symplectic
    does neither."""
    dt, y0, each = 0.2, random_state(1, 3), np.array([0.1, 0.9, 0.3])

    @jax.jit
    def jacobians(rate):
        term = cx.HamiltonianTerm(learned(0, 3, True), rate)
        return [
            step_jacobian(step_map(term, solver, dt=dt, num_steps=n), y0)
            for n in (1, 4)
        ]

    scalar = cx.HamiltonianTerm(learned(0, 3, True), 0.7)
    unequal = cx.HamiltonianTerm(learned(0, 3, True), each)
    np.testing.assert_allclose(conformal_factor(scalar, dt), np.exp(-0.14), 1e-15)
    defects, ratios = [], []
    for n, J, K in zip(
        (1, 4), jacobians(np.full(3, 0.7)), jacobians(each), strict=True
    ):
        defects.append(symplecticity_defect(J, conformal_factor(scalar, n * dt)))
        for term, jacobian, trace in ((scalar, J, 2.1), (unequal, K, 1.3)):
            predicted = predicted_volume_factor(term, n * dt, y0)
            np.testing.assert_allclose(predicted, np.exp(-n * dt * trace), 1e-14)
            ratios.append(abs(volume_factor(jacobian) / predicted - 1))
        assert symplecticity_defect(J) > 0.1
    if isinstance(solver, diffrax.Tsit5):
        assert 1e-8 < min(defects) < max(defects) < 1e-3
        assert 1e-8 < min(ratios) < max(ratios) < 1e-3
    else:
        assert max(defects) < 1e-14 and max(ratios) < 1e-13


def test_friction_by_position():
    """The rate where each friction flow acts: at both ends, or at the end alone."""
    term = cx.HamiltonianTerm(
        learned(0, 3, True), lambda q, p: 2 * jax.nn.sigmoid(jnp.arange(3.0) + q)
    )
    dt, y0 = 0.3, random_state(1, 3)

    @jax.jit
    def factors(y0):
        out = []
        for solver in (cx.CHLUSolver(), cx.KickDriftKickDamp()):
            step = step_map(term, solver, dt=dt)
            measured = volume_factor(step_jacobian(step, y0))
            ends = [predicted_volume_factor(term, dt, y) for y in (y0, step(y0))]
            out.append((measured, *ends))
        return out

    (symmetric, start, end), (one_sided, _, at_end) = factors(y0)
    np.testing.assert_allclose(symmetric, np.sqrt(start * end), rtol=1e-13)
    np.testing.assert_allclose(one_sided, at_end, rtol=1e-13)
    assert abs(start / end - 1) > 1e-3


def _coupled(q):
    return jnp.sum(q["a"] ** 4) + jnp.sum(jnp.cos(q["b"])) * q["a"][0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_pytrees(dtype):
    """The Jacobian is ordered as the leaves are, all of q before all of p; in both
    precisions, in both modes and in batches."""
    energy = cx.SeparableHamiltonian(
        lambda p: 0.5 * (jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2)), _coupled
    )
    term = cx.HamiltonianTerm(energy, {"a": 0.2, "b": np.array([[0.1, 0.3]])})
    key = jax.random.key(0)
    shapes = {"a": (5, 2), "b": (5, 1, 2)}
    q, p = (
        {k: jax.random.normal(key, s, dtype) * scale for k, s in shapes.items()}
        for scale in (0.5, 1.0)
    )
    step = step_map(term, cx.CHLUSolver(), dt=0.1)
    jacobians = jax.jit(jax.vmap(lambda y: step_jacobian(step, y)))((q, p))
    assert jacobians.shape == (5, 8, 8) and jacobians.dtype == dtype
    eps = jnp.finfo(dtype).eps
    factors = jax.vmap(lambda y: predicted_volume_factor(term, 0.1, y))((q, p))
    np.testing.assert_allclose(factors, np.exp(-0.1 * 0.8), rtol=4 * eps)
    np.testing.assert_allclose(jax.vmap(volume_factor)(jacobians), factors, 20 * eps)
    # ∂q/∂p is h times the friction before the drift: diagonal in this order alone.
    decay = np.exp(-0.05 * np.array([0.2, 0.2, 0.1, 0.3]))
    drift = np.broadcast_to(np.diag(0.1 * decay), (5, 4, 4))
    np.testing.assert_allclose(jacobians[:, :4, 4:], drift, atol=eps)

    y0 = jax.tree.map(lambda x: x[0], (q, p))
    forward = jax.jacfwd(lambda z: ravel_pytree(step(unravel(z)))[0])
    flat, unravel = ravel_pytree(y0)
    np.testing.assert_allclose(jax.jit(forward)(flat), jacobians[0], atol=10 * eps)


def test_frictionless_prediction():
    assert conformal_factor(OSCILLATOR, 0.1) == 1
    assert predicted_volume_factor(OSCILLATOR, 0.1, PENDULUM_STATE) == 1


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), cx.CHLUSolver()], ids=str)
def test_same_steps_as_diffeqsolve(solver):
    """With time, with arguments, and with what a solver carries from step to step."""

    def driven(t, y, args):
        q, p = y
        return p, -jnp.sin(q) + args * jnp.cos(t)

    field, args = diffrax.ODETerm(driven), jnp.array([0.7])
    got = step_map(field, solver, dt=0.1, num_steps=20, t0=1.0, args=args)
    sol = solve(field, solver, PENDULUM_STATE, 1.0, 3.0, 20, args=args)
    for a, b in zip(got(PENDULUM_STATE), sol.ys, strict=True):
        np.testing.assert_allclose(a, b[0], rtol=1e-12)


def test_pair_of_terms():
    """diffrax.SemiImplicitEuler takes two terms, and is symplectic."""
    terms = (
        diffrax.ODETerm(lambda t, p, args: p),
        diffrax.ODETerm(lambda t, q, args: -jnp.sin(q)),
    )
    step = step_map(terms, diffrax.SemiImplicitEuler(), dt=H, num_steps=2)
    jacobian = step_jacobian(step, PENDULUM_STATE)
    assert np.abs(jacobian - np.eye(2)).max() > 0.1
    assert symplecticity_defect(jacobian) < 1e-15


def test_refusals():
    field = diffrax.ODETerm(pendulum_ode)
    with pytest.raises(ValueError, match="`num_steps` must be a non-negative"):
        step_map(field, cx.CHLUSolver(), dt=0.1, num_steps=-1)
    with pytest.raises(ValueError, match=r"`y = \(q, p\)`: `p` must have the shapes"):
        step_jacobian(lambda y: y, (jnp.zeros(2), jnp.zeros(1)))
    with pytest.raises(ValueError, match="`jacobian` must be a square matrix"):
        symplecticity_defect(np.eye(3))
    for predict in (
        lambda term: conformal_factor(term, 0.1),
        lambda term: predicted_volume_factor(term, 0.1, PENDULUM_STATE),
    ):
        with pytest.raises(ValueError, match="`term` must be a `HamiltonianTerm`"):
            predict(field)
    for friction in (np.array([0.1, 0.2]), {"a": 0.1}, lambda q, p: 0.1):
        term = cx.HamiltonianTerm(OSCILLATOR.hamiltonian, friction)
        with pytest.raises(ValueError, match="`term` must have a constant scalar"):
            conformal_factor(term, 0.1)
