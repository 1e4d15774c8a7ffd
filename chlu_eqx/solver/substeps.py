"""Several steps of a method in one of diffrax."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from diffrax import RESULTS
from jaxtyping import PyTree

from .._checks import count
from .._types import RealScalarLike
from .base import NoErrorEstimate
from .reversible import first_failure


class _Piecewise(diffrax.AbstractLocalInterpolation):
    """The interpolants of `n` equal pieces, one after the other."""

    t0: RealScalarLike  # pyright: ignore
    t1: RealScalarLike  # pyright: ignore
    pieces: PyTree
    interpolation_cls: Callable = eqx.field(static=True)

    def evaluate(
        self, t0: RealScalarLike, t1: RealScalarLike | None = None, left: bool = True
    ) -> PyTree:
        if t1 is not None:
            ends = self.evaluate(t1, left=left), self.evaluate(t0, left=left)
            return jax.tree.map(jnp.subtract, *ends)
        n = len(jax.tree.leaves(self.pieces)[0])
        length = jnp.asarray(self.t1 - self.t0) / n
        at = jnp.where(length == 0, 0, (t0 - self.t0) / length)
        i = jnp.clip(jnp.floor(at).astype(jnp.int32), 0, n - 1)
        piece = jax.tree.map(lambda x: x[i], self.pieces)
        start = self.t0 + i.astype(length.dtype) * length
        interpolation = self.interpolation_cls(t0=start, t1=start + length, **piece)
        return interpolation.evaluate(t0, left=left)


class Substeps(diffrax.AbstractWrappedSolver[Any]):
    r"""`n` equal steps of another solver in every step that diffrax makes:

    $$\Phi_{h} = \phi_{h/n} \circ \cdots \circ \phi_{h/n}.$$

    diffrax's loop saves, counts and checks once a step, which takes longer than a step
    of a small system; this way it does so once in `n`. Whatever `solver` preserves is
    preserved, at the same order. Dense output and `SaveAt(ts=...)` interpolate the
    inner steps, and lose no accuracy.

    !!! Example

        `n = 10` and states saved at every tenth step of 0.05:

        ```python
        diffrax.diffeqsolve(
            term, chlu_eqx.Substeps(chlu_eqx.CHLUSolver(), 10), t0=0.0, t1=100.0,
            dt0=0.5, y0=y0, saveat=diffrax.SaveAt(steps=True),
        )
        ```
    """

    solver: diffrax.AbstractSolver
    n: int

    def __init__(self, solver: diffrax.AbstractSolver, n: int):
        """**Arguments:**

        - `solver`: any fixed-step solver of this package or of diffrax.
        - `n`: the number of inner steps.

        **Raises:** `ValueError` if `n` is not a positive integer, or if `solver` is no
        solver or itself `Substeps`.
        """
        if not isinstance(solver, diffrax.AbstractSolver) or isinstance(
            solver, Substeps
        ):
            raise ValueError(
                f"`solver` must be a solver other than `Substeps`, got {solver}."
            )
        self.solver = solver  # pyright: ignore
        self.n = count("n", n)

    @property
    def term_structure(self):  # pyright: ignore
        return self.solver.term_structure

    @property
    def term_compatible_contr_kwargs(self):  # pyright: ignore
        return self.solver.term_compatible_contr_kwargs

    @property
    def interpolation_cls(self):  # pyright: ignore
        return eqx.Partial(_Piecewise, interpolation_cls=self.solver.interpolation_cls)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int | None:
        return self.solver.order(terms)

    def strong_order(
        self, terms: PyTree[diffrax.AbstractTerm]
    ) -> RealScalarLike | None:
        return self.solver.strong_order(terms)

    def init(
        self,
        terms: PyTree[diffrax.AbstractTerm],
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
    ) -> PyTree:
        first = substep_times(t0, t1, 0, self.n)
        return self.solver.init(terms, *first, y0, args)

    def step(
        self,
        terms: PyTree[diffrax.AbstractTerm],
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        args: PyTree,
        solver_state: PyTree,
        made_jump: Any,
    ) -> tuple[PyTree, Any, dict[str, PyTree], PyTree, RESULTS]:
        def step(carry, i):
            y, solver_state = carry
            ends = substep_times(t0, t1, i, self.n)
            jumped = made_jump if made_jump is False else made_jump & (i == 0)
            y, _, dense_info, solver_state, result = self.solver.step(
                terms, *ends, y, args, solver_state, jumped
            )
            return (y, solver_state), (dense_info, result)

        (y1, solver_state), (pieces, results) = lax.scan(
            step, (y0, solver_state), jnp.arange(self.n)
        )
        each = [jax.tree.map(lambda x, i=i: x[i], results) for i in range(self.n)]
        result = first_failure(*each)
        return y1, NoErrorEstimate(), dict(pieces=pieces), solver_state, result

    def func(
        self,
        terms: PyTree[diffrax.AbstractTerm],
        t0: RealScalarLike,
        y0: PyTree,
        args: PyTree,
    ) -> PyTree:
        return self.solver.func(terms, t0, y0, args)


def substep_times(
    t0: RealScalarLike, t1: RealScalarLike, i: Any, n: int
) -> tuple[RealScalarLike, RealScalarLike]:
    """The ends of the `i`-th of `n` equal parts of a step."""
    dtype = jnp.result_type(t0)
    parts = [jnp.asarray(j, dtype) / n for j in (i, i + 1)]
    return t0 + (t1 - t0) * parts[0], t0 + (t1 - t0) * parts[1]
