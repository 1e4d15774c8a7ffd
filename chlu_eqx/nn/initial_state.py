"""Dynamics behind noisy observations, whose initial states are not known."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree, Scalar

from .._checks import array, count, function, leading, state
from ..hamiltonian._parameter import parameter, Positive
from .encoder import RecurrentEncoder


class ObservedDynamics(eqx.Module):
    r"""Noisy observations of a trajectory,

    $$y_{0:T} = \mathrm{dynamics}(y_0, T), \qquad
    x_t \mid y_t \sim \mathcal N(y_t, \sigma^2),$$

    from an initial state $y_0$ that is not observed either, and a noise scale $\sigma$
    that is learned.

    It goes with any dynamics `(y0, num_steps) -> trajectory`: a
    [`chlu_eqx.nn.VariationalIntegratorNetwork`][], its
    [`positions`][chlu_eqx.nn.VariationalIntegratorNetwork.positions], a
    [`chlu_eqx.nn.CHLU`][], a neural ODE. It is trained by
    [`chlu_eqx.training.gaussian_nll`][], on pairs: of what tells the initial state, and
    the observations.

    !!! Example

        ```python
        # x = (q, v), each (trajectories, times, 2). The initial state is inferred from
        # the first ten rows of each window,
        model = chlu_eqx.nn.ObservedDynamics(
            network, chlu_eqx.nn.InferredInitialState(4, 2, num_observed=10, key=key)
        )
        trajectories = (x, x)
        # or it is a parameter, one for each whole trajectory.
        model = chlu_eqx.nn.ObservedDynamics(
            network, chlu_eqx.nn.FreeInitialStates((q[:, 0], v[:, 0]))
        )
        index = jnp.arange(len(q))[:, None]
        trajectories = (jnp.broadcast_to(index, q.shape[:2]), x)
        ```

    (Saemundsson, Terenin, Hofmann & Deisenroth, "Variational Integrator Networks for
    Physically Structured Embeddings", AISTATS 2020, arXiv 1910.09349.)
    """

    dynamics: Callable[[PyTree, int], PyTree]
    initial_state: Callable[[PyTree], PyTree]
    _scale: Positive

    def __init__(
        self,
        dynamics: Callable[[PyTree, int], PyTree],
        initial_state: Callable[[PyTree], PyTree],
        *,
        scale: ArrayLike = 1.0,
    ):
        r"""**Arguments:**

        - `dynamics`: a callable `(y0, num_steps) -> trajectory`.
        - `initial_state`: a callable from what tells it to the initial state `y0`:
            [`chlu_eqx.nn.InferredInitialState`][] or
            [`chlu_eqx.nn.FreeInitialStates`][].
        - `scale`: the initial $\sigma$, a positive scalar.

        **Raises:** `ValueError` if `scale` is not a positive scalar.
        """
        self.dynamics = function("dynamics", dynamics)
        self.initial_state = function("initial_state", initial_state)
        self._scale = parameter("scale", scale, (), ())

    @property
    def scale(self) -> Scalar:
        r"""The standard deviation of the noise, $\sigma$."""
        return self._scale(self._scale.log.dtype)

    def __call__(self, cue: PyTree, num_steps: int) -> PyTree:
        """**Arguments:**

        - `cue`: what tells the initial state.
        - `num_steps`: the number of steps.

        **Returns:** the trajectory without noise, as of the dynamics.
        """
        return self.dynamics(self.initial_state(cue), num_steps)


class InferredInitialState(eqx.Module):
    r"""An initial state inferred from the first $n$ observations, by a
    [`chlu_eqx.nn.RecurrentEncoder`][]:

    $$(a, b) = \mathrm{encoder}(x_{0:n}),$$

    a pair of vectors of shape `(dim,)`: position and velocity, or momentum, or the
    first two positions, as the dynamics want it.
    """

    encoder: RecurrentEncoder
    num_observed: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        dim: int,
        *,
        num_observed: int = 10,
        hidden_size: int = 50,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `input_size`: the number of features observed at a time, of all leaves.
        - `dim`: the size of either part of the state.
        - `num_observed`: $n$, how many observations to infer it from.
        - `hidden_size`: the number of the LSTM's units.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if `num_observed` is not positive.
        """
        dim = count("dim", dim)
        self.encoder = RecurrentEncoder(input_size, hidden_size, 2 * dim, key=key)
        self.num_observed = count("num_observed", num_observed)

    def __call__(
        self, x: PyTree[Float[Array, "times _"]]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        """**Arguments:**

        - `x`: the observations, whose leaves are set side by side. Those after the
            first $n$ are not looked at.

        **Returns:** the initial state, a pair.

        **Raises:** `ValueError` if there are fewer than $n$ observations, or of
        another size.
        """
        leaves = [array("x", leaf, "times", "features") for leaf in jax.tree.leaves(x)]
        leading("x", leaves)
        rows = jnp.concatenate(leaves, axis=-1)
        if len(rows) < self.num_observed:
            raise ValueError(
                f"`x` must hold at least `num_observed` = {self.num_observed} "
                f"observations to infer the initial state from, got {len(rows)}."
            )
        a, b = jnp.split(self.encoder(rows[: self.num_observed]), 2)
        return a, b


class FreeInitialStates(eqx.Module):
    """Initial states that are parameters, one for each trajectory, found by their
    number. Windows must then be whole trajectories."""

    states: PyTree[Float[Array, "trajectories ..."]]

    def __init__(self, states: PyTree[Float[Array, "..."]]):
        """**Arguments:**

        - `states`: where they start from in training, for instance at the first
            observations: a pytree like the state, with a leading axis.

        **Raises:** `ValueError` if its leaves are not of one number of trajectories.
        """
        leading("states", states)
        self.states = state("states", states)

    def __call__(self, index: Int[Array, " times"]) -> PyTree:
        """**Arguments:**

        - `index`: the number of the trajectory, from 0 on, at every time: a window of
            it, as [`chlu_eqx.training.fit_trajectories`][] cuts it.

        **Returns:** the initial state.

        **Raises:** at run time, if there is no trajectory of that number.
        """
        number = len(jax.tree.leaves(self.states)[0])
        i = eqx.error_if(
            index[0],
            (index[0] < 0) | (index[0] >= number),
            f"`index` must be in [0, {number}), the number of the `states`.",
        )
        return jax.tree.map(lambda x: x[i], self.states)
