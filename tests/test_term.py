import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx

from .problems import (
    HOSTED,
    pendulum,
    pendulum_ode,
    PENDULUM_STATE,
    reference,
    solve,
    SOLVERS,
)


@pytest.mark.parametrize(
    "friction, names",
    [
        (0.3, (*HOSTED, "KahanLi6")),
        (None, HOSTED),
        (lambda q, p: 0.1 + q**2, HOSTED),
    ],
)
def test_one_equation_for_solvers(friction, names):
    """Solvers of diffrax and of ours tend to the same solution, friction included."""
    term = pendulum(friction)
    want = reference(term, PENDULUM_STATE, 0.0, 3.0).ys
    ours = [SOLVERS[name] for name in names]
    for solver in (*ours, diffrax.Tsit5(), diffrax.Heun()):
        got = solve(term, solver, PENDULUM_STATE, 0.0, 3.0, 4000).ys
        order = solver.order(term) or 1
        np.testing.assert_allclose(got, want, atol=10 * (3 / 4000) ** order)


def test_vector_field_includes_friction():
    q, p = jnp.array([0.3]), jnp.array([2.0])
    dq, dp = pendulum(0.5).vf(0.0, (q, p), None)
    np.testing.assert_allclose(dq, p)
    np.testing.assert_allclose(dp, -np.sin(0.3) - 1.0, rtol=1e-14)


def test_partitioned_term_is_semi_implicit_euler():
    """The pair of terms that diffrax's own symplectic solver takes, and its numbers,
    forward and backward; and any other diffrax solver takes the adapted pair."""
    drift = diffrax.ODETerm(lambda t, p, args: args * p)
    kick = diffrax.ODETerm(lambda t, q, args: -jnp.sin(q) + 0.1 * jnp.cos(t))
    one = cx.PartitionedTerm(drift, kick)
    for t0, t1 in ((0.0, 2.0), (2.0, -1.0)):
        kwargs = dict(
            args=jnp.array(1.5), saveat=diffrax.SaveAt(steps=True), max_steps=32
        )
        theirs = solve(
            (drift, kick),
            diffrax.SemiImplicitEuler(),
            PENDULUM_STATE,
            t0,
            t1,
            30,
            **kwargs,
        )
        ours = solve(one, cx.SymplecticEuler(), PENDULUM_STATE, t0, t1, 30, **kwargs)
        # diffrax takes the force at the start of the step in time, ours at its end.
        assert np.abs(ours.ys[0][:30] - theirs.ys[0][:30]).max() < 0.02
    autonomous = diffrax.ODETerm(lambda t, q, args: -jnp.sin(q))
    one = cx.PartitionedTerm(drift, autonomous)
    for t0, t1 in ((0.0, 2.0), (2.0, -1.0)):
        args = jnp.array(1.5)
        theirs = solve(
            (drift, autonomous),
            diffrax.SemiImplicitEuler(),
            PENDULUM_STATE,
            t0,
            t1,
            30,
            args=args,
        )
        ours = solve(one, cx.SymplecticEuler(), PENDULUM_STATE, t0, t1, 30, args=args)
        np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-13)
        tight = reference(one, PENDULUM_STATE, t0, t1, args=args)
        verlet = solve(one, cx.CHLUSolver(), PENDULUM_STATE, t0, t1, 3000, args=args)
        np.testing.assert_allclose(verlet.ys, tight.ys, atol=1e-6)


def test_plain_ode_term_is_the_same_equation():
    for name in (*HOSTED, "BlanesMoan4"):
        solver = SOLVERS[name]
        ours = solve(pendulum(), solver, PENDULUM_STATE, 0.0, 2.0, 20)
        plain = solve(
            diffrax.ODETerm(pendulum_ode), solver, PENDULUM_STATE, 0.0, 2.0, 20
        )
        np.testing.assert_allclose(ours.ys, plain.ys, rtol=1e-13)


class Doubled(diffrax.AbstractTerm):
    """A wrapper of a user's own, which changes the equation."""

    term: diffrax.AbstractTerm

    def vf(self, t, y, args):
        return jax.tree.map(lambda x: 2 * x, self.term.vf(t, y, args))

    def contr(self, t0, t1, **kwargs):
        return self.term.contr(t0, t1, **kwargs)

    def prod(self, vf, control):
        return self.term.prod(vf, control)


def test_wrapped_terms_keep_their_meaning():
    slow = solve(pendulum(), cx.CHLUSolver(), PENDULUM_STATE, 0.0, 2.0, 20)
    fast = solve(Doubled(pendulum()), cx.CHLUSolver(), PENDULUM_STATE, 0.0, 1.0, 20)
    np.testing.assert_allclose(fast.ys, slow.ys, rtol=1e-12)


def test_array_friction_is_learnable_and_a_number_is_not():
    assert len(jax.tree.leaves(pendulum(jnp.array(0.1)))) > len(
        jax.tree.leaves(pendulum(None))
    )

    def final(friction):
        return (
            solve(pendulum(friction), cx.CHLUSolver(), PENDULUM_STATE, 0.0, 1.0, 10)
            .ys[1]
            .sum()
        )

    rate = jnp.array(0.2)
    eps = 1e-6
    slope = (final(rate + eps) - final(rate - eps)) / (2 * eps)
    np.testing.assert_allclose(jax.grad(final)(rate), slope, rtol=1e-7)


@pytest.mark.parametrize("friction", [-0.1, np.array([0.1, -0.2]), np.nan])
def test_bad_friction(friction):
    with pytest.raises(ValueError, match="`friction` must be non-negative"):
        pendulum(friction)


def test_bad_terms():
    with pytest.raises((ValueError, TypeError), match="hamiltonian"):
        cx.HamiltonianTerm(3.0)  # pyright: ignore
    with pytest.raises((ValueError, TypeError), match="kick"):
        cx.PartitionedTerm(diffrax.ODETerm(pendulum_ode), 1.0)  # pyright: ignore


@pytest.mark.parametrize("solver", [cx.CHLUSolver(), diffrax.Tsit5()])
def test_bad_states(solver):
    one, two = jnp.ones(1), jnp.ones(2)

    def run(y0):
        return solve(pendulum(), solver, y0, 0.0, 1.0, 10)

    with pytest.raises(ValueError, match=r"`y0` must be a pair `\(q, p\)`"):
        run(one)
    with pytest.raises(ValueError, match=r"`y0` must be a pair `\(q, p\)`"):
        run((one, one, one))
    with pytest.raises(ValueError, match="`p` must have the pytree structure of `q`"):
        run((one, {"a": one}))
    with pytest.raises(ValueError, match="`p` must have the shapes and dtypes of `q`"):
        run((one, two))
    # As diffrax does for all solvers, whole numbers become floating-point ones.
    assert run((jnp.array([1]), jnp.array([0]))).ys[0].dtype == jnp.float64
