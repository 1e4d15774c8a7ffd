"""Local Lyapunov exponents, to keep what is learned from being chaotic."""

from collections.abc import Callable

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from .._checks import count, function, random_key, state


Map = Callable[[PyTree], PyTree]


def lyapunov_exponents(step: Map, y: PyTree) -> Float[Array, " size"]:
    r"""The local exponents of a map,

    $$\lambda_i = \log \sigma_i(J), \qquad J = \partial_y \Phi(y),$$

    from its whole Jacobian, largest first: how much the map stretches the space around
    one state, in each of its principal directions. Divide by the time that the map
    takes for exponents per time.

    Of a (conformally) symplectic map they come in pairs whose sum is the same,
    $\log(1 - \gamma)$, whatever the energy: **their mean is constant, and no
    regulariser** (the CHLU paper's, Jawahar & Pierini, arXiv 2603.01768, is that mean).
    Use [`chlu_eqx.training.largest_exponent`][] or
    [`chlu_eqx.training.positive_exponents`][].

    **Arguments:**

    - `step`: the map $\Phi$ of states onto states, differentiable by `jax.jvp`: of a
        unit,

        ```python
        def step(y):
            q, p = unit(y, 10, adjoint=diffrax.DirectAdjoint())
            return q[-1], p[-1]
        ```
    - `y`: one state, a pytree.

    **Returns:** the exponents, as many as the state has numbers.

    **Raises:** `ValueError` if `step` is not callable or `y` does not hold
    floating-point numbers.
    """
    function("step", step)
    flat, unravel = ravel_pytree(state("y", y))
    jacobian = jax.jacfwd(lambda x: ravel_pytree(step(unravel(x)))[0])(flat)
    return jnp.log(jnp.linalg.svd(jacobian, compute_uv=False))


def positive_exponents(step: Map, y: PyTree) -> Scalar:
    r"""$\sum_i \max(0, \lambda_i)$ over [`chlu_eqx.training.lyapunov_exponents`][]: how
    much the map stretches volumes in the directions that it stretches."""
    return jnp.sum(jax.nn.relu(lyapunov_exponents(step, y)))


def largest_exponent(
    step: Map, y: PyTree, *, num_iterations: int = 8, key: PRNGKeyArray
) -> Scalar:
    r"""The largest of [`chlu_eqx.training.lyapunov_exponents`][], without the Jacobian:
    by power iteration of $J^\top J$ on a random direction, a product with each of the
    two per iteration.

    A lower bound, which `num_iterations` make tight where the largest stands apart. Its
    derivative is that of the exponent at the direction found.

    **Arguments:**

    - `step`, `y`: as there.
    - `num_iterations`: how often to iterate, positive.
    - `key`: a `jax.random.key`, for the direction.

    **Raises:** as there; `ValueError` if `num_iterations` is not a positive integer.
    """
    function("step", step)
    num_iterations, key = (
        count("num_iterations", num_iterations),
        random_key("key", key),
    )
    flat, unravel = ravel_pytree(state("y", y))

    def flow(x: Array) -> Array:
        return ravel_pytree(step(unravel(x)))[0]

    here = lax.stop_gradient(flat)
    _, pull = jax.vjp(flow, here)

    def normalised(v: Array) -> Array:
        return v / jnp.linalg.norm(v)

    def iterate(v: Array, _) -> tuple[Array, None]:
        _, pushed = jax.jvp(flow, (here,), (v,))
        return normalised(pull(pushed)[0]), None

    v = normalised(jr.normal(key, flat.shape, flat.dtype))
    v, _ = lax.scan(iterate, v, None, length=num_iterations)
    # At a stationary direction its own change does not matter to first order.
    _, pushed = jax.jvp(flow, (flat,), (lax.stop_gradient(v),))
    return jnp.log(jnp.linalg.norm(pushed))
