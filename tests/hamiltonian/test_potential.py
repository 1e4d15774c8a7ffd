import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import chlu_eqx as cx


def test_sum_is_the_sum():
    q = jnp.array([0.3, -1.0])
    mlp = cx.MLPPotential(2, key=jr.key(0))
    alone = mlp(q) + 0.05 * jnp.sum(q**2) + q[0]

    def plain(q):
        return q[0]

    for total in (
        mlp + cx.Confinement() + plain,
        plain + (mlp + cx.Confinement()),
        cx.PotentialSum(plain, mlp, cx.Confinement()),
    ):
        assert isinstance(total, cx.PotentialSum)
        np.testing.assert_allclose(total(q), alone, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_confinement(dtype):
    q = {"a": jnp.array([3.0, 4.0], dtype), "b": jnp.array(2.0, dtype)}
    energy = cx.Confinement(0.1)(q)
    assert energy.dtype == dtype
    np.testing.assert_allclose(energy, 2.9, rtol=1e-6)
    assert jax.tree.leaves(cx.Confinement(0.1)) == [0.1]


def test_confinement_by_coordinate():
    """Σ αᵢ qᵢ²; learned, and positive after a step of any length."""
    alpha, q = jnp.array([0.5, 2.0]), jnp.array([3.0, -1.0])
    confinement = cx.Confinement(alpha)
    np.testing.assert_allclose(confinement(q), 0.5 * 9 + 2.0, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(confinement)(q), 2 * alpha * q, rtol=1e-14)
    assert confinement(q.astype(jnp.float32)).dtype == jnp.float32
    slope = eqx.filter_grad(lambda potential: potential(q))(confinement)
    # ∂V/∂log α = α q².
    np.testing.assert_allclose(jax.tree.leaves(slope)[0], alpha * q**2, rtol=1e-14)
    moved = eqx.apply_updates(confinement, jax.tree.map(lambda x: -10 * x, slope))
    assert 0 < moved(q) < 1e-3


def test_periodic_potential():
    """Of period 2π in every angle, force included."""
    potential = cx.PeriodicPotential(cx.MLPPotential(4, width=8, key=jr.key(0)))
    q = jnp.array([0.3, -1.0])
    turned = q + 2 * jnp.pi * jnp.array([1.0, -3.0])
    np.testing.assert_allclose(potential(q), potential(turned), rtol=1e-13)
    force, again = jax.grad(potential)(q), jax.grad(potential)(turned)
    np.testing.assert_allclose(force, again, rtol=1e-12)
    assert np.abs(force).min() > 1e-3


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14)])
def test_conv_potential(shape):
    """A scalar energy of a flattened image with a force everywhere; its gradient
    agrees with central differences."""
    size = int(np.prod(shape))
    potential = eqx.filter_jit(cx.ConvPotential(shape, features=(4, 8), key=jr.key(0)))
    q, direction = jr.normal(jr.key(1), (2, size))
    assert potential(q).shape == ()
    force = jax.grad(potential)(q)
    assert force.shape == (size,)
    eps = 1e-5
    slope = (potential(q + eps * direction) - potential(q - eps * direction)) / 2 / eps
    np.testing.assert_allclose(jnp.vdot(force, direction), slope, rtol=1e-7)
    # Smooth: no kink anywhere along a line.
    energies = jax.vmap(lambda s: potential(q + s * direction))(
        jnp.linspace(0, 1e-3, 50)
    )
    assert np.abs(np.diff(energies, 3)).max() < 1e-10


def test_bad_potentials():
    with pytest.raises(ValueError, match="`strength` must be positive"):
        cx.Confinement(-1.0)
    with pytest.raises(ValueError, match="`strength` must be positive"):
        cx.Confinement(jnp.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"`q` must have the shape \(2,\)"):
        cx.Confinement(jnp.ones(2))(jnp.ones((2, 1)))
    with pytest.raises(ValueError, match="`potentials` must be"):
        cx.PotentialSum()
    with pytest.raises(ValueError, match="`image_shape` must be at least 4 pixels"):
        cx.ConvPotential((1, 3, 28), key=jr.key(0))
    with pytest.raises(ValueError, match="`q` must be a flattened image"):
        cx.ConvPotential((1, 8, 8), key=jr.key(0))(jnp.ones(63))
