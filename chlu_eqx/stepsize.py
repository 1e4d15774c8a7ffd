"""Step sizes that vary and keep what a symmetric method preserves."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from diffrax import RESULTS
from jaxtyping import Array, PyTree, Real, Scalar

from ._checks import function, instance
from ._types import RealScalarLike


Monitor = Callable[[RealScalarLike, PyTree, PyTree], Scalar]


class StepDensityController(
    diffrax.AbstractStepSizeController[Array, RealScalarLike | None]
):
    r"""The explicit, time-reversible step size control of Hairer and Söderlind.

    A monitor $Q(t, y) > 0$ says how long the steps should be, relative to one another.
    What is carried is the step density $\rho = 1/h$; it follows
    $\dot\rho / \rho = -\dot Q / Q$, the equation that keeps $h / Q$ constant, by the
    leapfrog rule:

    $$\begin{array}{ll}
    \rho_{1/2} = \dfrac{1}{\Delta t_0} + \dfrac12 G(t_0, y_0), &
    \rho_{n+1/2} = \rho_{n-1/2} + G(t_n, y_n), \\[1ex]
    y_{n+1} = \Phi_h(y_n) \quad\text{with}\quad h = \dfrac{1}{\rho_{n+1/2}}, &
    G = -\dfrac{\partial_t Q + \nabla_{\!y} Q \cdot f}{Q},
    \end{array}$$

    where $f$ is the vector field and $\Phi$ the solver. (The paper writes
    $\rho / \varepsilon$ for this $\rho$; only the ratio acts.) The solution has the
    order of $\Phi$, and $h / Q$ is constant to $O(\Delta t_0^2)$.

    If $\Phi$ is time-symmetric, so is the map of $(y, \rho)$. It is no longer
    symplectic; but where flipping the momentum reverses the motion and leaves $Q$ as it
    is, it is reversible, and keeps over long times what $\Phi$ keeps at a fixed step:
    the energy error is bounded and does not grow (proven for integrable systems), where
    a controller that looks at errors makes the energy drift.

    So use it with a time-symmetric solver, such as [`chlu_eqx.CHLUSolver`][], with
    which it is the time-transformed Verlet method; nothing here can see the solver. No
    step is rejected, error estimates are ignored, and there is no tolerance: to be more
    accurate make `dt0` smaller. It costs a velocity evaluation per step, and no force
    if the monitor depends on the positions alone.

    !!! Example

        An eccentric Kepler orbit, in steps in proportion to the free-fall time:

        ```python
        diffrax.diffeqsolve(
            term, chlu_eqx.CHLUSolver(), t0=0.0, t1=1000.0, dt0=0.01, y0=y0,
            stepsize_controller=chlu_eqx.StepDensityController(
                term, lambda t, y, args: jnp.sum(y[0] ** 2) ** 0.75
            ),
            max_steps=100_000,
        )
        ```

    `dt0` is the length of the first step, to first order, and the others are
    $\Delta t_0\, Q(y) / Q(y_0)$: the scale of $Q$ does not matter. For steps
    $h = \varepsilon\, Q(y)$ wherever the solve starts, pass
    `dt0=eps * monitor(t0, y0, args)`, and do the same to continue a solve. To continue
    it exactly, from a step that was not cut, pass `dt0=1 / sol.controller_state` and
    `controller_state=sol.controller_state`, from `SaveAt(controller_state=True)`.

    The last step is cut to end at `t1`. How many steps there are is known only
    afterwards, so leave room in `max_steps`. Step sizes depend on the state, and are
    differentiated through: by `RecursiveCheckpointAdjoint`, `DirectAdjoint` and
    `ForwardMode`. `BacksolveAdjoint` takes no such steps, and raises.

    Nothing pulls $\rho$ back to $1/Q$: that could not be reversible. What the leapfrog
    rule misses where $Q$ changes much within a few steps adds up in chaotic motion, and
    in the end $\rho$ may reach zero, which is a step of infinite length. The solve then
    stops at the last good state with `RESULTS.nonfinite`, as it does where $Q$ is not
    positive. Make `dt0` smaller or the monitor smoother.

    ??? cite "Reference"

        ```bibtex
        @article{hairer2005explicit,
            title={Explicit, time reversible, adaptive step size control},
            author={Hairer, Ernst and S{\"o}derlind, Gustaf},
            journal={SIAM Journal on Scientific Computing},
            volume={26},
            number={6},
            pages={1838--1851},
            year={2005},
        }
        ```
    """

    term: diffrax.AbstractTerm
    monitor: Monitor | None
    # 1, or -1 when time runs backward: times are then handed over with the other sign.
    direction: Any

    def __init__(self, term: diffrax.AbstractTerm, monitor: Monitor | None = None):
        r"""**Arguments:**

        - `term`: the term that is solved, for $f$: a [`chlu_eqx.HamiltonianTerm`][] or
            any other whose control is time. diffrax does not show it to controllers.
        - `monitor`: the step wanted, up to a constant: a callable from `(t, y, args)`
            to a positive scalar, differentiable by `jax.jvp`. Good ones are local time
            scales that do not see the sign of the momentum, as $|q|^{3/2}$ in
            Kepler's problem. By default

            $$Q = 1 / \sqrt{1 + \lVert f \rVert^2},$$

            for which every step covers the same length of the graph of the solution,
            time included. It never exceeds one: steps stay bounded near equilibria and
            where friction brings the motion to rest. It does mix the units of `t`, `q`
            and `p`, and so takes all three to be of order one; with units, give a
            monitor. It costs a force evaluation and its derivative per step.

        **Raises:** `ValueError` if `term` is not one diffrax term or `monitor` is not
        callable; when traced, if `dt0` is `None`, the monitor does not return a real
        scalar, or the term is not an ordinary differential equation for `y0`; when run,
        an error if `dt0` is zero or the monitor is not positive and finite at `y0`.
        """
        wanted = (
            "the diffrax term that is solved, such as `chlu_eqx.HamiltonianTerm(...)` "
            "(a pair of terms becomes one by `chlu_eqx.PartitionedTerm(drift, kick)`)"
        )
        self.term = instance("term", term, diffrax.AbstractTerm, wanted)
        self.monitor = None if monitor is None else function("monitor", monitor)
        self.direction = 1

    def wrap(self, direction: Any) -> "StepDensityController":
        return eqx.tree_at(lambda c: c.direction, self, direction)

    def init(
        self,
        terms: PyTree,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        dt0: RealScalarLike | None,
        args: PyTree,
        func: Callable,
        error_order: RealScalarLike | None,
    ) -> tuple[Real[Array, ""], Real[Array, ""]]:
        del terms, func, error_order
        if dt0 is None:
            raise ValueError(
                "`StepDensityController` needs `dt0`, the length of the first step, "
                "got `dt0=None`."
            )
        time = jnp.asarray(t0)
        self._check(time, y0, args)
        first = jnp.asarray(dt0, time.dtype)
        # A solve from `t0` to `t0` makes no step, and counts as going backward.
        first = eqx.error_if(first, (first <= 0) & (t0 < t1), "`dt0` must not be zero.")
        rate, wanted = self._density_rate(time, y0, args)
        rate = eqx.error_if(
            rate,
            (wanted <= 0) | jnp.isinf(wanted),
            "`monitor` must be positive and finite at `y0`.",
        )
        density = 1 / first + rate / 2
        return time + _length(density), density

    def adapt_step_size(
        self,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: PyTree,
        y1_candidate: PyTree,
        args: PyTree,
        y_error: PyTree | None,
        error_order: RealScalarLike | None,
        controller_state: Array,
    ) -> tuple[Any, Any, Any, bool, Array, RESULTS]:
        del y0, y_error, error_order
        # The density of the step just made. Failure is told here and not where it comes
        # about, since the last density of a solve is of a step that nobody makes.
        density = controller_state
        good = density > 0
        result = RESULTS.where(
            good,
            RESULTS.successful,
            RESULTS.nonfinite,  # pyright: ignore[reportArgumentType]
        )
        rate, wanted = self._density_rate(jnp.asarray(t1), y1_candidate, args)
        # Not a number for a bad monitor, which the next step then tells.
        density = jnp.where(wanted > 0, density + rate, jnp.nan)
        density = jnp.where(good, density, controller_state)
        next_t0 = jnp.where(good, t1, t0)
        return good, next_t0, next_t0 + _length(density), False, density, result

    def _density_rate(self, t: Array, y: PyTree, args: PyTree) -> tuple[Array, Array]:
        """How much the density grows per step, and the monitor."""
        sign = jnp.asarray(self.direction, t.dtype)
        time = sign * t
        wanted, change = jax.jvp(
            lambda t, y: self._wanted(t, y, args),
            (time, y),
            (jnp.ones_like(time), self._field(time, y, args)),
        )
        return -sign * (change / wanted).astype(t.dtype), wanted

    def _wanted(self, t: Array, y: PyTree, args: PyTree) -> Scalar:
        if self.monitor is not None:
            return jnp.asarray(self.monitor(t, y, args))
        field = jax.tree.leaves(self._field(t, y, args))
        return lax.rsqrt(1 + sum(jnp.sum(x**2).astype(t.dtype) for x in field))

    def _field(self, t: Array, y: PyTree, args: PyTree) -> PyTree:
        field = self.term.vf(t, y, args)
        return jax.tree.map(lambda yi, fi: jnp.asarray(fi, yi.dtype), y, field)

    def _check(self, t: Array, y: PyTree, args: PyTree) -> None:
        control = jax.tree.leaves(eqx.filter_eval_shape(self.term.contr, t, t))
        if [jnp.shape(c) for c in control] != [()]:
            raise ValueError(
                "`StepDensityController` is for ordinary differential equations: the "
                "control of `term` must be time, as that of `diffrax.ODETerm`."
            )
        if self.monitor is None:
            return
        wanted = eqx.filter_eval_shape(self.monitor, t, y, args)
        scalar = jax.tree.structure(wanted) == jax.tree.structure(0)
        if not (
            scalar
            and jnp.shape(wanted) == ()
            and jnp.issubdtype(jnp.result_type(wanted), jnp.floating)
        ):
            raise ValueError(
                f"`monitor` must return a floating-point scalar, got {wanted}."
            )


def _length(density: Array) -> Array:
    """The step of a density; infinite where there is none."""
    good = density > 0
    return jnp.where(good, 1 / jnp.where(good, density, 1), jnp.inf)


@diffrax.citation_rules.append
def _cite(stepsize_controller: Any) -> str | None:
    if not isinstance(stepsize_controller, StepDensityController):
        return None
    doc = StepDensityController.__doc__ or ""
    [reference] = re.findall(r"```bibtex([^`]*)```", doc)
    return "% The step size control is from:\n" + inspect.cleandoc(reference)
