"""The models of the noisy pendulum, and what they are trained on."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree, Scalar

import chlu_eqx as cx
from chlu_eqx.nn import (
    FreeInitialStates,
    InferredInitialState,
    ObservedDynamics,
    VariationalIntegratorNetwork,
)
from chlu_eqx.training import gaussian_nll

from .data.noisy_pendulum import DT, GRAVITY, Pair


# Hidden units of every energy and vector field, all of one hidden layer.
WIDTH = 1000
# Observations that an initial state is inferred from.
OBSERVED = 10
# Of the relativistic energy to start with; the pendulum's top speed is 2 √g = 6.3.
SPEED_LIMIT = 10.0


class ResNet(eqx.Module):
    """y ← y + h MLP(y) for y = (q, q̇)."""

    mlp: eqx.nn.MLP

    def __init__(self, key: PRNGKeyArray):
        self.mlp = eqx.nn.MLP(2, 2, WIDTH, 1, jnp.tanh, key=key)

    def __call__(self, y0: Pair, num_steps: int) -> Pair:
        def step(y: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            y = y + DT * self.mlp(y)
            return y, y

        start = jnp.concatenate(y0)
        _, ys = jax.lax.scan(step, start, None, length=num_steps)
        q, v = jnp.split(jnp.concatenate([start[None], ys]), 2, axis=-1)
        return q, v


class HNN(eqx.Module):
    """Hamilton's equations of a learned energy H(q, p), p = q̇ (Greydanus, Dzamba &
    Yosinski, NeurIPS 2019, arXiv 1906.01563)."""

    hamiltonian: cx.NeuralHamiltonian

    def __init__(self, key: PRNGKeyArray):
        self.hamiltonian = cx.NeuralHamiltonian(1, width=WIDTH, depth=1, key=key)

    def __call__(
        self,
        y0: Pair,
        num_steps: int,
        *,
        solver: diffrax.AbstractSolver | None = None,
    ) -> Pair:
        term = cx.HamiltonianTerm(self.hamiltonian)
        solver = diffrax.Tsit5() if solver is None else solver
        return cx.rollout(term, solver, y0, dt=DT, num_steps=num_steps)


class Positions(eqx.Module):
    """The positions of a network's trajectory, from the first two."""

    network: VariationalIntegratorNetwork

    def __call__(self, y0: Pair, num_steps: int, **kwargs: Any) -> jax.Array:
        return self.network.positions(y0, num_steps, **kwargs)


def network(
    key: PRNGKeyArray,
    *,
    kinetic: cx.AbstractKineticEnergy | None = None,
    periodic: bool = False,
) -> VariationalIntegratorNetwork:
    potential = cx.MLPPotential(1 + periodic, width=WIDTH, depth=1, key=key)
    if periodic:
        potential = cx.PeriodicPotential(potential)
    return VariationalIntegratorNetwork(
        1, dt=DT, kinetic=kinetic, potential=potential, key=key
    )


class Wave(eqx.Module):
    """V(q) = a cos q + b sin q, from the truth on: the best fit is near it."""

    a: jax.Array
    b: jax.Array

    def __init__(self):
        self.a, self.b = jnp.asarray(-GRAVITY), jnp.zeros(())

    def __call__(self, q: jax.Array) -> Scalar:
        return self.a * jnp.cos(q[0]) + self.b * jnp.sin(q[0])


def _form(key: PRNGKeyArray) -> VariationalIntegratorNetwork:
    kinetic = cx.NewtonianKinetic(1, frozen=("mass",))
    return VariationalIntegratorNetwork(
        1, dt=DT, kinetic=kinetic, potential=Wave(), key=key
    )


# The true form of the potential, two numbers to be found.
FORM = "V = a cos q + b sin q"
OF_POSITIONS = ("VIN-SV",)
DYNAMICS: dict[str, Callable[[PRNGKeyArray], Callable]] = {
    "VIN-VV": network,
    "VIN-VV, periodic": lambda key: network(key, periodic=True),
    "VIN-SV": lambda key: Positions(network(key)),
    "CHLU": lambda key: network(
        key, kinetic=cx.RelativisticKinetic(1, speed_limit=SPEED_LIMIT)
    ),
    "HNN": HNN,
    "ResNet": ResNet,
    FORM: _form,
}


def inferred(key: PRNGKeyArray, name: str) -> ObservedDynamics:
    """A model that infers initial states from the first observations of a window."""
    dynamics_key, encoder_key = jr.split(key)
    dynamics = DYNAMICS[name](dynamics_key)
    features = 1 if name in OF_POSITIONS else 2
    state = InferredInitialState(features, 1, num_observed=OBSERVED, key=encoder_key)
    return ObservedDynamics(dynamics, state)


def free(key: PRNGKeyArray, name: str, states: Pair) -> ObservedDynamics:
    """A model of given trajectories, whose initial states are parameters."""
    dynamics_key, _ = jr.split(key)
    return ObservedDynamics(DYNAMICS[name](dynamics_key), FreeInitialStates(states))


def rolled(model: ObservedDynamics) -> Callable[[Pair, int], Pair]:
    """A model's dynamics, from a position and a velocity."""
    dynamics = model.dynamics
    return dynamics.network if isinstance(dynamics, Positions) else dynamics


def windows(observed: PyTree, length: int) -> Any:
    """All windows of the trajectories as a single one, of shape
    `(1, times, windows, 1)`: every step of training sees every one of them."""

    def cut(x: jax.Array) -> jax.Array:
        starts = np.arange(x.shape[1] - length + 1)
        found = jnp.asarray(x)[:, starts[:, None] + np.arange(length)]
        return jnp.moveaxis(found, 2, 0).reshape(1, length, -1, 1)

    return jax.tree.map(cut, observed)


def loss(
    model: ObservedDynamics,
    window: tuple[PyTree, PyTree],
    *,
    key: PRNGKeyArray | None = None,
) -> Scalar:
    """The mean over all windows."""
    del key
    kwargs: dict[str, Any] = {}
    if isinstance(model.dynamics, HNN):
        # Order 3 is well within the noise, and takes a fifth of the time.
        kwargs = {"solver": diffrax.Bosh3()}
    elif isinstance(model.dynamics, VariationalIntegratorNetwork | Positions):
        # A network that has learned little yet may not find its way back exactly.
        kwargs = {"adjoint": cx.ReversibleAdjoint(rtol=jnp.inf)}
    dynamics = eqx.Partial(model.dynamics, **kwargs)
    model = eqx.tree_at(lambda m: m.dynamics, model, dynamics)
    return jnp.mean(jax.vmap(lambda w: gaussian_nll(model, w), in_axes=1)(window))
