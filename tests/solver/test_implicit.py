"""The implicit methods, on energies of any form."""

import functools
import re

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

import chlu_eqx as cx
from chlu_eqx.analysis import (
    conformal_factor,
    step_map,
    symplecticity_defect,
)
from chlu_eqx.solver.implicit import (
    GaussLegendre4,
    GeneralizedLeapfrog,
    ImplicitMidpoint,
)
from chlu_eqx.solver.semiexplicit import SemiExplicit

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


SOLVERS = {
    "ImplicitMidpoint": ImplicitMidpoint,
    "GeneralizedLeapfrog": GeneralizedLeapfrog,
    "GaussLegendre4": GaussLegendre4,
    "SemiExplicit": SemiExplicit,
}
ORDER = {
    "ImplicitMidpoint": 2,
    "GeneralizedLeapfrog": 2,
    "GaussLegendre4": 4,
    "SemiExplicit": 2,
}

every_solver = pytest.mark.parametrize("name", SOLVERS)


class Friction(eqx.Module):
    """One rate per coordinate, which depends on the positions."""

    scale: jax.Array

    def __call__(self, q, p):
        # Bounded: going backward, friction magnifies rounding by e^(Γt).
        return self.scale * jax.nn.sigmoid(jnp.cumsum(q))


STATE = random_state(1, 2, 0.5)


@functools.cache
def _exact():
    def run(scale):
        return at_end(reference(_term(scale), STATE, 0.0, 2.0))

    return jax.jit(jax.vmap(run))(jnp.array([0.0, 1.0]))


def _term(scale):
    return cx.HamiltonianTerm(Mixed(), Friction(scale))


@every_solver
def test_order(name):
    """Without and with friction."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def error(n, scale, exact):
        step = step_map(_term(scale), SOLVERS[name](), dt=2.0 / n, num_steps=n)
        return jnp.abs(jnp.stack(step(STATE)) - jnp.stack(exact)).max()

    errors = [error(jnp.array(n), jnp.array([0.0, 1.0]), _exact()) for n in (64, 128)]
    order = np.log2(errors[0] / errors[1])
    np.testing.assert_allclose(order, [ORDER[name], 2], atol=0.1)
    conservative = cx.HamiltonianTerm(tao_energy)
    assert SOLVERS[name]().order(conservative) == ORDER[name]
    assert SOLVERS[name]().order(cx.HamiltonianTerm(tao_energy, 0.1)) == 2


def driven(t, y, args):
    """Not separable, and driven."""
    q, p = y
    return (1 + q**2) * p + jnp.sin(3 * t), -q * (1 + p**2) + jnp.cos(2 * t)


DRIVEN_STATE = (jnp.array([0.5]), jnp.array([0.1]))


@functools.cache
def _exact_driven():
    return at_end(reference(diffrax.ODETerm(driven), DRIVEN_STATE, 0.4, 1.6))


@every_solver
def test_explicit_time(name):
    """Of full order, and a solve back in time returns to where one forward began."""

    @jax.jit
    def run(y0, t0, t1, n):
        dt0 = (t1 - t0) / n
        field, solver = diffrax.ODETerm(driven), SOLVERS[name]()
        return at_end(diffrax.diffeqsolve(field, solver, t0, t1, dt0, y0))

    coarse, fine = (run(DRIVEN_STATE, 0.4, 1.6, n) for n in (64.0, 128.0))
    errors = [np.abs(stacked(y) - stacked(_exact_driven())) for y in (coarse, fine)]
    order = np.log2(errors[0].max() / errors[1].max())
    assert abs(order - ORDER[name]) < 0.1
    back = run(fine, 1.6, 0.4, 128.0)
    assert np.abs(fine[0] - DRIVEN_STATE[0]) > 0.1
    np.testing.assert_allclose(stacked(back), stacked(DRIVEN_STATE), atol=1e-13)


@every_solver
def test_symplectic(name):
    """To rounding; with a constant rate, conformally so."""
    term, solver = cx.HamiltonianTerm(Mixed(), 0.3), SOLVERS[name]()
    flat, unravel = ravel_pytree(STATE)

    @jax.jit
    @jax.jacfwd
    def jacobian(y):
        y1, *_ = solver.step(term, 0.0, 0.3, unravel(y), None, (None, None), False)
        return ravel_pytree(y1)[0]

    found = jacobian(flat)
    assert symplecticity_defect(found, conformal_factor(term, 0.3)) < 1e-14
    assert symplecticity_defect(found) > 0.05


@every_solver
def test_backward_step(name):
    """Undoes a step to rounding, friction included."""
    term, solver = _term(jnp.array(1.0)), SOLVERS[name]()

    @jax.jit
    def there_and_back(y0):
        state = solver.init(term, 0.0, 0.3, y0, None)
        y1, _, _, state, made = solver.step(term, 0.0, 0.3, y0, None, state, False)
        y, _, _, undone = solver.backward_step(term, 0.0, 0.3, y1, None, state, False)
        return y, y1, made, undone

    y, y1, made, undone = there_and_back(STATE)
    assert made == diffrax.RESULTS.successful
    assert undone == diffrax.RESULTS.successful
    assert np.abs(y1[0] - STATE[0]).max() > 0.1
    np.testing.assert_allclose(stacked(y), stacked(STATE), atol=1e-14)


@every_solver
def test_quadratic_invariants(name):
    """The angular momentum, by all; the energy of an oscillator, by those that are
    Runge-Kutta methods."""

    def oscillator(q, p):
        return jnp.sum(p**2) / 2 + 2 * jnp.sum(q**2)

    def momentum(q, p):
        return q[0] * p[1] - q[1] * p[0]

    def energy(q, p):
        return oscillator(q, p) ** 2 / 4 + momentum(q, p) ** 2

    term, run = cx.HamiltonianTerm(energy), dict(dt=0.2, num_steps=1000)
    q, p = cx.rollout(term, SOLVERS[name](), STATE, **run)
    assert np.ptp(q) > 0.5
    invariant = jax.vmap(momentum)(q, p)
    np.testing.assert_allclose(invariant, invariant[0], atol=1e-12)
    invariant = jax.vmap(oscillator)(q, p)
    if name == "GeneralizedLeapfrog":
        assert np.ptp(invariant) > 1e-3
    else:
        np.testing.assert_allclose(invariant, invariant[0], rtol=1e-12)


@every_solver
def test_energy_error_does_not_grow(name):
    """A hundred thousand steps: the energy error of the last tenth is that of the
    first."""
    q, p = cx.rollout(
        cx.HamiltonianTerm(tao_energy),
        SOLVERS[name](),
        (jnp.array([-1.0]), jnp.array([0.0])),
        dt=0.1,
        num_steps=100_000,
        save_every=5,
    )
    energy = jax.vmap(tao_energy)(q, p)
    error = np.abs(energy[1:] - energy[0]).reshape(10, -1)
    assert error.max() < (1e-5 if ORDER[name] == 4 else 1e-2)
    np.testing.assert_allclose(error[-1].max(), error[0].max(), rtol=1e-2)
    np.testing.assert_allclose(error[-1].mean(), error[0].mean(), rtol=1e-2)


def test_separable_leapfrog_is_verlet():
    term = cx.HamiltonianTerm(learned(0, 2, True), Friction(jnp.array(1.0)))
    run = dict(dt=0.2, num_steps=20)
    got = cx.rollout(term, GeneralizedLeapfrog(), STATE, **run)
    want = cx.rollout(term, cx.CHLUSolver(), STATE, **run)
    np.testing.assert_allclose(stacked(got), stacked(want), atol=1e-13)


def blow_up(t, y, rate):
    """Whose steps have no solution where the rate is large."""
    q, p = y
    return rate * q**2, jnp.zeros_like(p)


@every_solver
def test_failure_is_reported(name):
    """By the example that failed, and by no other."""
    y0 = (jnp.array([1.0]), jnp.array([1.0]))

    @jax.jit
    @jax.vmap
    def step(rate):
        solver, field = SOLVERS[name](), diffrax.ODETerm(blow_up)
        y, *_, result = solver.step(field, 0.0, 0.1, y0, rate, (None, None), False)
        return y, result

    (q, _), result = step(jnp.array([0.1, 100.0, 1.0]))
    reached = diffrax.RESULTS.nonlinear_max_steps_reached
    assert (result == diffrax.RESULTS.successful).tolist() == [True, False, True]
    assert (result == reached).tolist() == [False, True, False]
    # The closed form is y / (1 - rate t y).
    np.testing.assert_allclose(q[::2, 0], [1 / 0.99, 1 / 0.9], atol=5e-3)
    # Where results are not looked at, the state tells.
    assert np.isnan(q[1]).all()


@pytest.mark.parametrize("name", ["ImplicitMidpoint"])
def test_failure_has_no_gradient(name):
    """Not raised either, and without an effect on other examples."""
    y0 = (jnp.array([1.0]), jnp.array([1.0]))

    @jax.jit
    @jax.vmap
    @jax.grad
    def gradient(rate):
        field, run = diffrax.ODETerm(blow_up), dict(dt=0.1, num_steps=2, args=rate)
        q, _ = cx.rollout(
            field, SOLVERS[name](), y0, adjoint=diffrax.DirectAdjoint(), **run
        )
        return q[-1, 0]

    found = gradient(jnp.array([0.1, 100.0]))
    # Of y / (1 - rate t y).
    np.testing.assert_allclose(found[0], 0.2 / 0.98**2, rtol=1e-2)
    assert np.isnan(found[1])


def test_failed_solve():
    y0, field = (jnp.array([1.0]), jnp.array([1.0])), diffrax.ODETerm(blow_up)
    run = dict(args=100.0, throw=False)
    sol = solve(field, ImplicitMidpoint(), y0, 0.0, 0.2, 2, **run)
    assert sol.result == diffrax.RESULTS.nonlinear_max_steps_reached


def test_root_find_max_steps():
    solver = ImplicitMidpoint(root_find_max_steps=1)
    term, state = cx.HamiltonianTerm(tao_energy), (None, None)
    step = eqx.filter_jit(solver.step)
    *_, result = step(term, 0.0, 0.5, STATE, None, state, False)
    assert result == diffrax.RESULTS.nonlinear_max_steps_reached


def test_other_root_finders():
    term, run = cx.HamiltonianTerm(Mixed()), dict(dt=0.1, num_steps=20)
    want = cx.rollout(term, ImplicitMidpoint(), STATE, **run)
    for root_finder in (
        optx.Chord(1e-13, 1e-13),
        optx.FixedPointIteration(1e-14, 1e-14),
    ):
        got = cx.rollout(term, ImplicitMidpoint(root_finder, 50), STATE, **run)
        np.testing.assert_allclose(stacked(got), stacked(want), atol=1e-13)


@every_solver
def test_gradient(name):
    """With respect to the state, the parameters and the friction, against finite
    differences."""
    inputs = (Mixed(), jnp.array(0.3), STATE)
    arrays, static = eqx.partition(inputs, eqx.is_array)
    flat, unravel = ravel_pytree(arrays)
    along = jr.normal(jr.key(5), flat.shape)

    def loss(flat, adjoint=None):
        energy, friction, y0 = eqx.combine(unravel(flat), static)
        term, solver = cx.HamiltonianTerm(energy, friction), SOLVERS[name]()
        if adjoint is None:
            y1, *_ = solver.step(term, 0.0, 0.5, y0, None, (None, None), False)
        else:
            y1 = at_end(solve(term, solver, y0, 0.0, 0.5, 1, adjoint=adjoint))
        return sum(jnp.sum(y**2) for y in y1)

    value = eqx.filter_jit(jax.value_and_grad(loss))
    _, gradient = value(flat)
    ends = [value(flat + step * along)[0] for step in (1e-5, -1e-5)]
    difference = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient @ along, difference, rtol=1e-8)
    if name == "ImplicitMidpoint":
        _, slope = jax.jit(lambda x, v: jax.jvp(loss, (x,), (v,)))(flat, along)
        np.testing.assert_allclose(slope, gradient @ along, rtol=1e-12)
        _, got = value(flat, diffrax.RecursiveCheckpointAdjoint())
        np.testing.assert_allclose(got, gradient, atol=1e-12)


@pytest.mark.parametrize("name", ["ImplicitMidpoint"])
def test_float32(name):
    """Stays in it, and is accurate and reversible to its rounding."""

    @jax.jit
    def run(y0, dt):
        term = cx.HamiltonianTerm(tao_energy, 0.1)
        return step_map(term, SOLVERS[name](), dt=dt, num_steps=20)(y0)

    y0 = jax.tree.map(jnp.float32, STATE)
    y1 = run(y0, 0.1)
    back = run(y1, -0.1)
    assert y1[0].dtype == jnp.float32
    np.testing.assert_allclose(stacked(y1), stacked(run(STATE, 0.1)), atol=3e-6)
    np.testing.assert_allclose(stacked(back), stacked(STATE), atol=1e-5)


@pytest.mark.parametrize("name", ["GeneralizedLeapfrog"])
def test_pytrees(name):
    """One of arrays of several shapes is as good as one array."""

    def energy(q, p):
        (q, _), (p, _) = ravel_pytree(q), ravel_pytree(p)
        return tao_energy(q, p) + jnp.sin(jnp.sum(q * p))

    def run(y0):
        term = cx.HamiltonianTerm(energy, 0.1)
        y1 = step_map(term, SOLVERS[name](), dt=0.1, num_steps=5)(y0)
        return ravel_pytree(y1)[0]

    q = {"a": jnp.array([0.3]), "b": jnp.array([[0.5, -0.2]])}
    p = {"a": jnp.array([0.1]), "b": jnp.array([[-0.4, 0.6]])}
    flat = ravel_pytree(q)[0], ravel_pytree(p)[0]
    np.testing.assert_allclose(run((q, p)), run(flat), atol=1e-13)


@pytest.mark.parametrize("name", ["ImplicitMidpoint", "GeneralizedLeapfrog"])
def test_units_do_not_matter(name):
    """An orbit of the earth, in metres and kilograms, and back."""
    mass, sun, year = 6e24, 1.3e20, 3.2e7

    def energy(q, p):
        return jnp.sum(p**2) / (2 * mass) - sun * mass / jnp.sqrt(jnp.sum(q**2))

    @jax.jit
    def run(y0, dt):
        return step_map(
            cx.HamiltonianTerm(energy), SOLVERS[name](), dt=dt, num_steps=100
        )(y0)

    y0 = (jnp.array([1.5e11, 0.0]), jnp.array([0.0, mass * 2.9e4]))
    y1 = run(y0, year / 100)
    q, p = run(y1, -year / 100)
    np.testing.assert_allclose(energy(*y1), energy(*y0), rtol=2e-3)
    np.testing.assert_allclose(q, y0[0], atol=1e-10 * 1.5e11)
    np.testing.assert_allclose(p, y0[1], atol=1e-10 * 1.8e29)


@pytest.mark.parametrize("name", ["ImplicitMidpoint"])
def test_settles(name):
    """In a well whose forces vanish only by cancellation, with nothing but rounding
    left of the momentum."""

    def energy(q, p):
        return jnp.sum((q**2 - 3) ** 2) + jnp.sum((1 + q**2) * p**2) / 2

    y0 = (jnp.array([1.9]), jnp.array([0.1]))
    term = cx.HamiltonianTerm(energy, 1.0)
    q, p = cx.rollout(term, SOLVERS[name](), y0, dt=0.1, num_steps=2000)
    np.testing.assert_allclose(q[-1], np.sqrt([3.0]), atol=1e-14)
    np.testing.assert_allclose(p[-1], 0.0, atol=1e-14)


def test_substeps():
    term = cx.HamiltonianTerm(Mixed(), 0.2)
    solver = ImplicitMidpoint()
    coarse = at_end(solve(term, cx.Substeps(solver, 5), STATE, 0.0, 1.0, 4))
    fine = step_map(term, solver, dt=0.05, num_steps=20)(STATE)
    np.testing.assert_allclose(stacked(coarse), stacked(fine), atol=1e-14)


@every_solver
def test_bad_arguments(name):
    unset = diffrax.with_stepsize_controller_tols(optx.Newton)()
    with pytest.raises(ValueError, match="`root_finder` must have tolerances"):
        SOLVERS[name](unset)
    with pytest.raises(ValueError, match="`root_find_max_steps` must be a positive"):
        SOLVERS[name](root_find_max_steps=0)


@every_solver
def test_cites_one_reference(name):
    assert len(re.findall("```bibtex", SOLVERS[name].__doc__)) == 1
