"""Gradients of diffeqsolve in constant memory."""

from typing import Any

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._backward import explicit, gradients, Inputs, refined, Steps, substeps_of
from ._checks import positive
from ._saved import Clock, Saved
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
        ts = [sub.ts for sub in subs]
        clock = Clock(t0, t1, dt0, stepsize_controller, ts, max_steps)
        bare = [
            eqx.tree_at(_ts_and_fn, s, (None, None), is_leaf=_is_none) for s in subs
        ]
        solve = _Solve(
            saveat=eqx.tree_at(lambda s: s.subs, saveat, structure.unflatten(bare)),
            init_state=_stopped(init_state),
            options=kwargs,
            plain=[sub.fn is _SAVE_STATE for sub in subs],
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
    init_state: PyTree
    options: dict[str, Any]
    # Which parts of `SaveAt` save the state itself.
    plain: list[bool]

    def run(self, y0: PyTree, inputs: Inputs) -> Any:
        (terms, args, solver, fns), clock = inputs
        subs = [
            eqx.tree_at(_ts_and_fn, sub, new, is_leaf=_is_none)
            for sub, new in zip(
                self._subs(), zip(clock.ts, fns, strict=True), strict=True
            )
        ]
        structure = jax.tree.structure(self.saveat.subs, is_leaf=_is_sub)
        # The loop as it is, by the one adjoint that adds nothing to it.
        return diffrax.ForwardMode().loop(
            terms=terms,
            args=args,
            solver=solver,
            stepsize_controller=clock.controller,
            event=None,
            saveat=eqx.tree_at(
                lambda s: s.subs, self.saveat, structure.unflatten(subs)
            ),
            t0=clock.t0,
            t1=clock.t1,
            dt0=clock.dt0,
            max_steps=clock.max_steps,
            init_state=eqx.tree_at(lambda s: s.y, self.init_state, y0),
            **self.options,
        )

    def at(self, inputs: Inputs, k: Array) -> tuple:
        (terms, args, solver, _), clock = inputs
        n = clock.num_steps()
        t0, t1 = (clock.start_of(jnp.clip(j, 0, n)) for j in (k, k + 1))
        return solver, terms, t0, t1, args

    def steps(self, inputs: Inputs, cotangents: list) -> Steps:
        """The steps, and what was saved of them."""
        (_, _, solver, _), clock = inputs
        at, m = refined(self.at), substeps_of(solver)
        nodes, dense = (), ()
        parts = zip(
            self._subs(), _rows(self.init_state), cotangents, self.plain, strict=True
        )
        for i, (sub, rows, a, plain) in enumerate(parts):
            saved = Saved(i, sub, clock.ts[i] is not None, at, m)
            new_nodes, new_dense = saved.rows(rows, a, plain, inputs)
            nodes, dense = nodes + new_nodes, dense + new_dense
        return Steps(at, nodes, dense)

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
    (_, _, solver, _), clock = inputs
    *end, num_steps = end
    n = clock.num_steps()
    # A solve that failed on its way has no gradient.
    failed = num_steps != n
    a_rows = jax.tree.map(lambda a: jnp.where(failed, jnp.nan, a), cotangents[0])
    steps, n = solve.steps(inputs, a_rows), n * substeps_of(solver)
    a = gradients(steps, y0, inputs, perturbed[1], n, tuple(end), rtol)
    used = [jnp.any(x != 0) for x in jax.tree.leaves(cotangents[1])]
    return eqx.error_if(a, jnp.any(jnp.stack(used)), _STATE) if used else a


_STATE = (
    "`ReversibleAdjoint` differentiates what `SaveAt` saved of the state, and not "
    "`solver_state` or `controller_state`; use `diffrax.RecursiveCheckpointAdjoint()`."
)


_SAVE_STATE = diffrax.SubSaveAt(t1=True).fn


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
