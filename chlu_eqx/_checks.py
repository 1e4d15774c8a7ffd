"""Refusals of bad input, each naming the argument, what came and what must come."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, PRNGKeyArray, PyTree, Scalar


def _dtype(value: Any) -> Any:
    """That which JAX gives a number or an array; of anything else, NumPy's."""
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return jnp.result_type(float) if dtype == np.float64 else dtype


def _is_real(value: Any) -> bool:
    kinds = (jnp.floating, jnp.integer)
    return any(jnp.issubdtype(_dtype(value), kind) for kind in kinds)


def _require(
    name: str,
    value: ArrayLike,
    holds: Callable[[Any], Any],
    requirement: str,
    scalar: bool,
) -> Any:
    if not _is_real(value) or (scalar and np.shape(value) != ()):
        kind = "one real number" if scalar else "real numbers"
        raise ValueError(
            f"`{name}` must be {requirement}: {kind}, got {_describe(value)}."
        )
    message = f"`{name}` must be {requirement}"
    if isinstance(value, Tracer):
        # Only the run can know; the check rides on the value returned.
        ok = holds(value) & jnp.isfinite(value)
        return eqx.error_if(value, ~ok, message + ".")
    number = np.asarray(value)
    if not hasattr(value, "dtype"):
        with np.errstate(over="ignore"):
            number = number.astype(jnp.result_type(float))
    if not np.all(holds(number) & np.isfinite(number)):
        # Of what is too large or too small for JAX's precision.
        precision = f" in {number.dtype}" if np.all(holds(np.asarray(value))) else ""
        raise ValueError(f"{message}{precision}, got {value}.")
    return value


def finite(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not one finite number."""
    return _require(name, value, lambda x: x == x, "finite", True)


def positive(name: str, value: ArrayLike, *, scalar: bool = True) -> Any:
    """Return `value`, refusing anything that is not finite and above zero."""
    return _require(name, value, lambda x: x > 0, "positive and finite", scalar)


def nonzero(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite or is zero."""
    return _require(name, value, lambda x: x != 0, "finite and not zero", True)


def nonnegative(name: str, value: ArrayLike, *, scalar: bool = True) -> Any:
    """Return `value`, refusing anything that is not finite and at least zero."""
    return _require(name, value, lambda x: x >= 0, "non-negative and finite", scalar)


def greater_than_one(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything that is not finite and above one."""
    return _require(name, value, lambda x: x > 1, "greater than one and finite", True)


def in_unit_interval(name: str, value: ArrayLike, *, scalar: bool = True) -> Any:
    """Return `value`, refusing anything outside [0, 1)."""
    return _require(name, value, lambda x: (x >= 0) & (x < 1), "in [0, 1)", scalar)


def in_closed_unit_interval(name: str, value: ArrayLike) -> Any:
    """Return `value`, refusing anything outside [0, 1]."""
    return _require(name, value, lambda x: (x >= 0) & (x <= 1), "in [0, 1]", True)


def count(name: str, value: int, *, least: int = 1) -> int:
    """Return `value`, refusing anything that is not an integer of `least` or more."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < least:
        kind = "positive" if least == 1 else "non-negative"
        raise ValueError(f"`{name}` must be a {kind} integer, got {value!r}.")
    return int(value)


def function(name: str, value: Any) -> Callable:
    """Return `value`, refusing what is not callable."""
    if not callable(value):
        raise ValueError(f"`{name}` must be a callable, got {value!r}.")
    return value


def instance(name: str, value: Any, kind: Any, wanted: str) -> Any:
    """Return `value`, refusing what is not of this kind, in words `wanted`."""
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` must be {wanted}, got {value!r}.")
    return value


def energy(name: str, value: Callable[..., Any]) -> Callable[..., Scalar]:
    """The same function, refusing values other than one floating-point number: of
    batches, which JAX would broadcast, or where its gradient would not say whose it
    is."""

    def checked(*args: Any) -> Scalar:
        found = value(*args)
        if np.shape(found) != () or not jnp.issubdtype(_dtype(found), jnp.floating):
            raise ValueError(
                f"`{name}` must return one floating-point number, the energy of one "
                f"unbatched state (use `jax.vmap` for batches), got {_describe(found)}."
            )
        return found

    return checked


def random_key(name: str, value: Any) -> PRNGKeyArray:
    """Return `value`, refusing what is not one random key, of JAX's new style or its
    old one."""
    dtype = _dtype(value)
    new = jnp.issubdtype(dtype, jax.dtypes.prng_key) and np.shape(value) == ()
    old = dtype == jnp.uint32 and np.shape(value) in ((2,), (4,))
    if not (new or old):
        raise ValueError(
            f"`{name}` must be one random key, such as `jax.random.key(0)`, got "
            f"{_describe(value)}."
        )
    return value


def array(name: str, value: Any, *shape: int | str) -> Any:
    """Return `value`, refusing anything that is not a floating-point array of this
    shape, in which a word stands for any size."""
    fits = isinstance(value, jax.Array | np.ndarray) and value.ndim == len(shape)
    if not (
        fits
        and jnp.issubdtype(value.dtype, jnp.floating)
        and all(
            isinstance(n, str) or n == size
            for n, size in zip(shape, value.shape, strict=True)
        )
    ):
        sizes = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(
            f"`{name}` must be a floating-point array of shape ({sizes}), got "
            f"{_describe(value)}; use `jax.vmap` for batches."
        )
    return value


def _describe(tree: PyTree) -> Any:
    def leaf(x: Any) -> str:
        return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)

    return jax.tree.map(leaf, tree, is_leaf=lambda x: x is None)


def floating(name: str, tree: PyTree) -> PyTree:
    """Return `tree`, refusing leaves that are not floating-point numbers."""
    leaves = [_dtype(leaf) for leaf in jax.tree.leaves(tree)]
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in leaves):
        raise ValueError(
            f"`{name}` must hold floating-point numbers, got {_describe(tree)}."
        )
    return tree


def state(name: str, y: PyTree) -> PyTree:
    """Return `y` as arrays, refusing anything that is not a pytree of floating-point
    arrays, at least one."""
    if not jax.tree.leaves(y):
        raise ValueError(f"`{name}` must hold floating-point numbers, got {y}.")
    return jax.tree.map(jnp.asarray, floating(name, y))


def leading(name: str, tree: PyTree, axes: int = 1) -> tuple[int, ...]:
    """The sizes of the leading axes that all leaves share, refusing others and empty
    ones."""
    sizes = {np.shape(leaf)[:axes] for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1 or min(map(len, sizes)) < axes or 0 in min(sizes):
        which = "a leading axis" if axes == 1 else f"{axes} leading axes"
        raise ValueError(
            f"`{name}` must be a pytree of arrays that share {which}, not empty, got "
            f"{_describe(tree)}."
        )
    [found] = sizes
    return found


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
        if np.shape(qi) != np.shape(pi) or _dtype(qi) != _dtype(pi):
            raise ValueError(
                f"`{name} = (q, p)`: `p` must have the shapes and dtypes of `q`, got "
                f"q = {_describe(q)} and p = {_describe(p)}."
            )
        if not jnp.issubdtype(_dtype(qi), jnp.floating):
            raise ValueError(
                f"`{name} = (q, p)` must hold floating-point numbers, got "
                f"q = {_describe(q)} and p = {_describe(p)}."
            )
    return q, p


def broadcasting(name: str, value: PyTree, p: PyTree) -> PyTree:
    """Return `value` as arrays in the dtypes of `p`, refusing what does not go with it
    leaf by leaf."""

    def fits(x: Any, pi: Array) -> bool:
        shape = np.shape(x)
        return len(shape) <= pi.ndim and all(
            n in (1, size) for n, size in zip(shape[::-1], pi.shape[::-1], strict=False)
        )

    same = jax.tree.structure(value) == jax.tree.structure(p)
    if not (same and jax.tree.all(jax.tree.map(fits, value, p))):
        raise ValueError(
            f"`{name}` must be one number, or be like `p`, {_describe(p)}, got "
            f"{_describe(value)}."
        )
    return jax.tree.map(lambda x, pi: jnp.asarray(x, pi.dtype), value, p)


def like(name: str, value: PyTree, p: PyTree, verb: str = "have") -> PyTree:
    """Return `value` in the dtypes of `p`, refusing other structures or shapes."""
    if jax.tree.map(np.shape, value) != jax.tree.map(np.shape, p):
        raise ValueError(
            f"`{name}` must {verb} the structure and the shapes of "
            f"{_describe(p)}, got {_describe(value)}."
        )
    return jax.tree.map(lambda x, pi: jnp.asarray(x, pi.dtype), value, p)
