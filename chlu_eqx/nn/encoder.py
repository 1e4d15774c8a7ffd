"""Encoders of sequences."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import count, random_key
from .rnn import RNN


class RecurrentEncoder(eqx.Module):
    r"""A sequence as a vector: an LSTM runs over it from the last row to the first, and
    its whole state there, output and cell, is mapped linearly,

    $$(h_t, c_t) = \mathrm{LSTM}(x_t, (h_{t+1}, c_{t+1})), \qquad
    \mathrm{encoder}(x) = W \begin{pmatrix} h_0 \\ c_0 \end{pmatrix} + b.$$

    It ends at the first row, and so knows that one best: what it is for is to infer
    the state that a trajectory starts from.
    """

    layer: RNN
    readout: eqx.nn.Linear

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `input_size`: the number of features of a row.
        - `hidden_size`: the number of the LSTM's units.
        - `output_size`: the length of the vector.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer.
        """
        cell_key, readout_key = jr.split(random_key("key", key))
        input_size = count("input_size", input_size)
        hidden_size = count("hidden_size", hidden_size)
        output_size = count("output_size", output_size)
        cell = eqx.nn.LSTMCell(input_size, hidden_size, key=cell_key)
        self.layer = RNN(cell, reverse=True)
        self.readout = eqx.nn.Linear(2 * hidden_size, output_size, key=readout_key)

    def __call__(
        self, x: Float[Array, "times input_size"]
    ) -> Float[Array, " output_size"]:
        """**Arguments:**

        - `x`: the sequence, unbatched; use `jax.vmap` for batches.

        **Returns:** the vector.

        **Raises:** `ValueError` if `x` has another shape than `(times, input_size)`.
        """
        _, hidden = self.layer(x)
        return self.readout(jnp.concatenate(hidden))
