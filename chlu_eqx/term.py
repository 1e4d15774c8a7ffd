"""Terms: which equation is solved."""

from collections.abc import Callable
from typing import Any, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree, Scalar

from ._checks import energy, function, instance, like, nonnegative, phase_state
from ._types import RealScalarLike
from .friction import damped, Friction, rates
from .hamiltonian import AbstractThermalKinetic, SeparableHamiltonian


# An external force: of the time, the position and the arguments of the solve.
Forcing: TypeAlias = Callable[[RealScalarLike, PyTree, PyTree], PyTree]


class HamiltonianTerm(diffrax.AbstractTerm):
    r"""Hamilton's equations with linear friction and an external force, over states
    `y = (q, p)`:

    $$\mathrm dq = \partial_p H\,\mathrm dt, \qquad
    \mathrm dp = \left(-\partial_q H - \Gamma p + F(t, q)\right)\mathrm dt.$$

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
    forcing: Forcing | None

    def __init__(
        self,
        hamiltonian: Callable[[PyTree, PyTree], Scalar],
        friction: Friction | None = None,
        forcing: Forcing | None = None,
    ):
        r"""**Arguments:**

        - `hamiltonian`: an [`chlu_eqx.AbstractHamiltonian`][], or any callable from
            `(q, p)` to a scalar, which is differentiated. The explicit solvers trust
            such a callable to be separable.
        - `friction`: the damping rate $\Gamma$, in inverse units of time: `None`, a
            non-negative scalar, an array of one rate per coordinate, or a callable
            from `(q, p)` to either (a Module, if it is to be learned). An array is a
            leaf like any other, and is learned unless it is filtered out.
        - `forcing`: the external force $F$, conservative or not: `None`, or a callable
            `(t, q, args)` to a force like `p` (a Module, if it is to be learned), where
            `args` are those of `diffeqsolve`. Solvers treat it as they do the time in
            the vector field of a `diffrax.ODETerm`: their orders are kept.

        **Raises:** `ValueError` if `hamiltonian` or `forcing` is not callable or a
        constant rate is negative; when traced, if `q` and `p`, or the external force
        and `p`, do not agree.
        """
        self.hamiltonian = function("hamiltonian", hamiltonian)
        if friction is not None and not callable(friction):
            friction = jax.tree.map(
                lambda x: nonnegative("friction", x, scalar=False), friction
            )
        self.friction = friction
        self.forcing = None if forcing is None else function("forcing", forcing)

    def velocity(self, y: PyTree) -> PyTree:
        r"""The velocity $\dot q = \partial_p H$ at `y = (q, p)`."""
        return self.conservative(y)[0]

    def force(self, y: PyTree) -> PyTree:
        r"""The conservative force $-\partial_q H$ at `y = (q, p)`."""
        return self.conservative(y)[1]

    def conservative(self, y: PyTree) -> tuple[PyTree, PyTree]:
        r"""Both, $(\partial_p H, -\partial_q H)$, in one evaluation."""
        q, p = phase_state("y0", y)
        if isinstance(self.hamiltonian, SeparableHamiltonian):
            return self.hamiltonian.velocity(p), self.hamiltonian.force(q)
        hamiltonian = energy("hamiltonian", self.hamiltonian)
        slope, velocity = jax.grad(hamiltonian, argnums=(0, 1))(q, p)
        return velocity, jax.tree.map(jnp.negative, slope)

    def undamped(
        self, t: RealScalarLike, y: PyTree, args: PyTree
    ) -> tuple[PyTree, PyTree]:
        r"""$(\partial_p H, -\partial_q H + F(t, q))$ at `y = (q, p)`."""
        velocity, force = self.conservative(y)
        if self.forcing is not None:
            external = self.forcing(t, y[0], args)
            external = like("forcing", external, y[1], "return a force of")
            force = jax.tree.map(jnp.add, force, external)
        return velocity, force

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree) -> tuple[PyTree, PyTree]:
        velocity, force = self.undamped(t, y, args)
        return velocity, damped(force, self.friction, y)

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
        wanted = "a diffrax term, such as `diffrax.ODETerm(f)`"
        self.drift = instance("drift", drift, diffrax.AbstractTerm, wanted)
        self.kick = instance("kick", kick, diffrax.AbstractTerm, wanted)

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree):
        q, p = phase_state("y0", y)
        return self.drift.vf(t, p, args), self.kick.vf(t, q, args)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> RealScalarLike:
        return self.drift.contr(t0, t1, **kwargs)

    def prod(self, vf: PyTree, control: RealScalarLike) -> PyTree:
        dq, dp = vf
        return self.drift.prod(dq, control), self.kick.prod(dp, control)


# kT, or from a time to it, like a schedule of optax.
Temperature: TypeAlias = ArrayLike | Callable[[RealScalarLike], ArrayLike]


class HeatBath(diffrax.AbstractTerm):
    r"""The noise of a [`chlu_eqx.LangevinTerm`][],
    $\sqrt{2\Gamma\,\Sigma(p)}\,\mathrm dW$, on the momenta of `y = (q, p)`."""

    kinetic: AbstractThermalKinetic
    friction: Any
    temperature: Any
    path: diffrax.AbstractBrownianPath

    def vf(self, t: RealScalarLike, y: PyTree, args: PyTree) -> tuple[Array, Array]:
        del args
        q, p = y
        rate = rates(self.friction, q, p)
        variance = self.kinetic.noise_variance(p, self.temperature_at(t))
        return jnp.zeros_like(q), jnp.sqrt(2 * rate * variance)

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs) -> PyTree:
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf: tuple[Array, Array], control: Array) -> tuple[Array, Array]:
        still, width = vf
        return still, width * control[: width.shape[0]].astype(width.dtype)

    def temperature_at(self, t: RealScalarLike) -> Any:
        return self.temperature(t) if callable(self.temperature) else self.temperature


class LangevinTerm(diffrax.MultiTerm):
    r"""Langevin's equation, for kinetic energies of any form: Hamilton's equations in a
    heat bath of temperature $kT$, over states `y = (q, p)`, in the sense of Itô,

    $$\mathrm dq = \nabla T(p)\,\mathrm dt, \qquad
    \mathrm dp = -\nabla V(q)\,\mathrm dt - \Gamma p\,\mathrm dt
    + \sqrt{2\Gamma\,\Sigma(p)}\,\mathrm dW,$$

    which leaves $e^{-H(q, p)/kT}$ as it is. In the bath of a Newtonian energy
    $\Sigma = M\,kT$; of a relativistic one $\Sigma(p) = M\,kT\,(T(p) + kT)/c^2$. (With
    the $\Sigma = kT$ of Jawahar & Pierini, arXiv 2603.01768, it would leave another
    law.)

    It is a `diffrax.MultiTerm` of the drift, a [`chlu_eqx.HamiltonianTerm`][], and the
    noise. [`chlu_eqx.BAOAB`][] is the solver made for it. Any other of diffrax
    integrates it too: Itô solvers (`Euler`, `ItoMilstein`) as it is; Stratonovich
    solvers (`Heun`, `SlowRK`) through [`stratonovich`][chlu_eqx.LangevinTerm]`()`,
    which is the same equation in their sense; and those for additive noise (`SEA`,
    `ShARK`, `SRA1`) if the kinetic energy is Newtonian.

    !!! Example

        ```python
        hamiltonian = chlu_eqx.SeparableHamiltonian(
            chlu_eqx.RelativisticKinetic(2), chlu_eqx.Confinement(0.5)
        )
        path = chlu_eqx.FixedGridBrownianPath(
            dt=1 / 16, shape=(5,), key=jax.random.key(0)
        )
        diffrax.diffeqsolve(
            chlu_eqx.LangevinTerm(hamiltonian, path, friction=1.0, temperature=0.5),
            chlu_eqx.BAOAB(), t0=0.0, t1=100.0, dt0=1 / 16,
            y0=(jnp.zeros(2), jnp.zeros(2)),
        )
        ```
    """

    def __init__(
        self,
        hamiltonian: SeparableHamiltonian,
        path: diffrax.AbstractBrownianPath,
        *,
        friction: Friction,
        temperature: Temperature,
    ):
        r"""**Arguments:**

        - `hamiltonian`: a [`chlu_eqx.SeparableHamiltonian`][] with an
            [`chlu_eqx.AbstractThermalKinetic`][], over arrays of shape `(dim,)`.
        - `path`: Brownian motion of shape `(dim,)`: any path of diffrax, or a
            [`chlu_eqx.FixedGridBrownianPath`][], which is much faster. Of shape
            `(dim + 3,)` it serves everything: [`chlu_eqx.BAOAB`][] takes two numbers
            more for a relativistic energy, and [`chlu_eqx.MetropolisBAOAB`][] another.
        - `friction`: the rate $\Gamma$, as in [`chlu_eqx.HamiltonianTerm`][]. A
            callable of `(q, p)` must not depend on `p`: the law would be another.
        - `temperature`: $kT$, in units of energy; a non-negative scalar, or a callable
            from the time to one, such as the schedules of optax:
            `optax.linear_schedule(1.0, 0.01, 50.0)` cools down until $t = 50$.

        **Raises:** `ValueError` if the energy is of another form, `path` is no Brownian
        path of an array, or a constant is negative.
        """
        if not isinstance(hamiltonian, SeparableHamiltonian) or not isinstance(
            hamiltonian.kinetic, AbstractThermalKinetic
        ):
            raise ValueError(
                "`hamiltonian` must be a `SeparableHamiltonian` whose kinetic energy "
                "is a `NewtonianKinetic`, a `RelativisticKinetic` or another "
                f"`AbstractThermalKinetic`, for its heat bath; got {hamiltonian}."
            )
        wanted = "a Brownian path, such as `chlu_eqx.FixedGridBrownianPath(...)`"
        instance("path", path, diffrax.AbstractBrownianPath, wanted)
        if not callable(temperature):
            temperature = nonnegative("temperature", temperature)
        drift = HamiltonianTerm(hamiltonian, friction)
        kinetic = hamiltonian.kinetic
        super().__init__(drift, HeatBath(kinetic, drift.friction, temperature, path))

    def stratonovich(self) -> diffrax.MultiTerm:
        r"""The same equation in the sense of Stratonovich: its drift of the momentum is

        $$-\nabla V(q) - \Gamma p
        - \tfrac12 \Gamma \left(\Sigma(p)\,\nabla T(p)/kT - p\right),$$

        whose last part vanishes for a Newtonian energy. For $kT > 0$."""
        drift, bath = self.terms

        def corrected(t: RealScalarLike, y: PyTree, args: PyTree) -> PyTree:
            q, p = y
            velocity, force = drift.vf(t, y, args)
            kT = jnp.asarray(bath.temperature_at(t), p.dtype)
            # ∂ᵢΣᵢ, since the noise and the friction balance.
            slope = bath.kinetic.noise_variance(p, kT) / kT * velocity - p
            return velocity, force - rates(bath.friction, q, p) * slope / 2

        return diffrax.MultiTerm(diffrax.ODETerm(corrected), bath)
