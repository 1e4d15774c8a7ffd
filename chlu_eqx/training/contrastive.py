"""Wake and sleep: contrastive divergence for energies of dynamics and of images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree, Scalar

from .._checks import (
    array,
    count,
    function,
    instance,
    leading,
    nonnegative,
    random_key,
)
from ..friction import Friction
from ..term import Temperature
from .devices import check_sharding, in_parts
from .replay_buffer import ReplayBuffer
from .trajectory import trajectory_mse


State = PyTree[Float[Array, "..."]]


class ContrastiveState(eqx.Module):
    """All that training by [`chlu_eqx.training.contrastive_steps`][] carries: a pytree,
    to be saved and gone on from at any step.

    **Attributes:**

    - `model`: the model being trained.
    - `opt_state`: the optimiser's state.
    - `buffer`: the chains of the sleep.
    - `key`: the `jax.random.key` of the run; step `n` uses it folded with `n`.
    - `step`: how many steps have been made.
    """

    model: Any
    opt_state: PyTree
    buffer: ReplayBuffer
    key: PRNGKeyArray
    step: Int[Array, ""]

    def __init__(
        self,
        model: Any,
        optimizer: optax.GradientTransformation,
        buffer: ReplayBuffer,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `model`: an equinox Module; its floating-point arrays are trained.
        - `optimizer`: the optax transformation of the steps.
        - `buffer`: a [`chlu_eqx.training.ReplayBuffer`][] of states `(q, p)`.
        - `key`: a `jax.random.key`.

        **Raises:** `ValueError` if `buffer` is no buffer or `key` no key.
        """
        self.model = model
        self.opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        wanted = "a `chlu_eqx.training.ReplayBuffer`"
        self.buffer = instance("buffer", buffer, ReplayBuffer, wanted)
        self.key = random_key("key", key)
        self.step = jnp.zeros((), jnp.int32)


class ContrastiveReport(NamedTuple):
    """What happened in each step, arrays of shape `(num_steps,)`.

    **Attributes:**

    - `loss`: the loss of the wake, beside the energies.
    - `wake_energy`, `sleep_energy`: the mean energies of either.
    """

    loss: Float[Array, " steps"]
    wake_energy: Float[Array, " steps"]
    sleep_energy: Float[Array, " steps"]


def total_energy(model: Any, state: tuple[State, State]) -> Scalar:
    """$H(q, p)$ of a unit."""
    return model.hamiltonian(*state)


@eqx.filter_jit
def contrastive_steps(
    state: ContrastiveState,
    data: PyTree[Float[Array, "samples ..."]],
    num_steps: int,
    *,
    optimizer: optax.GradientTransformation,
    wake: Callable[[Any, PyTree, PRNGKeyArray], tuple[Scalar, State]],
    sleep: Callable[[Any, State, PRNGKeyArray], State],
    energy: Callable[[Any, State], Scalar] = total_energy,
    batch_size: int = 128,
    fresh: float = 0.05,
    contrast: ArrayLike = 1.0,
    penalty: ArrayLike = 0.005,
    sharding: NamedSharding | None = None,
) -> tuple[ContrastiveState, ContrastiveReport]:
    r"""Steps of Hamiltonian contrastive divergence: lower the energy where data are and
    raise it where the model dreams, by descending

    $$\frac1B \sum_b \ell_b + \kappa\,\frac1B \sum_b \left(H(z_b) - H(\tilde z_b)\right)
    + \lambda\,\frac1B \sum_b \left(H(z_b)^2 + H(\tilde z_b)^2\right)$$

    over wake states $z$ with their losses $\ell$ and sleep states $\tilde z$, which are
    chains from the buffer, evolved a little and put back (Jawahar & Pierini, arXiv
    2603.01768, section "Hamiltonian contrastive divergence"). No gradient goes through
    the evolution of the sleep.

    A pure function of the state: the same state makes the same steps, however many
    there are in a call. Compiled; a call of many steps returns to Python once.

    **Arguments:**

    - `state`: where training stands.
    - `data`: samples or windows of trajectories, with a leading axis.
    - `num_steps`: how many steps to make.
    - `optimizer`: the one of the state.
    - `wake`: a callable from the model, one datum and a key to a loss and to the state
        whose energy is lowered, such as [`chlu_eqx.training.trajectory_wake`][] or
        [`chlu_eqx.training.denoising_wake`][].
    - `sleep`: a callable from the model, one state and a key to a later state, such as
        [`chlu_eqx.training.free_sleep`][] or [`chlu_eqx.training.langevin_sleep`][].
    - `energy`: what is lowered and raised, a callable from the model and one state.
        What in it has no parameters has no part in the contrast; leave it out and the
        penalty is on the learned part alone.
    - `batch_size`: the number $B$ of data, and of chains.
    - `fresh`: with what probability a chain starts anew.
    - `contrast`: $\kappa$.
    - `penalty`: $\lambda$, which keeps energies of order one; they have no zero of
        their own.
    - `sharding`: how to cut a batch, of data and of chains, into equal parts for
        several devices, as in [`chlu_eqx.training.fit_trajectories`][]. The buffer is
        on all of them.

    **Returns:** the new state, and a [`chlu_eqx.training.ContrastiveReport`][].

    **Raises:** `ValueError` if an argument is of another kind, a number of steps or of
    a batch is not a positive integer, there are no data, or `sharding` does not cut a
    batch into equal parts.
    """
    instance("state", state, ContrastiveState, "a `ContrastiveState`")
    num_steps = count("num_steps", num_steps)
    for name, value in (("wake", wake), ("sleep", sleep), ("energy", energy)):
        function(name, value)
    [num_samples] = leading("data", data)
    check_sharding(sharding, batch_size)
    arrays, rest = eqx.partition(state, eqx.is_array)

    def mean_loss(params: PyTree, static: Any, data: PyTree, dreams: State, keys):
        model = eqx.combine(params, static)
        losses, states = jax.vmap(lambda x, k: wake(model, x, k))(data, keys)
        awake, asleep = (
            jax.vmap(lambda z: energy(model, z))(z) for z in (states, dreams)
        )
        loss = jnp.mean(losses)
        total = loss + contrast * jnp.mean(awake - asleep)
        total += penalty * jnp.mean(awake**2 + asleep**2)
        return total, ContrastiveReport(loss, awake.mean(), asleep.mean())

    def wake_and_sleep(model: PyTree, batch: tuple) -> tuple[tuple, State]:
        model = eqx.combine(model, rest.model)
        data, dreams, awake, asleep = batch
        dreams = jax.vmap(lambda z, k: sleep(model, z, k))(dreams, asleep)
        params, static = eqx.partition(model, eqx.is_inexact_array)
        gradient = jax.grad(mean_loss, has_aux=True)
        return gradient(params, static, data, dreams, awake), dreams

    def step(arrays: PyTree, _) -> tuple[PyTree, ContrastiveReport]:
        now = eqx.combine(arrays, rest)
        # Keyed by the step, not by a chain of splits: any step can be made again.
        keys = jr.split(jr.fold_in(now.key, now.step), 4)
        chosen, dreams = now.buffer.draw(keys[0], batch_size, fresh=fresh)
        i = jr.randint(keys[2], (batch_size,), 0, num_samples)
        windows = jax.tree.map(lambda x: x[i], data)
        awake, asleep = jr.split(keys[3], batch_size), jr.split(keys[1], batch_size)
        (grads, report), dreams = in_parts(wake_and_sleep, sharding)(
            arrays.model, (windows, dreams, awake, asleep)
        )
        params, static = eqx.partition(now.model, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grads, now.opt_state, params)
        new = eqx.tree_at(
            lambda s: (s.model, s.opt_state, s.buffer, s.step),
            now,
            (
                eqx.combine(eqx.apply_updates(params, updates), static),
                opt_state,
                now.buffer.put(chosen, dreams),
                now.step + 1,
            ),
        )
        return eqx.filter(new, eqx.is_array), report

    arrays, report = lax.scan(step, arrays, None, length=num_steps)
    return eqx.combine(arrays, rest), report


def trajectory_wake(
    model: Any,
    window: tuple[Float[Array, "times dim"], Float[Array, "times dim"]],
    key: PRNGKeyArray,
    *,
    regularizer: Callable[[Any, State, PRNGKeyArray], Scalar] | None = None,
) -> tuple[Scalar, State]:
    """The wake of dynamics: the mean squared error of a free run over a window
    ([`chlu_eqx.training.trajectory_mse`][]), and the state that it starts from.

    **Arguments:**

    - `model`, `window`, `key`: as `contrastive_steps` calls it.
    - `regularizer`: added to the loss; a callable from the model, the first state and
        a key, such as a multiple of [`chlu_eqx.training.largest_exponent`][].
    """
    state = jax.tree.map(lambda x: x[0], window)
    loss = trajectory_mse(model, window)
    if regularizer is not None:
        loss = loss + regularizer(model, state, key)
    return loss, state


def denoising_wake(
    model: Any, q: Float[Array, " dim"], key: PRNGKeyArray, *, noise: ArrayLike = 0.05
) -> tuple[Scalar, State]:
    """The wake of generation: no loss of its own; the datum with Gaussian noise of
    standard deviation `noise`, at rest."""
    q, noise = array("q", q, "dim"), nonnegative("noise", noise)
    normals = jr.normal(random_key("key", key), q.shape, q.dtype)
    q = q + jnp.asarray(noise, q.dtype) * normals
    return jnp.zeros((), q.dtype), (q, jnp.zeros_like(q))


def free_sleep(
    model: Any, state: State, key: PRNGKeyArray, *, num_steps: int = 100
) -> State:
    """The sleep of dynamics: `num_steps` of the unit's own motion."""
    del key
    num_steps = count("num_steps", num_steps)
    return _last(model(state, num_steps, save_every=num_steps))


def langevin_sleep(
    model: Any,
    state: State,
    key: PRNGKeyArray,
    *,
    num_steps: int = 100,
    temperature: Temperature = 0.5,
    friction: Friction = 7.0,
) -> State:
    """The sleep of generation: `num_steps` of Langevin dynamics, by
    [`chlu_eqx.nn.CHLU`][]`.generate`. At the unit's default step of 0.05 the default
    friction is the paper's 0.3 per step."""
    num_steps = count("num_steps", num_steps)
    return _last(
        model.generate(
            state,
            num_steps,
            temperature=temperature,
            friction=friction,
            key=key,
            save_every=num_steps,
        )
    )


def _last(trajectory: State) -> State:
    return jax.tree.map(lambda x: x[-1], trajectory)
