"""What holds for every energy, step and friction, on random ones.

Each function is compiled once, for all solvers and examples: what is random in it comes
from a seed.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from hypothesis import given, strategies as st

import chlu_eqx as cx
from chlu_eqx.analysis import step_jacobian, step_map, volume_factor
from chlu_eqx.hamiltonian._maxwell_juttner import inverse_gaussian
from chlu_eqx.nn import HamiltonianFlow
from chlu_eqx.nn.flow_bijection import HamiltonianBijection

from ..problems import HOSTED, random_state, SOLVERS, SYMMETRIC


DIM = 2
seeds = st.integers(0, 2**31 - 1)
steps = st.floats(0.01, 0.5)
dampings = st.floats(0.0, 2.0)  # friction times a step


def _kinetic(seed):
    """Of coordinates that each have a speed limit, in formulas that compile fast."""
    mass = jnp.exp(jr.normal(jr.key(seed), (DIM,)) / 2)
    return lambda p: jnp.sum(jnp.sqrt(1 + p**2 / mass))


def _potential(seed):
    """Waves in all directions, in a well."""
    a, b = jr.normal(jr.key(seed), (2, DIM, DIM))
    return lambda q: jnp.sum(jnp.cos(a @ q + b[0])) + jnp.sum(q**2) / 2


def _energy(seed):
    return cx.SeparableHamiltonian(_kinetic(seed), _potential(seed + 1))


def _none(x):
    return jnp.sum(0 * x)


@jax.jit
def _single_flows(seed, dt):
    """A step of every solver where there is one flow only, and that flow."""
    q, p = y = random_state(seed, DIM)
    kinetic, potential = _kinetic(seed), _potential(seed)
    drift = cx.HamiltonianTerm(cx.SeparableHamiltonian(kinetic, _none))
    kick = cx.HamiltonianTerm(cx.SeparableHamiltonian(_none, potential))
    exact = (
        (q + dt * jax.grad(kinetic)(p), p),
        (q, p - dt * jax.grad(potential)(q)),
    )
    found = {
        name: tuple(step_map(term, solver, dt=dt)(y) for term in (drift, kick))
        for name, solver in SOLVERS.items()
    }
    return exact, found


@given(seed=seeds, dt=st.floats(-2.0, 2.0))
def test_every_solver_is_made_of_exact_flows(seed, dt):
    """Where there is only a kinetic energy or only a potential a step is exact, of any
    length and backward too."""
    exact, found = _single_flows(seed, dt)
    for name, ends in found.items():
        np.testing.assert_allclose(ends, exact, rtol=1e-13, atol=1e-13, err_msg=name)


@jax.jit
def _steps(seed, dt, rate):
    """Of every solver the Jacobian of a step, where its own way back leads, and where a
    step of the opposite sign does."""
    term, y0 = cx.HamiltonianTerm(_energy(seed), rate), random_state(seed, DIM)
    out = {}
    for name, solver in SOLVERS.items():
        step = step_map(term, solver, dt=dt)
        t0, t1 = jnp.zeros(()), jnp.asarray(dt, float)
        y, _, _, state, _ = solver.step(
            term, t0, t1, y0, None, solver.init(term, t0, t1, y0, None), False
        )
        undone = solver.backward_step(term, t0, t1, y, None, state, False)[0]
        back = step_map(term, solver, dt=-dt)(y)
        # Those of the others are in `test_exact_statements.py`.
        jacobian = None if name in HOSTED else step_jacobian(step, y0)
        out[name] = jacobian, undone, back
    return y0, out


@given(seed=seeds, dt=steps, damping=dampings)
def test_every_solver_is_conformally_symplectic_and_undone(seed, dt, damping):
    """JᵀΩJ = e^(-Γh) Ω, and the way back ends where the step began."""
    eye, zero = np.eye(DIM), np.zeros((DIM, DIM))
    omega = np.block([[zero, eye], [-eye, zero]])
    y0, out = _steps(seed, dt, damping / dt)
    # Undoing friction magnifies rounding.
    tolerance = 1e-12 * np.exp(damping)
    for name, (jacobian, undone, back) in out.items():
        np.testing.assert_allclose(undone, y0, atol=tolerance, err_msg=name)
        if name in SYMMETRIC:
            np.testing.assert_allclose(back, y0, atol=tolerance, err_msg=name)
        if jacobian is not None:
            J = np.asarray(jacobian)
            size = max(1.0, np.abs(J).max() ** 2)
            defect = np.abs(J.T @ omega @ J - np.exp(-damping) * omega).max()
            assert defect < 1e-13 * size, name


@jax.jit
def _gradients(seed, dt, rate):
    """Of the end of ten steps, by energy, friction, step and state."""
    y0 = random_state(seed, DIM)
    energy = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(DIM, mass=jnp.exp(jr.normal(jr.key(seed), (DIM,)) / 2)),
        cx.MLPPotential(DIM, width=4, depth=1, key=jr.key(seed)),
    )

    def loss(inputs, adjoint, solver):
        energy, rate, dt, y0 = inputs
        term = cx.HamiltonianTerm(energy, rate)
        q, p = cx.rollout(term, solver, y0, dt=dt, num_steps=10, adjoint=adjoint)
        return jnp.sum(q[-1] ** 2) + jnp.sum(jnp.sin(p[-1]))

    gradient = eqx.filter_grad(loss)
    inputs = energy, jnp.asarray(rate), jnp.asarray(dt), y0
    return [
        [
            jax.tree.leaves(gradient(inputs, adjoint, solver))
            for adjoint in (cx.ReversibleAdjoint(), diffrax.DirectAdjoint())
        ]
        for solver in (cx.CHLUSolver(), cx.TaoSolver())
    ]


@given(
    seed=seeds,
    dt=st.floats(0.01, 0.3),
    backward=st.booleans(),
    damping=st.floats(0, 0.5),
)
def test_gradients_are_those_of_the_steps_kept_in_memory(seed, dt, backward, damping):
    sign = -1 if backward else 1
    for found, expected in _gradients(seed, sign * dt, damping / dt):
        for a, b in zip(found, expected, strict=True):
            size = max(1.0, np.abs(b).max())
            np.testing.assert_allclose(a, b, atol=1e-9 * size)


@jax.jit
def _baths(seed, damping, temperature):
    """A bath of either energy, its derivatives, and the like of infinite damping."""
    mass = jnp.exp(jr.normal(jr.key(seed), (DIM,)))
    p, noise = jr.normal(jr.key(seed + 1), (DIM,)), jr.normal(jr.key(seed + 2), (5,))
    out = []
    for kinetic in (
        cx.NewtonianKinetic(DIM, mass=mass),
        cx.RelativisticKinetic(DIM, mass=mass, rest_mass=0.7, speed_limit=1.3),
    ):

        def bath(p, noise, damping=damping, kinetic=kinetic):
            return kinetic.thermostat(p, damping, temperature, noise)

        out.append((bath(p, noise), bath(p, noise, 0.0), bath(p, noise, 1e3)))
    newtonian = cx.NewtonianKinetic(DIM, mass=mass)
    by_p, by_noise = jax.jacfwd(newtonian.thermostat, (0, 3))(
        p, damping, temperature, noise
    )
    return p, mass, out, by_p, by_noise


@given(seed=seeds, damping=st.floats(1e-6, 20.0), temperature=st.floats(1e-3, 1e3))
def test_baths_keep_their_law(seed, damping, temperature):
    """A Gaussian goes into itself, A Σ Aᵀ + B Bᵀ = Σ with the derivatives A by the
    momentum and B by the noise; and given the scale of the mixture that a relativistic
    law is, its bath is of the same kind: a part of what there was, and the rest of what
    there would be with no memory at all."""
    p, mass, baths, by_p, by_noise = _baths(seed, damping, temperature)
    law = np.diag(mass * temperature)
    kept = by_p @ law @ by_p.T + by_noise @ by_noise.T
    np.testing.assert_allclose(kept, law, rtol=1e-12, atol=1e-12 * law.max())
    for after, undamped, forgotten in baths:
        rest = np.sqrt(-np.expm1(-2 * damping)) * np.asarray(forgotten)
        expected = np.exp(-damping) * np.asarray(p) + rest
        np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(undamped, p)


@given(
    mean=st.floats(1e-9, 1e9), normal=st.floats(-6.0, 6.0), uniform=st.floats(0.0, 1.0)
)
def test_scales_of_the_mixture(mean, normal, uniform):
    """Over its mean m, x has (x - 1)²/x = m ν² with a normal ν (Michael, Schucany and
    Haas, 1976), and is the smaller root if and only if the uniform number is at most
    1/(1 + x)."""
    x = float(inverse_gaussian(*map(jnp.asarray, (mean, normal, uniform))))
    # (x - 1)²/x is y² - 2 + 1/y² in y = √x, which cancels: at the smaller root.
    root = min(x, 1 / x)
    assert 0 < root <= 1
    np.testing.assert_allclose(
        (1 - root) ** 2, mean * normal**2 * root, rtol=1e-6, atol=1e-15
    )
    if x != 1 and abs(uniform * (1 + root) - 1) > 1e-12:
        assert (x <= 1) == (uniform * (1 + root) < 1)


@jax.jit
def _flow(seed, dt, scale):
    flow = HamiltonianFlow(DIM, 2, width=4, dt=dt, key=jr.key(seed))
    flow = jax.tree.map(lambda x: scale * x if eqx.is_inexact_array(x) else x, flow)
    y = random_state(seed + 1, DIM)
    z = jnp.concatenate(y)
    bijection = HamiltonianBijection(flow)
    there, log_det = bijection.transform_and_log_det(z)
    back, log_det_back = bijection.inverse_and_log_det(there)
    jacobian = jax.jacfwd(lambda z: bijection.transform_and_log_det(z)[0])(z)
    round_trips = flow.inverse(*flow.forward(*y)), flow.forward(*flow.inverse(*y))
    return y, z, round_trips, back, (log_det, log_det_back), jacobian


@given(seed=seeds, dt=st.floats(0.01, 1.0), scale=st.floats(0.1, 3.0))
def test_flows_are_undone_and_keep_volume(seed, dt, scale):
    y, z, round_trips, back, log_dets, jacobian = _flow(seed, dt, scale)
    size = np.linalg.cond(jacobian)
    for end in round_trips:
        np.testing.assert_allclose(end, y, atol=1e-13 * size)
    np.testing.assert_allclose(back, z, atol=1e-13 * size)
    np.testing.assert_array_equal(log_dets, 0.0)
    np.testing.assert_allclose(volume_factor(jacobian), 1.0, rtol=1e-13 * size)
