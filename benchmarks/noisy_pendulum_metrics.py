"""How models of the noisy pendulum are tested."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import chlu_eqx as cx
from chlu_eqx.nn import ObservedDynamics

from . import noisy_pendulum_models as models
from .data import noisy_pendulum as data
from .record import finite


# Free runs to test with, and a seed that no training data are drawn by.
TEST, STEPS, SEED = 10, 100, 1000
# Angles that a potential is compared at.
GRID = 201


@functools.cache
def test_data() -> data.Pair:
    y0 = data.starts(np.random.default_rng(SEED), TEST)
    return data.motion(y0, STEPS + 1)


def free_runs(run: Callable[[data.Pair, int], data.Pair]) -> data.Pair:
    """From the true initial states of the test."""
    y0 = jax.tree.map(lambda x: x[:, 0], test_data())
    return eqx.filter_jit(jax.vmap(lambda y0: run(y0, STEPS)))(y0)


def energy(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The pendulum's own, of shape `(runs, times)`."""
    return np.sum(v**2 / 2 + data.potential_at(q), axis=-1)


def scores(runs: data.Pair, truth: data.Pair) -> dict[str, float | None]:
    """The mean over runs and times of the squared error, summed over q and q̇; and how
    far the mean energy of the second half of a run is from that of the first."""
    q, v = (np.asarray(x, np.float64)[:, 1:] for x in runs)
    q_true, v_true = (np.asarray(x, np.float64)[:, 1:] for x in truth)
    error = np.sum((q - q_true) ** 2 + (v - v_true) ** 2, axis=-1)
    first, second = np.split(energy(q, v), 2, axis=1)
    drift = np.abs(second.mean(1) - first.mean(1))
    return {"mse": finite(error.mean()), "energy_drift": finite(drift.mean())}


def learned_potential(
    model: ObservedDynamics, q: np.ndarray, visited: float
) -> np.ndarray | None:
    """A learned potential at angles `q`, over the learned mass, shifted to the true
    one's mean over the angles up to `visited` either way; `None` without one."""
    run = models.rolled(model)
    if not isinstance(run, cx.nn.VariationalIntegratorNetwork):
        return None
    energy = run.unit.hamiltonian
    kinetic: Any = energy.kinetic
    mass = kinetic.mass[0]
    if isinstance(kinetic, cx.RelativisticKinetic):
        mass = mass * kinetic.rest_mass
    values = eqx.filter_jit(eqx.filter_vmap(energy.potential))

    def at(q: np.ndarray) -> np.ndarray:
        return np.asarray(values(jnp.asarray(q, float)[:, None]) / mass)

    grid = np.linspace(-visited, visited, GRID)
    return at(q) - at(grid).mean() + data.potential_at(grid).mean()


def evaluate(model: ObservedDynamics, visited: float) -> dict[str, float | None]:
    """What free runs are worth, and the potential, over the angles visited."""
    grid = np.linspace(-visited, visited, GRID)
    found = learned_potential(model, grid, visited)
    if found is not None:
        found = finite(np.sqrt(np.mean((found - data.potential_at(grid)) ** 2)))
    metrics = scores(free_runs(models.rolled(model)), test_data())
    return metrics | {"scale": finite(model.scale), "potential_rmse": found}


def references() -> dict[str, dict[str, float | None]]:
    """What not learning is worth: to predict zero, and velocity Verlet with the true
    potential."""

    def zero(y0: data.Pair, num_steps: int) -> data.Pair:
        q, v = (jnp.zeros((num_steps + 1, *y.shape)) for y in y0)
        return q, v

    def verlet(y0: data.Pair, num_steps: int) -> data.Pair:
        term = cx.HamiltonianTerm(data.HAMILTONIAN)
        return cx.rollout(term, cx.CHLUSolver(), y0, dt=data.DT, num_steps=num_steps)

    runs = {"zero": zero, "velocity Verlet, true potential": verlet}
    return {k: scores(free_runs(run), test_data()) for k, run in runs.items()}
