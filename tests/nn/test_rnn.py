"""Cells and layers: what a step of theirs keeps, and gradients without a past."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import chlu_eqx as cx
from chlu_eqx.nn import (
    CHLUCell,
    CoRNNCell,
    gradient_controlled_dt,
    HamiltonianRNNCell,
    RNN,
    UnICORNNCell,
)


IN, N = 3, 4

CELLS = {
    "CHLU": lambda key: CHLUCell(IN, N, key=key),
    "CHLU, two steps": lambda key: CHLUCell(IN, N, num_steps=2, dt=0.3, key=key),
    "CHLU, Newtonian": lambda key: CHLUCell(
        IN, N, kinetic=cx.NewtonianKinetic(N), solver=cx.CHLUSolver(), key=key
    ),
    "CHLU, conditioned": lambda key: CHLUCell(IN, N, conditioned=True, key=key),
    "Hamiltonian RNN": lambda key: HamiltonianRNNCell(IN, N, key=key),
    "wide Hamiltonian RNN": lambda key: HamiltonianRNNCell(
        IN, N, width=9, dt=0.5, key=key
    ),
    "UnICORNN": lambda key: UnICORNNCell(IN, N, key=key),
}
COMPILED = {}
OMEGA = np.block([[np.zeros((N, N)), np.eye(N)], [-np.eye(N), np.zeros((N, N))]])


def random_state(seed=1):
    return tuple(jr.normal(jr.key(seed), (2, N)))


def jacobian(f):
    """Of a map of pairs, as a matrix."""
    flat = lambda z: jnp.concatenate(f((z[:N], z[N:])))  # noqa: E731
    return np.asarray(jax.jit(jax.jacfwd(flat))(jnp.concatenate(random_state())))


@pytest.mark.parametrize("name", [k for k in CELLS if k != "UnICORNN"])
def test_symplectic(name):
    """For every input: JᵀΩJ = Ω, and singular values in pairs (σ, 1/σ)."""
    cell = CELLS[name](jr.key(0))
    inputs = 2 * jr.normal(jr.key(2), (5, IN))
    j = jacobian(lambda h: RNN(cell, adjoint=diffrax.DirectAdjoint())(inputs, h)[1])
    np.testing.assert_allclose(j.T @ OMEGA @ j, OMEGA, atol=1e-12)
    sigma = np.linalg.svd(j, compute_uv=False)
    np.testing.assert_allclose(sigma * sigma[::-1], 1, rtol=1e-10)
    assert sigma[0] > 1.01


@given(seed=st.integers(0, 2**31 - 1), scale=st.floats(0, 1e3))
@pytest.mark.parametrize("name", ["CHLU", "Hamiltonian RNN"])
def test_symplectic_for_every_input(name, seed, scale):
    """Small or large, from any state: JᵀΩJ = Ω to rounding."""
    if name not in COMPILED:
        cell = CELLS[name](jr.key(0))

        def last(z, inputs):
            layer = RNN(cell, adjoint=diffrax.DirectAdjoint())
            return jnp.concatenate(layer(inputs, (z[:N], z[N:]))[1])

        COMPILED[name] = jax.jit(jax.jacfwd(last))
    state, inputs = jr.split(jr.key(seed))
    j = np.asarray(
        COMPILED[name](jr.normal(state, (2 * N,)), scale * jr.normal(inputs, (5, IN)))
    )
    # Of large entries the products round to their own size.
    error = 1e-13 * np.linalg.norm(j, 2) ** 2
    np.testing.assert_allclose(j.T @ OMEGA @ j, OMEGA, atol=max(error, 1e-13))


def test_spectrum_of_oscillators():
    """Without a learned potential coordinate i is an oscillator of frequency ωᵢ: a step
    of Verlet's method turns it by θ, 2 cos θ = 2 - (ωᵢ h)², and in the units of the
    cell q and p turn into one another at equal size."""
    h, n = 0.5, 5
    cell = CHLUCell(1, n, dt=h, frequencies=(0.01, 1.0), key=jr.key(0))
    network = lambda c: c.hamiltonian.potential.potentials[0]  # noqa: E731
    cell = eqx.tree_at(network, cell, lambda q: 0.0 * jnp.sum(q))
    j = jax.jacfwd(lambda z: jnp.concatenate(cell(jnp.zeros(1), (z[:n], z[n:]))))(
        jnp.zeros(2 * n)
    )
    blocks = np.array(j).reshape(2, n, 2, n)
    omega = np.array([1e-2, 10**-1.5, 1e-1, 10**-0.5, 1.0])
    for i in range(n):
        block = blocks[:, i, :, i]
        assert np.trace(block) == pytest.approx(2 - (omega[i] * h) ** 2, abs=1e-12)
        assert np.linalg.det(block) == pytest.approx(1, abs=1e-12)
        assert block[0, 1] == pytest.approx(-block[1, 0], rel=(omega[i] * h) ** 2)
        blocks[:, i, :, i] = 0
    assert not blocks.any()


def test_gradients_over_two_thousand_steps():
    """Of a cell as it is made, driven by noise: none explodes, none vanishes."""
    n = 32
    cell = CHLUCell(2, n, key=jr.key(0))
    inputs = jr.normal(jr.key(1), (2000, 2))

    def last(z):
        layer = RNN(cell, adjoint=diffrax.DirectAdjoint())
        return jnp.concatenate(layer(inputs, (z[:n], z[n:]))[1])

    j = np.asarray(jax.jit(jax.jacfwd(last))(jnp.zeros(2 * n)))
    sigma = np.linalg.svd(j, compute_uv=False)
    assert 1 < sigma[0] < 30
    np.testing.assert_allclose(sigma * sigma[::-1], 1, rtol=1e-9)


def test_conformally_symplectic_with_friction():
    cell = CHLUCell(IN, N, dt=0.2, friction=0.7, key=jr.key(0))
    j = jacobian(lambda h: cell(jnp.ones(IN), h))
    factor = np.exp(-0.7 * 0.2)
    np.testing.assert_allclose(j.T @ OMEGA @ j, factor * OMEGA, atol=1e-13)
    sigma = np.linalg.svd(j, compute_uv=False)
    np.testing.assert_allclose(sigma * sigma[::-1], factor, rtol=1e-12)


def test_oscillators_of_unicornn():
    """Its step is symplectic in (y, z / h), as each oscillator has a step of its own;
    the matrix of one, of frequency zero in the drive, by hand."""
    cell = UnICORNNCell(1, 1, dt=0.3, stiffness=2.0, key=jr.key(0))
    cell = eqx.tree_at(lambda c: c.weight, cell, jnp.zeros(1))
    j = jax.jacfwd(lambda z: jnp.concatenate(cell(jnp.ones(1), (z[:1], z[1:]))))(
        jnp.ones(2)
    )
    h = 0.3 / (1 + np.exp(-cell.rate[0]))
    np.testing.assert_allclose(j, [[1 - 2 * h**2, h], [-2 * h, 1]], rtol=1e-12)
    assert np.linalg.det(j) == pytest.approx(1)


def test_damped_oscillators_of_cornn():
    """Of small states: z' = tanh'(0) (W y + U z) - γ y - ε z, by the matrix."""
    cell = CoRNNCell(IN, N, dt=0.1, stiffness=2.0, damping=3.0, key=jr.key(0))
    cell = eqx.tree_at(lambda c: c.linear.bias, cell, jnp.zeros(N))
    found = jax.jacfwd(lambda z: jnp.concatenate(cell(jnp.zeros(IN), (z[:N], z[N:]))))(
        jnp.zeros(2 * N)
    )
    u, w = jnp.split(cell.linear.weight[:, IN:], 2, axis=1)
    identity = np.eye(N)
    to_z = np.hstack([0.1 * (w - 2 * identity), identity + 0.1 * (u - 3 * identity)])
    to_y = np.hstack([identity, 0 * identity]) + 0.1 * to_z
    np.testing.assert_allclose(found, np.vstack([to_y, to_z]), atol=1e-14)


@pytest.mark.parametrize("length", [100, 400, 1600])
def test_gradient_bound(length):
    """1 <= ‖∂h_n/∂h_0‖ <= B at the heuristic's step, and not far below B's exponent at
    a larger one."""
    n = 16
    cell = HamiltonianRNNCell(2, n, key=jr.key(0))
    dt = gradient_controlled_dt(cell, length, bound=4.0)
    np.testing.assert_allclose(dt, np.log(4) / (2 * length), rtol=1e-12)
    cell = eqx.tree_at(lambda c: c.dt, cell, dt)
    layer = RNN(cell, adjoint=diffrax.DirectAdjoint())
    inputs = jr.normal(jr.key(1), (length, 2))

    def last(z):
        return jnp.concatenate(layer(inputs, (z[:n], z[n:]))[1])

    sigma = np.linalg.svd(
        jax.jit(jax.jacfwd(last))(jr.normal(jr.key(2), (2 * n,))), compute_uv=False
    )
    assert 1 <= sigma[0] <= 4
    np.testing.assert_allclose(sigma[-1], 1 / sigma[0], rtol=1e-9)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_undone(name, dtype):
    cell = jax.tree.map(
        lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x,
        CELLS[name](jr.key(0)),
    )
    hidden = tuple(x.astype(dtype) for x in random_state())
    x = jnp.ones(IN, dtype)
    after = eqx.filter_jit(cell)(x, hidden)
    before = eqx.filter_jit(type(cell).undo)(cell, x, after)
    for a, b, c in zip(before, hidden, after, strict=True):
        assert a.dtype == c.dtype == dtype
        np.testing.assert_allclose(a, b, atol=50 * jnp.finfo(dtype).eps)
        assert np.abs(c - b).max() > 1e-3


def _loss(layer, inputs, hidden, all_outputs=True):
    outputs, (q, p) = layer(inputs, hidden)
    end = jnp.sum(jnp.sin(q) + p**2)
    times = jnp.arange(1.0, len(outputs) + 1)[:, None]
    return end + jnp.sum(times * jnp.cos(outputs)) if all_outputs else end


@pytest.mark.parametrize(
    "name, reverse, all_outputs",
    [
        ("CHLU, two steps", False, True),
        ("CHLU, two steps", True, False),
        ("Hamiltonian RNN", True, True),
        ("Hamiltonian RNN", False, False),
        ("UnICORNN", True, True),
    ],
)
def test_gradients(name, reverse, all_outputs):
    """By cell, inputs and first state: those of a scan that keeps all."""
    cell, inputs = CELLS[name](jr.key(0)), jr.normal(jr.key(2), (7, IN))

    def gradients(adjoint):
        def loss(trained):
            cell, *rest = trained
            return _loss(
                RNN(cell, reverse=reverse, adjoint=adjoint), *rest, all_outputs
            )

        return eqx.filter_jit(eqx.filter_grad(loss))((cell, inputs, random_state()))

    found = gradients(cx.ReversibleAdjoint())
    expected = gradients(diffrax.DirectAdjoint())
    leaves = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert sum(np.abs(x).sum() for x in jax.tree.leaves(found[0])) > 0.1


@pytest.mark.parametrize("mapped", ["inputs and cells", "twice"])
def test_gradients_of_batches(mapped):
    make = CELLS["Hamiltonian RNN"]
    many = mapped == "inputs and cells"
    cell = eqx.filter_vmap(make)(jr.split(jr.key(0), 2)) if many else make(jr.key(0))
    shape = (2, 5, 6, IN) if mapped == "twice" else (2, 6, IN)
    inputs = jr.normal(jr.key(2), shape)

    def gradients(adjoint):
        def one(cell, inputs):
            return _loss(RNN(cell, adjoint=adjoint), inputs, None)

        run = eqx.filter_vmap(one, in_axes=(None, 0)) if mapped == "twice" else one

        def loss(cell):
            axes = (eqx.if_array(0) if many else None, 0)
            return jnp.sum(eqx.filter_vmap(run, in_axes=axes)(cell, inputs))

        return eqx.filter_jit(eqx.filter_grad(loss))(cell)

    found = gradients(cx.ReversibleAdjoint())
    expected = gradients(diffrax.DirectAdjoint())
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_memory_does_not_grow():
    """Of the gradient of what the last state says, beside the inputs."""
    cell = HamiltonianRNNCell(1, 16, key=jr.key(0))

    def temporary(length, adjoint):
        def loss(cell, inputs):
            _, (q, _) = jax.vmap(RNN(cell, adjoint=adjoint))(inputs)
            return jnp.sum(q)

        run = eqx.filter_jit(eqx.filter_grad(loss))
        compiled = run.lower(cell, jnp.zeros((4, length, 1))).compile()
        inputs = 4 * length * 8
        return compiled.compiled.memory_analysis().temp_size_in_bytes - 3 * inputs

    ours, scan = cx.ReversibleAdjoint(), diffrax.DirectAdjoint()
    assert temporary(2000, ours) < temporary(100, ours) + 10_000
    assert temporary(2000, scan) > 10 * temporary(100, scan) > 0


def test_what_is_lost_is_told():
    """Friction forgets; undone it expands rounding beyond all bounds."""
    cell = CHLUCell(IN, N, dt=1.0, friction=2.0, key=jr.key(0))
    assert isinstance(RNN(cell).adjoint, diffrax.DirectAdjoint)
    inputs = jr.normal(jr.key(2), (40, IN))

    @eqx.filter_grad
    def slope(cell, adjoint):
        return _loss(RNN(cell, adjoint=adjoint), inputs, None)

    with pytest.raises(RuntimeError, match="could not find the past again"):
        jax.block_until_ready(eqx.filter_jit(slope)(cell, cx.ReversibleAdjoint()))
    found = eqx.filter_jit(slope)(cell, None)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def test_used_as_an_lstm():
    """By a scan, by vmap, in both directions and in layers, beside equinox's."""
    inputs = jr.normal(jr.key(2), (6, IN))
    for make in (eqx.nn.LSTMCell, CHLUCell, HamiltonianRNNCell, CoRNNCell):
        cell = make(IN, N, key=jr.key(0))

        def step(hidden, x, cell=cell):
            hidden = cell(x, hidden)
            return hidden, hidden[0]

        zeros = (jnp.zeros(N), jnp.zeros(N))
        last, expected = jax.lax.scan(step, zeros, inputs)
        outputs, hidden = RNN(cell)(inputs)
        np.testing.assert_allclose(outputs, expected, rtol=1e-12)
        np.testing.assert_allclose(hidden, last, rtol=1e-12)
        backward, _ = RNN(cell, reverse=True)(inputs[::-1])
        np.testing.assert_allclose(backward[::-1], outputs, rtol=1e-12)
        second = RNN(make(N, N, key=jr.key(1)))
        assert second(outputs)[0].shape == (6, N)
        batch = jax.vmap(RNN(cell))(jnp.stack([inputs, -inputs]))
        np.testing.assert_allclose(batch[0][0], outputs, rtol=1e-12)


def test_kicks_without_a_potential():
    """A free Newtonian particle adds the kicks up: p is their sum, q that of p."""
    cell = CHLUCell(
        IN,
        N,
        dt=0.5,
        kick=lambda x: jnp.concatenate([x, x[:1]]),
        kinetic=cx.NewtonianKinetic(N),
        potential=lambda q: 0.0 * jnp.sum(q),
        key=jr.key(0),
    )
    inputs = jr.normal(jr.key(2), (6, IN))
    outputs, (_, p) = RNN(cell)(inputs)
    kicks = np.concatenate([inputs, inputs[:, :1]], axis=1)
    np.testing.assert_allclose(p, kicks.sum(0))
    np.testing.assert_allclose(outputs, 0.5 * kicks.cumsum(0).cumsum(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k: CHLUCell(0, 4, key=k), "`input_size` must be a positive integer"),
        (lambda k: CHLUCell(3, 4, num_steps=0, key=k), "`num_steps` must be a positi"),
        (lambda k: CHLUCell(3, 4, dt=0.0, key=k), "`dt` must be positive"),
        (lambda k: CHLUCell(3, 4, friction=-1.0, key=k), "`friction` must be non-neg"),
        (lambda k: CHLUCell(3, 4, dt=3.0, key=k), "`frequencies` must be positive, i"),
        (lambda k: CHLUCell(3, 4, frequencies=(1.0, 0.1), key=k), "`frequencies` must"),
        (
            lambda k: CHLUCell(3, 4, solver=cx.TaoSolver(1.0), key=k),
            "solver",
        ),
        (lambda k: HamiltonianRNNCell(3, 4.0, key=k), "hidden_size"),
        (lambda k: HamiltonianRNNCell(3, 4, width=-1, key=k), "`width` must be"),
        (lambda k: CoRNNCell(3, 4, damping=-1.0, key=k), "`damping` must be non-neg"),
        (lambda k: UnICORNNCell(3, 4, dt=-0.1, key=k), "`dt` must be positive"),
        (
            lambda k: gradient_controlled_dt(HamiltonianRNNCell(3, 4, key=k), 10, 1.0),
            "`bound` must be greater than one",
        ),
        (
            lambda k: RNN(CoRNNCell(3, 4, key=k), adjoint=cx.ReversibleAdjoint()),
            "`cell` must be one that can be undone",
        ),
        (
            lambda k: RNN(CHLUCell(3, 4, key=k), adjoint=diffrax.BacksolveAdjoint()),
            "`adjoint` must be",
        ),
        (
            lambda k: RNN(CHLUCell(3, 4, key=k))(jnp.zeros((2, 5, 3))),
            "inputs",
        ),
    ],
)
def test_refusals(make, message):
    # Of what has the wrong type, in tests the type checker speaks first.
    with pytest.raises((ValueError, TypeError), match=message):
        make(jr.key(0))
