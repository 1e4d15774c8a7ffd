import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import chlu_eqx as cx


positives = st.floats(0.1, 10.0)


def _energies(dim, m=2.0):
    mass = m * np.linspace(0.5, 1.5, dim)
    return (
        cx.NewtonianKinetic(dim, mass=mass),
        cx.RelativisticKinetic(dim, mass=mass, rest_mass=0.8, speed_limit=1.7),
    )


@given(
    p=st.lists(st.floats(-50, 50), min_size=3, max_size=3), m0=positives, c=positives
)
def test_formulas(p, m0, c):
    p, mass = jnp.array(p), np.array([0.5, 1.0, 3.0])
    newtonian = cx.NewtonianKinetic(3, mass=mass)
    np.testing.assert_allclose(newtonian(p), np.sum(p**2 / mass) / 2, rtol=1e-13)
    np.testing.assert_allclose(newtonian.velocity(p), p / mass, 1e-13, 1e-300)

    relativistic = cx.RelativisticKinetic(3, mass=mass, rest_mass=m0, speed_limit=c)
    root = np.sqrt(np.sum(p**2 / mass) + (m0 * c) ** 2)
    np.testing.assert_allclose(relativistic(p), c * root, rtol=1e-13)
    velocity = c * p / mass / root
    np.testing.assert_allclose(relativistic.velocity(p), velocity, 1e-13, 1e-300)


def _matrix(dim):
    root = np.random.default_rng(0).normal(size=(dim, dim))
    return root @ root.T + np.eye(dim)


KINDS = {
    **dict(zip(("Newtonian", "relativistic"), _energies(4), strict=True)),
    "dense": cx.DenseNewtonianKinetic(4, mass=_matrix(4)),
    "rotation": cx.RotationKinetic(4, 0.1, mass=np.linspace(0.5, 2.0, 4)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e3])
def test_velocity_is_the_gradient(name, size):
    kinetic = KINDS[name]
    p = size * jax.random.normal(jax.random.key(0), (4,))
    np.testing.assert_allclose(
        kinetic.velocity(p), jax.grad(kinetic)(p), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("name", KINDS)
@given(v=st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=4))
def test_momentum_of_a_velocity(name, v):
    """The inverse of the velocity, up to 98 % of the speed limit."""
    kinetic, v = KINDS[name], jnp.array(v)
    np.testing.assert_allclose(kinetic.velocity(kinetic.momentum(v)), v, atol=1e-12)


def test_dense_mass():
    matrix, p = _matrix(3), jnp.array([0.3, -1.0, 2.0])
    kinetic = cx.DenseNewtonianKinetic(3, mass=matrix)
    np.testing.assert_allclose(kinetic.mass, matrix, rtol=1e-13)
    np.testing.assert_allclose(kinetic.velocity(p), np.linalg.solve(matrix, p), 1e-12)
    np.testing.assert_allclose(kinetic(p), p @ np.linalg.solve(matrix, p) / 2, 1e-13)
    # Whatever an optimiser does to it, the mass stays positive definite.
    slope = eqx.filter_grad(lambda kinetic: kinetic(p))(kinetic)
    moved = eqx.apply_updates(kinetic, jax.tree.map(lambda x: -3 * x, slope))
    assert np.linalg.eigvalsh(moved.mass).min() > 0
    np.testing.assert_allclose(cx.DenseNewtonianKinetic(2).mass, np.eye(2))


def test_rotation():
    """Newtonian for short steps; never a quarter turn or more in a step."""
    mass, p = np.array([0.5, 2.0]), jnp.array([0.3, -1.0])
    kinetic = cx.RotationKinetic(2, 1e-4, mass=mass)
    np.testing.assert_allclose(kinetic(p), np.sum(p**2 / mass) / 2, rtol=1e-7)
    np.testing.assert_allclose(kinetic.velocity(p), p / mass, rtol=1e-7)
    kinetic = cx.RotationKinetic(2, 0.1, mass=mass)
    np.testing.assert_allclose(kinetic.velocity(p), np.arcsin(0.1 * p / mass) / 0.1)
    turn = 0.1 * kinetic.velocity(1e9 * p)
    np.testing.assert_allclose(turn, np.arcsin(1 - 1e-4) * np.sign(p))
    assert (np.abs(turn) < np.pi / 2).all()


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_relativistic_float32_is_safe(size):
    """Values and gradients, in p and in every parameter, stay finite and right."""
    p = np.array([1.0, -0.5, 0.25])
    kinetic = cx.RelativisticKinetic(3, mass=np.array([1.0, 2.0, 0.5]))
    p32 = jnp.asarray(size * p, jnp.float32)
    kinetic32 = jax.tree.map(lambda x: x.astype(jnp.float32), kinetic)

    def outputs(kinetic, p):
        value, (d_kinetic, dp) = jax.value_and_grad(
            lambda kp: kp[0](kp[1]), allow_int=True
        )((kinetic, p))
        hessian = jax.jacfwd(kinetic.velocity)(p)
        return value, kinetic.velocity(p), dp, hessian, d_kinetic

    exact = jax.tree.leaves(outputs(kinetic, p32.astype(jnp.float64)))
    for got, want in zip(jax.tree.leaves(outputs(kinetic32, p32)), exact, strict=True):
        assert got.dtype == jnp.float32
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * scale + 1e-37)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_crossover_and_cap(dim):
    """At pᵢ = m₀c√Mᵢ coordinate i moves at 1/√2 of its cap c/√Mᵢ."""
    _, kinetic = _energies(dim)
    rest = kinetic.rest_mass * kinetic.speed_limit
    for i in range(dim):
        cap = kinetic.speed_limit / jnp.sqrt(kinetic.mass[i])
        p = jnp.zeros(dim).at[i].set(rest * jnp.sqrt(kinetic.mass[i]))
        np.testing.assert_allclose(kinetic.velocity(p)[i], cap / np.sqrt(2), 1e-13)
        np.testing.assert_allclose(kinetic.velocity(1e12 * p)[i], cap, 1e-13)


def test_newtonian_limit():
    """c → ∞: velocities tend to those of mass m₀M, with an error of order c⁻²."""
    mass, m0 = np.array([0.5, 2.0]), 1.5
    p = jnp.array([1.0, -2.0])
    newtonian = cx.NewtonianKinetic(2, mass=m0 * mass)
    errors = []
    for c in (1e2, 1e3, 1e4):
        kinetic = cx.RelativisticKinetic(2, mass=mass, rest_mass=m0, speed_limit=c)
        errors.append(np.abs(kinetic.velocity(p) - newtonian.velocity(p)).max())
        # The rest energy cancels c² digits.
        rest = kinetic.rest_mass * kinetic.speed_limit**2
        rounding = 4 * np.finfo(float).eps * rest
        np.testing.assert_allclose(kinetic(p) - rest, newtonian(p), c**-2, rounding)
    np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=1e-3)
    np.testing.assert_allclose(errors[1] / errors[2], 100, rtol=1e-3)


def test_parameters_are_learned_unless_frozen():
    p = jnp.array([1.0, -0.3])
    names = ("mass", "rest_mass", "speed_limit")
    for frozen in names:
        kinetic = cx.RelativisticKinetic(2, frozen=(frozen,))
        grads = eqx.filter_grad(lambda k: k(p))(kinetic)
        for name in names:
            leaf = getattr(grads, f"_{name}").log
            assert (np.abs(leaf).max() == 0) == (name == frozen)
    grads = eqx.filter_grad(lambda k: k(p))(cx.NewtonianKinetic(2, frozen=("mass",)))
    assert np.abs(grads._mass.log).max() == 0
    np.testing.assert_allclose(
        cx.NewtonianKinetic(2, mass=np.array([0.1, 7.0])).mass, [0.1, 7.0], rtol=1e-15
    )


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, np.array([1.0, -1.0])])
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match="`mass` must be positive"):
        cx.NewtonianKinetic(2, mass=bad)
    for name in ("mass", "rest_mass", "speed_limit"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive"):
            cx.RelativisticKinetic(2, **{name: bad})


def test_bad_shapes_and_names():
    with pytest.raises(ValueError, match=r"`mass` must be a scalar or have shape"):
        cx.NewtonianKinetic(2, mass=np.ones(3))
    with pytest.raises(ValueError, match=r"`rest_mass` must be a scalar"):
        cx.RelativisticKinetic(2, rest_mass=np.ones(2))
    # A TypeError under beartype, a ValueError without. The last lacks its comma.
    for frozen in (("speed",), ("speed_limit", "c"), ("mass")):
        with pytest.raises((ValueError, TypeError), match="frozen"):
            cx.RelativisticKinetic(2, frozen=frozen)  # pyright: ignore


def test_bad_traced_parameter():
    make = eqx.filter_jit(lambda m: cx.NewtonianKinetic(2, mass=m).mass)
    np.testing.assert_allclose(make(jnp.array(2.0)), [2.0, 2.0])
    with pytest.raises(Exception, match="`mass` must be positive"):
        make(jnp.array(-2.0))
