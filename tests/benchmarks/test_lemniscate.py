import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

import chlu_eqx as cx
from benchmarks.data import lemniscate
from benchmarks.lemniscate import distances


ENERGY = cx.SeparableHamiltonian(cx.NewtonianKinetic(2), lemniscate.potential)


def test_the_curve_is_an_orbit():
    """q̈ = -∇V(q) on it, to rounding; its energy is 1/4; it is Bernoulli's quartic."""
    t = jnp.linspace(0, 7, 50)
    q, v = lemniscate.orbit(t)
    _, acceleration = jax.jvp(lambda t: lemniscate.orbit(t)[1], (t,), (jnp.ones(50),))
    np.testing.assert_allclose(acceleration, jax.vmap(ENERGY.force)(q), atol=1e-13)
    np.testing.assert_allclose(jax.vmap(ENERGY)(q, v), lemniscate.ENERGY, atol=1e-14)
    x, y = q.T
    np.testing.assert_allclose((x**2 + y**2) ** 2, x**2 - y**2, atol=1e-14)


@pytest.mark.parametrize("through", ["rollout", "diffeqsolve"])
def test_exact_hamiltonian_stays_on_the_curve(through):
    """A thousand cycles of velocity Verlet at a step of 0.05, within 1e-3."""
    steps = round(1000 * 2 * np.pi / 0.05)
    y0 = jax.tree.map(lambda x: x[0], lemniscate.orbit(jnp.zeros(1)))
    term = cx.HamiltonianTerm(ENERGY)
    if through == "rollout":
        q, _ = cx.rollout(term, cx.CHLUSolver(), y0, dt=0.05, num_steps=steps)
    else:
        sol = diffrax.diffeqsolve(
            term,
            cx.CHLUSolver(),
            0.0,
            0.05 * steps,
            0.05,
            y0,
            saveat=diffrax.SaveAt(steps=True),
            max_steps=steps,
        )
        assert sol.ys is not None
        q, _ = sol.ys
    curve = lemniscate.curve(jnp.linspace(0, lemniscate.PERIOD, 20_001))
    distance, _ = KDTree(np.asarray(curve)).query(np.asarray(q), workers=-1)
    assert distance.max() < 1e-3
    # And it goes round: both lobes, to their tips, in the last cycle.
    assert q[-126:, 0].min() < -0.99 and q[-126:, 0].max() > 0.99


def test_distances():
    """Against known ones: the curve itself, and a circle around it."""
    t = 0.05 * np.arange(252)
    q = np.asarray(lemniscate.curve(jnp.asarray(t)))
    assert max(distances(q)) < 5e-4
    # Half of the curve: nothing to complain of on the way there, much on the way back.
    to_curve, to_trajectory = distances(q[q[:, 0] > 0.2][:20])
    assert to_curve < 5e-4 < 0.3 < to_trajectory
    # A circle of radius 10: its mean distance by fine polar sums.
    circle = 10 * np.stack([np.cos(t), np.sin(t)], -1)
    found, _ = distances(circle)
    fine = np.asarray(lemniscate.curve(jnp.linspace(0, 2 * np.pi, 4001)))
    brute = np.linalg.norm(circle[:, None] - fine[None], axis=-1).min(1)
    np.testing.assert_allclose(found, brute.mean(), rtol=1e-3)
    assert distances(np.full((10, 2), np.nan)) == (None, None)
