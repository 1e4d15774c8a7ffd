"""Refusals of bad input, each naming the argument, what came and what must come."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, PyTree


def _require(
    name: str, value: ArrayLike, holds: Callable[[Any], Any], requirement: str
) -> Any:
    message = f"`{name}` must be {requirement}"
    if isinstance(value, Tracer):
        # Only the run can know; the check rides on the value returned.
        ok = holds(value) & jnp.isfinite(value)
        return eqx.error_if(value, ~ok, message + ".")
    if not np.all(holds(np.asarray(value)) & np.isfinite(value)):
        raise ValueError(f"{message}, got {value}.")
    return value


def positive(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite and above zero."""
    return _require(name, value, lambda x: x > 0, "positive and finite")


def nonzero(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite or is zero."""
    return _require(name, value, lambda x: x != 0, "finite and not zero")


def nonnegative(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite and at least zero."""
    return _require(name, value, lambda x: x >= 0, "non-negative and finite")


def greater_than_one(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite and above one."""
    return _require(name, value, lambda x: x > 1, "greater than one and finite")


def in_unit_interval(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything outside [0, 1)."""
    return _require(name, value, lambda x: (x >= 0) & (x < 1), "in [0, 1)")


def in_closed_unit_interval(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything outside [0, 1]."""
    return _require(name, value, lambda x: (x >= 0) & (x <= 1), "in [0, 1]")


def count(name: str, value: int) -> int:
    """Return `value`, refusing anything that is not a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")
    return value


def _describe(tree: PyTree) -> Any:
    return jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)


def phase_state(name: str, y: PyTree) -> tuple[PyTree, PyTree]:
    """Return `y`, refusing anything that is not a pair `(q, p)` of floating-point
    pytrees that agree in structure, shape and dtype.
    """
    if not (isinstance(y, tuple) and len(y) == 2):
        raise ValueError(
            f"`{name}` must be a pair `(q, p)` of positions and momenta, got "
            f"{_describe(y)}."
        )
    q, p = y
    if jax.tree.structure(q) != jax.tree.structure(p):
        raise ValueError(
            f"`{name} = (q, p)`: `p` must have the pytree structure of `q`, got "
            f"q = {_describe(q)} and p = {_describe(p)}."
        )
    for qi, pi in zip(jax.tree.leaves(q), jax.tree.leaves(p), strict=True):
        if jnp.shape(qi) != jnp.shape(pi) or jnp.result_type(qi) != jnp.result_type(pi):
            raise ValueError(
                f"`{name} = (q, p)`: `p` must have the shapes and dtypes of `q`, got "
                f"q = {_describe(q)} and p = {_describe(p)}."
            )
        if not jnp.issubdtype(jnp.result_type(qi), jnp.floating):
            raise ValueError(
                f"`{name} = (q, p)` must hold floating-point numbers, got "
                f"q = {_describe(q)} and p = {_describe(p)}."
            )
    return q, p


def like(name: str, value: PyTree, p: PyTree) -> PyTree:
    """Return `value` in the dtypes of `p`, refusing other structures or shapes."""
    if jax.tree.map(jnp.shape, value) != jax.tree.map(jnp.shape, p):
        raise ValueError(
            f"`{name}` must return a force of the structure and the shapes of `p`, "
            f"{_describe(p)}, got {_describe(value)}."
        )
    return jax.tree.map(lambda x, pi: jnp.asarray(x, pi.dtype), value, p)
