"""What every solver here needs from diffrax's protocol."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from jaxtyping import Array, Bool, PyTree

from .._checks import phase_state
from .._types import RealScalarLike
from ..friction import Friction
from ..hamiltonian import AbstractHamiltonian, SeparableHamiltonian
from ..term import HamiltonianTerm


def axpy(a: RealScalarLike, x: PyTree, y: PyTree) -> PyTree:
    """`a x + y`, leaf by leaf, in the dtype of `y`."""
    return jax.tree.map(lambda xi, yi: jnp.asarray(a, yi.dtype) * xi + yi, x, y)


def zeros_like(y: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, y)


def time_between(t0: RealScalarLike, t1: RealScalarLike, c: float) -> RealScalarLike:
    """When the part `c` of a step is over."""
    return t0 if c == 0 else t1 if c == 1 else (1 - c) * t0 + c * t1


def all_finite(y: PyTree) -> Bool[Array, ""]:
    finite = [jnp.all(jnp.isfinite(yi)) for yi in jax.tree.leaves(y)]
    return jnp.all(jnp.stack(finite)) if finite else jnp.asarray(True)


def finite(y: PyTree) -> RESULTS:
    """How a step went that led here."""
    return RESULTS.where(
        all_finite(y),
        RESULTS.successful,
        RESULTS.nonfinite,  # pyright: ignore[reportArgumentType]
    )


def innermost(term: Any) -> diffrax.AbstractTerm:
    """The term that the user passed: diffeqsolve hands it on wrapped, to let time run
    backward. Wrappers of the user's own are kept: they may change the equation."""
    ours = type(term).__module__.split(".")[0] in ("diffrax", "chlu_eqx")
    return innermost(term.term) if ours and hasattr(term, "term") else term


def with_innermost(terms: Any, term: diffrax.AbstractTerm) -> Any:
    """The same wrappers around another term."""
    return term if innermost(terms) is terms else eqx.tree_at(innermost, terms, term)


class Flows(NamedTuple):
    """The pieces of a term that the exact flows are made of: the velocity and the
    force at `(t, y, args)`, all but the friction, and that."""

    velocity: Callable[[RealScalarLike, PyTree, PyTree], PyTree]
    force: Callable[[RealScalarLike, PyTree, PyTree], PyTree]
    friction: Friction | None


def flows(terms: diffrax.AbstractTerm) -> Flows:
    term = innermost(terms)
    if isinstance(term, HamiltonianTerm) and term.forcing is None:
        # Without time, there is nothing in the wrappers that these must know of.
        return Flows(
            lambda t, y, args: term.velocity(y),
            lambda t, y, args: term.force(y),
            term.friction,
        )
    friction = None
    if isinstance(term, HamiltonianTerm) and term.friction is not None:
        # The wrappers know what time it is.
        friction = term.friction
        undamped = HamiltonianTerm(term.hamiltonian, None, term.forcing)
        terms = with_innermost(terms, undamped)
    # What is not used of either evaluation, the compiler drops.
    return Flows(
        lambda t, y, args: terms.vf(t, y, args)[0],
        lambda t, y, args: terms.vf(t, y, args)[1],
        friction,
    )


# Of a time and a state: `(dq, dp)` there.
Field: TypeAlias = Callable[[RealScalarLike, PyTree], tuple[PyTree, PyTree]]


def conservative_field(terms: diffrax.AbstractTerm, args: PyTree) -> Field:
    """The velocity and the force, all but the friction."""
    term: Any = innermost(terms)
    flow = flows(terms)
    if flow.friction is None:
        # The same, in one evaluation.
        return lambda t, y: terms.vf(t, y, args)
    if term.forcing is None:
        return lambda t, y: term.conservative(y)
    return lambda t, y: (flow.velocity(t, y, args), flow.force(t, y, args))


def check_separable(solver: str, terms: diffrax.AbstractTerm) -> None:
    """Refuse, at trace time, an energy that no kick-drift composition can step."""
    term = innermost(terms)
    if not isinstance(term, HamiltonianTerm):
        return
    if isinstance(term.hamiltonian, AbstractHamiltonian) and not isinstance(
        term.hamiltonian, SeparableHamiltonian
    ):
        raise ValueError(
            f"`{solver}` needs a separable energy T(p) + V(q): `hamiltonian` must be a "
            "`SeparableHamiltonian` or a callable that is separable, got "
            f"{type(term.hamiltonian).__name__}. Integrate a general energy with "
            "`chlu_eqx.TaoSolver()`, `chlu_eqx.ImplicitMidpoint()` or an adaptive "
            "solver of diffrax."
        )


def check_phase_field(
    solver: str, terms: diffrax.AbstractTerm, t: RealScalarLike, y: PyTree, args: PyTree
) -> None:
    """Refuse, at trace time, what is no ordinary differential equation of (q, p)."""
    phase_state("y0", y)
    if isinstance(innermost(terms), HamiltonianTerm):
        return
    returned = jax.tree.structure(eqx.filter_eval_shape(terms.vf, t, y, args))
    if returned != jax.tree.structure(y):
        raise ValueError(
            f"`{solver}` needs a vector field over `(q, p)`: it must return a pair "
            f"`(dq, dp)` with the structure of `y0`, {jax.tree.structure(y)}, got "
            f"{returned}."
        )
    if jnp.shape(eqx.filter_eval_shape(terms.contr, t, t)) != ():
        raise ValueError(
            f"`{solver}` solves ordinary differential equations: the control of "
            "`terms` must be time, as that of `diffrax.ODETerm`."
        )


class NoErrorEstimate(eqx.Module):
    """Stands where an adaptive solver has its error estimate, so that a step size
    controller that asks for one shows what to do."""

    def __repr__(self) -> str:
        return (
            "no error estimate: a symplectic solver needs a fixed step. Use "
            "`stepsize_controller=diffrax.ConstantStepSize()`, `diffrax.StepTo(...)` "
            "or `chlu_eqx.StepDensityController(...)` with it, or an adaptive solver "
            "such as `diffrax.Tsit5()`"
        )


def cite(kind: type) -> None:
    """Let `diffrax.citation` know the solvers of this kind, by their docstrings."""

    @diffrax.citation_rules.append
    def rule(solver: Any) -> str | None:
        if not isinstance(solver, kind):
            return None
        [reference] = re.findall(r"```bibtex([^`]*)```", type(solver).__doc__ or "")
        name = f"chlu_eqx.{type(solver).__name__}"
        return f"% You are using the solver `{name}`:\n" + inspect.cleandoc(reference)
