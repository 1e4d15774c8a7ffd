"""Bad input to the learned models."""

import diffrax
import equinox as eqx
import jax.numpy as jnp

import chlu_eqx as cx
from chlu_eqx import nn
from chlu_eqx.nn.flow_bijection import HamiltonianBijection

from .row import BATCH, INTEGERS, KEY, keys, numbers, Q, Row, sizes, traced, Y


UNIT = nn.CHLU(2, potential=cx.Confinement(), key=KEY)
NETWORK = nn.VariationalIntegratorNetwork(2, potential=cx.Confinement(), key=KEY)
FLOW = nn.HamiltonianFlow(2, 1, width=2, key=KEY)
SHAPE = (4, 4, 1)
FRAMES = jnp.full((6, *SHAPE), 0.5)


def generate(y0=Y, **arguments):
    defaults = {"temperature": 1.0, "friction": 1.0, "key": KEY}
    return UNIT.generate(y0, 2, **{**defaults, **arguments})


def hgn(image_shape=SHAPE, latent=2, features=2, width=2, key=KEY, **arguments):
    return nn.HamiltonianGenerativeNetwork(
        image_shape, latent=latent, features=features, width=width, key=key, **arguments
    )


def autoencoder(image_shape=SHAPE, network=NETWORK, dim=2, key=KEY, **arguments):
    return nn.VariationalIntegratorAutoencoder(
        image_shape, network, dim=dim, key=key, **{"width": 2, **arguments}
    )


HGN, AUTOENCODER = hgn(), autoencoder()

UNITS = [
    *sizes("CHLU", lambda dim: nn.CHLU(dim, key=KEY), "dim"),
    *numbers("CHLU", lambda **x: nn.CHLU(2, key=KEY, **x), "", dt=0.0, friction=-1.0),
    *keys("CHLU", lambda k: nn.CHLU(2, key=k)),
    Row(
        "CHLU",
        "a step for each coordinate",
        lambda: nn.CHLU(2, dt=jnp.ones(2), key=KEY),
        "`dt` must be positive and finite: one real number",
    ),
    Row(
        "CHLU",
        "a negative step, traced",
        traced(lambda dt: nn.CHLU(2, dt=dt, key=KEY).dt, -0.1),
        "`dt` must be positive",
    ),
    Row(
        "CHLU",
        "a solver that is none",
        lambda: nn.CHLU(2, solver="verlet", key=KEY),  # pyright: ignore
        "`solver` must be a diffrax solver",
    ),
    Row("CHLU", "a batch", lambda: UNIT((BATCH, BATCH), 2), r"`p` must .*\(2,\), got"),
    Row("CHLU", "no pair", lambda: UNIT(Q, 2), "`y0` must be a pair"),
    Row("CHLU", "integers", lambda: UNIT((INTEGERS, INTEGERS), 2), "`y0` must hold"),
    Row("CHLU", "steps", lambda: UNIT(Y, -1), "`num_steps` must be a non-negative"),
    Row("CHLU", "no times", lambda: UNIT.solve(Y, jnp.zeros(0)), "`ts` must hold at"),
    Row("CHLU", "one time", lambda: UNIT.solve(Y, jnp.zeros(())), "`ts` must be a flo"),
    *numbers("CHLU", UNIT.governed, "finite", threshold=jnp.inf),
    *numbers("CHLU", generate, "non-negative", temperature=-1.0, friction=-1.0),
    *keys("CHLU", lambda k: generate(key=k)),
    Row("CHLU", "no pair of chains", lambda: generate(Q), "`y0` must be a pair"),
    Row("CHLU", "chains", lambda: generate((BATCH, BATCH)), "`p` must be a floating"),
    *sizes(
        "VariationalIntegratorNetwork",
        lambda dim: nn.VariationalIntegratorNetwork(dim, key=KEY),
        "dim",
    ),
    *numbers(
        "VariationalIntegratorNetwork",
        lambda dt: nn.VariationalIntegratorNetwork(2, dt=dt, key=KEY),
        "positive",
        dt=0.0,
    ),
    *keys(
        "VariationalIntegratorNetwork",
        lambda k: nn.VariationalIntegratorNetwork(2, key=k),
    ),
    Row(
        "VariationalIntegratorNetwork",
        "a function for a kinetic energy",
        lambda: nn.VariationalIntegratorNetwork(2, kinetic=jnp.sum, key=KEY),
        "`kinetic` must be an `AbstractKineticEnergy`",
    ),
    Row(
        "VariationalIntegratorNetwork",
        "one position",
        lambda: NETWORK.positions(Q, 2),
        "`y0` must be a pair",
    ),
    Row(
        "VariationalIntegratorNetwork",
        "velocities of another size",
        lambda: NETWORK((Q, jnp.zeros(3)), 2),
        "`p` must have the shapes and dtypes of `q`",
    ),
]


INPUT = jnp.zeros(3)


def cell_rows(name, make):
    """Of what all cells have in common."""

    def step(x=INPUT, hidden=Y):
        return make(3, 2, key=KEY)(x, hidden)

    return [
        *sizes(
            name,
            lambda input_size=3, hidden_size=2: make(input_size, hidden_size, key=KEY),
            "input_size",
            "hidden_size",
        ),
        *keys(name, lambda k: make(3, 2, key=k)),
        *numbers(name, lambda dt: make(3, 2, dt=dt, key=KEY), "positive", dt=0.0),
        Row(
            name, "an input of another size", lambda: step(Q), r"`input` must .*\(3,\)"
        ),
        Row(
            name,
            "a state of one part",
            lambda: step(hidden=Q),
            "`hidden` must be a pai",
        ),
        Row(
            name,
            "a state of another size",
            lambda: step(hidden=(Q, jnp.zeros(1))),
            r"`hidden` must be .* shape \(2,\)",
        ),
    ]


CELLS = [
    *cell_rows("CHLUCell", nn.CHLUCell),
    *cell_rows("HamiltonianRNNCell", nn.HamiltonianRNNCell),
    *cell_rows("CoRNNCell", nn.CoRNNCell),
    *cell_rows("UnICORNNCell", nn.UnICORNNCell),
    *sizes(
        "CHLUCell",
        lambda num_steps: nn.CHLUCell(3, 2, num_steps=num_steps, key=KEY),
        "num_steps",
    ),
    Row(
        "CHLUCell",
        "frequencies out of order",
        lambda: nn.CHLUCell(3, 2, frequencies=(1.0, 0.5), key=KEY),
        "`frequencies` must be positive, in order",
    ),
    Row(
        "CHLUCell",
        "an implicit solver",
        lambda: nn.CHLUCell(3, 2, solver=cx.ImplicitMidpoint(), key=KEY),
        "`solver` must be an explicit solver",
    ),
    *numbers(
        "CHLUCell",
        lambda friction: nn.CHLUCell(3, 2, friction=friction, key=KEY),
        "non-negative",
        friction=-1.0,
    ),
    Row(
        "CHLUCell",
        "a kick that is a number",
        lambda: nn.CHLUCell(3, 2, kick=1.0, key=KEY),  # pyright: ignore
        "`kick` must be a callable",
    ),
    *sizes(
        "HamiltonianRNNCell",
        lambda width: nn.HamiltonianRNNCell(3, 2, width=width, key=KEY),
        "width",
    ),
    *numbers(
        "CoRNNCell",
        lambda **x: nn.CoRNNCell(3, 2, key=KEY, **x),
        "non-negative",
        stiffness=-1.0,
        damping=-1.0,
    ),
    *numbers(
        "UnICORNNCell",
        lambda **x: nn.UnICORNNCell(3, 2, key=KEY, **x),
        "non-negative",
        stiffness=-1.0,
    ),
    *sizes(
        "GatedKick",
        lambda input_size=3, hidden_size=2: nn.GatedKick(
            input_size, hidden_size, key=KEY
        ),
        "input_size",
        "hidden_size",
    ),
    *keys("GatedKick", lambda k: nn.GatedKick(3, 2, key=k)),
    Row(
        "GatedKick",
        "an input of another size",
        lambda: nn.GatedKick(3, 2, key=KEY)(Q),
        r"`x` must be .* shape \(3,\)",
    ),
    Row(
        "gradient_controlled_dt",
        "another cell",
        lambda: nn.gradient_controlled_dt(nn.CHLUCell(3, 2, key=KEY), 10),
        "`cell` must be a `chlu_eqx.nn.HamiltonianRNNCell`",
    ),
    *sizes(
        "gradient_controlled_dt",
        lambda length: nn.gradient_controlled_dt(
            nn.HamiltonianRNNCell(3, 2, key=KEY), length
        ),
        "length",
    ),
    *numbers(
        "gradient_controlled_dt",
        lambda bound: nn.gradient_controlled_dt(
            nn.HamiltonianRNNCell(3, 2, key=KEY), 10, bound
        ),
        "greater than one",
        bound=1.0,
    ),
    Row("RNN", "no cell", lambda: nn.RNN(None), "`cell` must be a callable"),
    Row(
        "RNN",
        "a cell that cannot be undone, for the adjoint",
        lambda: nn.RNN(eqx.nn.GRUCell(3, 2, key=KEY), adjoint=cx.ReversibleAdjoint()),
        "`cell` must be one that can be undone",
    ),
    Row(
        "RNN",
        "another adjoint",
        lambda: nn.RNN(
            eqx.nn.GRUCell(3, 2, key=KEY), adjoint=diffrax.BacksolveAdjoint()
        ),
        "`adjoint` must be",
    ),
    *(
        Row(
            "RNN",
            what,
            lambda x=x: nn.RNN(nn.CoRNNCell(3, 2, key=KEY))(x),
            r"`inputs` must be .* shape \(times, 3\)",
        )
        for what, x in {
            "a batch": jnp.zeros((2, 5, 3)),
            "features of another number": BATCH,
            "integers": jnp.zeros((5, 3), int),
        }.items()
    ),
    *sizes(
        "RecurrentEncoder",
        lambda input_size=3, hidden_size=2, output_size=2: nn.RecurrentEncoder(
            input_size, hidden_size, output_size, key=KEY
        ),
        "input_size",
        "hidden_size",
        "output_size",
    ),
    *keys("RecurrentEncoder", lambda k: nn.RecurrentEncoder(3, 2, 2, key=k)),
]

FLOWS = [
    *sizes(
        "HamiltonianFlow",
        lambda dim=2, **x: nn.HamiltonianFlow(dim, **{"width": 2, **x}, key=KEY),
        "dim",
        "num_steps",
        "width",
    ),
    *keys("HamiltonianFlow", lambda k: nn.HamiltonianFlow(2, key=k)),
    *numbers(
        "HamiltonianFlow",
        lambda dt: nn.HamiltonianFlow(2, 1, width=2, dt=dt, key=KEY),
        "positive",
        dt=0.0,
    ),
    Row(
        "HamiltonianFlow",
        "no energies",
        lambda: nn.HamiltonianFlow(2, [], key=KEY),
        "`hamiltonians` must be a number or one or more",
    ),
    Row(
        "HamiltonianFlow",
        "an implicit solver",
        lambda: nn.HamiltonianFlow(2, 1, solver=cx.ImplicitMidpoint(), key=KEY),
        "`solver` must be an explicit splitting",
    ),
    Row(
        "HamiltonianFlow", "a batch", lambda: FLOW.forward(BATCH, Q), "`q` must be a f"
    ),
    Row(
        "HamiltonianFlow", "momenta", lambda: FLOW.inverse(Q, BATCH), "`p` must be a f"
    ),
    *sizes(
        "HamiltonianFlow",
        lambda num_samples: FLOW.elbo(Q, num_samples, key=KEY),
        "num_samples",
    ),
    *keys("HamiltonianFlow", lambda k: FLOW.elbo(Q, key=k)),
    *keys("HamiltonianFlow", FLOW.sample),
    Row(
        "HamiltonianBijection",
        "no flow",
        lambda: HamiltonianBijection(None),  # pyright: ignore
        "`flow` must be a `chlu_eqx.nn.HamiltonianFlow`",
    ),
    *keys("CorrelatedGaussian", nn.CorrelatedGaussian(Q, jnp.eye(2)).sample),
    *keys("Gaussian", nn.Gaussian(Q, Q + 1).sample)[:2],
    *(
        row
        for name in ("CorrelatedEncoder", "GaussianEncoder")
        for make in [getattr(nn, name)]
        for row in [
            *sizes(
                name,
                lambda dim=2, make=make, **x: make(dim, **x, key=KEY),
                "dim",
                "width",
            ),
            *keys(name, lambda k, make=make: make(2, key=k)),
            Row(
                name,
                "a batch",
                lambda make=make: make(2, width=2, key=KEY)(BATCH),
                r"`q` must be .* shape \(2,\)",
            ),
        ]
    ),
]


def image_rows(name, make, *arguments):
    """Of what all networks of images have in common; `make` has defaults for all."""
    return [
        *sizes(name, make, *arguments),
        *keys(name, lambda k: make(key=k)),
        *(
            Row(
                name,
                f"images of shape {shape}",
                lambda shape=shape: make(image_shape=shape),
                "`image_shape` must be three positive integers",
            )
            for shape in ((4, 4), (4, 0, 1), (4.0, 4, 1))
        ),
    ]


def conv_encoder(image_shape=SHAPE, context=2, latent=2, key=KEY, features=2):
    return nn.ConvEncoder(image_shape, context, latent, features=features, key=key)


def conv_decoder(image_shape=SHAPE, latent=2, key=KEY, features=2):
    return nn.ConvDecoder(latent, image_shape, features=features, key=key)


def mlp_encoder(image_shape=SHAPE, context=2, latent=2, key=KEY, width=2):
    return nn.MLPEncoder(image_shape, context, latent, width=width, key=key)


def mlp_decoder(image_shape=SHAPE, latent=2, key=KEY, width=2):
    return nn.MLPDecoder(latent, image_shape, width=width, key=key)


def recurrent_encoder(image_shape=SHAPE, latent=2, key=KEY, width=2, hidden_size=2):
    return nn.RecurrentMLPEncoder(
        image_shape, latent, width=width, hidden_size=hidden_size, key=key
    )


IMAGES = [
    *sizes("grid_shape", lambda channels: nn.grid_shape(SHAPE, channels), "channels"),
    Row(
        "grid_shape",
        "a flat image",
        lambda: nn.grid_shape((16,), 1),
        "`image_shape` must be three positive integers",
    ),
    *image_rows("ConvEncoder", conv_encoder, "context", "features"),
    *image_rows("ConvDecoder", conv_decoder, "features"),
    *image_rows("MLPEncoder", mlp_encoder, "context", "latent", "width"),
    *image_rows("MLPDecoder", mlp_decoder, "latent", "width"),
    *image_rows(
        "RecurrentMLPEncoder", recurrent_encoder, "latent", "width", "hidden_size"
    ),
    *image_rows("HamiltonianGenerativeNetwork", hgn, "context", "features", "width"),
    *image_rows("VariationalIntegratorAutoencoder", autoencoder, "context", "dim"),
    *(
        Row(
            name,
            "a grid of another size",
            lambda make=make: make(latent=(2, 3, 3)),
            r"`latent` must be .*\(channels, 4, 4\)",
        )
        for name, make in {
            "ConvEncoder": conv_encoder,
            "ConvDecoder": conv_decoder,
        }.items()
    ),
    *(
        Row(
            name,
            given,
            lambda make=make, frames=frames: make()(frames),
            "`frames` must be a floating-point array",
        )
        for given, frames in (("one image", FRAMES[0]), ("other sizes", FRAMES[:, 1:]))
        for name, make in {
            "ConvEncoder": conv_encoder,
            "MLPEncoder": mlp_encoder,
            "RecurrentMLPEncoder": recurrent_encoder,
        }.items()
    ),
    *(
        Row(name, "a batch", lambda make=make: make()(BATCH), r"`q` must be .* \(2,\)")
        for name, make in {
            "ConvDecoder": conv_decoder,
            "MLPDecoder": mlp_decoder,
        }.items()
    ),
    *numbers("HamiltonianGenerativeNetwork", lambda dt: hgn(dt=dt), "positive", dt=0.0),
    *sizes(
        "HamiltonianGenerativeNetwork",
        lambda substeps: hgn(substeps=substeps),
        "substeps",
    ),
    Row(
        "VariationalIntegratorAutoencoder",
        "no network",
        lambda: autoencoder(network=cx.Confinement()),  # pyright: ignore
        "`network` must be a `chlu_eqx.nn.VariationalIntegratorNetwork`",
    ),
    *(
        row
        for name, model in {
            "HamiltonianGenerativeNetwork": HGN,
            "VariationalIntegratorAutoencoder": AUTOENCODER,
        }.items()
        for make in [hgn if model is HGN else autoencoder]
        for row in [
            Row(
                name,
                "a frame outside of the context",
                lambda make=make: make(context=2, infer_index=2),
                "`infer_index` must be that of one of the 2 frames",
            ),
            Row(
                name,
                "too few frames",
                lambda model=model: model.posterior(FRAMES[:1]),
                "`frames` must be .* or more",
            ),
            Row(
                name,
                "a batch of frames",
                lambda model=model: model.infer(FRAMES[None]),
                r"`frames` must be .* shape \(times, 4, 4, 1\)",
            ),
            Row(
                name,
                "frames that are not finite",
                lambda model=model: model.infer(jnp.full((10, *SHAPE), jnp.nan)),
                r"`frames` must be finite and in \[0, 1\]",
            ),
            Row(
                name,
                "a latent vector of another size",
                lambda model=model: model.state(jnp.zeros(6)),
                r"`z` must be .* shape \(4,\)",
            ),
            *sizes(
                name,
                lambda num_steps, model=model: model.rollout(Y, num_steps),
                "num_steps",
            ),
            *numbers(
                name,
                lambda speed, model=model: model.rollout(Y, 2, speed=speed),
                "finite and not zero",
                speed=0.0,
            ),
        ]
    ),
    Row(
        "StandardisedEncoder",
        "no encoder",
        lambda: nn.StandardisedEncoder(None),  # pyright: ignore
        "`encoder` must be a callable",
    ),
    *numbers(
        "StandardisedEncoder",
        lambda scale: nn.StandardisedEncoder(jnp.sin, scale=scale),
        "positive",
        scale=0.0,
    ),
]

OBSERVED = [
    *numbers(
        "ObservedDynamics",
        lambda scale: nn.ObservedDynamics(NETWORK, jnp.sin, scale=scale),
        "positive",
        scale=0.0,
    ),
    Row(
        "ObservedDynamics",
        "no dynamics",
        lambda: nn.ObservedDynamics(None, jnp.sin),  # pyright: ignore
        "`dynamics` must be a callable",
    ),
    *sizes(
        "InferredInitialState",
        lambda input_size=4, dim=2, **x: nn.InferredInitialState(
            input_size, dim, **{"hidden_size": 2, **x}, key=KEY
        ),
        "input_size",
        "dim",
        "num_observed",
        "hidden_size",
    ),
    *keys("InferredInitialState", lambda k: nn.InferredInitialState(4, 2, key=k)),
    Row(
        "InferredInitialState",
        "too few observations",
        lambda: nn.InferredInitialState(2, 2, key=KEY)(BATCH),
        "`x` must hold at least `num_observed` = 10",
    ),
    Row(
        "InferredInitialState",
        "parts of different lengths",
        lambda: nn.InferredInitialState(4, 2, key=KEY)((BATCH, BATCH[1:])),
        "`x` must be a pytree of arrays that share a leading axis",
    ),
    Row(
        "FreeInitialStates",
        "none",
        lambda: nn.FreeInitialStates((jnp.zeros((0, 2)),)),
        "`states` must be a pytree of arrays that share a leading axis, not empty",
    ),
    Row(
        "FreeInitialStates",
        "of different numbers",
        lambda: nn.FreeInitialStates((BATCH, BATCH[1:])),
        "`states` must be a pytree of arrays that share a leading axis",
    ),
    Row(
        "FreeInitialStates",
        "the number of none, traced",
        traced(lambda i: nn.FreeInitialStates(jnp.arange(5.0))(i), jnp.array([5])),
        r"`index` must be in \[0, 5\)",
    ),
]

ROWS = [*UNITS, *CELLS, *FLOWS, *IMAGES, *OBSERVED]
