"""Recurrent cells whose hidden state is that of coupled oscillators."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import (
    count,
    function,
    greater_than_one,
    instance,
    positive,
    random_key,
)
from .._types import RealScalarLike
from .cell import GatedKick
from .rnn import AbstractReversibleCell, check_step


Hidden = tuple[Float[Array, " hidden_size"], Float[Array, " hidden_size"]]


class HamiltonianRNNCell(AbstractReversibleCell):
    r"""A recurrent cell whose gradients are under control: every input is a kick, and
    then there is a symplectic Euler step of

    $$H(q, p; x) = \sum_i \log\cosh (W_p\, p + b_p)_i
    + \sum_i \log\cosh (W_q\, q + V x + b_q)_i,$$

    $$p \leftarrow p + f(x) - \epsilon\, W_q^\top \tanh(W_q\, q + V x + b_q), \qquad
    q \leftarrow q + \epsilon\, W_p^\top \tanh(W_p\, p + b_p).$$

    Used as `equinox.nn.LSTMCell` is: `cell(input, hidden) -> hidden`, with
    `hidden = (q, p)`.

    For all inputs and weights the Jacobian of the hidden state by an earlier one is
    symplectic; its singular values come in pairs $\sigma, 1/\sigma$, and over $n$ steps

    $$1 \le \left\lVert \frac{\partial h_{t+n}}{\partial h_t} \right\rVert_2
    \le \exp\left(\epsilon n \left(\lVert W_q \rVert^2 + \lVert W_p \rVert^2\right)
    \right).$$

    So $\epsilon$ controls the gradient; [`chlu_eqx.nn.gradient_controlled_dt`][] gives
    the one for a bound of your choice. The kick is not in the bound, and not small with
    $\epsilon$: without it a cell for long sequences would hardly notice its inputs.

    The idea is that of Rusch, Pearson & Zygalakis ("Constructing Gradient Controllable
    Recurrent Neural Networks Using Hamiltonian Dynamics", arXiv 1911.05035), of which
    we could read the abstract only: the energy, the step and the heuristic are ours.
    """

    kick: Callable[[Array], Array]
    position_weight: Float[Array, "width hidden_size"]
    momentum_weight: Float[Array, "width hidden_size"]
    input_weight: Float[Array, "width input_size"]
    position_bias: Float[Array, " width"]
    momentum_bias: Float[Array, " width"]
    dt: RealScalarLike
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        width: int | None = None,
        dt: RealScalarLike = 0.1,
        kick: Callable[[Array], Array] | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `input_size`, `hidden_size`: the lengths of the input, and of `q` and `p`.
        - `width`: the number of terms in either sum; defaults to `hidden_size`.
        - `dt`: $\epsilon$, positive. A Python number is a constant; an array is learned
            unless it is filtered out.
        - `kick`: $f$, from an input to shape `(hidden_size,)`; defaults to
            [`chlu_eqx.nn.GatedKick`][].
        - `key`: a `jax.random.key` for the weights.

        **Raises:** `ValueError` if a size is not a positive integer or `dt` is not
        positive.
        """
        self.input_size = count("input_size", input_size)
        self.hidden_size = count("hidden_size", hidden_size)
        width = hidden_size if width is None else count("width", width)
        q, p, x, b, f = jr.split(random_key("key", key), 5)
        if kick is None:
            kick = GatedKick(input_size, hidden_size, key=f)
        self.kick = function("kick", kick)
        orthogonal = jax.nn.initializers.orthogonal()
        self.position_weight = orthogonal(q, (width, hidden_size))
        self.momentum_weight = orthogonal(p, (width, hidden_size))
        scale = 1 / input_size**0.5
        self.input_weight = jr.uniform(
            x, (width, input_size), minval=-scale, maxval=scale
        )
        self.position_bias = jr.uniform(b, (width,), minval=-1.0, maxval=1.0)
        self.momentum_bias = jnp.zeros(width)
        self.dt = positive("dt", dt)

    def __call__(
        self,
        input: Float[Array, " input_size"],
        hidden: Hidden,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Hidden:
        q, p = check_step(self, input, hidden)
        p = p + self._kick(input, q)
        return q + self._drift(p), p

    def undo(self, input: Float[Array, " input_size"], hidden: Hidden) -> Hidden:
        q, p = check_step(self, input, hidden)
        q = q - self._drift(p)
        return q, p - self._kick(input, q)

    def _kick(self, x: Array, q: Array) -> Array:
        weight = self.position_weight
        u = jnp.tanh(weight @ q + self.input_weight @ x + self.position_bias)
        return self.kick(x) - jnp.asarray(self.dt, q.dtype) * (weight.T @ u)

    def _drift(self, p: Array) -> Array:
        weight = self.momentum_weight
        u = jnp.tanh(weight @ p + self.momentum_bias)
        return jnp.asarray(self.dt, p.dtype) * (weight.T @ u)


def gradient_controlled_dt(
    cell: HamiltonianRNNCell, length: int, bound: RealScalarLike = jnp.e
) -> Scalar:
    r"""The step $\epsilon$ with which the Jacobians of a cell over a sequence are
    bounded, by its present weights:

    $$\epsilon = \frac{\log B}{n \left(\lVert W_q \rVert_2^2 + \lVert W_p \rVert_2^2
    \right)}
    \quad\Rightarrow\quad
    1 \le \left\lVert \frac{\partial h_n}{\partial h_0} \right\rVert_2 \le B.$$

    **Arguments:**

    - `cell`: a [`chlu_eqx.nn.HamiltonianRNNCell`][].
    - `length`: $n$, of the sequence; positive.
    - `bound`: $B$, greater than one.

    **Returns:** a scalar, to make a cell with, or to put into this one:
    `eqx.tree_at(lambda c: c.dt, cell, dt)`.

    **Raises:** `ValueError` if an argument is out of range.
    """
    instance("cell", cell, HamiltonianRNNCell, "a `chlu_eqx.nn.HamiltonianRNNCell`")
    length = count("length", length)
    norms = [
        jnp.linalg.norm(w, 2) ** 2 for w in (cell.position_weight, cell.momentum_weight)
    ]
    bound = greater_than_one("bound", bound)
    return jnp.log(bound) / (length * (norms[0] + norms[1]))
