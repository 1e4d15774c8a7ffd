"""The oscillator networks of Rusch and Mishra, to compare with."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import count, nonnegative, positive, random_key
from .._types import RealScalarLike
from .rnn import AbstractReversibleCell, check_step


Hidden = tuple[Float[Array, " hidden_size"], Float[Array, " hidden_size"]]


class CoRNNCell(eqx.Module):
    r"""The coupled oscillatory recurrent network: damped, driven oscillators,

    $$z \leftarrow z + \Delta t \left(\tanh(W y + \mathcal W z + V x + b)
    - \gamma y - \epsilon z\right), \qquad y \leftarrow y + \Delta t\, z,$$

    (Rusch & Mishra, ICLR 2021, arXiv 2010.00951, eq. 3, with the damping explicit).
    `cell(input, hidden) -> hidden` with `hidden = (y, z)`. Not Hamiltonian: it cannot
    be undone.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{rusch2021coupled,
            title={Coupled Oscillatory Recurrent Neural Network ({coRNN}): An Accurate
                   and (Gradient) Stable Architecture for Learning Long Time
                   Dependencies},
            author={Rusch, T. Konstantin and Mishra, Siddhartha},
            booktitle={International Conference on Learning Representations},
            year={2021},
        }
        ```
    """

    linear: eqx.nn.Linear
    dt: RealScalarLike
    stiffness: RealScalarLike
    damping: RealScalarLike
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: RealScalarLike = 0.05,
        stiffness: RealScalarLike = 1.0,
        damping: RealScalarLike = 1.0,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `input_size`, `hidden_size`: the lengths of the input, and of `y` and `z`.
        - `dt`: $\Delta t$, positive.
        - `stiffness`, `damping`: $\gamma$ and $\epsilon$, non-negative. Python numbers
            are constants.
        - `key`: a `jax.random.key` for the weights.

        **Raises:** `ValueError` if an argument is out of range.
        """
        self.input_size = count("input_size", input_size)
        self.hidden_size = count("hidden_size", hidden_size)
        size = input_size + 2 * hidden_size
        self.linear = eqx.nn.Linear(size, hidden_size, key=random_key("key", key))
        self.dt = positive("dt", dt)
        self.stiffness = nonnegative("stiffness", stiffness)
        self.damping = nonnegative("damping", damping)

    def __call__(
        self,
        input: Float[Array, " input_size"],
        hidden: Hidden,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Hidden:
        y, z = check_step(self, input, hidden)
        dt, gamma, epsilon = (
            jnp.asarray(x, y.dtype) for x in (self.dt, self.stiffness, self.damping)
        )
        drive = jnp.tanh(self.linear(jnp.concatenate([input, z, y])))
        z = z + dt * (drive - gamma * y - epsilon * z)
        return y + dt * z, z


class UnICORNNCell(AbstractReversibleCell):
    r"""The undamped independent controlled oscillatory recurrent network: a symplectic
    Euler step of oscillators that do not know of one another,

    $$z \leftarrow z - \Delta t\, \hat\sigma(c) \odot \left(\tanh(w \odot y + V x + b)
    + \alpha y\right), \qquad y \leftarrow y + \Delta t\, \hat\sigma(c) \odot z,$$

    with $\hat\sigma$ the logistic function (Rusch & Mishra, ICML 2021, arXiv
    2103.05487, eq. 6). `cell(input, hidden) -> hidden` with `hidden = (y, z)`. Meant to
    be stacked: only the next layer mixes the oscillators of one.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{rusch2021unicornn,
            title={{UnICORNN}: A recurrent model for learning very long time
                   dependencies},
            author={Rusch, T. Konstantin and Mishra, Siddhartha},
            booktitle={International Conference on Machine Learning},
            year={2021},
        }
        ```
    """

    linear: eqx.nn.Linear
    weight: Float[Array, " hidden_size"]
    rate: Float[Array, " hidden_size"]
    dt: RealScalarLike
    stiffness: RealScalarLike
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: RealScalarLike = 0.1,
        stiffness: RealScalarLike = 1.0,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `input_size`, `hidden_size`: the lengths of the input, and of `y` and `z`.
        - `dt`: $\Delta t$, positive.
        - `stiffness`: $\alpha$, non-negative. Python numbers are constants.
        - `key`: a `jax.random.key` for the weights.

        **Raises:** `ValueError` if an argument is out of range.
        """
        self.input_size = count("input_size", input_size)
        self.hidden_size = count("hidden_size", hidden_size)
        linear, weight, rate = jr.split(random_key("key", key), 3)
        self.linear = eqx.nn.Linear(input_size, hidden_size, key=linear)
        self.weight = jr.uniform(weight, (hidden_size,))
        self.rate = jr.uniform(rate, (hidden_size,), minval=-0.1, maxval=0.1)
        self.dt = positive("dt", dt)
        self.stiffness = nonnegative("stiffness", stiffness)

    def __call__(
        self,
        input: Float[Array, " input_size"],
        hidden: Hidden,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Hidden:
        y, z = check_step(self, input, hidden)
        z = z - self._h(y) * self._slope(input, y)
        return y + self._h(y) * z, z

    def undo(self, input: Float[Array, " input_size"], hidden: Hidden) -> Hidden:
        y, z = check_step(self, input, hidden)
        y = y - self._h(y) * z
        return y, z + self._h(y) * self._slope(input, y)

    def _h(self, y: Array) -> Array:
        return jnp.asarray(self.dt, y.dtype) * jax.nn.sigmoid(self.rate)

    def _slope(self, x: Array, y: Array) -> Array:
        drive = jnp.tanh(self.weight * y + self.linear(x))
        return drive + jnp.asarray(self.stiffness, y.dtype) * y
