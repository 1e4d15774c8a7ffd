"""When diffeqsolve steps, and what it saves in which row: the same book, read from its
end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._backward import DenseRows, Inputs, NodeRows


class Clock(eqx.Module):
    """All that the times of steps and of what is saved depend on."""

    t0: Array
    t1: Array
    dt0: Array | None
    controller: diffrax.AbstractStepSizeController
    # Of every part of `SaveAt`.
    ts: list[Array | None]
    max_steps: int | None = eqx.field(static=True)

    def num_steps(self) -> Array:
        n = self._to_the_end()
        return n if self.max_steps is None else jnp.minimum(n, self.max_steps)

    def start_of(self, k: Array) -> Array:
        """When step `k` starts."""
        if isinstance(self.controller, diffrax.StepTo):
            return self.controller.ts[k]
        # As `diffrax.ConstantStepSize`: a step of `dt0`, the rest divided evenly.
        t0, t1, n = self.t0, self.t1, self._to_the_end()
        t = t0 + (t1 - t0) * (k.astype(t0.dtype) / jnp.maximum(n, 1).astype(t0.dtype))
        t = jnp.where(k >= n, t1, t)
        t = jnp.where(k == 1, jnp.minimum(t0 + jnp.asarray(self.dt0), t1), t)
        return jnp.where(k == 0, t0, t)

    def _to_the_end(self) -> Array:
        if isinstance(self.controller, diffrax.StepTo):
            return jnp.asarray(len(self.controller.ts) - 1, jnp.int32)
        t0, t1, dt0 = lax.stop_gradient((self.t0, self.t1, self.dt0))
        return jnp.ceil((t1 - t0) / jnp.nextafter(jnp.asarray(dt0), jnp.inf)).astype(
            jnp.int32
        )


class Saved(NamedTuple):
    """The `i`-th part of `SaveAt`, in a walk of `m` nodes a step.

    Its rows are in the order of time: that of `t0`, those of `ts` and `steps`, and that
    of `t1`, unless a step was saved there.
    """

    i: int
    sub: diffrax.SubSaveAt
    has_ts: bool
    at: Callable
    m: int

    @property
    def first(self) -> int:
        """The row after that of `t0`."""
        return int(self.sub.t0)

    def rows(
        self, rows: tuple, cotangents: tuple, plain: bool, inputs: Inputs
    ) -> tuple:
        """What was saved at nodes, and what between them. `rows` is for the shapes;
        `plain` says that `fn` saves the state."""
        sub, save = self.sub, self._save_node
        if plain and cotangents[0] is None and not self.has_ts:
            rows, cotangents, save = rows[1], cotangents[1], None
        if not jax.tree.leaves(cotangents):
            return (), ()
        cotangents = jax.tree.map(
            lambda x, a: jnp.zeros_like(x) if a is None else a,
            eqx.filter(rows, eqx.is_inexact_array),
            cotangents,
        )
        nodes, dense = (), ()
        if sub.t0 or (sub.steps and not self.has_ts):
            nodes += (NodeRows(self._place_before_end, cotangents, save),)
        if sub.t1 and sub.steps != 1:
            nodes += (NodeRows(self._place_at_end, cotangents, save),)
        if self.has_ts:
            n = len(eqx.filter_eval_shape(self._times, inputs))
            between = jax.tree.map(lambda x: x[self.first : self.first + n], cotangents)
            dense = (DenseRows(self._times, between, self._save_dense),)
        return nodes, dense

    def _times(self, inputs: Inputs) -> Array:
        """Those of `ts`, and those of `steps` that come between."""
        clock: Any = inputs[1]
        ts, every = clock.ts[self.i], self.sub.steps
        if not every:
            return ts
        k = jnp.arange(every, (clock.max_steps or 0) + 1, every, dtype=jnp.int32)
        n = clock.num_steps()
        at_steps = clock.start_of(jnp.minimum(k, n))
        return jnp.sort(jnp.concatenate([ts, jnp.where(k > n, jnp.inf, at_steps)]))

    def _place_before_end(self, inputs: Inputs, k: Array, n: Array) -> tuple:
        every = self.sub.steps * self.m
        present = (k == 0) & self.sub.t0
        if self.has_ts or not every:
            return present, jnp.zeros_like(k)
        on_step = (k > 0) & (k % every == 0)
        return present | on_step, jnp.where(k == 0, 0, self.first + k // every - 1)

    def _place_at_end(self, inputs: Inputs, k: Array, n: Array) -> tuple:
        every = self.sub.steps * self.m
        if self.has_ts:
            before = jnp.sum(self._times(inputs) <= self.at(inputs, n)[2])
        else:
            before = n // every if every else jnp.zeros_like(n)
        saved = n % every == 0 if every else jnp.asarray(False)
        return (k == n) & ~saved, self.first + before

    def _save(self, inputs: Inputs, t: Array, y: PyTree) -> PyTree:
        (_, args, _, fns), _ = inputs
        return eqx.filter((t, fns[self.i](t, y, args)), eqx.is_inexact_array)

    def _save_node(self, inputs: Inputs, k: Array, y: PyTree) -> PyTree:
        return self._save(inputs, self.at(inputs, k)[2], y)

    def _save_dense(self, inputs: Inputs, numbers: tuple, info: PyTree) -> PyTree:
        k, row = numbers
        solver, _, t0, t1, _ = self.at(inputs, k)
        t = self._times(inputs)[row]
        y = solver.interpolation_cls(t0=t0, t1=t1, **info).evaluate(t)
        return self._save(inputs, t, y)
