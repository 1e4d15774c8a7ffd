"""Recurrent layers, whose gradients need no memory of the sequence."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._backward import is_lost, LOST
from .._checks import array, function
from ..adjoint import ReversibleAdjoint


class AbstractReversibleCell(eqx.Module):
    """A recurrent cell whose step can be undone.

    Called as `equinox.nn.LSTMCell` is, `cell(input, hidden) -> hidden`, with
    `hidden = (q, p)`, both of shape `(hidden_size,)`. `undo(input, hidden)` finds the
    hidden state before from that after, up to rounding.
    """

    input_size: eqx.AbstractVar[int]
    hidden_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self,
        input: Float[Array, " input_size"],
        hidden: PyTree[Float[Array, " hidden_size"]],
        *,
        key: PRNGKeyArray | None = None,
    ) -> PyTree[Float[Array, " hidden_size"]]:
        """The next hidden state."""

    @abc.abstractmethod
    def undo(
        self,
        input: Float[Array, " input_size"],
        hidden: PyTree[Float[Array, " hidden_size"]],
    ) -> PyTree[Float[Array, " hidden_size"]]:
        """The hidden state before."""


class RNN(eqx.Module):
    r"""A recurrent layer: a cell, run over a sequence.

    $$h_t = \mathrm{cell}(x_t, h_{t-1}).$$

    It takes any cell of equinox's form. Of those that can be undone (`CHLUCell`,
    `HamiltonianRNNCell`, `UnICORNNCell`) gradients recompute the past instead of
    keeping it, so that beside its inputs and outputs the layer needs the same memory
    for sequences of any length.

    !!! Example

        ```python
        layer = chlu_eqx.nn.RNN(chlu_eqx.nn.CHLUCell(3, 64, key=key))
        outputs, (q, p) = layer(inputs)         # (times, 3) -> (times, 64), the last
        outputs, _ = jax.vmap(layer)(batch)     # (batch, times, 3)

        # In two layers, and in both directions.
        outputs, _ = second(first(inputs)[0])
        both = jnp.concatenate([forward(inputs)[0], backward(inputs)[0]], axis=-1)
        ```
    """

    cell: Any
    reverse: bool = eqx.field(static=True)
    adjoint: diffrax.AbstractAdjoint

    def __init__(
        self,
        cell: Callable[[Array, PyTree], PyTree],
        *,
        reverse: bool = False,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ):
        """**Arguments:**

        - `cell`: a callable `(input, hidden) -> hidden`, such as a cell of this package
            or of `equinox.nn`.
        - `reverse`: whether to run from the last input to the first. The outputs keep
            the order of the inputs.
        - `adjoint`: how to differentiate. [`chlu_eqx.ReversibleAdjoint`][], in constant
            memory, for cells that can be undone; it raises where rounding, magnified on
            the way back, has lost the past. Or `diffrax.DirectAdjoint`, which keeps all
            of the past in memory. By default the first where the cell can be undone and
            does not forget, and the other where it cannot or does.

        **Raises:** `ValueError` if the cell cannot be undone and has to be, or if the
        adjoint is neither of the two.
        """
        function("cell", cell)
        reversible = isinstance(cell, AbstractReversibleCell)
        if adjoint is None:
            forgets = getattr(cell, "friction", None) is not None
            keep = forgets or not reversible
            adjoint = diffrax.DirectAdjoint() if keep else ReversibleAdjoint()
        if not isinstance(adjoint, ReversibleAdjoint | diffrax.DirectAdjoint):
            raise ValueError(
                "`adjoint` must be `chlu_eqx.ReversibleAdjoint()` or "
                f"`diffrax.DirectAdjoint()`, got {adjoint}."
            )
        if isinstance(adjoint, ReversibleAdjoint) and not reversible:
            raise ValueError(
                f"`cell` must be one that can be undone, for `ReversibleAdjoint`: a "
                f"`chlu_eqx.nn.CHLUCell`, for instance; got {type(cell).__name__}. Use "
                "`diffrax.DirectAdjoint()` with it."
            )
        self.cell = cell
        self.reverse = reverse
        self.adjoint = adjoint

    def __call__(
        self,
        inputs: Float[Array, "times input_size"],
        hidden: PyTree[Float[Array, " hidden_size"]] | None = None,
    ) -> tuple[Float[Array, "times hidden_size"], PyTree[Float[Array, " hidden_size"]]]:
        """**Arguments:**

        - `inputs`: the sequence, unbatched; use `jax.vmap` for batches.
        - `hidden`: the first hidden state; defaults to a pair of zeros.

        **Returns:** the first part of the hidden state at all times, $q$ (the `h` of an
        LSTM), and the whole hidden state after the last.

        **Raises:** `ValueError` if `inputs` has another shape than
        `(times, input_size)`.
        """
        inputs = array("inputs", inputs, "times", self.cell.input_size)
        if hidden is None:
            zeros = jnp.zeros(self.cell.hidden_size, inputs.dtype)
            hidden = (zeros, zeros)
        if isinstance(self.adjoint, ReversibleAdjoint):
            tree = (self.cell, inputs, hidden)
            return _reversible_scan(tree, self.reverse, self.adjoint.rtol)
        return _scan(self.cell, inputs, hidden, self.reverse)


def check_step(
    cell: Any, input: Array, hidden: PyTree
) -> tuple[Float[Array, " hidden_size"], Float[Array, " hidden_size"]]:
    """The two parts of `hidden`, refusing an input or a part that is not of the cell's
    size."""
    array("input", input, cell.input_size)
    if not (isinstance(hidden, tuple) and len(hidden) == 2):
        raise ValueError(
            "`hidden` must be a pair of arrays of shape "
            f"({cell.hidden_size},), got {hidden}."
        )
    first, second = (array("hidden", x, cell.hidden_size) for x in hidden)
    return first, second


def _output(hidden: PyTree) -> Array:
    return hidden[0] if isinstance(hidden, tuple) else hidden


def _scan(cell: Callable, inputs: Array, hidden: PyTree, reverse: bool) -> tuple:
    def step(hidden: PyTree, x: Array) -> tuple[PyTree, Array]:
        hidden = cell(x, hidden)
        return hidden, _output(hidden)

    hidden, outputs = lax.scan(step, hidden, inputs, reverse=reverse)
    return outputs, hidden


@eqx.filter_custom_vjp
def _reversible_scan(tree: tuple, reverse: bool, rtol: float) -> tuple:
    cell, inputs, hidden = tree
    return _scan(cell, inputs, hidden, reverse)


@_reversible_scan.def_fwd
def _(perturbed, tree: tuple, reverse: bool, rtol: float):
    cell, inputs, hidden = tree
    outputs, hidden = _scan(cell, inputs, hidden, reverse)
    return (outputs, hidden), hidden


@_reversible_scan.def_bwd
def _(end, cotangents, perturbed, tree: tuple, reverse: bool, rtol: float):
    cell, inputs, start = tree
    a_outputs, a_end = cotangents
    zeros = jax.tree.map(jnp.zeros_like, end)
    a_end = jax.tree.map(
        lambda a, z: z if a is None else a, a_end, zeros, is_leaf=lambda x: x is None
    )
    diff, rest = eqx.partition(cell, perturbed[0])
    arrays, static = eqx.partition(rest, eqx.is_array)

    def forward(diff, arrays, x: Array, hidden: PyTree) -> PyTree:
        return eqx.combine(diff, arrays, static)(x, hidden)

    def back(diff, arrays, x: Array, hidden: PyTree) -> PyTree:
        return eqx.combine(diff, arrays, static).undo(x, hidden)

    # As in `_backward`: the batch goes inside of the steps, where the cotangents of a
    # cell that all of it shares are summed at once.
    def lifted_by(lift: Callable[[Callable], Callable]) -> Callable:
        def walk(diff, arrays, rows, start, end, a_end):
            def step(carry, row):
                hidden, a_hidden, a_diff = carry
                x, a_output = row
                before = lift(back)(diff, arrays, x, hidden)
                _, pull = jax.vjp(
                    lambda d, x, h: lift(forward)(d, arrays, x, h), diff, x, before
                )
                if a_output is not None:
                    first, *others = a_hidden
                    a_hidden = (first + a_output, *others)
                d, a_x, a_hidden = pull(a_hidden)
                return (before, a_hidden, jax.tree.map(jnp.add, a_diff, d)), a_x

            def lost(_, __, found: PyTree, start: PyTree, end: PyTree) -> Array:
                return is_lost(found, start, end, rtol)

            carry = (end, a_end, jax.tree.map(jnp.zeros_like, diff))
            (found, a_start, a_diff), a_inputs = lax.scan(
                step, carry, rows, reverse=not reverse
            )
            failed = lift(lost)(diff, arrays, found, start, end)
            return eqx.error_if((a_diff, a_inputs, a_start), jnp.any(failed), LOST)

        mapped_walk = custom_vmap(walk)

        @mapped_walk.def_vmap
        def _(size, batched, diff, arrays, *trees):
            axes = jax.tree.map(lambda mapped: 0 if mapped else None, batched[:2])

            def deeper(f: Callable) -> Callable:
                def mapped(diff, arrays, *trees):
                    in_axes = (*axes, *(0 for _ in trees))
                    return jax.vmap(lift(f), in_axes)(diff, arrays, *trees)

                return mapped

            def to_all(x: Array, mapped: bool) -> Array:
                return x if mapped else jnp.broadcast_to(x, (size, *x.shape))

            def swapped(rows: PyTree) -> PyTree:
                return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)

            rows, *states = jax.tree.map(to_all, trees, tuple(batched[2:]))
            a_diff, a_inputs, a_start = lifted_by(deeper)(
                diff, arrays, swapped(rows), *states
            )
            # The caller sums over the batch: each example gets an equal share.
            a_diff = jax.tree.map(
                lambda a, mapped: a if mapped else to_all(a / size, False),
                a_diff,
                batched[0],
            )
            out = (a_diff, swapped(a_inputs), a_start)
            return out, jax.tree.map(lambda _: True, out)

        return mapped_walk

    walk = lifted_by(lambda f: f)
    return walk(diff, arrays, (inputs, a_outputs), start, end, a_end)
