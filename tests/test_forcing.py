"""An external force against the closed form of a driven oscillator."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import chlu_eqx as cx

from .problems import at_end, HOSTED, ORDER, solve, SOLVERS


FREQUENCY, DRIVE, AMPLITUDE, STIFFNESS = 1.3, 0.7, 0.9, 0.4
Y0, T0, T1 = (jnp.array([0.4]), jnp.array([-0.3])), 0.6, 4.6
ENERGY = cx.SeparableHamiltonian(
    cx.NewtonianKinetic(1, mass=2.0),
    lambda q: FREQUENCY**2 * jnp.sum(q**2),
)
IMPLICIT = {
    "ImplicitMidpoint": (cx.ImplicitMidpoint(), 2),
    "GeneralizedLeapfrog": (cx.GeneralizedLeapfrog(), 2),
    "GaussLegendre4": (cx.GaussLegendre4(), 4),
    "TaoSolver": (cx.TaoSolver(1.0, 4), 4),
}
CLAIMS = {k: (s, ORDER[k]) for k, s in SOLVERS.items()} | IMPLICIT


class Drive(eqx.Module):
    """F(t, q) = a cos(Ωt) - k q: of the time, and a spring beside the potential."""

    amplitude: jax.Array
    stiffness: jax.Array

    def __call__(self, t, q, args):
        return self.amplitude * jnp.cos(DRIVE * t) - self.stiffness * q


FORCE = Drive(jnp.array(AMPLITUDE), jnp.array(STIFFNESS))


def _exact(t):
    """At the time t, from Y0 at T0, with m = 2."""
    q0, p0 = (float(y[0]) for y in Y0)
    w = np.sqrt(FREQUENCY**2 + STIFFNESS / 2)
    gain = AMPLITUDE / 2 / (w**2 - DRIVE**2)
    a = q0 - gain * np.cos(DRIVE * T0)
    b = (p0 / 2 + gain * DRIVE * np.sin(DRIVE * T0)) / w
    c, s = np.cos(w * (t - T0)), np.sin(w * (t - T0))
    q = a * c + b * s + gain * np.cos(DRIVE * t)
    v = w * (b * c - a * s) - gain * DRIVE * np.sin(DRIVE * t)
    return np.array([q, 2 * v])


# The others are of the same parts.
@pytest.mark.parametrize("name", [*HOSTED, "BlanesMoanNystrom6", *IMPLICIT])
def test_orders_are_kept(name):
    """Of every solver, by `diffeqsolve`; and in the end it is the driven oscillator."""
    solver, order = CLAIMS[name]
    assert solver.order(cx.HamiltonianTerm(ENERGY, None, FORCE)) == order

    @jax.jit
    def run(h):
        term = cx.HamiltonianTerm(ENERGY, None, FORCE)
        return at_end(diffrax.diffeqsolve(term, solver, T0, T1, h, Y0))

    def error(n):
        return np.abs(np.ravel(run((T1 - T0) / n)) - _exact(T1)).max()

    steps = np.array({1: [800, 1600], 2: [200, 400], 4: [40, 80]}.get(order, [12, 24]))
    errors = [error(n) for n in steps]
    assert errors[1] < 1e-3
    assert np.log2(errors[0] / errors[1]) > order - 0.3


@pytest.mark.parametrize(
    ("name", "friction"), [("BlanesMoan4", None), ("CHLUSolver", 0.2)]
)
def test_time_runs_as_it_should(name, friction):
    """In `rollout` as in `diffeqsolve`, from any start, and backward too."""
    term, (solver, _) = cx.HamiltonianTerm(ENERGY, friction, FORCE), CLAIMS[name]
    for t0, t1 in ((T0, T1), (T1, T0)):
        n = 40
        dt = (t1 - t0) / n
        found = cx.rollout(term, solver, Y0, dt=dt, num_steps=n, t0=t0)
        same = solve(term, solver, Y0, t0, t1, n)
        np.testing.assert_allclose(
            jax.tree.map(lambda y: y[-1], found), at_end(same), rtol=1e-11
        )
        fine = at_end(solve(term, diffrax.Dopri8(), Y0, t0, t1, 100))
        np.testing.assert_allclose(at_end(same), fine, atol=0.05)


def test_there_and_back():
    """Time-symmetric at any step: the force of a time is the same on the way back."""
    term = cx.HamiltonianTerm(ENERGY, 0.1, FORCE)
    for solver in (cx.CHLUSolver(), cx.GaussLegendre4()):
        end = at_end(solve(term, solver, Y0, T0, T1, 9))
        start = at_end(solve(term, solver, end, T1, T0, 9))
        np.testing.assert_allclose(start, Y0, atol=1e-10)


def test_one_equation():
    """The vector field is the whole equation, by scipy, friction and arguments
    included."""
    term = cx.HamiltonianTerm(ENERGY, 0.3, lambda t, q, args: args * t**2 * q)
    args = jnp.array(0.05)

    def field(t, y):
        q, p = y
        return [p / 2, -2 * FREQUENCY**2 * q - 0.3 * p + 0.05 * t**2 * q]

    want = solve_ivp(field, (T0, T1), [0.4, -0.3], "DOP853", rtol=1e-12, atol=1e-12)
    for solver in (diffrax.Dopri8(), cx.CHLUSolver(), cx.TaoSolver(1.0)):
        found = at_end(solve(term, solver, Y0, T0, T1, 3000, args=args))
        np.testing.assert_allclose(np.ravel(found), want.y[:, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "friction", "closed_over"),
    [("CHLUSolver", 0.1, True), ("ImplicitMidpoint", None, False)],
)
def test_gradients_in_constant_memory(name, friction, closed_over):
    """Those of `ReversibleAdjoint` are `DirectAdjoint`'s, by everything in the force,
    a leaf of the term or not."""
    solver, _ = CLAIMS[name]

    def loss(force, y0, adjoint, rolled):
        forcing = (lambda t, q, args: force(t, q, args)) if closed_over else force
        term = cx.HamiltonianTerm(ENERGY, friction, forcing)
        if rolled:
            ys = cx.rollout(
                term, solver, y0, dt=0.2, num_steps=10, t0=T0, adjoint=adjoint
            )
        else:
            saveat = diffrax.SaveAt(ts=jnp.linspace(T0, T1, 7))
            ys = solve(term, solver, y0, T0, T1, 20, adjoint=adjoint, saveat=saveat).ys
        return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(ys))

    for rolled in (True, False):
        slope = eqx.filter_jit(
            eqx.filter_grad(lambda x, a, rolled=rolled: loss(x[0], x[1], a, rolled))
        )
        ours = slope((FORCE, Y0), cx.ReversibleAdjoint())
        direct = slope((FORCE, Y0), diffrax.DirectAdjoint())
        assert all(np.abs(x).max() > 1e-3 for x in jax.tree.leaves(direct[0]))
        for x, y in zip(*map(jax.tree.leaves, (ours, direct)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8)


def test_refusals():
    with pytest.raises((ValueError, TypeError), match="forcing"):
        cx.HamiltonianTerm(ENERGY, None, 1.0)  # pyright: ignore[reportArgumentType]
    for wrong in (lambda t, q, args: jnp.cos(t), lambda t, q, args: (q, q)):
        term = cx.HamiltonianTerm(ENERGY, None, wrong)
        with pytest.raises(ValueError, match="`forcing` must return a force of the"):
            solve(term, cx.CHLUSolver(), Y0, T0, T1, 4)
