"""Terms: which equation is solved."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree, Scalar

from ._checks import nonnegative, phase_state
from ._types import RealScalarLike
from .friction import damped, Friction
from .hamiltonian import SeparableHamiltonian


class HamiltonianTerm(diffrax.AbstractTerm):
    r"""Hamilton's equations with linear friction, over states `y = (q, p)`:

    $$\mathrm dq = \partial_p H\,\mathrm dt, \qquad
    \mathrm dp = \left(-\partial_q H - \Gamma p\right)\mathrm dt.$$

    Its vector field is the whole right-hand side, so that every diffrax solver
    integrates the same equation: `diffrax.Tsit5()` and
    [`chlu_eqx.CHLUSolver`][]`()` may be swapped for one another.

    `q` and `p` are arrays, or pytrees of arrays, that agree in structure, shape and
    dtype.

    !!! Example

        ```python
        term = chlu_eqx.HamiltonianTerm(
            chlu_eqx.SeparableHamiltonian(
                chlu_eqx.NewtonianKinetic(1), lambda q: -jnp.cos(q[0])
            ),
            friction=0.1,
        )
        diffrax.diffeqsolve(
            term, chlu_eqx.CHLUSolver(), t0=0.0, t1=10.0, dt0=0.1,
            y0=(jnp.array([1.0]), jnp.array([0.0])),
        )
        ```
    """

    hamiltonian: Callable[[PyTree, PyTree], Scalar]
    friction: Any

    def __init__(
        self,
        hamiltonian: Callable[[PyTree, PyTree], Scalar],
        friction: Friction | None = None,
    ):
        r"""**Arguments:**

        - `hamiltonian`: an [`chlu_eqx.AbstractHamiltonian`][], or any callable from
            `(q, p)` to a scalar, which is differentiated. The explicit solvers trust
            such a callable to be separable.
        - `friction`: the damping rate $\Gamma$, in inverse units of time: `None`, a
            non-negative scalar, an array of one rate per coordinate, or a callable
            from `(q, p)` to either (a Module, if it is to be learned). An array is a
            leaf like any other, and is learned unless it is filtered out.

        **Raises:** `ValueError` if `hamiltonian` is not callable or a constant rate is
        negative; when traced, if `q` and `p` do not agree.
        """
        if not callable(hamiltonian):
            raise ValueError(
                "`hamiltonian` must be a callable from `(q, p)` to a scalar energy, "
                f"got {hamiltonian}."
            )
        self.hamiltonian = hamiltonian
        if friction is not None and not callable(friction):
            friction = jax.tree.map(lambda x: nonnegative("friction", x), friction)
        self.friction = friction

    def velocity(self, y: PyTree) -> PyTree:
        r"""The velocity $\dot q = \partial_p H$ at `y = (q, p)`."""
        q, p = phase_state("y0", y)
        if isinstance(self.hamiltonian, SeparableHamiltonian):
            return self.hamiltonian.velocity(p)
        return jax.grad(self.hamiltonian, argnums=1)(q, p)

    def force(self, y: PyTree) -> PyTree:
        r"""The conservative force $-\partial_q H$ at `y = (q, p)`."""
        q, p = phase_state("y0", y)
        if isinstance(self.hamiltonian, SeparableHamiltonian):
            return self.hamiltonian.force(q)
        return jax.tree.map(jnp.negative, jax.grad(self.hamiltonian)(q, p))

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree) -> tuple[PyTree, PyTree]:
        del t, args
        return self.velocity(y), damped(self.force(y), self.friction, y)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> RealScalarLike:
        del kwargs
        return t1 - t0

    def prod(self, vf: PyTree, control: RealScalarLike) -> PyTree:
        return jax.tree.map(lambda x: jnp.asarray(control, x.dtype) * x, vf)


class PartitionedTerm(diffrax.AbstractTerm):
    r"""One term over `y = (q, p)` from the pair of terms that
    `diffrax.SemiImplicitEuler` takes:

    $$\mathrm dq = f(t, p)\,\mathrm dt, \qquad \mathrm dp = g(t, q)\,\mathrm dt.$$

    So `diffeqsolve((drift, kick), diffrax.SemiImplicitEuler(), ...)` becomes
    `diffeqsolve(PartitionedTerm(drift, kick), CHLUSolver(), ...)`.
    """

    drift: diffrax.AbstractTerm
    kick: diffrax.AbstractTerm

    def __init__(self, drift: diffrax.AbstractTerm, kick: diffrax.AbstractTerm):
        """**Arguments:**

        - `drift`: an ODE term for `q`, whose vector field is called with `p`.
        - `kick`: an ODE term for `p`, whose vector field is called with `q`.

        **Raises:** `ValueError` if either is not a diffrax term.
        """
        for name, term in (("drift", drift), ("kick", kick)):
            if not isinstance(term, diffrax.AbstractTerm):
                raise ValueError(
                    f"`{name}` must be a diffrax term, such as `diffrax.ODETerm(f)`, "
                    f"got {term}."
                )
        self.drift = drift
        self.kick = kick

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree):
        q, p = phase_state("y0", y)
        return self.drift.vf(t, p, args), self.kick.vf(t, q, args)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> RealScalarLike:
        return self.drift.contr(t0, t1, **kwargs)

    def prod(self, vf: PyTree, control: RealScalarLike) -> PyTree:
        dq, dp = vf
        return self.drift.prod(dq, control), self.kick.prod(dp, control)
