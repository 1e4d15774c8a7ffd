"""Variational integrator networks: learned Lagrangians, discretised."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import count, phase_state, random_key
from .._types import RealScalarLike
from ..friction import Friction, friction_flow
from ..hamiltonian import AbstractKineticEnergy, MLPPotential, NewtonianKinetic
from ..solver import CHLUSolver
from ..term import Forcing
from .chlu import CHLU


class VariationalIntegratorNetwork(eqx.Module):
    r"""A learned Lagrangian $\tfrac12 \dot q^\top M \dot q - V_\theta(q)$, stepped by
    the variational integrator of the trapezoidal rule, which is velocity Verlet:

    $$q_{k+1} = q_k + h v_k - \tfrac{h^2}{2} M^{-1} \nabla V(q_k), \qquad
    v_{k+1} = v_k - \tfrac h2 M^{-1} \left[\nabla V(q_k) + \nabla V(q_{k+1})\right].$$

    With an external force $F(t, q)$, $-\nabla V(q_k) + F(t_k, q_k)$ stands for
    $-\nabla V(q_k)$: the discrete Lagrange-d'Alembert principle of the same rule.

    States are positions and *velocities*, `(q, v)`, as data have them: what the network
    learns is a [`chlu_eqx.nn.CHLU`][] with a Newtonian kinetic energy, `unit`, between
    two Legendre transforms. The three forms of the paper:

    - velocity Verlet (VIN-VV), from `(q, v)`: a call;
    - Störmer-Verlet (VIN-SV), from two positions, the same map in other coordinates,
      $q_{k+1} = 2 q_k - q_{k-1} - h^2 M^{-1} \nabla V(q_k)$:
      [`positions`][chlu_eqx.nn.VariationalIntegratorNetwork.positions];
    - on the circle (VIN-SO(2)), from two angles: `positions` of a network with a
      [`chlu_eqx.RotationKinetic`][] and a [`chlu_eqx.PeriodicPotential`][].

    !!! Example

        ```python
        network = chlu_eqx.nn.VariationalIntegratorNetwork(2, dt=0.1, key=key)
        q, v = network((q0, v0), num_steps=100)   # each (101, 2)
        q = network.positions((q0, q1), num_steps=100)
        ```

    ??? cite "Reference"

        ```bibtex
        @inproceedings{saemundsson2020variational,
            title={Variational Integrator Networks for Physically Structured
                   Embeddings},
            author={Saemundsson, Steindor and Terenin, Alexander and Hofmann, Katja and
                    Deisenroth, Marc},
            booktitle={International Conference on Artificial Intelligence and
                       Statistics},
            year={2020},
        }
        ```
    """

    unit: CHLU

    def __init__(
        self,
        dim: int,
        *,
        dt: RealScalarLike = 0.1,
        kinetic: AbstractKineticEnergy | None = None,
        potential: Callable[[Array], Scalar] | None = None,
        friction: Friction | None = None,
        forcing: Forcing | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `dim`: the number of coordinates of `q`.
        - `dt`: the step $h$, positive. A Python number is a constant; an array is
            learned unless it is filtered out.
        - `kinetic`: defaults to [`chlu_eqx.NewtonianKinetic`][]`(dim)`, masses that are
            learned from 1 on. [`chlu_eqx.DenseNewtonianKinetic`][] has a full matrix;
            [`chlu_eqx.RotationKinetic`][] must be of the same `dt`.
        - `potential`: defaults to `MLPPotential(dim, width=1000, depth=1, key=key)`, of
            the paper's size.
        - `friction`: a damping rate, as in [`chlu_eqx.HamiltonianTerm`][]; defaults to
            none.
        - `forcing`: an external force $F(t, q)$ on the momenta, as of a
            [`chlu_eqx.nn.CHLU`][]; defaults to none.
        - `key`: a `jax.random.key` for the default potential's weights.

        **Raises:** `ValueError` if `kinetic` is no
        [`chlu_eqx.AbstractKineticEnergy`][], `dt` is not positive or `friction` is
        negative.
        """
        dim, key = count("dim", dim), random_key("key", key)
        if kinetic is None:
            kinetic = NewtonianKinetic(dim)
        if not isinstance(kinetic, AbstractKineticEnergy):
            raise ValueError(
                "`kinetic` must be an `AbstractKineticEnergy`, which knows the "
                f"momentum of a velocity, got {kinetic}."
            )
        if potential is None:
            potential = MLPPotential(dim, width=1000, depth=1, key=key)
        self.unit = CHLU(
            dim,
            dt=dt,
            kinetic=kinetic,
            potential=potential,
            friction=friction,
            forcing=forcing,
            solver=CHLUSolver(),
            key=key,
        )

    @property
    def kinetic(self) -> AbstractKineticEnergy:
        """The kinetic energy, which knows the momentum of a velocity."""
        return self.unit.hamiltonian.kinetic  # pyright: ignore[reportReturnType]

    def __call__(
        self,
        y0: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        *,
        save_every: int = 1,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> tuple[Float[Array, "times dim"], Float[Array, "times dim"]]:
        """The trajectory from a position and a velocity, `(q0, v0)`.

        Arguments, errors and the rest as of a [`chlu_eqx.nn.CHLU`][].

        **Returns:** the pair `(q, v)`, each of shape `(times, dim)`.
        """
        q0, v0 = phase_state("y0", y0)
        start = (q0, self.kinetic.momentum(v0))
        q, p = self.unit(start, num_steps, save_every=save_every, adjoint=adjoint)
        return q, jax.vmap(self.kinetic.velocity)(p)

    def positions(
        self,
        y0: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        *,
        save_every: int = 1,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> Float[Array, "times dim"]:
        """The positions from the first two of them, `(q0, q1)`, a step apart.

        Arguments, errors and the rest as of a [`chlu_eqx.nn.CHLU`][].

        **Returns:** the positions, of shape `(times, dim)`, $q_0$ first.
        """
        start = self.momentum_state(y0)
        return self.unit(start, num_steps, save_every=save_every, adjoint=adjoint)[0]

    def momentum_state(
        self, y0: tuple[Float[Array, " dim"], Float[Array, " dim"]]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        """The state $(q_0, p_0)$ of the `unit` that takes it from the first of two
        positions to the second in a step."""
        (q0, q1), unit = phase_state("y0", y0), self.unit
        h = jnp.asarray(unit.dt, q0.dtype)
        # Back from the middle of the first step, where the drift from q0 to q1 is.
        middle = self.kinetic.momentum((q1 - q0) / h)
        _, force = unit.term.undamped(0.0, (q0, middle), None)
        kicked = middle - h / 2 * force
        return friction_flow(unit.friction, -h / 2, (q0, kicked))
