"""A million steps: the energy error oscillates and does not grow, and of rounding
there is a random walk and no bias.

Unit pendulums of different energies, 16,000 to 20,000 periods of each. The energy is
taken in double precision, of the states as they are.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx

from ..problems import pendulum, SOLVERS


LONG = {
    **SOLVERS,
    **{f"TaoSolver {order}": cx.TaoSolver(4.0, order) for order in (2, 4, 6)},
}
STEPS, DT = 1_000_000, 1 / 8


def _energies(solver, dtype, states, saved):
    """The energies less the first, by pendulum, of states in equal distances."""
    q = jnp.linspace(0.5, 1.5, states, dtype=dtype)[:, None]

    @jax.jit
    @jax.vmap
    def run(q, p):
        return cx.rollout(
            pendulum(),
            solver,
            (q, p),
            dt=DT,
            num_steps=STEPS,
            save_every=STEPS // saved,
        )

    q, p = (np.asarray(x[..., 0], float) for x in run(q, jnp.full_like(q, 0.3)))
    energies = p**2 / 2 - np.cos(q)
    return energies[:, 1:] - energies[:, :1]


def _random_walk(dtype):
    """What as many roundings of numbers near one add up to, if they are independent; if
    all were of one sign it would be a thousand times that."""
    return float(jnp.finfo(dtype).eps) * STEPS**0.5


@pytest.mark.parametrize("name", LONG)
def test_energy_does_not_grow(name):
    energies = _energies(LONG[name], "float64", states=4, saved=10_000)
    tenths = np.split(energies, 10, axis=1)
    first, last = np.ptp(tenths[0], axis=1), np.ptp(tenths[-1], axis=1)
    rounding = 5 * _random_walk("float64")
    assert (last < 2 * first + rounding).all()
    # By how much the line of least squares rises in all of the time.
    rise, _ = np.polyfit(np.linspace(0, 1, 10_000), energies.T, 1)
    assert (np.abs(rise) < first / 2 + rounding).all()


def test_heun_does_drift():
    """What the test above is for: a method that is not symplectic."""
    energies = _energies(diffrax.Heun(), "float64", states=4, saved=10_000)
    assert (np.abs(energies[:, -1]) > 0.5).all()


@pytest.mark.parametrize("name", LONG)
def test_rounding_has_no_bias(name):
    energies = _energies(LONG[name], "float32", states=8, saved=2_000)
    tenths = np.split(energies, 10, axis=1)
    drift = tenths[-1].mean(axis=1) - tenths[0].mean(axis=1)
    # The means of a tenth leave a hundredth or so of the oscillation of low orders.
    size = 2 * _random_walk("float32") + np.ptp(tenths[0]) / 50
    assert np.sqrt(np.mean(drift**2)) < size
    # The pendulums' random walks are independent; a bias would be that of all.
    error = drift.std(ddof=1) / len(drift) ** 0.5
    assert abs(drift.mean()) < 6 * error
