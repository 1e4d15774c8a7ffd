"""Tao's method."""

import functools
import re

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import chlu_eqx as cx
from chlu_eqx.analysis import conformal_factor, step_map, symplecticity_defect
from chlu_eqx.solver.tao import TaoSolver

from ..problems import (
    at_end,
    learned,
    Mixed,
    random_state,
    reference,
    solve,
    stacked,
    tao_energy,
)


every_order = pytest.mark.parametrize("order", [2, 4, 6])


STATE = random_state(1, 2, 0.5)

FRICTIONS = {
    "none": None,
    "scalar": 0.4,
    "each": np.array([0.1, 0.7]),
    "position": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(q)),
    "momentum": lambda q, p: 0.2 + jax.nn.sigmoid(jnp.sum(p)),
}

ENERGIES = {"mixed": Mixed(), "separable": learned(0, 2, True)}


@functools.cache
def _exact(energy, friction):
    term = cx.HamiltonianTerm(ENERGIES[energy], FRICTIONS[friction])
    return at_end(reference(term, STATE, 0.0, 1.0))


@pytest.mark.parametrize(
    "order, energy, friction",
    [
        (2, "mixed", "none"),
        (4, "mixed", "none"),
        (6, "mixed", "none"),
        (4, "separable", "none"),
        (2, "mixed", "momentum"),
        (4, "mixed", "position"),
    ],
)
def test_order(order, energy, friction):
    term = cx.HamiltonianTerm(ENERGIES[energy], FRICTIONS[friction])
    solver, exact = TaoSolver(2.0, order), _exact(energy, friction)

    @jax.jit
    def error(n):
        y1 = step_map(term, solver, dt=1 / n, num_steps=n)(STATE)
        return jnp.abs(jnp.stack(y1) - jnp.stack(exact)).max()

    n = 16 if order == 6 else 64
    measured = np.log2(error(jnp.array(n)) / error(jnp.array(2 * n)))
    expected = order if friction == "none" else 2
    assert abs(measured - expected) < 0.1
    assert solver.order(term) == expected


def driven(t, y, args):
    """Not separable, and driven."""
    q, p = y
    return (1 + q**2) * p + jnp.sin(3 * t), -q * (1 + p**2) + jnp.cos(2 * t)


@pytest.mark.parametrize("order", [2, 4])
def test_explicit_time(order):
    """Of full order, forward and backward in time."""
    field, y0 = diffrax.ODETerm(driven), (jnp.array([0.5]), jnp.array([0.1]))

    @jax.jit
    def run(y0, t0, t1, n):
        solver = TaoSolver(2.0, order)
        return at_end(diffrax.diffeqsolve(field, solver, t0, t1, (t1 - t0) / n, y0))

    exact = at_end(reference(field, y0, 0.4, 1.6))
    for start, end, times in ((y0, exact, (0.4, 1.6)), (exact, y0, (1.6, 0.4))):
        errors = [
            np.abs(stacked(run(start, *times, n)) - stacked(end)).max()
            for n in (24.0, 48.0)
        ]
        assert abs(np.log2(errors[0] / errors[1]) - order) < 0.25


def test_by_hand():
    """Two steps of the paper's formulas, in numpy."""
    h, omega = 0.1, 7.0

    def first(h, q, p, x, y):
        return q, p - h * q * (y**2 + 1), x + h * (q**2 + 1) * y, y

    def second(h, q, p, x, y):
        return q + h * (x**2 + 1) * p, p, x, y - h * x * (p**2 + 1)

    def third(h, q, p, x, y):
        c, s = np.cos(2 * omega * h), np.sin(2 * omega * h)
        u, v = q - x, p - y
        u, v = c * u + s * v, -s * u + c * v
        return (q + x + u) / 2, (p + y + v) / 2, (q + x - u) / 2, (p + y - v) / 2

    z = (0.3, -0.4, 0.3, -0.4)
    for _ in range(2):
        for part, a in ((first, 0.5), (second, 0.5), (third, 1)):
            z = part(a * h, *z)
        for part, a in ((second, 0.5), (first, 0.5)):
            z = part(a * h, *z)
    y0 = (jnp.array([0.3]), jnp.array([-0.4]))
    term, solver = cx.HamiltonianTerm(tao_energy), TaoSolver(omega)
    state = solver.init(term, 0.0, h, y0, None)
    for n in (0, 1):
        t0 = n * h
        y0, _, _, state, _ = solver.step(term, t0, t0 + h, y0, None, state, False)
    np.testing.assert_allclose(stacked((y0, state[0]))[:, 0], z, rtol=1e-14)


def test_symplectic():
    """On both copies, to rounding, with a constant rate conformally; not on one."""
    term, solver, h = cx.HamiltonianTerm(Mixed(), 0.3), TaoSolver(5.0), 0.2

    def step(z):
        (q, x), (p, y) = unravel(z)
        y0, copy = (q, p), (x, y)
        state = copy, solver.shared(term, 0.0, (y0, copy), None)
        (q, p), _, _, state, _ = solver.step(term, 0.0, h, y0, None, state, False)
        x, y = state[0]
        return ravel_pytree(((q, x), (p, y)))[0]

    # Together; and of the first when the second starts equal.
    flat, unravel = ravel_pytree(jax.tree.map(lambda a: (a, a), STATE))
    jacobian = jax.jit(jax.jacfwd(step))(flat)
    factor = conformal_factor(term, h)
    assert symplecticity_defect(jacobian, factor) < 1e-13
    rows = np.array([0, 1, 4, 5])
    alone = jacobian[rows][:, rows] + jacobian[rows][:, rows + 2]
    assert symplecticity_defect(alone, factor) > 1e-7


@pytest.mark.parametrize(
    "order, friction", [(2, "scalar"), (2, "each"), (4, "position")]
)
def test_backward_step(order, friction):
    """Undoes many steps to rounding, on both copies."""
    term = cx.HamiltonianTerm(Mixed(), FRICTIONS[friction])
    solver, h = TaoSolver(5.0, order), 0.1

    @jax.jit
    def there_and_back(y0):
        start = y0, solver.init(term, 0.0, h, y0, None)

        def forward(carry, _):
            y, state = carry
            y, _, _, state, _ = solver.step(term, 0.0, h, y, None, state, False)
            return (y, state), None

        def backward(carry, _):
            y, state = carry
            y, _, state, _ = solver.backward_step(term, 0.0, h, y, None, state, False)
            return (y, state), None

        end, _ = jax.lax.scan(forward, start, length=20)
        return start, end, jax.lax.scan(backward, end, length=20)[0]

    start, end, back = there_and_back(STATE)
    assert np.abs(end[0][0] - STATE[0]).max() > 0.1
    assert np.abs(end[0][0] - end[1][0][0]).max() > 1e-10
    np.testing.assert_allclose(stacked(back), stacked(start), atol=1e-12)


@every_order
def test_evaluations(order):
    """Of the whole field: three for every step of order 2 in it."""
    count = 0

    def field(t, y, args):
        nonlocal count
        count += 1
        return y[1], -y[0]

    term, solver = diffrax.ODETerm(field), TaoSolver(order=order)
    state = solver.init(term, 0.0, 0.1, STATE, None)
    count = 0
    eqx.filter_eval_shape(solver.step, term, 0.0, 0.1, STATE, None, state, False)
    # Two are for dense output.
    assert count - 2 == {2: 3, 4: 15, 6: 27}[order]


def test_binding():
    """Too weak, the copies part; strong enough, they stay together and the energy error
    does not grow; in between the orders differ."""
    term, y0 = cx.HamiltonianTerm(tao_energy), (jnp.array([-3.0]), jnp.array([0.0]))
    h, num_steps = 0.01, 100_000

    @jax.jit
    @jax.vmap
    def run(omega):
        solver = TaoSolver(omega)

        def step(carry, _):
            y, state = carry
            y, _, _, state, _ = solver.step(term, 0.0, h, y, None, state, False)
            apart = jnp.abs(y[0] - state[0][0])[0]
            return (y, state), (term.hamiltonian(*y), apart)

        start = y0, solver.init(term, 0.0, h, y0, None)
        return jax.lax.scan(step, start, length=num_steps)[1]

    energy, apart = run(jnp.array([0.3, 1.0, 10.0, 100.0]))
    error = np.abs(energy / 5 - 1)
    assert error[0].max() > 1 and apart[0].max() > 1
    assert error[1:].max() < 1e-3 and apart[1:].max() < 1e-2
    first, *_, last = np.split(error[1:], 10, axis=1)
    np.testing.assert_allclose(last.max(1), first.max(1), rtol=0.1)


def test_gradient():
    """With respect to the state, the parameters, the friction and the binding, against
    finite differences."""
    inputs = (Mixed(), jnp.array(0.3), jnp.array(3.0), STATE)
    arrays, static = eqx.partition(inputs, eqx.is_array)
    flat, unravel = ravel_pytree(arrays)
    along = jr.normal(jr.key(5), flat.shape)

    @jax.jit
    @jax.value_and_grad
    def value(flat):
        energy, friction, omega, y0 = eqx.combine(unravel(flat), static)
        term, solver = cx.HamiltonianTerm(energy, friction), TaoSolver(omega)
        adjoint = diffrax.DirectAdjoint()
        ys = at_end(solve(term, solver, y0, 0.0, 0.8, 4, adjoint=adjoint))
        return sum(jnp.sum(y**2) for y in ys)

    _, gradient = value(flat)
    ends = [value(flat + step * along)[0] for step in (1e-5, -1e-5)]
    difference = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient @ along, difference, rtol=1e-7)


def test_float32():
    """Stays in it, and is accurate to its rounding."""

    @jax.jit
    def run(y0):
        # Also where the binding is of another precision.
        solver = TaoSolver(jnp.array(10.0, jnp.float64))
        term = cx.HamiltonianTerm(tao_energy, 0.1)
        return step_map(term, solver, dt=0.05, num_steps=40)(y0)

    single, double = run(jax.tree.map(jnp.float32, STATE)), run(STATE)
    assert single[0].dtype == jnp.float32
    np.testing.assert_allclose(stacked(single), stacked(double), atol=1e-5)


def test_pytrees():
    """One of arrays of several shapes is as good as one array."""

    def energy(q, p):
        (q, _), (p, _) = ravel_pytree(q), ravel_pytree(p)
        return tao_energy(q, p) + jnp.sin(jnp.sum(q * p))

    def run(y0):
        term = cx.HamiltonianTerm(energy, 0.1)
        y1 = step_map(term, TaoSolver(), dt=0.1, num_steps=5)(y0)
        return ravel_pytree(y1)[0]

    q = {"a": jnp.array([0.3]), "b": jnp.array([[0.5, -0.2]])}
    p = {"a": jnp.array([0.1]), "b": jnp.array([[-0.4, 0.6]])}
    flat = ravel_pytree(q)[0], ravel_pytree(p)[0]
    np.testing.assert_allclose(run((q, p)), run(flat), atol=1e-13)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`order` must be 2, 4 or 6, got 3"):
        TaoSolver(order=3)
    for omega in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`omega` must be positive and finite"):
            TaoSolver(omega)
    learned = eqx.filter_jit(lambda omega: TaoSolver(omega).omega)
    with pytest.raises(eqx.EquinoxRuntimeError, match="`omega` must be positive"):
        learned(jnp.array(-1.0))


def test_cites_one_reference():
    assert len(re.findall("```bibtex", TaoSolver.__doc__ or "")) == 1
