"""Hamiltonians `H(q, p)` and the equations of motion they generate."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import array, count, energy, function, random_key
from .kinetic import AbstractKineticEnergy


class AbstractHamiltonian(eqx.Module):
    """A total energy $H(q, p)$ of one unbatched state, without explicit time."""

    @abc.abstractmethod
    def __call__(self, q: PyTree, p: PyTree) -> Scalar:
        """The energy $H(q, p)$, a scalar."""


class SeparableHamiltonian(AbstractHamiltonian):
    r"""The separable energy

    $$H(q, p) = T(p) + V(q).$$

    The velocity does not depend on the position nor the force on the momentum, which
    is what the explicit kick-drift solvers need.
    """

    kinetic: Callable[[PyTree], Scalar]
    potential: Callable[[PyTree], Scalar]

    def __init__(
        self,
        kinetic: Callable[[PyTree], Scalar],
        potential: Callable[[PyTree], Scalar],
    ):
        """**Arguments:**

        - `kinetic`: an [`chlu_eqx.AbstractKineticEnergy`][], whose closed-form velocity
            is used, or any callable from a momentum to a scalar.
        - `potential`: any callable from a position to a scalar.

        **Raises:** `ValueError` if either is not callable; when called, if it does not
        return a scalar.
        """
        self.kinetic = function("kinetic", kinetic)
        self.potential = function("potential", potential)

    def __call__(self, q: PyTree, p: PyTree) -> Scalar:
        kinetic = energy("kinetic", self.kinetic)(p)
        return kinetic + energy("potential", self.potential)(q)

    def velocity(self, p: PyTree) -> PyTree:
        r"""The velocity $\dot q = \nabla T(p)$."""
        if isinstance(self.kinetic, AbstractKineticEnergy):
            return self.kinetic.velocity(p)
        return jax.grad(energy("kinetic", self.kinetic))(p)

    def force(self, q: PyTree) -> PyTree:
        r"""The force $\dot p = -\nabla V(q)$."""
        slope = jax.grad(energy("potential", self.potential))(q)
        return jax.tree.map(jnp.negative, slope)


class NeuralHamiltonian(AbstractHamiltonian):
    """A multilayer perceptron from `(q, p)`, each of shape `(dim,)`, to an energy.

    It is not separable: the explicit kick-drift solvers refuse it, while diffrax's own
    solvers integrate it (Greydanus, Dzamba & Yosinski, "Hamiltonian Neural Networks",
    NeurIPS 2019, arXiv 1906.01563).
    """

    mlp: eqx.nn.MLP

    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `dim`: the number of coordinates of `q`.
        - `width`, `depth`: the size and the number of the hidden layers.
        - `activation`: a smooth function.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer, `depth` is
        negative or `key` is no key.
        """
        dim, width = count("dim", dim), count("width", width)
        depth = count("depth", depth, least=0)
        key = random_key("key", key)
        self.mlp = eqx.nn.MLP(2 * dim, "scalar", width, depth, activation, key=key)

    def __call__(self, q: Float[Array, " dim"], p: Float[Array, " dim"]) -> Scalar:
        dim = self.mlp.layers[0].weight.shape[1] // 2
        return self.mlp(jnp.concatenate([array("q", q, dim), array("p", p, dim)]))
