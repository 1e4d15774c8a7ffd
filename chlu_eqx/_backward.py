"""The walk back over the steps of a solve, which gradients in constant memory are made
of."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, PyTree

from ._types import RealScalarLike
from .hamiltonian import AbstractKineticEnergy, SeparableHamiltonian
from .solver import Substeps
from .solver.base import innermost, with_innermost, zeros_like
from .solver.reversible import Phase, run
from .solver.substeps import substep_times
from .term import HamiltonianTerm


# `(system, clock)`: terms, arguments and solver; and whatever the times of steps are
# made of.
Inputs: TypeAlias = tuple[PyTree, PyTree]


class NodeRows(NamedTuple):
    """Outputs saved where steps meet."""

    # Of the inputs, the number of the node and that of steps: whether it is saved, and
    # in which row.
    place: Callable[[Inputs, Array, Array], tuple[Any, Array]]
    cotangents: PyTree[Array]
    # Of the inputs, the number of the node and the state there; `None`: the state.
    save: Callable[[Inputs, Array, PyTree], PyTree] | None = None


class DenseRows(NamedTuple):
    """Outputs saved between them, by interpolation."""

    # Of the inputs: when, in the order of the rows.
    times: Callable[[Inputs], Array]
    cotangents: PyTree[Array]
    # Of the inputs, the numbers of step and row, and the step's dense information.
    save: Callable[[Inputs, tuple[Array, Array], PyTree], PyTree]


class Steps(NamedTuple):
    """How a solve was made, as functions of its inputs."""

    # The solver, the terms, both times and the arguments of a step, by its number. Of
    # the step before the first and that after the last the two times are equal.
    at: Callable[[Inputs, Array], tuple]
    node_rows: tuple[NodeRows, ...]
    dense_rows: tuple[DenseRows, ...] = ()


def substeps_of(solver: diffrax.AbstractSolver) -> int:
    """How many steps that are undone one by one its step is."""
    return solver.n if isinstance(solver, Substeps) else 1


def refined(at: Callable) -> Callable:
    """`at`, for the steps of which `Substeps` makes one."""

    def fine(inputs: Inputs, k: Array) -> tuple:
        (solver, *_) = at(inputs, k)
        if not isinstance(solver, Substeps):
            return at(inputs, k)
        m = solver.n
        _, terms, t0, t1, args = at(inputs, k // m)
        return solver.solver, terms, *substep_times(t0, t1, k % m, m), args

    return fine


def gradients(
    steps: Steps,
    y0: PyTree,
    inputs: Inputs,
    perturbed: PyTree,
    num_steps: Any,
    end: tuple[PyTree, PyTree],
    rtol: float,
) -> tuple[PyTree, Inputs]:
    """The cotangents of the initial state and of the perturbed inputs of a solve that
    ended in the given state and solver state."""
    y, (companion, _) = end
    a_inputs, (a_y, a_companion) = walk_back(
        steps, inputs, perturbed, num_steps, (y, companion), y0, rtol
    )
    solver, *_ = steps.at(inputs, jnp.zeros((), jnp.int32))
    _, back = jax.vjp(solver.companion, y0)
    return _add(a_y, back(a_companion)[0]), a_inputs


def walk_back(
    steps: Steps,
    inputs: Inputs,
    perturbed: PyTree,
    num_steps: Any,
    z: Phase,
    y0: PyTree,
    rtol: float,
) -> tuple[Inputs, Phase]:
    """Undo `num_steps` steps that ended at `z`, and pull the cotangents of all that was
    saved back through them.

    **Returns:** the cotangents of the perturbed inputs and of the phase at the start,
    if that was found again: `y0`, up to `rtol`.
    """
    diff, rest = eqx.partition(inputs, perturbed)
    arrays, static = eqx.partition(rest, eqx.is_array)
    cotangents = [rows.cotangents for rows in (*steps.node_rows, *steps.dense_rows)]

    def bind(f: Callable) -> Callable:
        return lambda diff, arrays, *rest: f(eqx.combine(diff, arrays, static), *rest)

    # JAX maps a backward pass over a batch as it stands, and would carry the cotangents
    # of parameters that the batch shares along for every example, from step to step.
    # With the batch inside of the steps they are summed at once.
    def lifted_by(lift: Callable[[Callable], Callable]) -> Callable:
        def walk(diff, arrays, n, z, y0, cotangents):
            def call(f: Callable, diff: PyTree, *rest: PyTree) -> PyTree:
                return lift(bind(f))(diff, arrays, *rest)

            def lost(inputs: Inputs, n: Array, found, y0, y) -> Array:
                return is_lost(found, y0, y, rtol)

            whole = eqx.combine(diff, arrays, static)
            *a, (found, _) = _walk(steps, call, whole, diff, n, z, cotangents)
            failed = call(lost, diff, n, found, y0, z[0])
            return eqx.error_if(tuple(a), jnp.any(failed), LOST)

        def map_walk(size, batched, *args):
            axes = jax.tree.map(lambda mapped: 0 if mapped else None, batched)
            (_, diff_clock), (_, clock), number, *_ = batched
            if any(jax.tree.leaves((diff_clock, clock, number))):
                # Examples that have times of their own do not step together.
                out = jax.vmap(walk, axes)(*args)
                return out, jax.tree.map(lambda _: True, out)

            def deeper(f: Callable) -> Callable:
                def mapped(diff, arrays, numbers, *trees):
                    in_axes = (axes[0], axes[1], None, *(0 for _ in trees))
                    return jax.vmap(lift(f), in_axes)(diff, arrays, numbers, *trees)

                return mapped

            def to_all(x: Array, mapped: bool) -> Array:
                return x if mapped else jnp.broadcast_to(x, (size, *x.shape))

            diff, arrays, n, *trees = args
            trees = jax.tree.map(to_all, trees, list(batched[3:]))
            a_diff, a_z = lifted_by(deeper)(diff, arrays, n, *trees)
            # The caller sums over the batch: each example gets an equal share.
            a_diff = jax.tree.map(
                lambda a, mapped: a if mapped else to_all(a / size, False),
                a_diff,
                batched[0],
            )
            out = (a_diff, a_z)
            return out, jax.tree.map(lambda _: True, out)

        mapped = custom_vmap(walk)
        mapped.def_vmap(map_walk)
        return mapped

    walk = lifted_by(lambda f: f)
    return walk(diff, arrays, jnp.asarray(num_steps, jnp.int32), z, y0, cotangents)


def is_lost(found: PyTree, y0: PyTree, y: PyTree, rtol: float) -> Array:
    """Whether a walk back from `y` found another state than `y0`, where it began."""

    def largest(*trees: PyTree) -> Array:
        sizes = [jnp.max(jnp.abs(x), initial=0.0) for x in jax.tree.leaves(trees)]
        return functools.reduce(jnp.maximum, sizes)

    error = largest(jax.tree.map(jnp.subtract, found, y0))
    return error > rtol * largest(y0, y)


LOST = (
    "`ReversibleAdjoint` could not find the past again: going back from the end of the "
    "solve it came to a state that differs from the initial one by more than `rtol`. "
    "Friction and chaos magnify rounding on the way back, by e^((Γ+λ)T). Solve for a "
    "shorter time, work in float64, or keep the past in memory with "
    "`diffrax.RecursiveCheckpointAdjoint()` (in `chlu_eqx.rollout` "
    "and `chlu_eqx.nn.RNN`, `diffrax.DirectAdjoint()`)."
)


def explicit(
    terms: diffrax.AbstractTerm, t: RealScalarLike, y: PyTree, args: PyTree
) -> diffrax.AbstractTerm:
    """The same terms, with all arrays that their functions close over as leaves, where
    a derivative rule can see them."""
    term = innermost(terms)
    closed = eqx.filter_closure_convert
    if isinstance(term, HamiltonianTerm):
        (q, p), energy = y, term.hamiltonian
        if isinstance(energy, SeparableHamiltonian):
            kinetic = energy.kinetic
            if not isinstance(kinetic, AbstractKineticEnergy):
                kinetic = closed(kinetic, p)
            energy = SeparableHamiltonian(kinetic, closed(energy.potential, q))
        else:
            energy = closed(energy, q, p)
        new = eqx.tree_at(lambda t: t.hamiltonian, term, energy)
        if callable(term.friction):
            friction = closed(term.friction, q, p)
            new = eqx.tree_at(lambda t: t.friction, new, friction)
        if term.forcing is not None:
            forcing = closed(term.forcing, t, q, args)
            new = eqx.tree_at(lambda t: t.forcing, new, forcing)
    else:
        new = _ExplicitTerm(closed(term.vf, t, y, args), closed(term.contr, t, t))
    return with_innermost(terms, new)


class _ExplicitTerm(diffrax.AbstractTerm):
    vector_field: Callable
    control: Callable

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree) -> PyTree:
        return self.vector_field(t, y, args)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> RealScalarLike:
        return self.control(t0, t1)

    def prod(self, vf: PyTree, control: RealScalarLike) -> PyTree:
        return jax.tree.map(lambda x: jnp.asarray(control, x.dtype) * x, vf)


def _walk(
    steps: Steps,
    call: Callable,
    inputs: Inputs,
    diff: PyTree,
    n: Array,
    z: Phase,
    cotangents: list[PyTree],
) -> tuple[PyTree, Phase, Phase]:
    at, node_rows, dense_rows = steps
    nodes = list(zip(node_rows, cotangents, strict=False))
    dense = list(zip(dense_rows, cotangents[len(nodes) :], strict=True))

    def part(which: int, flows: slice, sign: int) -> Callable:
        """Some of the maps of a step, or what undoes them."""

        def move(inputs: Inputs, k: Array, z: Phase, shared: PyTree) -> Phase:
            solver, terms, t0, t1, args = at(inputs, k)
            parts = solver.parts(terms, t0, t1, args)
            return run(parts[which][flows], sign, z, shared)[0]

        return move

    def shared(inputs: Inputs, k: Array, z: Phase) -> PyTree:
        solver, terms, t0, _, args = at(inputs, k)
        return solver.shared(terms, t0, z, args)

    def dense_info(inputs: Inputs, k: Array, *ends: PyTree) -> PyTree:
        solver, terms, t0, t1, args = at(inputs, k)
        z0, z1, shared0, shared1 = ends
        return solver.dense_info(terms, t0, t1, z0, z1, args, shared0, shared1)

    def pull(f: Callable, numbers: Any, trees: tuple, cotangent: PyTree) -> tuple:
        """The cotangents of the inputs and of the trees of `f(inputs, numbers, *trees)`
        from that of its value."""
        _, back = jax.vjp(lambda d, *t: call(f, d, numbers, *t), diff, *trees)
        return back(cotangent)

    def pull_row(save, numbers, rows, row, x, a) -> tuple[Inputs, PyTree]:
        """Add to the cotangents `a` of the inputs and of `x` those of a saved row."""
        pick = lambda inputs, i, rows: jax.tree.map(lambda r: r[i], rows)  # noqa: E731
        a_row = call(pick, diff, row, rows)
        if save is None:
            return a[0], _add(a[1], a_row)
        return _add(a, pull(save, numbers, (x,), a_row))

    every = slice(None)
    solver, *step = at(inputs, n)
    stages = len(solver.parts(*step).interior)

    def node(i: Array, carry: tuple) -> tuple:
        """Node `k` with what opens and closes steps there, and the interior of the step
        before it."""
        k = n - i
        z, a_z, a_inputs, pending, left = carry

        at_node, back_shared = jax.vjp(lambda d, z: call(shared, d, k, z), diff, z)
        here = call(part(0, every, -1), diff, k, z, at_node)
        path = [call(part(2, every, -1), diff, k - 1, here, at_node)]
        for j in range(stages)[::-1]:
            undo = part(1, slice(j, j + 1), -1)
            path.append(call(undo, diff, k - 1, path[-1], None))
        before = path[-1]

        d, a_here, a_shared = pull(part(0, every, 1), k, (here, at_node), a_z)
        a_inputs = _add(a_inputs, d)
        a_here, a_shared = _add((a_here, a_shared), pending)

        for rows, saved in nodes:
            present, row = rows.place(inputs, k, n)
            a_inputs, a_y = lax.cond(
                present,
                functools.partial(pull_row, rows.save, k, saved, row, here[0]),
                lambda a: a,
                (a_inputs, a_here[0]),
            )
            a_here = (a_y, a_here[1])

        if dense:
            shared_before = call(shared, diff, k - 1, before)
            start = call(part(0, every, -1), diff, k - 1, before, shared_before)
            ends = (start, here, shared_before, at_node)
            info, back_info = jax.vjp(
                lambda d, *ends: call(dense_info, d, k - 1, *ends), diff, *ends
            )
            a_info, t = zeros_like(info), at(inputs, k - 1)[2]
            in_step = (k > 0) | (n == 0)
            for j, (rows, saved) in enumerate(dense):
                times = rows.times(inputs)
                left[j], a_inputs, a_info = lax.while_loop(
                    lambda a, times=times: (
                        (a[0] >= 0) & in_step & ((times[a[0]] > t) | (k <= 1))
                    ),
                    lambda a, rows=rows, saved=saved: (
                        a[0] - 1,
                        *pull_row(rows.save, (k - 1, a[0]), saved, a[0], info, a[1:]),
                    ),
                    (left[j], a_inputs, a_info),
                )
            d, *a_ends = back_info(a_info)
            a_inputs = _add(a_inputs, d)
            pending = (a_ends[0], a_ends[2])
            a_here, a_shared = _add((a_here, a_shared), (a_ends[1], a_ends[3]))

        d, a_z, a = pull(part(2, every, 1), k - 1, (path[0], at_node), a_here)
        a_inputs, a_shared = _add((a_inputs, a_shared), (d, a))
        a_inputs, a_z = _add((a_inputs, a_z), back_shared(a_shared))
        for j, z in zip(range(stages)[::-1], path[1:], strict=True):
            d, a_z, _ = pull(part(1, slice(j, j + 1), 1), k - 1, (z, None), a_z)
            a_inputs = _add(a_inputs, d)
        return before, a_z, a_inputs, pending, left

    end = at(inputs, n)[2]
    left = [jnp.sum(rows.times(inputs) <= end) - 1 for rows in dense_rows]
    pending = (zeros_like(z), zeros_like(call(shared, diff, n, z)))
    carry = (z, zeros_like(z), zeros_like(diff), pending, left)
    z, a_z, a_inputs, pending, _ = lax.fori_loop(0, n + 1, node, carry)
    # Of a solve without steps, everything is saved in the one before the first.
    return a_inputs, _add(a_z, pending[0]), z


def _add(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, x, y)
