"""Hamiltonian flows as parts of FlowJAX, which this module alone imports: it comes with
the extra `flowjax`."""

import equinox as eqx
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, ArrayLike

from .._checks import instance
from .flow import HamiltonianFlow


class HamiltonianBijection(AbstractBijection):
    r"""The map of a [`chlu_eqx.nn.HamiltonianFlow`][] as a FlowJAX bijection of
    $(q, p)$, one after the other: of shape `(2 * dim,)`, with the logarithm of its
    determinant zero.

    !!! Example

        ```python
        joint = flowjax.distributions.Transformed(
            flowjax.distributions.Normal(jnp.zeros(4)), HamiltonianBijection(flow)
        )
        joint.log_prob(qp)
        ```
    """

    flow: HamiltonianFlow
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, flow: HamiltonianFlow):
        """**Arguments:**

        - `flow`: whose map it is; its base and its encoder are not used.
        """
        wanted = "a `chlu_eqx.nn.HamiltonianFlow`"
        self.flow = instance("flow", flow, HamiltonianFlow, wanted)
        self.shape = (2 * flow.dim,)
        self.cond_shape = None

    def transform_and_log_det(
        self, x: ArrayLike, condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        y = jnp.concatenate(self.flow.forward(*jnp.split(jnp.asarray(x), 2)))
        return y, jnp.zeros((), y.dtype)

    def inverse_and_log_det(
        self, y: ArrayLike, condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        x = jnp.concatenate(self.flow.inverse(*jnp.split(jnp.asarray(y), 2)))
        return x, jnp.zeros((), x.dtype)
