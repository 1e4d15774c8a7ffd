"""The recurrent models of the sequence tasks."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from chlu_eqx import RelativisticKinetic
from chlu_eqx.nn import CHLUCell, CoRNNCell, HamiltonianRNNCell, RNN, UnICORNNCell


class TanhCell(eqx.Module):
    """h ← tanh(W x + U h + b), with U = I at the start if `identity`, which is kinder
    to long sequences (Le, Jaitly & Hinton, arXiv 1504.00941)."""

    linear: eqx.nn.Linear
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self, input_size: int, hidden_size: int, *, identity: bool, key: PRNGKeyArray
    ):
        linear = eqx.nn.Linear(input_size + hidden_size, hidden_size, key=key)
        if identity:
            weight = linear.weight.at[:, input_size:].set(jnp.eye(hidden_size))
            linear = eqx.tree_at(lambda linear: linear.weight, linear, weight)
        self.linear = linear
        self.input_size, self.hidden_size = input_size, hidden_size

    def __call__(self, input: Array, hidden: tuple[Array], *, key=None) -> tuple[Array]:
        (h,) = hidden
        return (jnp.tanh(self.linear(jnp.concatenate([input, h]))),)


def start(cell: Any) -> tuple[Array, ...]:
    """The first hidden state of a cell: of one part or of two."""
    zeros = jnp.zeros(cell.hidden_size)
    return (zeros,) if isinstance(cell, TanhCell) else (zeros, zeros)


class Reader(eqx.Module):
    """Recurrent layers, and a readout of all of the last one's last hidden state that
    starts at zero."""

    layers: list[RNN]
    readout: eqx.nn.Linear

    def __init__(self, cells: list[Any], output_size: int):
        self.layers = [RNN(cell) for cell in cells]
        size = sum(part.size for part in start(cells[-1]))
        readout = eqx.nn.Linear(size, output_size, key=jr.key(0))
        self.readout = jax.tree.map(jnp.zeros_like, readout)

    def __call__(self, inputs: Float[Array, "times input_size"]) -> Array:
        hidden: Any = ()
        for layer in self.layers:
            inputs, hidden = layer(inputs, start(layer.cell))
        return self.readout(jnp.concatenate(hidden))


def lstm(
    input_size: int, hidden_size: int, *, forget: float, key: PRNGKeyArray
) -> eqx.nn.LSTMCell:
    """With `forget` added to the bias of the forget gate."""
    cell = eqx.nn.LSTMCell(input_size, hidden_size, key=key)
    gate = slice(hidden_size, 2 * hidden_size)
    bias = jnp.asarray(cell.bias).at[gate].add(forget)
    return eqx.tree_at(lambda cell: cell.bias, cell, bias)


def controlled(
    input_size: int,
    hidden_size: int,
    *,
    bound: float,
    length: int,
    key: PRNGKeyArray,
) -> HamiltonianRNNCell:
    """With the step of `gradient_controlled_dt`, by its weights at the start, which are
    orthogonal."""
    dt = math.log(bound) / (2 * length)
    return HamiltonianRNNCell(input_size, hidden_size, dt=dt, key=key)


def chlu(
    input_size: int, hidden_size: int, *, gate: float, key: PRNGKeyArray
) -> CHLUCell:
    """With `gate` added to the bias of the gate of its kick."""
    cell = CHLUCell(input_size, hidden_size, key=key)
    at = lambda cell: cell.kick.linear.bias  # noqa: E731
    return eqx.tree_at(at, cell, at(cell).at[hidden_size:].add(gate))


def relativistic(
    input_size: int, hidden_size: int, *, speed_limit: float, key: PRNGKeyArray
) -> CHLUCell:
    """The CHLU cell of the same frequencies with a relativistic kinetic energy."""
    mass = 1 / jnp.geomspace(1e-3, 1.0, hidden_size)
    kinetic = RelativisticKinetic(hidden_size, mass=mass, speed_limit=speed_limit)
    return CHLUCell(input_size, hidden_size, kinetic=kinetic, key=key)


class Kind(NamedTuple):
    """A cell; the two settings of it that are tried; and the hidden units of a layer
    for some 4500 parameters (of the adding problem), 17 600 and half of that (of
    digits)."""

    cell: Callable[..., Any]
    settings: tuple[dict[str, Any], dict[str, Any]]
    sizes: dict[str, int]
    layers: int = 1

    def make(
        self, input_size: int, hidden_size: int, setting: int, length: int, key: Any
    ) -> Any:
        """A cell for sequences of some length."""
        arguments = self.settings[setting]
        if self.cell is controlled:
            arguments = arguments | {"length": length}
        return self.cell(input_size, hidden_size, key=key, **arguments)


def _sizes(small: int, large: int, half: int) -> dict[str, int]:
    return {"small": small, "large": large, "half": half}


KINDS: dict[str, Kind] = {
    "CHLU": Kind(chlu, ({"gate": 0.0}, {"gate": -3.0}), _sizes(61, 119, 80)),
    "CHLU (relativistic)": Kind(
        relativistic,
        ({"speed_limit": 10.0}, {"speed_limit": 100.0}),
        _sizes(61, 119, 80),
    ),
    "Hamiltonian RNN": Kind(
        controlled, ({"bound": 1e2}, {"bound": 1e4}), _sizes(45, 87, 59)
    ),
    # Its authors' for the adding problem and for sequential MNIST.
    "coRNN": Kind(
        CoRNNCell,
        (
            {"dt": 0.06, "stiffness": 66.0, "damping": 15.0},
            {"dt": 0.042, "stiffness": 2.7, "damping": 4.7},
        ),
        _sizes(46, 88, 60),
    ),
    "UnICORNN": Kind(
        UnICORNNCell, ({"dt": 0.1}, {"dt": 0.3}), _sizes(62, 120, 81), layers=2
    ),
    "LSTM": Kind(lstm, ({"forget": 0.0}, {"forget": 3.0}), _sizes(32, 63, 43)),
    "tanh RNN": Kind(
        TanhCell, ({"identity": False}, {"identity": True}), _sizes(65, 126, 87)
    ),
}


def make(
    kind: str,
    setting: int,
    size: str,
    input_size: int,
    output_size: int,
    length: int,
    key: PRNGKeyArray,
) -> Reader:
    """A model of some kind and size, in one of its two settings."""
    chosen = KINDS[kind]
    n = chosen.sizes[size]
    inputs = [input_size] + (chosen.layers - 1) * [n]
    cells = [
        chosen.make(m, n, setting, length, k)
        for m, k in zip(inputs, jr.split(key, chosen.layers), strict=True)
    ]
    return Reader(cells, output_size)
