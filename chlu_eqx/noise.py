"""A Brownian path on a fixed grid."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, PRNGKeyArray, PyTree, UInt32

from ._checks import count, finite, positive, random_key
from ._types import RealScalarLike


class FixedGridBrownianPath(diffrax.AbstractBrownianPath):
    r"""Brownian motion for solves in steps of one length, keyed by the step's number:

    $$w(t_1) - w(t_0) = \sqrt{t_1 - t_0}\; \xi_k, \qquad
    \xi_k \sim \mathcal N(0, I) \text{ by a key made of the path's and }
    k = \mathrm{round}\left(\frac{t_0 - t_\text{start}}{\Delta t}\right).$$

    As fast as drawing the numbers by hand. The increment of a step depends on its
    number alone, and not on the last bits of its times, so that every adjoint finds the
    same path again; a run may stop and go on at any step.

    It knows one increment per step of the grid, and is no path in continuous time: for
    steps that vary, or to follow one path at several step sizes, use
    `diffrax.VirtualBrownianTree`. A last step that is shorter, as `diffeqsolve` makes
    it where `dt` does not divide the time, is fine. Longer steps, and steps that start
    further than a quarter of a step from the grid, are refused when the solve runs.
    Both happen in float32 after some 100,000 steps, where times have lost the grid: use
    float64 times for more.

    !!! Example

        ```python
        path = chlu_eqx.FixedGridBrownianPath(
            dt=1 / 64, shape=(2,), key=jax.random.key(0)
        )
        ```
    """

    dt: RealScalarLike
    shape: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    # As bits: `diffrax.DirectAdjoint` fails on a typed key.
    bits: UInt32[Array, " bits"]
    implementation: Any = eqx.field(static=True)
    start: RealScalarLike
    levy_area: Any = eqx.field(static=True)

    def __init__(
        self,
        dt: RealScalarLike,
        shape: tuple[int, ...] | PyTree[jax.ShapeDtypeStruct],
        key: PRNGKeyArray,
        *,
        start: RealScalarLike = 0.0,
        levy_area: type[
            diffrax.BrownianIncrement
            | diffrax.SpaceTimeLevyArea
            | diffrax.SpaceTimeTimeLevyArea
        ] = diffrax.BrownianIncrement,
    ):
        """**Arguments:**

        - `dt`: the length of a step, positive: the `dt0` of the solve.
        - `shape`: of the motion: a tuple of integers, for an array of the default
            floating-point type, or a pytree of `jax.ShapeDtypeStruct`.
        - `key`: a `jax.random.key`.
        - `start`: where the grid starts: the `t0` of the solve.
        - `levy_area`: what else of the path to draw, as for
            `diffrax.VirtualBrownianTree`; some stochastic Runge-Kutta methods need it.
            It changes the path.

        **Raises:** `ValueError` if `dt` is not positive or `shape` holds other than
        floating-point types.
        """
        if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
            shape = tuple(count("shape", n, least=0) for n in shape)
            shape = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
        for leaf in jax.tree.leaves(shape):
            if not (
                isinstance(leaf, jax.ShapeDtypeStruct)
                and jnp.issubdtype(leaf.dtype, jnp.floating)
            ):
                raise ValueError(
                    "`shape` must be a tuple of integers, or hold `ShapeDtypeStruct`s "
                    f"of floating-point types, got {leaf}."
                )
        if levy_area not in _NORMALS:
            raise ValueError(
                "`levy_area` must be `diffrax.BrownianIncrement`, "
                "`diffrax.SpaceTimeLevyArea` or `diffrax.SpaceTimeTimeLevyArea`, got "
                f"{levy_area}."
            )
        self.dt = positive("dt", dt)
        self.shape = shape
        # Hashed once: keys that differ by a little, as those of 0 and 1 do, would
        # otherwise share the keys of their steps.
        self.bits = jr.key_data(jr.split(random_key("key", key), 1)[0])
        self.implementation = jr.key_impl(key)
        self.start = finite("start", start)
        self.levy_area = levy_area

    def _key(self, number: Int[Array, ""]) -> PRNGKeyArray:
        if self.implementation != "threefry2x32":
            return jr.fold_in(
                jr.wrap_key_data(self.bits, impl=self.implementation), number
            )
        # Threefry may count in its key (Salmon et al., "Parallel random numbers: as
        # easy as 1, 2, 3", 2011), which saves hashing the number: a tenth of the time
        # of a step in few dimensions.
        high, low = self.bits
        bits = jnp.stack([high, low ^ number.astype(jnp.uint32)])
        return jr.wrap_key_data(bits, impl=self.implementation)

    @property
    def t0(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return -jnp.inf

    @property
    def t1(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return jnp.inf

    def evaluate(
        self,
        t0: RealScalarLike,
        t1: RealScalarLike | None = None,
        left: bool = True,
        use_levy: bool = False,
    ) -> Any:
        """The increment over the step from `t0` to `t1`, with its Lévy area if asked.

        **Raises:** `ValueError` if `t1` is not given; when run, an error if this is no
        step of the grid.
        """
        del left
        if t1 is None:
            raise ValueError(
                "`FixedGridBrownianPath` knows the increments of single steps, not the "
                "value at one time: pass `t1`, or use `diffrax.VirtualBrownianTree`."
            )
        t0, t1 = jnp.asarray(t0), jnp.asarray(t1)
        h = t1 - t0
        dt = jnp.asarray(self.dt, h.dtype)
        n = (t0 - jnp.asarray(self.start, h.dtype)) / dt
        k = jnp.round(n)
        off = (jnp.abs(n - k) > 0.25) | (h > 1.25 * dt)
        # On an integer, which no adjoint differentiates.
        number = eqx.error_if(k.astype(jnp.int32), off, _OFF_GRID)
        key = self._key(number)
        leaves, structure = jax.tree.flatten(self.shape)
        keys = [key] if len(leaves) == 1 else list(jr.split(key, len(leaves)))
        # W, and what else: each with its variance over a step of length one.
        scales = [1.0, 1 / 12, 1 / 720][: _NORMALS[self.levy_area]]
        parts = [
            structure.unflatten(part)
            for part in zip(
                *(
                    _increments(key, leaf, h, scales)
                    for key, leaf in zip(keys, leaves, strict=True)
                ),
                strict=True,
            )
        ]
        if not use_levy:
            return parts[0]
        lengths = jax.tree.map(lambda leaf: h.astype(leaf.dtype), self.shape)
        return self.levy_area(lengths, *parts)


# How many normal numbers a coordinate takes.
_NORMALS = {
    diffrax.BrownianIncrement: 1,
    diffrax.SpaceTimeLevyArea: 2,
    diffrax.SpaceTimeTimeLevyArea: 3,
}

_OFF_GRID = (
    "A step is not on the grid of `FixedGridBrownianPath`: `dt` must be the `dt0` of "
    "the solve and `start` its `t0`, and the step size must be constant. If they are, "
    "times in float32 have lost the grid: use float64 times, or several solves."
)


def _increments(
    key: PRNGKeyArray, leaf: jax.ShapeDtypeStruct, h: Array, variances: list[float]
) -> list[Array]:
    normals = jr.normal(key, (len(variances), *leaf.shape), leaf.dtype)
    root = jnp.sqrt(h).astype(leaf.dtype)
    return [
        jnp.asarray(variance**0.5, leaf.dtype) * root * x
        for variance, x in zip(variances, normals, strict=True)
    ]
