"""Optimisers that are conformal symplectic integrators, as optax transformations."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.lax as lax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Int, PyTree

from .._checks import (
    floating,
    in_closed_unit_interval,
    in_unit_interval,
    nonnegative,
    positive,
)


Hyperparameter: TypeAlias = ArrayLike | Callable[[Int[Array, ""]], ArrayLike]
Norm: TypeAlias = Literal["global", "leaf", "coordinate"]


class RelativisticState(NamedTuple):
    """The state of the optimisers of this module.

    **Attributes:**

    - `count`: how many steps have been made.
    - `velocity`: $w$, like the parameters.
    - `lookahead`: for every leaf the factor $f$ by which the parameters are ahead of
        the trajectory, $y - x = f\\,w$: an array that broadcasts against the leaf.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    velocity: PyTree[Float[Array, "..."]]
    lookahead: PyTree[Float[Array, "..."]]


def relativistic_gradient_descent(
    learning_rate: Hyperparameter,
    momentum: Hyperparameter = 0.9,
    relativity: Hyperparameter = 1.0,
    alpha: Hyperparameter = 1.0,
    *,
    norm: Norm = "global",
    accumulator_dtype: DTypeLike | None = None,
) -> optax.GradientTransformation:
    r"""Relativistic gradient descent: gradient descent with momentum whose steps have a
    speed limit. It is the leapfrog integrator of a particle of relativistic kinetic
    energy that slides down the loss $f$ with friction,

    $$\begin{aligned}
    y &= x + r(\mu w), \\
    w &\leftarrow \mu w - \epsilon \nabla f(y), \\
    x &\leftarrow \alpha\, y + (1 - \alpha)\, x + r(w),
    \end{aligned} \qquad r(w) = \frac{w}{\sqrt{1 + \delta\,|w|^2}}$$

    (França, Sulam, Robinson & Vidal, NeurIPS 2020, arXiv 1903.04100, algorithm 1, whose
    $v$ is $\sqrt\mu\, w$). One gradient a step. However large the gradient is, the
    parameters move by at most $(3 - \alpha)/\sqrt\delta$.

    **The parameters that optax holds are $y$**, where the gradient is taken, as in
    optax's Nesterov momentum. The trajectory itself, $x$, is what
    [`chlu_eqx.optim.relativistic_eval_params`][] returns: evaluate and keep that one.

    With $\alpha = 1$ the step is conformal symplectic: the Jacobian $J$ of the map of
    $(x, w)$ satisfies $J^\top \Omega J = \mu\,\Omega$, whatever the loss. Without
    relativity, $\delta = 0$, it is classical momentum of the learning rate
    $(1 + \mu)\,\epsilon$ for $\alpha = 1$, and Nesterov's for $\alpha = 0$.

    !!! Example

        ```python
        optimizer = chlu_eqx.optim.relativistic_gradient_descent(1e-3, 0.9)
        state = optimizer.init(params)
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, updates)
        trained = chlu_eqx.optim.relativistic_eval_params(state, params)
        ```

    Weight decay and other changes of the gradient go before it in an `optax.chain`;
    nothing may come after it, since it adds up its own steps. Non-finite gradients are
    passed on, as by optax's own optimisers: wrap it in `optax.apply_if_finite` to skip
    them. Hyperparameters that vary are taken at the step that they are given for.

    **Arguments:**

    - `learning_rate`: $\epsilon$, positive; a number, or a schedule: a function of the
        number of the step.
    - `momentum`: $\mu$, in $[0, 1)$; likewise. In terms of the friction $\gamma$ and
        the step $h$ of the particle, $e^{-\gamma h}$.
    - `relativity`: $\delta$, non-negative; likewise. The inverse square of the speed
        limit, in units of parameters per half step.
    - `alpha`: $\alpha$, in $[0, 1]$; likewise. Less than one adds the damping of
        Nesterov's method.
    - `norm`: what $|w|$ is: that of all parameters together, of each leaf on its own,
        or of each coordinate. The speed limit is then that of the same.
    - `accumulator_dtype`: the dtype of the velocity; defaults to that of the
        parameters.

    **Returns:** an `optax.GradientTransformation` whose state is a
    [`chlu_eqx.optim.RelativisticState`][].

    **Raises:** `ValueError` if a hyperparameter is out of range; by `init`, if the
    parameters are not floating-point numbers.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{franca2020conformal,
            title={Conformal Symplectic and Relativistic Optimization},
            author={Fran{\c{c}}a, Guilherme and Sulam, Jeremias and Robinson, Daniel P
                    and Vidal, Ren{\'e}},
            booktitle={Advances in Neural Information Processing Systems},
            volume={33},
            year={2020},
        }
        ```
    """
    _check(learning_rate, momentum, relativity, norm)
    _check_known("alpha", alpha, in_closed_unit_interval)

    def move(state: RelativisticState, w: PyTree, mu: Any, delta: Any) -> tuple:
        a = _at(alpha, state.count)
        slow = _slowdown(w, delta, norm)
        ahead = _slowdown(jax.tree.map(lambda w: _times(mu, w), w), delta, norm)
        ahead = jax.tree.map(lambda f: _times(mu, f), ahead)
        updates = jax.tree.map(
            lambda s, f, w, f0, w0: (s + f) * w - _times(1 - a, f0 * w0),
            slow,
            ahead,
            w,
            state.lookahead,
            state.velocity,
        )
        return updates, ahead

    return _transformation(
        learning_rate, momentum, relativity, move, norm, accumulator_dtype
    )


def conformal_symplectic_euler(
    learning_rate: Hyperparameter,
    momentum: Hyperparameter = 0.9,
    relativity: Hyperparameter = 0.0,
    *,
    norm: Norm = "global",
    accumulator_dtype: DTypeLike | None = None,
) -> optax.GradientTransformation:
    r"""Classical momentum, with a speed limit: the conformal symplectic Euler
    integrator of the same particle,

    $$w \leftarrow \mu w - \epsilon \nabla f(x), \qquad
    x \leftarrow x + \frac{w}{\sqrt{1 + \delta\,|w|^2}}$$

    (França et al., NeurIPS 2020, arXiv 1903.04100, section 2). The gradient is taken on
    the trajectory itself, which is what optax holds. The step is conformal symplectic,
    of order 1, and no longer than $1/\sqrt\delta$. Without relativity, the default, it
    is `optax.sgd(learning_rate, momentum)`.

    Arguments, errors and everything else as in
    [`chlu_eqx.optim.relativistic_gradient_descent`][].
    """
    _check(learning_rate, momentum, relativity, norm)

    def move(state: RelativisticState, w: PyTree, mu: Any, delta: Any) -> tuple:
        updates = jax.tree.map(jnp.multiply, _slowdown(w, delta, norm), w)
        return updates, state.lookahead

    return _transformation(
        learning_rate, momentum, relativity, move, norm, accumulator_dtype
    )


def relativistic_eval_params(state: Any, params: PyTree) -> PyTree:
    r"""The trajectory $x = y - r(\mu w)$ beside the parameters $y$ that optax holds.

    **Arguments:**

    - `state`: the optimiser's state, or any optax state that holds some: of a chain, of
        `inject_hyperparams`, of `multi_transform`, ...
    - `params`: the parameters of that state.

    **Returns:** a pytree like `params`.

    **Raises:** `ValueError` if there is no [`chlu_eqx.optim.RelativisticState`][] in
    the state.
    """
    is_ours = lambda x: isinstance(x, RelativisticState)  # noqa: E731
    found = [x for x in jax.tree.leaves(state, is_leaf=is_ours) if is_ours(x)]
    if not found:
        raise ValueError(
            "`state` must hold the state of `relativistic_gradient_descent`, got "
            f"{jax.tree.structure(state)}."
        )
    is_masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731
    for part in found:
        # Of what it does not train, it has masked nodes in place of leaves.
        ahead = jax.tree.map(
            lambda f, w: w if is_masked(w) else f * w,
            part.lookahead,
            part.velocity,
            is_leaf=is_masked,
        )
        params = jax.tree.map(
            lambda a, y: y if is_masked(a) else (y.astype(a.dtype) - a).astype(y.dtype),
            ahead,
            params,
            is_leaf=is_masked,
        )
    return params


def _transformation(
    learning_rate: Hyperparameter,
    momentum: Hyperparameter,
    relativity: Hyperparameter,
    move: Callable[[RelativisticState, PyTree, Any, Any], tuple[PyTree, PyTree]],
    norm: Norm,
    accumulator_dtype: DTypeLike | None,
) -> optax.GradientTransformation:
    """From `(state, w, μ, δ)` with the new `w`, `move` tells the updates and by which
    factors of `w` the parameters are then ahead."""

    def init(params: PyTree) -> RelativisticState:
        floating("params", params)
        velocity = jax.tree.map(
            lambda x: jnp.zeros_like(x, dtype=accumulator_dtype), params
        )
        nothing = jax.tree.map(jnp.zeros_like, _slowdown(velocity, 0.0, norm))
        return RelativisticState(jnp.zeros((), jnp.int32), velocity, nothing)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None
    ) -> tuple[PyTree, RelativisticState]:
        del params
        epsilon, mu, delta = (
            _at(x, state.count) for x in (learning_rate, momentum, relativity)
        )
        w = jax.tree.map(
            lambda w, g: _times(mu, w) - _times(epsilon, g.astype(w.dtype)),
            state.velocity,
            updates,
        )
        moved, ahead = move(state, w, mu, delta)
        moved = jax.tree.map(lambda u, g: u.astype(g.dtype), moved, updates)
        count: Any = optax.safe_increment(state.count)
        return moved, RelativisticState(count, w, ahead)

    return optax.GradientTransformation(init, update)


def _slowdown(
    w: PyTree[Float[Array, "..."]], relativity: Any, norm: Norm
) -> PyTree[Float[Array, "..."]]:
    """1/√(1 + δ|w|²) for every leaf, in its dtype. The squares neither overflow nor,
    beside larger ones, matter where they underflow."""
    leaves, structure = jax.tree.flatten(w)
    wide = any(x.dtype == jnp.float64 for x in leaves)
    dtype = jnp.float64 if wide else jnp.float32
    root = jnp.sqrt(jnp.asarray(relativity, dtype))
    u = [root * jnp.abs(x).astype(dtype) for x in leaves]

    def gathered(values: list[Array], within: Callable, across: Callable) -> list:
        if norm == "coordinate":
            return values
        values = [within(x, initial=0.0) for x in values]
        if norm == "leaf" or not values:
            return values
        return [functools.reduce(across, values)] * len(values)

    scales = [
        lax.stop_gradient(jnp.maximum(x, 1.0))
        for x in gathered(u, jnp.max, jnp.maximum)
    ]
    squares = [(x / scale) ** 2 for x, scale in zip(u, scales, strict=True)]
    found = [
        1 / (scale * jnp.sqrt(scale**-2 + square))
        for scale, square in zip(
            scales, gathered(squares, jnp.sum, jnp.add), strict=True
        )
    ]
    return structure.unflatten(
        [s.astype(x.dtype) for s, x in zip(found, leaves, strict=True)]
    )


def _times(factor: Any, x: Array) -> Array:
    return jnp.asarray(factor, x.dtype) * x


def _at(value: Hyperparameter, count: Int[Array, ""]) -> Any:
    return value(count) if callable(value) else value


def _check_known(name: str, value: Any, check: Callable) -> None:
    # What schedules and traces will bring cannot be checked.
    if not callable(value) and not isinstance(value, Tracer):
        check(name, value)


def _check(
    learning_rate: Hyperparameter,
    momentum: Hyperparameter,
    relativity: Hyperparameter,
    norm: Norm,
) -> None:
    _check_known("learning_rate", learning_rate, positive)
    _check_known("momentum", momentum, in_unit_interval)
    _check_known("relativity", relativity, nonnegative)
    if norm not in ("global", "leaf", "coordinate"):
        raise ValueError(
            f'`norm` must be "global", "leaf" or "coordinate", got {norm!r}.'
        )
