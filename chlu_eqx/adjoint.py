"""Gradients of diffeqsolve in constant memory."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._backward import (
    DenseRows,
    explicit,
    gradients,
    Inputs,
    NodeRows,
    refined,
    Steps,
    substeps_of,
)
from ._checks import positive
from .solver import AbstractReversibleSolver, Substeps


class ReversibleAdjoint(diffrax.AbstractAdjoint):
    r"""Reverse-mode gradients of the discrete solve, in memory that does not depend on
    the number of steps.

    The past is found again instead of being stored: going backward, each step is
    undone exactly, and the cotangents are pulled back through it,

    $$y_n = \Phi_h^{-1}(y_{n+1}), \qquad
    a_n = \left(\partial_y \Phi_h(y_n)\right)^\top a_{n+1}.$$

    The gradients are those of `diffrax.DirectAdjoint`, to rounding: with respect to the
    state, `args`, everything in the terms (parameters, friction, what their functions
    close over), `t0`, `t1`, `dt0` and the times of `SaveAt`.

    It takes every solver of this package, alone or in [`chlu_eqx.Substeps`][];
    `ConstantStepSize` and `StepTo`; and `SaveAt` with `t0`, `t1`, `ts`, `steps`, `fn`
    and `subs`. Dense output, events and adaptive steps need the past itself: use
    `diffrax.RecursiveCheckpointAdjoint` for these. For forward mode and for second
    derivatives use `diffrax.DirectAdjoint`.

    **Rounding.** Undoing a contraction expands: a friction $\Gamma$ over a time $T$
    multiplies rounding errors by up to $e^{\Gamma T}$, and chaos with exponent
    $\lambda$ by $e^{\lambda T}$, so that $e^{(\Gamma + \lambda) T}\,\epsilon$ bounds
    the relative error of the gradients ($\epsilon$ is 1e-16 in float64, 6e-8 in
    float32). It is not left to chance: where the walk back ends is compared with where
    the solve began, and an error is raised if they differ by more than `rtol`.

    ??? cite "Reference"

        Reconstruction for backpropagation:

        ```bibtex
        @inproceedings{gomez2017reversible,
            title={The Reversible Residual Network: Backpropagation Without Storing
                   Activations},
            author={Gomez, Aidan N. and Ren, Mengye and Urtasun, Raquel and
                    Grosse, Roger B.},
            booktitle={Advances in Neural Information Processing Systems},
            year={2017},
        }
        ```
    """

    rtol: float

    def __init__(self, rtol: float = 1e-3):
        """**Arguments:**

        - `rtol`: how far from the initial state the walk back may end, relative to the
            largest entry of the state at either end. The gradients are as accurate.

        **Raises:** `ValueError` if `rtol` is not positive; when gradients are computed,
        an error if the past could not be found again.
        """
        self.rtol = rtol if rtol == jnp.inf else positive("rtol", rtol)

    def loop(
        self,
        *,
        args,
        terms,
        solver,
        stepsize_controller,
        event,
        saveat,
        t0,
        t1,
        dt0,
        max_steps,
        init_state,
        **kwargs,
    ) -> Any:
        self.check_solver(solver)
        self._check_solve(stepsize_controller, event, saveat)
        y0 = eqx.error_if(
            init_state.y,
            ~jnp.isfinite(t1),
            "`ReversibleAdjoint` needs a finite `t1`; use "
            "`diffrax.RecursiveCheckpointAdjoint()` for a solve that an event ends.",
        )
        subs, structure = jax.tree.flatten(saveat.subs, is_leaf=_is_sub)
        fns = [eqx.filter_closure_convert(sub.fn, t0, y0, args) for sub in subs]
        system = (explicit(terms, t0, y0, args), args, solver, fns)
        clock = (t0, t1, dt0, stepsize_controller, [sub.ts for sub in subs])
        bare = [
            eqx.tree_at(_ts_and_fn, s, (None, None), is_leaf=_is_none) for s in subs
        ]
        solve = _Solve(
            saveat=eqx.tree_at(lambda s: s.subs, saveat, structure.unflatten(bare)),
            max_steps=max_steps,
            init_state=_stopped(init_state),
            options=kwargs,
            saves_state=[sub.fn is _SAVE_STATE for sub in subs],
        )
        rows, (state, stats) = _reversible_loop((y0, (system, clock)), solve, self.rtol)
        flat = lambda state: [x for row in _rows(state) for x in row]  # noqa: E731
        new = [x for row in rows for x in row]
        state = eqxi.nondifferentiable_backward(state, msg=_STATE, symbolic=False)
        return eqx.tree_at(flat, state, new), stats

    def check_solver(self, solver: diffrax.AbstractSolver) -> None:
        """Refuse a solver whose steps cannot be undone."""
        if isinstance(solver, Substeps):
            solver = solver.solver
        if not isinstance(solver, AbstractReversibleSolver):
            raise ValueError(
                "`ReversibleAdjoint` needs a solver whose steps can be undone, such as "
                f"`chlu_eqx.CHLUSolver()`, got {type(solver).__name__}. Use "
                "`diffrax.RecursiveCheckpointAdjoint()` with it (in "
                "`chlu_eqx.rollout`, `diffrax.DirectAdjoint()`)."
            )

    def _check_solve(self, stepsize_controller, event, saveat) -> None:
        instead = "use `diffrax.RecursiveCheckpointAdjoint()` instead."
        if not isinstance(
            stepsize_controller, diffrax.ConstantStepSize | diffrax.StepTo
        ):
            raise ValueError(
                "`ReversibleAdjoint` needs `stepsize_controller` to be "
                "`diffrax.ConstantStepSize()` or `diffrax.StepTo(...)`, got "
                f"{type(stepsize_controller).__name__}: the steps that a controller "
                f"chose are not known on the way back; {instead}"
            )
        if event is not None:
            raise ValueError(
                "`ReversibleAdjoint` does not know where an `event` ended the solve; "
                + instead
            )
        if saveat.dense:
            raise ValueError(
                "`ReversibleAdjoint` cannot differentiate dense output: use "
                "`SaveAt(ts=...)`, or `diffrax.RecursiveCheckpointAdjoint()`."
            )


class _Solve(eqx.Module):
    """A call of diffeqsolve, but for what it can be differentiated with respect to."""

    saveat: diffrax.SaveAt
    max_steps: int | None
    init_state: PyTree
    options: dict[str, Any]
    saves_state: list[bool]

    def run(self, y0: PyTree, inputs: Inputs) -> Any:
        (terms, args, solver, fns), (t0, t1, dt0, controller, ts) = inputs
        subs = [
            eqx.tree_at(_ts_and_fn, sub, new, is_leaf=_is_none)
            for sub, new in zip(self._subs(), zip(ts, fns, strict=True), strict=True)
        ]
        structure = jax.tree.structure(self.saveat.subs, is_leaf=_is_sub)
        # The loop as it is, by the one adjoint that adds nothing to it.
        return diffrax.ForwardMode().loop(
            terms=terms,
            args=args,
            solver=solver,
            stepsize_controller=controller,
            event=None,
            saveat=eqx.tree_at(
                lambda s: s.subs, self.saveat, structure.unflatten(subs)
            ),
            t0=t0,
            t1=t1,
            dt0=dt0,
            max_steps=self.max_steps,
            init_state=eqx.tree_at(lambda s: s.y, self.init_state, y0),
            **self.options,
        )

    def num_steps(self, clock: PyTree) -> Array:
        n = _whole_number(clock)
        return n if self.max_steps is None else jnp.minimum(n, self.max_steps)

    def at(self, inputs: Inputs, k: Array) -> tuple:
        (terms, args, solver, _), clock = inputs
        n = self.num_steps(clock)
        t0, t1 = (_time(clock, jnp.clip(j, 0, n)) for j in (k, k + 1))
        return solver, terms, t0, t1, args

    def rows(
        self, i: int, at: Callable, m: int, cotangents: PyTree, inputs: Inputs
    ) -> tuple[list[NodeRows], list[DenseRows]]:
        """What the `i`-th part of `SaveAt` saved, for a walk of `m` nodes a step."""
        sub = self._subs()[i]
        first, steps, has_ts = int(sub.t0), sub.steps * m, inputs[1][-1][i] is not None

        def times(inputs: Inputs) -> Array:
            """Those of `ts`, and those of `steps` if they come between."""
            ts = inputs[1][-1][i]
            if not steps:
                return ts
            last = self.max_steps or 0
            k = jnp.arange(sub.steps, last + 1, sub.steps, dtype=jnp.int32)
            n = self.num_steps(inputs[1])
            at_steps = _time(inputs[1], jnp.minimum(k, n))
            return jnp.sort(jnp.concatenate([ts, jnp.where(k > n, jnp.inf, at_steps)]))

        def between(inputs: Inputs, n: Array) -> Array:
            """How many rows lie between those of `t0` and of `t1`."""
            if has_ts:
                return jnp.sum(times(inputs) <= at(inputs, n)[2])
            return n // steps if steps else jnp.zeros_like(n)

        def place_before_end(inputs: Inputs, k: Array, n: Array) -> tuple:
            present = (k == 0) & sub.t0
            if has_ts or not steps:
                return present, jnp.zeros_like(k)
            on_step = (k > 0) & (k % steps == 0)
            return present | on_step, jnp.where(k == 0, 0, first + k // steps - 1)

        def place_at_end(inputs: Inputs, k: Array, n: Array) -> tuple:
            saved = n % steps == 0 if steps else False
            return (k == n) & ~jnp.asarray(saved), first + between(inputs, n)

        def save(inputs: Inputs, t: Array, y: PyTree) -> PyTree:
            (_, args, _, fns), _ = inputs
            return eqx.filter((t, fns[i](t, y, args)), eqx.is_inexact_array)

        def save_node(inputs: Inputs, k: Array, y: PyTree) -> PyTree:
            return save(inputs, at(inputs, k)[2], y)

        def save_dense(inputs: Inputs, numbers: tuple, info: PyTree) -> PyTree:
            k, row = numbers
            solver, _, t0, t1, _ = at(inputs, k)
            t = times(inputs)[row]
            y = solver.interpolation_cls(t0=t0, t1=t1, **info).evaluate(t)
            return save(inputs, t, y)

        rows = _rows(self.init_state)[i]
        if self.saves_state[i] and cotangents[0] is None and not has_ts:
            rows, cotangents, save_node = rows[1], cotangents[1], None
        if not jax.tree.leaves(cotangents):
            return [], []
        cotangents = jax.tree.map(
            lambda x, a: jnp.zeros_like(x) if a is None else a,
            eqx.filter(rows, eqx.is_inexact_array),
            cotangents,
        )
        nodes, dense = [], []
        if sub.t0 or (steps and not has_ts):
            nodes.append(NodeRows(place_before_end, cotangents, save_node))
        if sub.t1 and sub.steps != 1:
            nodes.append(NodeRows(place_at_end, cotangents, save_node))
        if has_ts:
            n = eqx.filter_eval_shape(times, inputs).shape[0]
            a = jax.tree.map(lambda x: x[first : first + n], cotangents)
            dense.append(DenseRows(times, a, save_dense))
        return nodes, dense

    def _subs(self) -> list[diffrax.SubSaveAt]:
        return jax.tree.leaves(self.saveat.subs, is_leaf=_is_sub)


@eqx.filter_custom_vjp
def _reversible_loop(differentiated, solve: _Solve, rtol: float) -> Any:
    y0, inputs = differentiated
    state, stats = solve.run(y0, inputs)
    return _rows(state), (state, stats)


@_reversible_loop.def_fwd
def _(perturbed, differentiated, solve: _Solve, rtol: float):
    y0, inputs = differentiated
    state, stats = solve.run(y0, inputs)
    end = (state.y, state.solver_state, state.num_steps)
    return (_rows(state), (state, stats)), end


@_reversible_loop.def_bwd
def _(end, cotangents, perturbed, differentiated, solve: _Solve, rtol: float):
    y0, inputs = differentiated
    y1, solver_state, num_steps = end
    n = solve.num_steps(inputs[1])
    m = substeps_of(inputs[0][2])
    at = refined(solve.at)
    nodes, dense = [], []
    # A solve that failed on its way has no gradient.
    failed = num_steps != n
    a_rows = jax.tree.map(lambda a: jnp.where(failed, jnp.nan, a), cotangents[0])
    for i, a in enumerate(a_rows):
        new_nodes, new_dense = solve.rows(i, at, m, a, inputs)
        nodes += new_nodes
        dense += new_dense
    steps = Steps(at, tuple(nodes), tuple(dense))
    end = (y1, solver_state)
    a = gradients(steps, y0, inputs, perturbed[1], n * m, end, rtol)
    used = [jnp.any(x != 0) for x in jax.tree.leaves(cotangents[1])]
    return eqx.error_if(a, jnp.any(jnp.stack(used)), _STATE) if used else a


_STATE = (
    "`ReversibleAdjoint` differentiates what `SaveAt` saved of the state, and not "
    "`solver_state` or `controller_state`; use `diffrax.RecursiveCheckpointAdjoint()`."
)


_SAVE_STATE = diffrax.SubSaveAt(t1=True).fn


def _whole_number(clock: PyTree) -> Array:
    """Of steps, from `t0` to `t1`."""
    t0, t1, dt0, controller, _ = clock
    if isinstance(controller, diffrax.StepTo):
        return jnp.asarray(len(controller.ts) - 1, jnp.int32)
    t0, t1, dt0 = jax.lax.stop_gradient((t0, t1, dt0))
    return jnp.ceil((t1 - t0) / jnp.nextafter(dt0, jnp.inf)).astype(jnp.int32)


def _time(clock: PyTree, k: Array) -> Array:
    """When step `k` starts."""
    t0, t1, dt0, controller, _ = clock
    if isinstance(controller, diffrax.StepTo):
        return controller.ts[k]
    # As `diffrax.ConstantStepSize` has it: one step of `dt0`, the rest divided evenly.
    n = _whole_number(clock)
    t = t0 + (t1 - t0) * (k.astype(t0.dtype) / jnp.maximum(n, 1).astype(t0.dtype))
    t = jnp.where(k >= n, t1, t)
    t = jnp.where(k == 1, jnp.minimum(t0 + dt0, t1), t)
    return jnp.where(k == 0, t0, t)


def _is_sub(x: Any) -> bool:
    return isinstance(x, diffrax.SubSaveAt)


def _is_none(x: Any) -> bool:
    return x is None


def _ts_and_fn(sub: diffrax.SubSaveAt) -> tuple:
    return sub.ts, sub.fn


def _stopped(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree
    )


def _rows(state: Any) -> list:
    """The times and the values that were saved, of every part of `SaveAt`."""
    is_saved = lambda x: hasattr(x, "save_index")  # noqa: E731
    saved = jax.tree.leaves(state.save_state, is_leaf=is_saved)
    return [(s.ts, s.ys) for s in saved]
