"""Bad input to energies, terms, solvers and what goes with them."""

import diffrax
import jax
import jax.experimental
import jax.numpy as jnp
import optimistix as optx

import chlu_eqx as cx

from ..problems import henon_heiles, Mixed, SOLVERS
from .row import (
    BATCH,
    COMPLEX,
    INTEGERS,
    KEY,
    keys,
    numbers,
    Q,
    Row,
    sizes,
    traced,
    Y,
)


# Where it was in old JAX.
enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64

TERM = henon_heiles()
HAMILTONIAN = TERM.hamiltonian
NEWTON = cx.NewtonianKinetic(2)
PATH = cx.FixedGridBrownianPath(0.5, (5,), KEY)
NAN = (jnp.array([jnp.nan, 0.0]), Q)


def solve(solver, y0=Y, term=TERM, t1=1.0, **arguments):
    return diffrax.diffeqsolve(term, solver, 0.0, t1, 0.5, y0, **arguments)


def roll(terms=TERM, solver=SOLVERS["CHLUSolver"], y0=Y, dt=0.5, **arguments):
    return cx.rollout(terms, solver, y0, dt=dt, **{"num_steps": 2, **arguments})


def langevin(hamiltonian=HAMILTONIAN, path=PATH, friction=1.0, temperature=1.0):
    return cx.LangevinTerm(
        hamiltonian, path, friction=friction, temperature=temperature
    )


KINETICS = {
    "NewtonianKinetic": cx.NewtonianKinetic,
    "RelativisticKinetic": cx.RelativisticKinetic,
    "DenseNewtonianKinetic": cx.DenseNewtonianKinetic,
    "RotationKinetic": lambda dim, **rest: cx.RotationKinetic(dim, 0.1, **rest),
}
KINETIC_ROWS = [
    row
    for name, make in KINETICS.items()
    for row in [
        *sizes(name, make, "dim"),
        Row(name, "negative mass", lambda m=make: m(1, mass=[[-1.0]]), "`mass` must"),
        Row(name, "mass NaN", lambda m=make: m(1, mass=jnp.nan), "`mass` must"),
        Row(name, "masses of three", lambda m=make: m(2, mass=[1, 1, 1]), "`mass` mu"),
        Row(
            name, "a batch", lambda m=make: m(2)(BATCH), r"`p` must .*\(2,\).*\[5, 2\]"
        ),
        Row(name, "integers", lambda m=make: m(2)(INTEGERS), "`p` must be a floating"),
        Row(name, "a list", lambda m=make: m(2)([0.0, 0.0]), "`p` must be a floating"),
        Row(name, "one of 3", lambda m=make: m(3).velocity(Q), r"`p` must .*\(3,\)"),
        Row(
            name,
            "a batch of velocities",
            lambda m=make: m(2).momentum(BATCH),
            r"`velocity` must be .* shape \(2,\)",
        ),
    ]
]
THERMAL_ROWS = [
    row
    for name in ("NewtonianKinetic", "RelativisticKinetic")
    for kinetic in [KINETICS[name](2)]
    for row in [
        Row(
            name,
            "frozen by another name",
            lambda m=KINETICS[name]: m(2, frozen=("weight",)),
            "`frozen` must be a tuple of names",
        ),
        *keys(name, lambda k, kinetic=kinetic: kinetic.sample(k, 1.0)),
        *numbers(
            name,
            lambda kinetic=kinetic, **kT: kinetic.sample(KEY, **kT),
            "positive",
            temperature=-1.0,
        ),
        Row(
            name,
            "too little noise",
            lambda kinetic=kinetic: kinetic.thermostat(Q, 0.1, 1.0, jnp.zeros(1)),
            r"`noise` must have shape \(\d,\) or longer",
        ),
    ]
]

ENERGIES = [
    *KINETIC_ROWS,
    *THERMAL_ROWS,
    *numbers(
        "RelativisticKinetic",
        lambda **x: cx.RelativisticKinetic(2, **x),
        "positive",
        rest_mass=0.0,
        speed_limit=-1.0,
    ),
    Row(
        "NewtonianKinetic",
        "a mass that is zero in single precision",
        lambda: enable_x64(False)(lambda: cx.NewtonianKinetic(2, mass=1e-300))(),
        "`mass` must be positive and finite in float32, got 1e-300",
    ),
    Row(
        "NewtonianKinetic",
        "a mass that is infinite in single precision",
        lambda: enable_x64(False)(lambda: cx.NewtonianKinetic(2, mass=1e300))(),
        "`mass` must be positive and finite in float32, got 1e[+]?300",
    ),
    Row(
        "NewtonianKinetic",
        "a negative mass, traced",
        traced(lambda m: cx.NewtonianKinetic(2, mass=m).mass, -1.0),
        "`mass` must be positive",
    ),
    Row(
        "DenseNewtonianKinetic",
        "a mass that is not symmetric",
        lambda: cx.DenseNewtonianKinetic(2, mass=jnp.array([[1.0, 0.5], [0.0, 1.0]])),
        "`mass` must be symmetric and positive definite",
    ),
    *numbers(
        "RotationKinetic", lambda dt: cx.RotationKinetic(2, dt), "positive", dt=0.0
    ),
    *sizes(
        "MLPPotential",
        lambda dim=2, **x: cx.MLPPotential(dim, **x, key=KEY),
        "dim",
        "width",
    ),
    Row(
        "MLPPotential",
        "a depth below zero",
        lambda: cx.MLPPotential(2, depth=-1, key=KEY),
        "`depth` must be a non-negative integer, got -1",
    ),
    *keys("MLPPotential", lambda k: cx.MLPPotential(2, key=k)),
    Row(
        "MLPPotential",
        "a batch",
        lambda: cx.MLPPotential(2, width=2, key=KEY)(BATCH),
        r"`q` must be .* shape \(2,\), got .*\[5, 2\]; use `jax.vmap`",
    ),
    *sizes(
        "NeuralHamiltonian",
        lambda dim=2, **x: cx.NeuralHamiltonian(dim, **x, key=KEY),
        "dim",
        "width",
    ),
    *keys("NeuralHamiltonian", lambda k: cx.NeuralHamiltonian(2, key=k)),
    Row(
        "NeuralHamiltonian",
        "a momentum of another size",
        lambda: cx.NeuralHamiltonian(2, width=2, key=KEY)(Q, jnp.zeros(3)),
        r"`p` must be .* shape \(2,\)",
    ),
    *numbers("Confinement", lambda **x: cx.Confinement(**x), "positive", strength=-1.0),
    Row(
        "Confinement",
        "a position of another shape",
        lambda: cx.Confinement(jnp.ones(3))(Q),
        r"`q` must have the shape \(3,\) of `strength`",
    ),
    Row("PotentialSum", "none", lambda: cx.PotentialSum(), "`potentials` must be one"),
    Row(
        "PotentialSum",
        "a number",
        lambda: cx.Confinement() + 1.0,  # pyright: ignore
        "`potentials` must be one or more callables",
    ),
    Row(
        "PeriodicPotential",
        "no function",
        lambda: cx.PeriodicPotential(1.0),  # pyright: ignore
        "`potential` must be a callable",
    ),
    Row(
        "PeriodicPotential",
        "a batch",
        lambda: cx.PeriodicPotential(jnp.sum)(BATCH),
        "`q` must be a floating-point array",
    ),
    Row(
        "PeriodicPotential",
        "a function to a vector",
        lambda: cx.PeriodicPotential(jnp.sin)(Q),
        "`potential` must return one floating-point number",
    ),
    Row(
        "ConvPotential",
        "an image that is too small",
        lambda: cx.ConvPotential((1, 2, 8), key=KEY),
        "`image_shape` must be at least 4 pixels",
    ),
    Row(
        "ConvPotential",
        "no channels",
        lambda: cx.ConvPotential((0, 8, 8), key=KEY),
        "`image_shape` must be a positive integer",
    ),
    Row(
        "ConvPotential",
        "a layer without channels",
        lambda: cx.ConvPotential((1, 8, 8), features=(0,), key=KEY),
        "`features` must be a positive integer",
    ),
    *keys("ConvPotential", lambda k: cx.ConvPotential((1, 8, 8), key=k)),
    Row(
        "ConvPotential",
        "an image of another shape",
        lambda: cx.ConvPotential((1, 2, 2), features=(1,), key=KEY)(Q),
        "`q` must be a flattened image of `image_shape`",
    ),
    Row(
        "SeparableHamiltonian",
        "no kinetic energy",
        lambda: cx.SeparableHamiltonian(None, jnp.sum),  # pyright: ignore
        "`kinetic` must be a callable, got None",
    ),
    Row(
        "SeparableHamiltonian",
        "a potential to a vector",
        lambda: cx.SeparableHamiltonian(NEWTON, jnp.sin)(*Y),
        "`potential` must return one floating-point number",
    ),
    Row(
        "SeparableHamiltonian",
        "a force of a batch",
        lambda: cx.SeparableHamiltonian(NEWTON, lambda q: q[:, 0]).force(BATCH),
        r"`potential` must return .*use `jax.vmap` for batches.*\[5\]",
    ),
    Row(
        "SeparableHamiltonian",
        "a complex energy",
        lambda: cx.SeparableHamiltonian(NEWTON, jnp.sum).force(COMPLEX),
        "`potential` must return one floating-point number",
    ),
    Row(
        "RiemannianHamiltonian",
        "a metric that is a matrix",
        lambda: cx.RiemannianHamiltonian(jnp.sum, jnp.eye(2)),  # pyright: ignore
        "`metric` must be a callable",
    ),
    Row(
        "RiemannianHamiltonian",
        "a metric of another size",
        lambda: cx.RiemannianHamiltonian(jnp.sum, lambda q: jnp.eye(3))(*Y),
        r"`metric` must return a matrix of shape \(2, 2\)",
    ),
    Row(
        "RiemannianHamiltonian",
        "a potential to a vector",
        lambda: cx.RiemannianHamiltonian(jnp.sin, jnp.ones_like)(*Y),
        "`potential` must return one floating-point number",
    ),
]

TERMS = [
    *numbers(
        "friction_rate", lambda gamma: cx.friction_rate(gamma, 0.1), "in", gamma=1.0
    ),
    *numbers(
        "friction_rate", lambda dt: cx.friction_rate(0.1, dt), "positive", dt=-0.1
    ),
    Row(
        "friction_rate",
        "all of the momentum lost, traced",
        traced(lambda gamma: cx.friction_rate(gamma, 0.1), 1.0),
        r"`gamma` must be in \[0, 1\)",
    ),
    Row(
        "EnergyGovernor",
        "no energy",
        lambda: cx.EnergyGovernor(1.0, 1.0, dt=0.1),  # pyright: ignore
        "`hamiltonian` must be a callable",
    ),
    *numbers(
        "EnergyGovernor",
        lambda threshold: cx.EnergyGovernor(HAMILTONIAN, threshold, dt=0.1),
        "finite",
        threshold=jnp.inf,
    ),
    *numbers(
        "EnergyGovernor",
        lambda dt: cx.EnergyGovernor(HAMILTONIAN, 1.0, dt=dt),
        "positive",
        dt=0.0,
    ),
    *numbers(
        "EnergyGovernor",
        lambda strength: cx.EnergyGovernor(HAMILTONIAN, 1.0, dt=0.1, strength=strength),
        r"in \[0, 1\)",
        strength=1.0,
    ),
    Row(
        "PositionGatedFriction",
        "no function",
        lambda: cx.PositionGatedFriction(1.0),  # pyright: ignore
        "`gate` must be a callable",
    ),
    Row(
        "PositionGatedFriction",
        "a gate of another size",
        lambda: roll(
            cx.HamiltonianTerm(
                HAMILTONIAN, cx.PositionGatedFriction(lambda q: jnp.zeros(3))
            )
        ),
        r"`friction` must be one number, or be like `p`, .*got .*\[3\]",
    ),
    Row(
        "HamiltonianTerm",
        "no energy",
        lambda: cx.HamiltonianTerm(1.0),  # pyright: ignore
        "`hamiltonian` must be a callable",
    ),
    *numbers(
        "HamiltonianTerm",
        lambda friction: cx.HamiltonianTerm(HAMILTONIAN, friction),
        "non-negative",
        friction=-0.1,
    ),
    Row(
        "HamiltonianTerm",
        "negative friction, traced",
        traced(
            lambda rate: cx.HamiltonianTerm(HAMILTONIAN, rate).vf(0.0, Y, None), -0.1
        ),
        "`friction` must be non-negative",
    ),
    Row(
        "HamiltonianTerm",
        "rates of three coordinates for two",
        lambda: cx.HamiltonianTerm(HAMILTONIAN, jnp.ones(3)).vf(0.0, Y, None),
        "`friction` must be one number, or be like `p`",
    ),
    Row(
        "HamiltonianTerm",
        "rates that would add an axis",
        lambda: cx.HamiltonianTerm(HAMILTONIAN, jnp.ones((2, 1))).vf(0.0, Y, None),
        "`friction` must be one number, or be like `p`",
    ),
    Row(
        "HamiltonianTerm",
        "rates of another structure",
        lambda: cx.HamiltonianTerm(HAMILTONIAN, {"a": 1.0}).vf(0.0, Y, None),
        "`friction` must be one number, or be like `p`",
    ),
    Row(
        "HamiltonianTerm",
        "a forcing that is a number",
        lambda: cx.HamiltonianTerm(HAMILTONIAN, forcing=1.0),  # pyright: ignore
        "`forcing` must be a callable",
    ),
    Row(
        "HamiltonianTerm",
        "a force of another size",
        lambda: cx.HamiltonianTerm(
            HAMILTONIAN, forcing=lambda t, q, args: jnp.zeros(3)
        ).vf(0.0, Y, None),
        "`forcing` must return a force of the structure",
    ),
    Row(
        "HamiltonianTerm",
        "a batch",
        lambda: cx.HamiltonianTerm(lambda q, p: jnp.sum(q + p, -1)).vf(
            0.0, (BATCH, BATCH), None
        ),
        "`hamiltonian` must return .*use `jax.vmap` for batches",
    ),
    Row(
        "PartitionedTerm",
        "a function for a term",
        lambda: cx.PartitionedTerm(jnp.sin, jnp.cos),  # pyright: ignore
        "`drift` must be a diffrax term",
    ),
    Row(
        "LangevinTerm",
        "an energy without a heat bath",
        lambda: langevin(Mixed()),
        "`hamiltonian` must be a `SeparableHamiltonian`",
    ),
    Row(
        "LangevinTerm",
        "no path",
        lambda: langevin(path=None),  # pyright: ignore
        "`path` must be a Brownian path",
    ),
    *numbers("LangevinTerm", langevin, "non-negative", friction=-1.0, temperature=-1.0),
    Row(
        "LangevinTerm",
        "a temperature for each coordinate",
        lambda: langevin(temperature=jnp.ones(2)),  # pyright: ignore
        "`temperature` must be non-negative .*one real number",
    ),
    *numbers(
        "FixedGridBrownianPath",
        lambda dt=0.5, **x: cx.FixedGridBrownianPath(dt, (2,), KEY, **x),
        "",
        dt=0.0,
        start=jnp.inf,
    ),
    *keys("FixedGridBrownianPath", lambda k: cx.FixedGridBrownianPath(0.5, (2,), k)),
    Row(
        "FixedGridBrownianPath",
        "a size below zero",
        lambda: cx.FixedGridBrownianPath(0.5, (-1,), KEY),
        "`shape` must be a non-negative integer",
    ),
    Row(
        "FixedGridBrownianPath",
        "a number for a shape",
        lambda: cx.FixedGridBrownianPath(0.5, 2, KEY),  # pyright: ignore
        "`shape` must be a tuple of integers",
    ),
    Row(
        "FixedGridBrownianPath",
        "a Levy area that is none",
        lambda: cx.FixedGridBrownianPath(0.5, (2,), KEY, levy_area=float),
        "`levy_area` must be",
    ),
    Row(
        "FixedGridBrownianPath",
        "one time",
        lambda: PATH.evaluate(0.0),
        "pass `t1`",
    ),
    Row(
        "FixedGridBrownianPath",
        "a step off the grid, traced",
        traced(lambda t: PATH.evaluate(t, t + 0.5), 0.2),
        "`dt` must be the `dt0` of the solve",
    ),
]

EXPLICIT = {**SOLVERS, "TaoSolver": cx.TaoSolver()}
IMPLICIT = {
    name: getattr(cx, name)()
    for name in (
        "ImplicitMidpoint",
        "GeneralizedLeapfrog",
        "GaussLegendre4",
        "SemiExplicit",
    )
}
SUBSTEPS = {"Substeps": cx.Substeps(cx.CHLUSolver(), 2)}
LANGEVIN = {
    "BAOAB": cx.BAOAB(),
    "BABO": cx.BABO(),
    "MetropolisBAOAB": cx.MetropolisBAOAB(),
}
HAMILTON_ROWS = [
    row
    for name, solver in {**EXPLICIT, **IMPLICIT, **SUBSTEPS}.items()
    for row in [
        Row(name, "no pair", lambda s=solver: solve(s, Q), "`y0` must be a pair"),
        Row(
            name,
            "momenta of another shape",
            lambda s=solver: solve(s, (Q, jnp.zeros(3))),
            "`p` must have the shapes and dtypes of `q`",
        ),
        Row(
            name,
            "momenta of another precision",
            lambda s=solver: roll(solver=s, y0=(Q, jnp.zeros(2, jnp.float32))),
            "`p` must have the shapes and dtypes of `q`",
        ),
        Row(
            name,
            "momenta of another structure",
            lambda s=solver: solve(s, (Q, {"p": Q})),
            "`p` must have the pytree structure of `q`",
        ),
        Row(
            name,
            "a field without momenta",
            lambda s=solver: roll(diffrax.ODETerm(lambda t, y, args: y[0]), s),
            "must return a pytree with the same structure as `y0`",
        ),
    ]
]
SEPARABLE_ROWS = [
    Row(
        name,
        "an energy that is not separable",
        lambda s=solver: solve(s, term=cx.HamiltonianTerm(Mixed())),
        f"`{name}` needs a separable energy",
    )
    for name, solver in SOLVERS.items()
]
IMPLICIT_ROWS = [
    row
    for name in IMPLICIT
    for kind in [getattr(cx, name)]
    for row in [
        *sizes(name, kind, "root_find_max_steps"),
        Row(
            name,
            "no root finder",
            lambda kind=kind: kind(1e-8),
            "`root_finder` must be a root finder",
        ),
        Row(
            name,
            "a root finder without tolerances",
            lambda kind=kind: kind(
                diffrax.with_stepsize_controller_tols(diffrax.VeryChord)()
            ),
            "`root_finder` must have tolerances of its own",
        ),
    ]
]
LANGEVIN_ROWS = [
    row
    for name, solver in LANGEVIN.items()
    for row in [
        Row(
            name,
            "no heat bath",
            lambda s=solver: roll(solver=s),
            f"`{name}` solves `chlu_eqx.LangevinTerm",
        ),
        Row(
            name,
            "no pair",
            lambda s=solver: solve(s, Q, langevin()),
            "`y0` must be a pair",
        ),
        Row(
            name,
            "a path that is too short",
            lambda s=solver: solve(
                s, term=langevin(path=cx.FixedGridBrownianPath(0.5, (1,), KEY))
            ),
            r"`path` must be a Brownian path of an array of shape \(\d,\) or longer",
        ),
        Row(
            name,
            "a batch",
            lambda s=solver: solve(s, (BATCH, BATCH), langevin()),
            r"`p` must be .* shape \(2,\)",
        ),
    ]
]

RUNS = [
    Row(
        "BAOAB",
        "time backward",
        lambda: diffrax.diffeqsolve(langevin(), cx.BAOAB(), 1.0, 0.0, -0.5, Y),
        "runs forward: `t1` >= `t0`",
    ),
    Row(
        "ImplicitMidpoint",
        "an equation that is not solved",
        lambda: solve(
            cx.ImplicitMidpoint(optx.Newton(1e-12, 1e-12), 1),
            (jnp.ones(2), jnp.ones(2)),
            cx.HamiltonianTerm(Mixed()),
        ),
        "maximum number of .*steps",
    ),
    *(
        Row(
            name,
            "a state that is not finite",
            lambda s=solver, term=term: solve(s, NAN, term),
            "[Nn]on-?finite",
        )
        for name, solver, term in (
            ("CHLUSolver", cx.CHLUSolver(), TERM),
            ("TaoSolver", cx.TaoSolver(), TERM),
            ("BAOAB", cx.BAOAB(), langevin()),
        )
    ),
    Row(
        "CHLUSolver",
        "a state that is not finite, traced",
        traced(lambda q: solve(cx.CHLUSolver(), (q, Q)).ys, NAN[0]),
        "[Nn]on-?finite",
    ),
    *(
        Row(
            name,
            "steps of adaptive length",
            lambda s=solver: solve(
                s, stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3)
            ),
            "a symplectic solver needs a fixed step",
        )
        for name, solver in (*EXPLICIT.items(), *SUBSTEPS.items())
    ),
    *numbers("TaoSolver", cx.TaoSolver, "positive", omega=0.0),
    Row("TaoSolver", "order 3", lambda: cx.TaoSolver(order=3), "`order` must be 2, 4"),
    *sizes("Substeps", lambda n: cx.Substeps(cx.CHLUSolver(), n), "n"),
    Row(
        "Substeps",
        "of substeps",
        lambda: cx.Substeps(cx.Substeps(cx.CHLUSolver(), 2), 2),
        "`solver` must be a solver other than `Substeps`",
    ),
    *numbers("ReversibleAdjoint", cx.ReversibleAdjoint, "positive", rtol=0.0),
    Row(
        "ReversibleAdjoint",
        "a solver that cannot be undone",
        lambda: solve(diffrax.Tsit5(), adjoint=cx.ReversibleAdjoint()),
        "needs a solver whose steps can be undone",
    ),
    Row(
        "ReversibleAdjoint",
        "time without end",
        lambda: solve(cx.CHLUSolver(), t1=jnp.inf, adjoint=cx.ReversibleAdjoint()),
        "needs a finite `t1`",
    ),
    Row(
        "StepDensityController",
        "a function for a term",
        lambda: cx.StepDensityController(jnp.sin),  # pyright: ignore
        "`term` must be the diffrax term that is solved",
    ),
    Row(
        "StepDensityController",
        "a monitor that is a number",
        lambda: cx.StepDensityController(TERM, 1.0),  # pyright: ignore
        "`monitor` must be a callable",
    ),
    Row(
        "StepDensityController",
        "a monitor that is negative",
        lambda: solve(
            cx.CHLUSolver(),
            stepsize_controller=cx.StepDensityController(
                TERM, lambda t, y, args: -1.0 - jnp.sum(y[0] ** 2)
            ),
        ),
        "`monitor` must be positive and finite at `y0`",
    ),
    Row(
        "rollout", "no term", lambda: roll(jnp.sin), "`terms` must be one diffrax term"
    ),
    Row(
        "rollout", "no solver", lambda: roll(solver=None), "`solver` must be a diffrax"
    ),
    Row(
        "rollout",
        "a solver that looks back",
        lambda: roll(solver=diffrax.LeapfrogMidpoint()),
        "`solver` must be a one-step method",
    ),
    *numbers("rollout", roll, "finite", dt=0.0, t0=jnp.inf),
    Row(
        "rollout",
        "a step for each coordinate",
        lambda: roll(dt=jnp.ones(2)),
        "`dt` must be finite and not zero: one real number",
    ),
    Row(
        "rollout",
        "a step of zero, traced",
        traced(lambda dt: roll(dt=dt), 0.0),
        "`dt` must be finite and not zero",
    ),
    Row(
        "rollout",
        "a time backward, in a heat bath",
        lambda: roll(langevin(), cx.BAOAB(), dt=-0.5),
        "`dt` must be positive",
    ),
    *(
        Row(
            "rollout",
            f"{n} steps",
            lambda n=n: roll(num_steps=n),
            "`num_steps` must be a non-negative",
        )
        for n in (-1, 2.5, True)
    ),
    Row("rollout", "nothing saved", lambda: roll(save_every=0), "`save_every` must be"),
    Row(
        "rollout",
        "steps that are not saved",
        lambda: roll(num_steps=3, save_every=2),
        "`num_steps` must be a non-negative multiple",
    ),
    *(
        Row(
            "rollout",
            f"a state of {x.dtype}",
            lambda x=x: roll(y0=(x, x)),
            "`y0` must ho",
        )
        for x in (INTEGERS, COMPLEX)
    ),
    Row("rollout", "no state", lambda: roll(y0=()), "`y0` must hold floating-point"),
    Row("rollout", "a state of text", lambda: roll(y0=("q", "p")), "`y0` must hold"),
    Row(
        "rollout",
        "an adjoint of another kind",
        lambda: roll(adjoint=diffrax.BacksolveAdjoint()),
        "`adjoint` must be `chlu_eqx.ReversibleAdjoint",
    ),
]

ROWS = [
    *ENERGIES,
    *TERMS,
    *HAMILTON_ROWS,
    *SEPARABLE_ROWS,
    *IMPLICIT_ROWS,
    *LANGEVIN_ROWS,
    *RUNS,
]
