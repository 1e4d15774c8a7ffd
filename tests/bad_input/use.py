"""Bad input to training, samplers, optimisers, analysis, and the benchmarks' files."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax

import chlu_eqx as cx
from chlu_eqx import analysis, mcmc, nn, optim, training

from ..problems import henon_heiles, Mixed, pendulum
from .row import BATCH, INTEGERS, KEY, keys, numbers, Q, Row, sizes, Y


UNIT = nn.CHLU(2, potential=cx.Confinement(), key=KEY)
TERM, CHLU = henon_heiles(), cx.CHLUSolver()
TRAJECTORIES = (jnp.zeros((3, 5, 2)), jnp.zeros((3, 5, 2)))
WINDOW = (jnp.zeros((5, 2)), jnp.zeros((5, 2)))
BUFFER = training.ReplayBuffer(4, training.NoiseSeed(Y, 1.0), key=KEY)
ADAM = optax.sgd(0.1)
MODEL = nn.VariationalIntegratorAutoencoder(
    (4, 4, 1),
    nn.VariationalIntegratorNetwork(2, potential=cx.Confinement(), key=KEY),
    dim=2,
    context=2,
    width=2,
    encoder=nn.MLPEncoder((4, 4, 1), 2, 4, width=2, key=KEY),
    key=KEY,
)
FLOW = eqx.partition(nn.HamiltonianFlow(2, 1, width=2, key=KEY), eqx.is_inexact_array)
FRAMES = jnp.full((4, 4, 4, 1), 0.5)


def fit(trajectories=TRAJECTORIES, model=UNIT, curriculum=((2, 1),), **arguments):
    return training.fit_trajectories(
        model, trajectories, ADAM, curriculum=curriculum, **{"key": KEY, **arguments}
    )


def contrast(state=None, data=WINDOW, num_steps=1, **arguments):
    if state is None:
        state = training.ContrastiveState(UNIT, ADAM, BUFFER, key=KEY)
    functions = {"wake": training.trajectory_wake, "sleep": training.free_sleep}
    return training.contrastive_steps(
        state, data, num_steps, optimizer=ADAM, **{**functions, **arguments}
    )


def step(y):
    return y


def short_model(y0, num_steps):
    """Of one coordinate, where there are two."""
    return jnp.zeros((num_steps + 1, 1)), jnp.zeros((num_steps + 1, 1))


class Scaled:
    scale = 1.0

    def __call__(self, cue, num_steps):
        return short_model(cue, num_steps)


TRAINING = [
    Row(
        "trajectory_mse",
        "a model of another size, which would be broadcast",
        lambda: training.trajectory_mse(short_model, WINDOW),
        "`model` must return the structure and the shapes",
    ),
    Row(
        "trajectory_mse",
        "one time",
        lambda: training.trajectory_mse(UNIT, (BATCH[:1], BATCH[:1])),
        "`trajectory` must hold two times or more",
    ),
    Row(
        "trajectory_mse",
        "momenta of other times",
        lambda: training.trajectory_mse(UNIT, (BATCH, BATCH[1:])),
        "`trajectory` must be a pytree of arrays that share a leading axis",
    ),
    Row("fit_trajectories", "no model", lambda: fit(model=None), "`model` must be a"),
    Row(
        "fit_trajectories",
        "no trajectories",
        lambda: fit((jnp.zeros((0, 5, 2)),) * 2),
        "`trajectories` must be a pytree of arrays that share 2 leading axes, not em",
    ),
    Row(
        "fit_trajectories",
        "momenta of other trajectories",
        lambda: fit((TRAJECTORIES[0], TRAJECTORIES[1][:2])),
        "`trajectories` must be a pytree of arrays that share 2 leading axes",
    ),
    Row(
        "fit_trajectories",
        "no curriculum",
        lambda: fit(curriculum=()),
        "`curriculum` must hold a pair",
    ),
    Row(
        "fit_trajectories",
        "a window that does not fit",
        lambda: fit(curriculum=[(5, 1)]),
        "`curriculum` must hold pairs .* window < 5",
    ),
    *(
        Row(
            "fit_trajectories",
            f"a curriculum of {pair}",
            lambda pair=pair: fit(curriculum=[pair]),
            "`curriculum` must hold pairs of integers",
        )
        for pair in ((0, 1), (2.5, 1), (2, 0))
    ),
    *sizes("fit_trajectories", fit, "batch_size", "report_every", "steps_per_call"),
    *keys("fit_trajectories", lambda k: fit(key=k)),
    Row("fit_trajectories", "no loss", lambda: fit(loss=None), "`loss` must be a call"),
    Row(
        "gaussian_nll",
        "a model of another size",
        lambda: training.gaussian_nll(Scaled(), (None, WINDOW)),
        "`model` must return the structure and the shapes",
    ),
    Row(
        "flow_loss",
        "data of another size",
        lambda: training.flow_loss(*FLOW, jnp.zeros((5, 3)), KEY),
        r"`x` must be .* shape \(batch, 2\)",
    ),
    *keys("flow_loss", lambda k: training.flow_loss(*FLOW, BATCH, k)),
    *sizes(
        "ReplayBuffer",
        lambda capacity: training.ReplayBuffer(
            capacity, training.NoiseSeed(Q, 1.0), key=KEY
        ),
        "capacity",
    ),
    *keys("ReplayBuffer", lambda k: training.ReplayBuffer(4, jr.normal, key=k)),
    Row(
        "ReplayBuffer",
        "no seed",
        lambda: training.ReplayBuffer(4, None, key=KEY),  # pyright: ignore
        "`seed` must be a callable",
    ),
    *sizes(
        "ReplayBuffer", lambda batch_size: BUFFER.draw(KEY, batch_size), "batch_size"
    ),
    Row(
        "ReplayBuffer",
        "more than there are",
        lambda: BUFFER.draw(KEY, 5),
        "`batch_size` must be positive and at most the capacity",
    ),
    *numbers(
        "ReplayBuffer",
        lambda fresh: BUFFER.draw(KEY, 2, fresh=fresh),
        r"in \[0, 1\]",
        fresh=1.1,
    ),
    Row(
        "ReplayBuffer",
        "states of another size, which would be broadcast",
        lambda: BUFFER.put(jnp.arange(2), (jnp.zeros((2, 1)),) * 2),
        "`states` must have the structure and the shapes",
    ),
    *numbers(
        "NoiseSeed",
        lambda scale: training.NoiseSeed(Q, scale),
        "non-negative",
        scale=-1.0,
    ),
    Row(
        "NoiseSeed",
        "integers",
        lambda: training.NoiseSeed(INTEGERS, 1.0),
        "`mean` must hold floating-point numbers",
    ),
    *keys("NoiseSeed", training.NoiseSeed(Q, 1.0)),
    *numbers(
        "DataSeed",
        lambda scale: training.DataSeed(BATCH, scale),
        "non-negative",
        scale=-1.0,
    ),
    Row(
        "DataSeed",
        "no data",
        lambda: training.DataSeed(BATCH[:0]),
        "`data` must be a pytree of arrays that share a leading axis, not empty",
    ),
    *keys("DataSeed", training.DataSeed(BATCH)),
    Row(
        "ContrastiveState",
        "no buffer",
        lambda: training.ContrastiveState(UNIT, ADAM, None, key=KEY),  # pyright: ignore
        "`buffer` must be a `chlu_eqx.training.ReplayBuffer`",
    ),
    *keys(
        "ContrastiveState",
        lambda k: training.ContrastiveState(UNIT, ADAM, BUFFER, key=k),
    ),
    Row(
        "contrastive_steps",
        "a model for the state",
        lambda: contrast(UNIT),
        "`state` must be a `ContrastiveState`",
    ),
    *sizes("contrastive_steps", contrast, "num_steps", "batch_size"),
    Row(
        "contrastive_steps",
        "no data",
        lambda: contrast(data=(BATCH[:0], BATCH[:0])),
        "`data` must be a pytree of arrays that share a leading axis, not empty",
    ),
    *(
        Row(
            "contrastive_steps",
            f"no {name}",
            lambda name=name: contrast(**{name: None}),
            f"`{name}` must be a callable",
        )
        for name in ("wake", "sleep", "energy")
    ),
    Row(
        "trajectory_wake",
        "one time",
        lambda: training.trajectory_wake(UNIT, (BATCH[:1], BATCH[:1]), KEY),
        "`trajectory` must hold two times or more",
    ),
    Row(
        "denoising_wake",
        "integers",
        lambda: training.denoising_wake(UNIT, INTEGERS, KEY),
        "`q` must be a floating-point array",
    ),
    *numbers(
        "denoising_wake",
        lambda noise: training.denoising_wake(UNIT, Q, KEY, noise=noise),
        "non-negative",
        noise=-1.0,
    ),
    *keys("denoising_wake", lambda k: training.denoising_wake(UNIT, Q, k)),
    *sizes(
        "free_sleep",
        lambda num_steps: training.free_sleep(UNIT, Y, KEY, num_steps=num_steps),
        "num_steps",
    ),
    *sizes(
        "langevin_sleep",
        lambda num_steps: training.langevin_sleep(UNIT, Y, KEY, num_steps=num_steps),
        "num_steps",
    ),
    *numbers(
        "langevin_sleep",
        lambda **x: training.langevin_sleep(UNIT, Y, KEY, num_steps=1, **x),
        "non-negative",
        temperature=-1.0,
        friction=-1.0,
    ),
    Row(
        "total_energy",
        "a batch",
        lambda: training.total_energy(UNIT, (BATCH, BATCH)),
        "`p` must be a floating-point array",
    ),
    *(
        Row(name, "no map", lambda f=f: f(None, Y), "`step` must be a callable")
        for name, f in {
            "lyapunov_exponents": training.lyapunov_exponents,
            "positive_exponents": training.positive_exponents,
            "largest_exponent": lambda s, y: training.largest_exponent(s, y, key=KEY),
        }.items()
    ),
    *(
        Row(name, "integers", lambda f=f: f(step, INTEGERS), "`y` must hold floating")
        for name, f in {
            "lyapunov_exponents": training.lyapunov_exponents,
            "positive_exponents": training.positive_exponents,
            "largest_exponent": lambda s, y: training.largest_exponent(s, y, key=KEY),
        }.items()
    ),
    *sizes(
        "largest_exponent",
        lambda num_iterations: training.largest_exponent(
            step, Y, num_iterations=num_iterations, key=KEY
        ),
        "num_iterations",
    ),
    *keys("largest_exponent", lambda k: training.largest_exponent(step, Y, key=k)),
    Row(
        "negative_elbo",
        "too few frames",
        lambda: training.negative_elbo(MODEL, FRAMES[:1]),
        "`frames` must be 2 or more",
    ),
    Row(
        "negative_elbo",
        "a batch",
        lambda: training.negative_elbo(MODEL, FRAMES[None]),
        "`frames` must be a floating-point array of shape",
    ),
    Row(
        "negative_elbo",
        "frames from 0 to 255",
        lambda: training.negative_elbo(MODEL, 255 * FRAMES),
        r"`frames` must be finite and in \[0, 1\]",
    ),
    *numbers(
        "negative_elbo",
        lambda weight: training.negative_elbo(MODEL, FRAMES, weight=weight),
        "non-negative",
        weight=-1.0,
    ),
    *sizes(
        "negative_elbo",
        lambda num_decoded: training.negative_elbo(
            MODEL, FRAMES, num_decoded=num_decoded
        ),
        "num_decoded",
    ),
    *numbers(
        "ConstrainedELBO",
        lambda **x: training.ConstrainedELBO(MODEL, **x),
        "positive",
        tolerance=0.0,
        multiplier=0.0,
    ),
]

OPTIMISERS = [
    *(
        row
        for name in ("relativistic_gradient_descent", "conformal_symplectic_euler")
        for make in [getattr(optim, name)]
        for row in [
            *numbers(
                name,
                lambda make=make, learning_rate=0.1, **x: make(learning_rate, **x),
                "",
                learning_rate=0.0,
                momentum=1.0,
                relativity=-1.0,
            ),
            Row(
                name,
                "another norm",
                lambda make=make: make(0.1, norm="l1"),
                '`norm` must be "global", "leaf" or "coordinate"',
            ),
            Row(
                name,
                "integers",
                lambda make=make: make(0.1).init(INTEGERS),
                "`params` must hold floating-point numbers",
            ),
        ]
    ),
    *numbers(
        "relativistic_gradient_descent",
        lambda alpha: optim.relativistic_gradient_descent(0.1, alpha=alpha),
        r"in \[0, 1\]",
        alpha=1.5,
    ),
    Row(
        "relativistic_eval_params",
        "the state of another optimiser",
        lambda: optim.relativistic_eval_params(ADAM.init(Q), Q),
        "`state` must hold the state of `relativistic_gradient_descent`",
    ),
]


RELATIVISTIC = cx.RelativisticKinetic(2)


def logdensity(q):
    return -jnp.sum(q**2) / 2


def rmhmc(
    logdensity_fn=logdensity,
    step_size=0.1,
    metric=jnp.ones_like,
    num_integration_steps=2,
    **arguments,
):
    return mcmc.rmhmc(
        logdensity_fn, step_size, metric, num_integration_steps, **arguments
    )


def relativistic(
    logdensity_fn=logdensity,
    step_size=0.1,
    kinetic=RELATIVISTIC,
    num_integration_steps=2,
    **arguments,
):
    return mcmc.relativistic_hmc(
        logdensity_fn, step_size, kinetic, num_integration_steps, **arguments
    )


SAMPLERS = [
    *(
        row
        for name, make in {"rmhmc": rmhmc, "relativistic_hmc": relativistic}.items()
        for row in [
            *numbers(name, make, "positive", step_size=0.0),
            *sizes(name, make, "num_integration_steps"),
            Row(
                name,
                "no density",
                lambda make=make: make(None),
                "`logdensity_fn` must be a callable",
            ),
            Row(
                name,
                "a density for each coordinate",
                lambda make=make: make(jnp.sin).init(Q),
                "`logdensity_fn` must return one floating-point number",
            ),
            Row(
                name,
                "a position where there is no density",
                lambda make=make: make().init(Q + jnp.inf),
                "`logdensity_fn` and its gradient must be finite",
            ),
            Row(
                name,
                "a solver that is not symmetric",
                lambda make=make: make(solver=cx.SymplecticEuler()),
                "`solver` must be a `TaoSolver`, an implicit solver or",
            ),
        ]
    ),
    *numbers("rmhmc", lambda spread: rmhmc(spread=spread), "positive", spread=0.0),
    Row(
        "rmhmc", "no metric", lambda: rmhmc(metric=None), "`metric` must be a callable"
    ),
    Row(
        "relativistic_hmc",
        "no kinetic energy",
        lambda: relativistic(kinetic=None),
        "`kinetic` must be a `RelativisticKinetic`",
    ),
    Row(
        "integrator",
        "a solver of diffrax",
        lambda: mcmc.integrator(mcmc.blackjax),  # pyright: ignore
        "`solver` must be a `TaoSolver`",
    ),
    *numbers(
        "integrator",
        lambda reverse_tolerance: mcmc.integrator(
            cx.ImplicitMidpoint(), reverse_tolerance=reverse_tolerance
        ),
        "positive",
        reverse_tolerance=0.0,
    ),
    Row(
        "integrator",
        "a tolerance of an explicit solver",
        lambda: mcmc.integrator(cx.CHLUSolver(), reverse_tolerance=0.1),
        "`reverse_tolerance` is for implicit solvers",
    ),
    *(
        row
        for name in (
            "riemannian_metric",
            "extended_metric",
            "biased_reset_copies_metric",
        )
        for make in [getattr(mcmc, name)]
        for row in [
            Row(
                name, "a matrix", lambda m=make: m(jnp.eye(2)), "`metric` must be a cal"
            ),
            Row(
                name,
                "a metric of another size",
                lambda m=make: m(lambda q: jnp.eye(3)).sample_momentum(KEY, Q),
                r"`metric` must return a matrix of shape \(2, 2\)",
            ),
            Row(
                name,
                "a metric that is negative",
                lambda m=make: m(lambda q: -jnp.ones(2)).sample_momentum(KEY, Q),
                "`metric` must be finite, symmetric and positive definite",
            ),
        ]
    ),
    *numbers(
        "extended_metric",
        lambda spread: mcmc.extended_metric(jnp.ones_like, spread),
        "positive",
        spread=0.0,
    ),
    Row(
        "thermal_metric",
        "an energy that cannot be sampled",
        lambda: mcmc.thermal_metric(cx.RotationKinetic(2, 0.1)),  # pyright: ignore
        "`kinetic` must be a `RelativisticKinetic`",
    ),
    Row(
        "thermal_metric",
        "an energy of another dimension",
        lambda: mcmc.thermal_metric(cx.NewtonianKinetic(3)).sample_momentum(KEY, Q),
        "`kinetic` must have the dimension of the position, 2, got 3",
    ),
    Row(
        "SoftAbsMetric",
        "no density",
        lambda: mcmc.SoftAbsMetric(None),  # pyright: ignore
        "`logdensity_fn` must be a callable",
    ),
    *numbers(
        "SoftAbsMetric",
        lambda alpha: mcmc.SoftAbsMetric(logdensity, alpha),
        "positive",
        alpha=0.0,
    ),
    Row(
        "SoftAbsMetric",
        "a density for each coordinate",
        lambda: mcmc.SoftAbsMetric(jnp.sin)(Q),
        "`logdensity_fn` must return one floating-point number",
    ),
    Row(
        "FisherMetric",
        "no predictor",
        lambda: mcmc.FisherMetric(None, jnp.ones_like, 1.0),  # pyright: ignore
        "`predictor` must be a callable",
    ),
    Row(
        "FisherMetric",
        "a precision of zero",
        lambda: mcmc.FisherMetric(jnp.sin, jnp.ones_like, 0.0),
        "`precision` must be positive",
    ),
    Row(
        "FisherMetric",
        "information of another number",
        lambda: mcmc.FisherMetric(jnp.sin, lambda x: jnp.ones(3), 1.0)(Q),
        "`predictor` and `information` must both return",
    ),
    Row(
        "softabs",
        "a vector",
        lambda: mcmc.softabs(Q),
        r"`matrix` must be a floating-point array of shape \(dim, dim\)",
    ),
    Row(
        "softabs", "not square", lambda: mcmc.softabs(BATCH), "`matrix` must be square"
    ),
    Row("softabs", "integers", lambda: mcmc.softabs(jnp.eye(2, dtype=int)), "`matrix`"),
    *numbers(
        "softabs", lambda alpha: mcmc.softabs(jnp.eye(2), alpha), "positive", alpha=0.0
    ),
    Row(
        "Whitening",
        "a covariance of another size",
        lambda: mcmc.Whitening(Q, jnp.eye(3)),
        "`mean` must have shape .* and `covariance` shape",
    ),
    Row(
        "Whitening",
        "a covariance that is not positive",
        lambda: mcmc.Whitening(Q, -jnp.eye(2)),
        "`covariance` finite, symmetric and positive definite",
    ),
    Row(
        "Whitening",
        "too few samples",
        lambda: mcmc.Whitening.of_samples(jnp.eye(2)),
        "`samples` must have shape .*more samples than",
    ),
]

MAP = analysis.step_map(TERM, CHLU, dt=0.1)
MODES = analysis.memory_modes(TERM, Q, dt=0.1)
ANALYSIS = [
    Row(
        "energy_drift",
        "energies of other times",
        lambda: analysis.energy_drift(jnp.zeros(5), jnp.zeros(4)),
        "`times` and `energies` must have the same shape",
    ),
    Row(
        "energy_drift",
        "two times",
        lambda: analysis.energy_drift(jnp.zeros(2), jnp.zeros(2)),
        "with n >= 3",
    ),
    Row(
        "energy_drift",
        "one time",
        lambda: analysis.energy_drift(jnp.ones(5), jnp.ones(5)),
        r"`times.var\(\)` must be positive",
    ),
    Row(
        "ShadowHamiltonian",
        "an energy that is not separable",
        lambda: analysis.ShadowHamiltonian(Mixed(), CHLU, 0.1),
        "`hamiltonian` must be a `SeparableHamiltonian`",
    ),
    Row(
        "ShadowHamiltonian",
        "an implicit solver",
        lambda: analysis.ShadowHamiltonian(
            TERM.hamiltonian, cx.ImplicitMidpoint(), 0.1
        ),
        "`solver` must be a composition",
    ),
    *numbers(
        "ShadowHamiltonian",
        lambda dt: analysis.ShadowHamiltonian(TERM.hamiltonian, CHLU, dt),
        "finite",
        dt=jnp.inf,
    ),
    Row(
        "step_map",
        "no solver",
        lambda: analysis.step_map(TERM, None, dt=0.1),  # pyright: ignore
        "`solver` must be a diffrax solver",
    ),
    *numbers(
        "step_map",
        lambda dt=0.1, **x: analysis.step_map(TERM, CHLU, dt=dt, **x),
        "finite",
        dt=jnp.inf,
        t0=jnp.inf,
    ),
    *(
        Row(
            "step_map",
            f"{n} steps",
            lambda n=n: analysis.step_map(TERM, CHLU, dt=0.1, num_steps=n),
            "`num_steps` must be a non-negative integer",
        )
        for n in (-1, 2.5)
    ),
    Row("step_map", "integers", lambda: MAP((INTEGERS, INTEGERS)), "`y0` must hold"),
    Row(
        "step_jacobian",
        "no map",
        lambda: analysis.step_jacobian(None, Y),  # pyright: ignore
        "`step` must be a callable",
    ),
    Row(
        "step_jacobian",
        "momenta of another size",
        lambda: analysis.step_jacobian(MAP, (Q, jnp.zeros(3))),
        "`p` must have the shapes and dtypes of `q`",
    ),
    *(
        Row(
            name,
            f"a matrix of shape {shape}",
            lambda f=f, shape=shape: f(jnp.zeros(shape)),
            "`jacobian` must be a square matrix over",
        )
        for name in ("symplecticity_defect", "volume_factor")
        for f in [getattr(analysis, name)]
        for shape in ((3, 3), (2, 4), (2,))
    ),
    *(
        row
        for name, f in {
            "conformal_factor": analysis.conformal_factor,
            "predicted_volume_factor": lambda term, dt: (
                analysis.predicted_volume_factor(term, dt, Y)
            ),
        }.items()
        for row in [
            Row(
                name, "no term", lambda f=f: f(None, 0.1), "`term` must be a `Hamiltoni"
            ),
            *numbers(name, lambda dt, f=f: f(TERM, dt), "finite", dt=jnp.inf),
        ]
    ),
    Row(
        "conformal_factor",
        "friction of each coordinate",
        lambda: analysis.conformal_factor(pendulum(jnp.ones(1)), 0.1),
        "`term` must have a constant scalar friction rate",
    ),
    *(
        Row(
            "measured_order",
            f"steps {steps}",
            lambda steps=steps: analysis.measured_order(
                TERM, CHLU, Y, t1=1.0, num_steps=steps
            ),
            "`num_steps` must hold at least two different positive integers",
        )
        for steps in ((4,), (4, 4), (0, 4), (4, 8.5))
    ),
    Row(
        "measured_order",
        "no time",
        lambda: analysis.measured_order(TERM, CHLU, Y, t1=0.0, exact=Y),
        "`t1 - t0` must be finite and not zero",
    ),
    Row(
        "measured_order",
        "a state of another structure for the exact one",
        lambda: analysis.measured_order(TERM, CHLU, Y, t1=1.0, exact=Q),
        "`exact` must have the structure and the shapes",
    ),
    Row(
        "memory_modes",
        "no term",
        lambda: analysis.memory_modes(None, Q, dt=0.1),  # pyright: ignore
        "`term` must be a `HamiltonianTerm`",
    ),
    *numbers(
        "memory_modes",
        lambda dt: analysis.memory_modes(TERM, Q, dt=dt),
        "positive",
        dt=0.0,
    ),
    *numbers(
        "memory_modes",
        lambda rtol: analysis.memory_modes(TERM, Q, dt=0.1, rtol=rtol),
        "non-negative",
        rtol=-1e-9,
    ),
    *(
        Row(
            "memory_modes",
            f"a tolerance of {bad}",
            lambda bad=bad: analysis.memory_modes(TERM, Q, dt=0.1, tolerance=bad),
            "`tolerance` must be non-negative",
        )
        for bad in (-1.0, jnp.nan)
    ),
    Row(
        "memory_modes",
        "a point that is not critical",
        lambda: analysis.memory_modes(TERM, Q + 0.1, dt=0.1),
        "`q` must be a critical point of the potential",
    ),
    Row(
        "memory_modes",
        "integers",
        lambda: analysis.memory_modes(TERM, INTEGERS, dt=0.1),
        "`q` must hold floating-point numbers",
    ),
    *numbers(
        "mode_half_life",
        lambda dt: analysis.mode_half_life(Q, dt=dt, friction=0.1),
        "positive",
        dt=0.0,
    ),
    *numbers(
        "mode_half_life",
        lambda friction: analysis.mode_half_life(Q, dt=0.1, friction=friction),
        "non-negative",
        friction=-1.0,
    ),
    Row(
        "mode_half_life",
        "integers",
        lambda: analysis.mode_half_life(INTEGERS, dt=0.1, friction=0.1),
        "`squared_mass` must hold floating-point numbers",
    ),
    Row(
        "memory_table",
        "a batch",
        lambda: analysis.memory_table(MODES._replace(squared_masses=BATCH)),
        "`modes` must be those of one critical point",
    ),
    Row(
        "memory_table",
        "masses alone",
        lambda: analysis.memory_table(Q),  # pyright: ignore
        "`modes` must be a `MemoryModes`",
    ),
    Row(
        "critical_point",
        "no potential",
        lambda: analysis.critical_point(None, Q),  # pyright: ignore
        "`potential` must be a callable",
    ),
    Row(
        "critical_point",
        "a potential for each coordinate",
        lambda: analysis.critical_point(jnp.sin, Q),
        "`potential` must return one floating-point number",
    ),
    Row(
        "critical_point",
        "a potential without one",
        lambda: analysis.critical_point(lambda q: jnp.sum(jnp.exp(q)), Q),
        "`q` must be near a critical point of `potential`",
    ),
]

ROWS = [*TRAINING, *OPTIMISERS, *SAMPLERS, *ANALYSIS]
