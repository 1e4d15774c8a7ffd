"""What the CHLU is compared with: models of the same calling convention, a pair
`(q0, p0)` and a number of steps to a trajectory of pairs."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

import chlu_eqx as cx


Pair = tuple[Float[Array, " dim"], Float[Array, " dim"]]
Trajectory = tuple[Float[Array, "times dim"], Float[Array, "times dim"]]


class NeuralODE(eqx.Module):
    """ẏ = MLP(y) for y = (q, p), by Tsit5 at a fixed step."""

    mlp: eqx.nn.MLP
    dt: float

    def __init__(self, dim: int, *, width: int, dt: float, key: PRNGKeyArray):
        self.mlp = eqx.nn.MLP(2 * dim, 2 * dim, width, 2, jnp.tanh, key=key)
        self.dt = dt

    def __call__(self, y0: Pair, num_steps: int) -> Trajectory:
        field = diffrax.ODETerm(lambda t, y, args: self.mlp(y))
        y = cx.rollout(
            field,
            diffrax.Tsit5(),
            jnp.concatenate(y0),
            dt=self.dt,
            num_steps=num_steps,
        )
        q, p = jnp.split(y, 2, axis=-1)
        return q, p


class LSTM(eqx.Module):
    """An LSTM fed its own output, y ← y + readout(h), its hidden state read off the
    first state."""

    cell: eqx.nn.LSTMCell
    start: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, dim: int, *, hidden: int, key: PRNGKeyArray):
        cell, start, readout = jr.split(key, 3)
        self.cell = eqx.nn.LSTMCell(2 * dim, hidden, key=cell)
        self.start = eqx.nn.Linear(2 * dim, 2 * hidden, key=start)
        self.readout = eqx.nn.Linear(hidden, 2 * dim, key=readout)

    def __call__(self, y0: Pair, num_steps: int) -> Trajectory:
        y = jnp.concatenate(y0)
        h, c = jnp.split(jnp.tanh(self.start(y)), 2)

        def step(carry, _):
            y, hidden = carry
            h, c = self.cell(y, hidden)
            y = y + self.readout(h)
            return (y, (h, c)), y

        _, ys = jax.lax.scan(step, (y, (h, c)), None, length=num_steps)
        q, p = jnp.split(jnp.concatenate([y[None], ys]), 2, axis=-1)
        return q, p
