"""Hamiltonian generative networks."""

import math
from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, random_key
from .._types import RealScalarLike
from ..hamiltonian import (
    AbstractPotential,
    Confinement,
    ConvPotential,
    MLPPotential,
)
from ..solver import CHLUSolver, Substeps
from .chlu import CHLU
from .convolutional import ConvDecoder, ConvEncoder, LatentShape
from .latent_dynamics import (
    AbstractLatentDynamics,
    check_context,
    check_image_shape,
    dtype_of,
    Frames,
    Gaussian,
    Image,
    StandardisedEncoder,
)


class HamiltonianGenerativeNetwork(AbstractLatentDynamics):
    r"""A latent state that moves by a learned energy, and images of its position:

    $$z \sim \mathcal N(0, I), \quad (q, p) = f_\psi(z), \quad
    \dot q = \nabla K(p), \; \dot p = -\nabla V(q), \quad
    x_t \sim \mathcal N(d(q_t), \tfrac12 I),$$

    with networks $K$ and $V$ and a symplectic solver, one step a frame. The encoder
    reads `context` frames; the state is that at one of them, by default the last.
    Nothing ties $p$ to $\dot q$.

    !!! Example

        ```python
        model = chlu_eqx.nn.HamiltonianGenerativeNetwork((16, 16, 3), key=key)
        state = model.infer(frames)                # of the last of the first 5
        model.rollout(state, 30)                   # it and the 30 frames after it
        model.rollout(state, 30, speed=-1.0)       # before it
        model.rollout(state, 60, speed=0.5)        # two for each
        model.sample(30, key=key)
        model.unit.hamiltonian(*state)             # the learned energy
        ```

    ??? cite "Reference"

        ```bibtex
        @inproceedings{toth2020hamiltonian,
            title={Hamiltonian Generative Networks},
            author={Toth, Peter and Rezende, Danilo J. and Jaegle, Andrew and
                    Racani{\`e}re, S{\'e}bastien and Botev, Aleksandar and Higgins,
                    Irina},
            booktitle={International Conference on Learning Representations},
            year={2020},
        }
        ```
    """

    encoder: Callable[[Frames], tuple[Array, Array]]
    transform: Callable[[Array], Array]
    unit: CHLU
    decoder: Callable[[Array], Image]
    dim: int = eqx.field(static=True)
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    context: int = eqx.field(static=True)
    infer_index: int = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple,
        *,
        latent: LatentShape = 8,
        context: int = 5,
        infer_index: int | None = None,
        features: int = 32,
        width: int = 64,
        dt: RealScalarLike = 0.5,
        solver: diffrax.AbstractSolver | None = None,
        substeps: int = 1,
        kinetic: Callable[[Array], Scalar] | None = None,
        potential: Callable[[Array], Scalar] | None = None,
        transform: Callable[[Array], Array] | None = None,
        encoder: Callable[[Frames], tuple[Array, Array]] | None = None,
        decoder: Callable[[Array], Image] | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `image_shape`: `(height, width, channels)`.
        - `latent`: the number of coordinates of $q$, and of $p$; or, for channels on a
            grid, `(channels, height, width)`, as of [`chlu_eqx.nn.grid_shape`][]; they
            are flattened everywhere else.
        - `context`: the number of frames that the encoder reads.
        - `infer_index`: which of them the state is at; defaults to the last.
        - `features`: the channels of the default convolutional networks.
        - `width`: the hidden layers of the default networks of coordinates.
        - `dt`: the step of one frame. (The paper's is 0.125; with the default networks
            longer ones train faster.) A Python number is a constant; an array is
            learned unless it is filtered out.
        - `solver`: any solver of separable energies; defaults to
            [`chlu_eqx.CHLUSolver`][]`()`.
        - `substeps`: how many of its steps to make in one of `dt`.
        - `kinetic`, `potential`: $K$ and $V$, callables from arrays of shape `(dim,)`
            to a scalar; default to a [`chlu_eqx.MLPPotential`][] with softplus, of two
            hidden layers, or a [`chlu_eqx.ConvPotential`][] on a grid; $K$ with
            $\lVert p \rVert^2/2$ added. (The paper has the networks alone. They start
            almost flat, and from there the energy may come to rise with the true one
            in one part of phase space and to fall in another.)
        - `transform`: $f_\psi$, of an array of shape `(2 * dim,)` to $q$ and $p$ one
            after the other; defaults to a perceptron of one hidden layer, or two
            convolutions on a grid. `eqx.nn.Identity()` is none.
        - `encoder`, `decoder`: default to [`chlu_eqx.nn.ConvEncoder`][] of the frames
            and [`chlu_eqx.nn.ConvDecoder`][] of $q$.
        - `key`: a `jax.random.key` for the initial weights.

        **Raises:** `ValueError` if a size is not a positive integer, `infer_index` is
        not in the context, the grid is not that of the images, or `dt` is not
        positive.
        """
        keys = jr.split(random_key("key", key), 5)
        count("features", features)
        count("width", width)
        count("substeps", substeps)
        self.image_shape = check_image_shape(image_shape)
        self.context, self.infer_index = check_context(context, infer_index)
        grid = None if isinstance(latent, int) else latent
        double = 2 * latent if isinstance(latent, int) else (2 * latent[0], *latent[1:])
        self.dim = latent if isinstance(latent, int) else math.prod(latent)
        if encoder is None:
            encoder = StandardisedEncoder(
                ConvEncoder(
                    image_shape, context, double, features=features, key=keys[0]
                )
            )
        if decoder is None:
            decoder = ConvDecoder(latent, image_shape, features=features, key=keys[1])
        if transform is None:
            transform = _transform(double, features, width, keys[2])

        def energy(key: PRNGKeyArray) -> AbstractPotential:
            softplus = jax.nn.softplus
            if grid is not None:
                return ConvPotential(grid, features=(features,), key=key)
            return MLPPotential(self.dim, width=width, activation=softplus, key=key)

        if kinetic is None:
            kinetic = energy(keys[3]) + Confinement(0.5)
        if potential is None:
            potential = energy(keys[4])
        solver = CHLUSolver() if solver is None else solver
        self.encoder = encoder
        self.transform = transform
        self.decoder = decoder
        self.unit = CHLU(
            self.dim,
            dt=dt,
            kinetic=kinetic,
            potential=potential,
            solver=solver if substeps == 1 else Substeps(solver, substeps),
            key=key,
        )

    @property
    def prior(self) -> Gaussian:
        """The normal distribution of mean 0 and scale 1."""
        mean = jnp.zeros(2 * self.dim, dtype_of(self))
        return Gaussian(mean, jnp.ones_like(mean))

    def state(
        self, z: Float[Array, " latent"]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        q, p = jnp.split(self.transform(array("z", z, 2 * self.dim)), 2)
        return q, p

    def move(
        self,
        state: tuple[Float[Array, " dim"], Float[Array, " dim"]],
        num_steps: int,
        speed: float | Scalar = 1.0,
    ) -> tuple[Float[Array, "times dim"], Float[Array, "times dim"]]:
        return at_speed(self.unit, speed)(state, num_steps)

    def decode(self, state: tuple[Float[Array, " dim"], Float[Array, " dim"]]) -> Image:
        q, _ = state
        return self.decoder(q)

    def nll(
        self, mean: Float[Array, "*shape"], frames: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return (frames - mean) ** 2


def at_speed(unit: CHLU, speed: float | Scalar) -> CHLU:
    """The unit with steps of `speed * dt`, which may be negative."""
    return eqx.tree_at(lambda unit: unit.dt, unit, unit.dt * speed)


def _transform(
    double: LatentShape, features: int, width: int, key: PRNGKeyArray
) -> Callable[[Array], Array]:
    if isinstance(double, int):
        return eqx.nn.MLP(double, double, width, 1, jax.nn.softplus, key=key)
    first, second = jr.split(key)
    return eqx.nn.Sequential(
        [
            eqx.nn.Lambda(lambda z: z.reshape(double)),
            eqx.nn.Conv2d(double[0], features, 3, padding=1, key=first),
            eqx.nn.Lambda(jax.nn.softplus),
            eqx.nn.Conv2d(features, double[0], 3, padding=1, key=second),
            eqx.nn.Lambda(jnp.ravel),
        ]
    )
