import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import chlu_eqx as cx

from .problems import learned, pendulum, PENDULUM_STATE, random_state, SOLVERS


@pytest.mark.parametrize(
    "solver", [*SOLVERS.values(), diffrax.Tsit5(), diffrax.ReversibleHeun()]
)
def test_same_numbers_as_diffeqsolve(solver):
    term, n, dt, save_every = pendulum(0.1), 40, 0.1, 5
    ys = cx.rollout(
        term, solver, PENDULUM_STATE, dt=dt, num_steps=n, save_every=save_every
    )
    sol = diffrax.diffeqsolve(
        term,
        solver,
        0.0,
        n * dt,
        dt,
        PENDULUM_STATE,
        saveat=diffrax.SaveAt(t0=True, steps=save_every),
        max_steps=n,
    )
    np.testing.assert_allclose(ys, sol.ys, atol=1e-13)


@given(
    shape=st.sampled_from([(), (1,), (3,), (2, 3)]),
    leaves=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "float64"]),
    num_steps=st.integers(0, 4),
    save_every=st.integers(1, 3),
)
def test_shapes_dtypes_pytrees(shape, leaves, dtype, num_steps, save_every):
    q = {str(i): jnp.full(shape, 0.1 * (i + 1), dtype) for i in range(leaves)}
    field = diffrax.ODETerm(lambda t, y, args: (y[1], jax.tree.map(jnp.negative, y[0])))
    n = num_steps * save_every
    ys = cx.rollout(
        field, cx.CHLUSolver(), (q, q), dt=0.1, num_steps=n, save_every=save_every
    )
    assert jax.tree.structure(ys) == jax.tree.structure((q, q))
    for got, start in zip(jax.tree.leaves(ys), jax.tree.leaves((q, q)), strict=True):
        assert got.shape == (num_steps + 1, *shape) and got.dtype == dtype
        np.testing.assert_array_equal(got[0], start)


def test_time_and_args_reach_the_field():
    """dp = args cos(t) from t0 = 1, exactly integrable."""
    field = diffrax.ODETerm(
        lambda t, y, args: (0 * y[0], jnp.broadcast_to(args * jnp.cos(t), (1,)))
    )
    y0 = (jnp.zeros(1), jnp.zeros(1))
    _, p = cx.rollout(
        field, diffrax.Dopri8(), y0, dt=0.2, num_steps=10, t0=1.0, args=jnp.array(3.0)
    )
    t = 1 + 0.2 * np.arange(11)
    np.testing.assert_allclose(p[:, 0], 3 * (np.sin(t) - np.sin(1)), atol=1e-10)


def test_float32_counts_steps():
    """Free motion for a long time: in float32 the time of the 4000th second cannot tell
    steps of 0.01 apart, but the steps are still of that length."""
    energy = cx.SeparableHamiltonian(cx.NewtonianKinetic(1), lambda q: jnp.sum(0 * q))
    y0 = (jnp.zeros(1, jnp.float32), jnp.full(1, 2.0**-8, jnp.float32))
    q, _ = cx.rollout(
        cx.HamiltonianTerm(energy),
        cx.CHLUSolver(),
        y0,
        dt=2.0**-7,
        num_steps=2**19,
        save_every=2**18,
    )
    # Every term of the sum is a power of two: exact.
    np.testing.assert_array_equal(q[:, 0], [0.0, 2.0**3, 2.0**4])


def test_jit_vmap_grad():
    energy = learned(0, 2, True)
    q0, p0 = jax.random.normal(jax.random.key(0), (2, 5, 2))

    @jax.jit
    def final(y0, dt):
        run = jax.vmap(
            lambda y: cx.rollout(
                cx.HamiltonianTerm(energy), cx.CHLUSolver(), y, dt=dt, num_steps=20
            )
        )
        return jnp.sum(run(y0)[0][:, -1])

    dt, eps = jnp.array(0.05), 1e-6
    slope = (final((q0, p0), dt + eps) - final((q0, p0), dt - eps)) / (2 * eps)
    np.testing.assert_allclose(jax.grad(final, 1)((q0, p0), dt), slope, rtol=1e-6)
    alone = cx.rollout(
        cx.HamiltonianTerm(energy), cx.CHLUSolver(), (q0[3], p0[3]), dt=dt, num_steps=20
    )
    np.testing.assert_allclose(
        final((q0[3:4], p0[3:4]), dt), jnp.sum(alone[0][-1]), rtol=1e-12
    )


def test_nonfinite_states_stay():
    term = cx.HamiltonianTerm(
        cx.SeparableHamiltonian(cx.NewtonianKinetic(1), lambda q: -jnp.sum(q**3) / 3)
    )
    q, _ = cx.rollout(
        term, cx.CHLUSolver(), (jnp.full(1, 6.0), jnp.zeros(1)), dt=0.1, num_steps=100
    )
    finite = np.isfinite(q[:, 0])
    assert finite[0] and not finite[-1] and (np.diff(finite.astype(int)) <= 0).all()


@pytest.mark.parametrize("solver", [cx.CHLUSolver(), cx.Substeps(cx.Yoshida4(), 3)])
def test_backward_in_time(solver):
    """Steps of `-dt` are those of `diffeqsolve` with `t1 < t0`, lead back to where
    steps of `dt` came from, and have the gradients of the steps kept in memory."""

    def run(y0, dt, **kwargs):
        return cx.rollout(pendulum(), solver, y0, dt=dt, num_steps=30, **kwargs)

    end = jax.tree.map(lambda y: y[-1], run(PENDULUM_STATE, 0.1))
    back = run(end, -0.1)
    sol = diffrax.diffeqsolve(
        pendulum(), solver, 3.0, 0.0, -0.1, end, saveat=diffrax.SaveAt(t0=True, t1=True)
    )
    assert sol.ys is not None
    for mine, theirs, start in zip(back, sol.ys, PENDULUM_STATE, strict=True):
        np.testing.assert_allclose(mine[-1], start, atol=1e-13)
        np.testing.assert_allclose(mine[jnp.array([0, -1])], theirs, atol=1e-12)

    def loss(y0, dt, adjoint):
        return jnp.sum(run(y0, dt, adjoint=adjoint)[0] ** 2)

    found, want = (
        jax.grad(loss, (0, 1))(end, jnp.array(-0.1), adjoint)
        for adjoint in (cx.ReversibleAdjoint(), diffrax.DirectAdjoint())
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), found, want)


@pytest.mark.parametrize("dt", [0.0, np.nan])
def test_bad_dt(dt):
    def run(dt):
        return cx.rollout(
            pendulum(), cx.CHLUSolver(), PENDULUM_STATE, dt=dt, num_steps=2
        )

    with pytest.raises(ValueError, match="`dt` must be finite and not zero"):
        run(dt)
    with pytest.raises(Exception, match="`dt` must be finite and not zero"):
        jax.jit(run)(dt)


def test_noise_has_no_way_back():
    path = cx.FixedGridBrownianPath(0.05, (2,), jax.random.key(0))
    term = cx.LangevinTerm(pendulum().hamiltonian, path, friction=1.0, temperature=1.0)
    with pytest.raises(ValueError, match="`dt` must be positive"):
        cx.rollout(term, cx.BAOAB(), PENDULUM_STATE, dt=-0.05, num_steps=2)


def test_bad_solver():
    with pytest.raises(ValueError, match="`solver` must be a one-step method"):
        cx.rollout(
            pendulum(), diffrax.LeapfrogMidpoint(), PENDULUM_STATE, dt=0.1, num_steps=2
        )


def test_bad_counts_and_states():
    def run(y0=PENDULUM_STATE, **kwargs):
        return cx.rollout(pendulum(), cx.CHLUSolver(), y0, dt=0.1, **kwargs)

    for kwargs in (
        dict(num_steps=-1),
        dict(num_steps=5, save_every=2),
    ):
        with pytest.raises(ValueError, match="`num_steps` must be a non-negative"):
            run(**kwargs)
    with pytest.raises(ValueError, match="`save_every` must be a positive integer"):
        run(num_steps=4, save_every=0)
    with pytest.raises(ValueError, match="`y0` must hold floating-point numbers"):
        run((jnp.array([1]), jnp.array([0])), num_steps=2)
    with pytest.raises(ValueError, match="`p` must have the shapes and dtypes of `q`"):
        run((jnp.ones(1), jnp.ones(2)), num_steps=2)
    with pytest.raises(ValueError, match=r"`y0` must be a pair"):
        run(random_state(0, 2)[0], num_steps=2)


@pytest.mark.parametrize("t0", [0.0, 0.5])
def test_langevin_is_that_of_diffeqsolve(t0):
    """Noise and temperature are those of the time, not of the step."""
    energy = cx.SeparableHamiltonian(
        cx.RelativisticKinetic(2), lambda q: jnp.sum(q**4) / 4
    )
    path = cx.FixedGridBrownianPath(0.05, (5,), jax.random.key(0), start=t0)
    term = cx.LangevinTerm(
        energy, path, friction=0.8, temperature=lambda t: jnp.exp(-3 * t)
    )
    y0 = (jnp.array([0.4, 0.1]), jnp.array([-0.3, 0.2]))
    found = cx.rollout(term, cx.BAOAB(), y0, dt=0.05, num_steps=40, save_every=4, t0=t0)
    sol = diffrax.diffeqsolve(
        term,
        cx.BAOAB(),
        t0,
        t0 + 2.0,
        0.05,
        y0,
        saveat=diffrax.SaveAt(t0=True, steps=4),
        max_steps=40,
    )
    for mine, theirs in zip(found, sol.ys, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-13)
