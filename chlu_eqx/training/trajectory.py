"""Training on windows of trajectories, short windows first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Scalar, Shaped

from .._checks import count as counted, function, leading, like, random_key
from .devices import check_sharding, in_parts, on_all


class Progress(NamedTuple):
    """What a callback of [`chlu_eqx.training.fit_trajectories`][] is told.

    **Attributes:**

    - `step`, `num_steps`: steps made, and to make, in the whole curriculum.
    - `window`: the length of the present windows.
    - `loss`: the mean training loss since the last report.
    - `validation`: the validation loss now.
    - `best`: the lowest validation loss so far.
    """

    step: int
    num_steps: int
    window: int
    loss: float
    validation: float
    best: float


class Fit(NamedTuple):
    """The outcome of [`chlu_eqx.training.fit_trajectories`][].

    **Attributes:**

    - `model`: the model with the lowest validation loss met.
    - `last`: the model after the last step.
    - `history`: one [`chlu_eqx.training.Progress`][] per report.
    """

    model: Any
    last: Any
    history: list[Progress]


def trajectory_mse(
    model: Callable,
    trajectory: PyTree[Float[Array, "..."]],
    *,
    key: PRNGKeyArray | None = None,
) -> Scalar:
    """The mean squared error of the model's free run from a trajectory's first state
    against the rest of it, over times and coordinates, summed over the leaves.

    **Arguments:**

    - `model`: a callable `(y0, num_steps) -> trajectory`.
    - `trajectory`: a pytree like the state, with a leading time axis.
    - `key`: not used.

    **Raises:** `ValueError` if the model's trajectory has other shapes than this one,
    or this has fewer than two times.
    """
    del key
    function("model", model)
    [num_times] = leading("trajectory", trajectory)
    if num_times < 2:
        raise ValueError(f"`trajectory` must hold two times or more, got {num_times}.")
    y0 = jax.tree.map(lambda x: x[0], trajectory)
    run = like("model", model(y0, num_times - 1), trajectory, "return")
    errors = jax.tree.map(lambda x, y: jnp.mean((x[1:] - y[1:]) ** 2), run, trajectory)
    return jax.tree.reduce(jnp.add, errors)


def fit_trajectories(
    model: Any,
    trajectories: PyTree[Shaped[Array, "trajectories times ..."]],
    optimizer: optax.GradientTransformation,
    *,
    curriculum: Sequence[tuple[int, int]],
    key: PRNGKeyArray,
    batch_size: int = 32,
    loss: Callable[..., Scalar] = trajectory_mse,
    validation: PyTree[Shaped[Array, "others their_times ..."]] | None = None,
    report_every: int = 100,
    steps_per_call: int | None = None,
    callback: Callable[[Progress], None] | None = None,
    sharding: NamedSharding | None = None,
) -> Fit:
    """Fit a model to trajectories by free runs over random windows of them.

    Every step draws `batch_size` windows and descends their mean loss. Short windows
    have a loss that is easy to descend; long ones see instabilities and phase errors
    that short ones cannot. So a curriculum starts short and ends long.

    **Arguments:**

    - `model`: an equinox Module that is called as `(y0, num_steps) -> trajectory`, with
        the initial state first in the trajectory: a [`chlu_eqx.nn.CHLU`][], a neural
        ODE, a recurrent network. Its floating-point arrays are trained.
    - `trajectories`: the data, a pytree like the state `y0` whose leaves have shape
        `(trajectories, times, ...)`, on the time grid of the model's steps.
    - `optimizer`: an optax transformation; schedules count steps of the whole
        curriculum.
    - `curriculum`: pairs `(window, num_steps)`: first so many steps on windows of the
        first length (in model steps), then the next.
    - `key`: a `jax.random.key`. The same key, data and machine give the same model.
    - `batch_size`: the number of windows per step.
    - `loss`: a function `(model, window, *, key) -> scalar` of one window, which is a
        pytree like the state with a leading axis of length `window + 1`. In training
        `key` is a `jax.random.key`, for what is random in it; in validation it is
        `None`.
    - `validation`: trajectories over whose whole length `loss` picks the best model;
        defaults to `trajectories`.
    - `report_every`: how many steps to make between validations.
    - `steps_per_call`: how many of them to compile into one call, a loop; defaults to
        all. On a CPU, where XLA's convolutions take more than ten times longer inside
        of a loop, give 1 for models that have some.
    - `callback`: called with a [`chlu_eqx.training.Progress`][] after each such call,
        outside of compiled code: for progress bars and logs.
    - `sharding`: how to cut a batch into equal parts for several devices, such as
        `NamedSharding(mesh, PartitionSpec("batch"))`. Each finds the gradient of its
        own windows, and all make the same step by the mean: that of one device, to
        rounding. By default, all is left to one.

    **Returns:** a [`chlu_eqx.training.Fit`][].

    **Raises:** `ValueError` if a window does not fit into the trajectories, a count is
    not positive, or `sharding` does not cut a batch into equal parts.
    """
    _, num_times = leading("trajectories", trajectories, 2)
    if not curriculum:
        raise ValueError("`curriculum` must hold a pair (window, num_steps), got none.")
    for window, steps in curriculum:
        integers = isinstance(window, int) and isinstance(steps, int)
        if not integers or not 1 <= window < num_times or steps < 1:
            raise ValueError(
                "`curriculum` must hold pairs of integers (window, num_steps), with "
                f"1 <= window < {num_times}, the number of times in `trajectories`, "
                f"and num_steps >= 1, got {(window, steps)}."
            )
    counted("batch_size", batch_size)
    check_sharding(sharding, batch_size)
    counted("report_every", report_every)
    steps_per_call = report_every if steps_per_call is None else steps_per_call
    counted("steps_per_call", steps_per_call)
    function("loss", loss)
    random_key("key", key)
    validation = trajectories if validation is None else validation
    leading("validation", validation, 2)

    opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    everything = (model, opt_state, trajectories)
    model, opt_state, trajectories = on_all(everything, sharding)
    best_model, best, done, history = model, float("inf"), 0, []
    total = sum(steps for _, steps in curriculum)
    for window, steps in curriculum:
        for start in range(0, steps, report_every):
            count = min(report_every, steps - start)
            losses = []
            for first in range(0, count, steps_per_call):
                model, opt_state, found = _descend(
                    model,
                    opt_state,
                    trajectories,
                    key,
                    done + jnp.arange(first, min(first + steps_per_call, count)),
                    optimizer,
                    loss,
                    window,
                    batch_size,
                    sharding,
                )
                losses.append(found)
            score = float(_validate(model, validation, loss))
            if score < best:  # never for a nan
                best_model, best = model, score
            done += count
            mean = float(jnp.mean(jnp.concatenate(losses)))
            report = Progress(done, total, window, mean, score, best)
            history.append(report)
            if callback is not None:
                callback(report)
    return Fit(best_model, model, history)


@eqx.filter_jit
def _descend(
    model: Any,
    opt_state: PyTree,
    trajectories: PyTree[Shaped[Array, "trajectories times ..."]],
    key: PRNGKeyArray,
    steps: Int[Array, " steps"],
    optimizer: optax.GradientTransformation,
    loss: Callable[..., Scalar],
    window: int,
    batch_size: int,
    sharding: NamedSharding | None,
) -> tuple[Any, PyTree, Float[Array, " steps"]]:
    params, static = eqx.partition(model, eqx.is_inexact_array)
    count, num_times = jax.tree.leaves(trajectories)[0].shape[:2]

    def draw(trajectories: PyTree, key: PRNGKeyArray) -> PyTree:
        which, when = jr.split(key)
        i = jr.randint(which, (), 0, count)
        t = jr.randint(when, (), 0, num_times - window)
        return jax.tree.map(
            lambda x: lax.dynamic_slice_in_dim(x[i], t, window + 1), trajectories
        )

    def mean_loss(params: PyTree, trajectories: PyTree, keys: Array) -> Scalar:
        model = eqx.combine(params, static)

        def one(key: PRNGKeyArray) -> Scalar:
            # Beside the two keys of the window.
            return loss(model, draw(trajectories, key), key=jr.fold_in(key, 2))

        return jnp.mean(jax.vmap(one)(keys))

    def gradient(shared: tuple, keys: Array) -> tuple[tuple, None]:
        return jax.value_and_grad(mean_loss)(*shared, keys), None

    def descend(carry: tuple, step: Int[Array, ""]) -> tuple:
        params, opt_state = carry
        # Keyed by the step, not by a chain of splits: any step can be made again.
        keys = jr.split(jr.fold_in(key, step), batch_size)
        (value, grads), _ = in_parts(gradient, sharding)((params, trajectories), keys)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (eqx.apply_updates(params, updates), opt_state), value

    if len(steps) == 1:  # no loop
        (params, opt_state), value = descend((params, opt_state), steps[0])
        losses = value[None]
    else:
        (params, opt_state), losses = lax.scan(descend, (params, opt_state), steps)
    return eqx.combine(params, static), opt_state, losses


@eqx.filter_jit
def _validate(model: Any, trajectories: PyTree, loss: Callable) -> Scalar:
    return jnp.mean(jax.vmap(lambda x: loss(model, x, key=None))(trajectories))
