"""Gradients through diffeqsolve, under every adjoint of diffrax."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import chlu_eqx as cx

from ..problems import learned, PENDULUM_STATE, random_state, solve, SOLVERS


@pytest.mark.parametrize("name", ["CHLUSolver", "KickDriftKickDamp"])
def test_adjoints_agree(name):
    """Gradients in the state, the energy's parameters and the friction. Those of
    BacksolveAdjoint are exact, since its steps are undone."""
    energy = learned(0, 2, True)
    y0 = random_state(1, 2)
    friction = jnp.array(0.3)

    def loss(inputs, adjoint):
        energy, friction, y0 = inputs
        term = cx.HamiltonianTerm(energy, friction)
        # Two times, so that BacksolveAdjoint makes a jump.
        saveat = diffrax.SaveAt(ts=jnp.array([0.5, 1.0]))
        sol = solve(
            term,
            SOLVERS[name],
            y0,
            0.0,
            1.0,
            20,
            saveat=saveat,
            adjoint=adjoint,
            max_steps=20,
        )
        return sum(jnp.sum(x**2) for x in sol.ys)

    def flat(grads):
        leaves = jax.tree.leaves(eqx.filter(grads, eqx.is_inexact_array))
        return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])

    inputs = (energy, friction, y0)
    gradient = eqx.filter_jit(eqx.filter_grad(loss))
    recursive = flat(gradient(inputs, diffrax.RecursiveCheckpointAdjoint()))
    backsolve = flat(gradient(inputs, diffrax.BacksolveAdjoint()))
    size = np.abs(recursive).max()
    np.testing.assert_allclose(backsolve, recursive, atol=1e-12 * size)
    if name == "CHLUSolver":
        direct = flat(gradient(inputs, diffrax.DirectAdjoint()))
        np.testing.assert_allclose(recursive, direct, atol=1e-13 * size)
        along = jax.tree.map(
            lambda x: jnp.ones_like(x) if eqx.is_inexact_array(x) else None, inputs
        )
        _, slope = eqx.filter_jit(eqx.filter_jvp)(
            lambda inputs: loss(inputs, diffrax.ForwardMode()), (inputs,), (along,)
        )
        np.testing.assert_allclose(slope, jnp.sum(direct), rtol=1e-10)


def test_backsolve_adjoint_of_a_time_dependent_field():
    """With args, explicit time and a backward solve."""

    def field(t, y, args):
        q, p = y
        return p, -args * jnp.sin(q) + jnp.cos(3 * t)

    def loss(adjoint, args, y0):
        ys = solve(
            diffrax.ODETerm(field),
            cx.CHLUSolver(),
            y0,
            2.0,
            0.5,
            15,
            args=args,
            adjoint=adjoint,
        ).ys
        return jnp.sum(ys[0] ** 2 + ys[1])

    args = jnp.array(1.3)
    grads = [
        jax.grad(loss, argnums=(1, 2))(adjoint, args, PENDULUM_STATE)
        for adjoint in (diffrax.DirectAdjoint(), diffrax.BacksolveAdjoint())
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), *grads)


class Well(eqx.Module):
    """½ |q - bottom|²."""

    bottom: jax.Array

    def __call__(self, q):
        return jnp.sum((q - self.bottom) ** 2) / 2


@pytest.mark.parametrize("name", ["CHLUSolver", "DriftKickDrift"])
def test_implicit_adjoint_at_a_steady_state(name):
    """Friction settles at the bottom of a well: it moves with the well."""

    def settled(bottom):
        energy = cx.SeparableHamiltonian(cx.NewtonianKinetic(1), Well(bottom))
        at_rest = diffrax.steady_state_event(1e-9, 1e-9, optx.max_norm)
        sol = diffrax.diffeqsolve(
            cx.HamiltonianTerm(energy, 1.0),
            SOLVERS[name],
            0.0,
            jnp.inf,
            0.1,
            PENDULUM_STATE,
            adjoint=diffrax.ImplicitAdjoint(),
            event=diffrax.Event(at_rest),
            max_steps=None,
        )
        assert sol.ys is not None
        return sol.ys[0][0, 0]

    # diffrax's event multiplies a time by a whole number.
    with jax.numpy_dtype_promotion("standard"):
        value, slope = jax.value_and_grad(settled)(jnp.array(2.0))
    np.testing.assert_allclose([value, slope], [2.0, 1.0], atol=1e-7)
