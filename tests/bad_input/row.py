"""What a row of the tables of bad input is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr


class Row(NamedTuple):
    """A public name, what is bad, a call with it, and what the error says."""

    name: str
    what: str
    call: Callable[[], Any]
    message: str


class Fine(NamedTuple):
    """A public name, what looks bad, and a test of what comes out."""

    name: str
    what: str
    check: Callable[[], None]


KEY = jr.key(0)
# One state of two coordinates, five of them, and what is no floating-point number.
Q, BATCH, INTEGERS, COMPLEX = (
    jnp.zeros(2),
    jnp.zeros((5, 2)),
    jnp.zeros(2, int),
    jnp.zeros(2, complex),
)
Y = (Q, Q)
# What is no random key: a seed, several, nothing.
NO_KEYS = {"a seed": 0, "several": jr.split(KEY, 3), "none": None}


def keys(name: str, make: Callable[[Any], Any], argument: str = "key") -> list[Row]:
    return [
        Row(name, f"{what} for a key", lambda k=k: make(k), f"`{argument}` must be one")
        for what, k in NO_KEYS.items()
    ]


def sizes(name: str, make: Callable[..., Any], *arguments: str) -> list[Row]:
    """Rows of sizes that are no positive integers, by the names of the arguments."""
    return [
        Row(
            name,
            f"{argument} = {value}",
            lambda argument=argument, value=value: make(**{argument: value}),
            rf"`{argument}` must be .*positive.*got .*{value}",
        )
        for argument in arguments
        for value in (0, 2.5)
    ]


def numbers(
    name: str, make: Callable[..., Any], requirement: str, **bad: Any
) -> list[Row]:
    """Rows of one number that is not what it must be, and of what is no number."""
    return [
        Row(
            name,
            f"{argument} = {value}",
            lambda argument=argument, value=value: make(**{argument: value}),
            f"`{argument}` must be {requirement}",
        )
        for argument, first in bad.items()
        for value in (first, jnp.nan, "one", 1j)
    ]


def traced(f: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
    """A call under `jit`, where only the run knows the value."""
    return lambda: jax.block_until_ready(eqx.filter_jit(f)(jnp.asarray(value)))
