"""What products of matrices in TF32 or bfloat16, as GPUs and TPUs make them, do to a
reversible rollout: their rounding imitated on any device."""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr

import chlu_eqx as cx


# Bits of the mantissa that the factors of a product keep.
BITS = {"float32": 23, "TF32": 10, "bfloat16": 7}
LENGTHS = (100, 1000)


class Rounded(cx.AbstractPotential):
    """Two hidden layers of 64, whose products round their factors."""

    layers: list[eqx.nn.Linear]
    bits: int = eqx.field(static=True)

    def __init__(self, bits: int):
        sizes, keys = (2, 64, 64, 1), jr.split(jr.key(0), 3)
        self.layers = [
            eqx.nn.Linear(a, b, key=key)
            for a, b, key in zip(sizes, sizes[1:], keys, strict=False)
        ]
        self.bits = bits

    def __call__(self, q: jax.Array) -> jax.Array:
        cut = functools.partial(
            lax.reduce_precision, exponent_bits=8, mantissa_bits=self.bits
        )
        *hidden, last = self.layers
        x = q
        for layer in hidden:
            x = jnp.tanh(cut(layer.weight) @ cut(x) + layer.bias)  # pyright: ignore
        return (cut(last.weight) @ cut(x))[0]


def end(unit: cx.nn.CHLU, y0: Any, dt: float, steps: int, adjoint: Any) -> Any:
    """Where a batch of states comes to."""

    def one(y0: Any) -> Any:
        return cx.rollout(
            unit.term,
            unit.solver,
            y0,
            dt=dt,
            num_steps=steps,
            save_every=steps,
            adjoint=adjoint,
        )

    return jax.tree.map(lambda x: x[:, -1], jax.vmap(one)(y0))


@eqx.filter_jit
def gradient(unit: cx.nn.CHLU, y0: Any, steps: int, adjoint: Any) -> list[Any]:
    """Of the mean square of the last positions."""

    def loss(unit: cx.nn.CHLU) -> Any:
        return jnp.mean(end(unit, y0, 0.05, steps, adjoint)[0] ** 2)

    return jax.tree.leaves(eqx.filter_grad(loss)(unit))


def relative(x: Any, y: Any) -> float:
    """The norm of the difference, by that of the second."""

    def norm(tree: Any) -> Any:
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))

    return float(norm(jax.tree.map(jnp.subtract, x, y)) / norm(y))


def measure() -> list[dict[str, Any]]:
    """Of 64 states, all in float32."""
    y0 = tuple(jr.normal(jr.key(1), (2, 64, 2), jnp.float32))
    reversible, direct = cx.ReversibleAdjoint(rtol=jnp.inf), diffrax.DirectAdjoint()
    found = []
    for steps in LENGTHS:
        exact = None
        for name, bits in BITS.items():
            potential = Rounded(bits) + cx.Confinement()
            unit = cx.nn.CHLU(2, potential=potential, key=jr.key(0))
            go = eqx.filter_jit(end)
            there = go(unit, y0, 0.05, steps, reversible)
            back = go(unit, there, -0.05, steps, reversible)
            stored = gradient(unit, y0, steps, direct)
            exact = stored if exact is None else exact
            row = {
                "factors": name,
                "steps": steps,
                "start": relative(back, y0),
                "gradient": relative(gradient(unit, y0, steps, reversible), stored),
                "gradient_of_float32": relative(stored, exact),
            }
            found.append(row)
    return found
