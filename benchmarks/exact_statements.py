"""What the papers say of their maps, and what is so to rounding: statements that need
no training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array
from rich.console import Console
from scipy.integrate import quad
from scipy.optimize import brentq

import chlu_eqx as cx
from chlu_eqx.analysis import step_jacobian, step_map, symplecticity_defect
from chlu_eqx.training import lyapunov_exponents

from .record import drawn, environment, keep, number, progress_bars, write
from .sequences import jacobian


DIM = 3
UNITS = 20
# The CHLU paper's friction a step.
GAMMA = 0.3
CHAINS, STEPS, TEMPERATURE, DT = 20_000, 200, 2.0, 0.1
LENGTHS, BOUND = (100, 400, 1600), 4.0


def _unit(key: Array, dt: Array) -> tuple[cx.SeparableHamiltonian, cx.HamiltonianTerm]:
    mass, weights = jr.split(key)
    kinetic = cx.RelativisticKinetic(DIM, mass=jnp.exp(jr.normal(mass, (DIM,)) / 2))
    potential = cx.MLPPotential(DIM, width=16, key=weights) + cx.Confinement()
    energy = cx.SeparableHamiltonian(kinetic, potential)
    return energy, cx.HamiltonianTerm(energy, cx.friction_rate(GAMMA, dt))


@eqx.filter_jit
def _steps_of(key: Array) -> tuple[Array, ...]:
    """Of one step of a random unit: the defect of its Jacobian, of its volume and of
    the mean of its exponents, and the gradients of that mean and of the largest."""
    keys = jr.split(key, 3)
    dt = jr.uniform(keys[0], minval=0.05, maxval=0.5)
    y = tuple(jr.normal(keys[1], (2, DIM)))

    def exponents(energy: cx.SeparableHamiltonian) -> Array:
        term = cx.HamiltonianTerm(energy, cx.friction_rate(GAMMA, dt))
        return lyapunov_exponents(step_map(term, cx.CHLUSolver(), dt=dt), y)

    def slope(measure: Callable) -> Array:
        grads = eqx.filter_grad(lambda e: measure(exponents(e)))(energy)
        return jnp.max(
            jnp.array([jnp.max(jnp.abs(x)) for x in jax.tree.leaves(grads.potential)])
        )

    energy, term = _unit(keys[2], dt)
    matrix = step_jacobian(step_map(term, cx.CHLUSolver(), dt=dt), y)
    return (
        symplecticity_defect(matrix, 1 - GAMMA) / jnp.linalg.norm(matrix, 2) ** 2,
        jnp.abs(jnp.linalg.det(matrix) / (1 - GAMMA) ** DIM - 1),
        jnp.abs(jnp.mean(exponents(energy)) - jnp.log1p(-GAMMA) / 2),
        slope(jnp.mean),
        slope(lambda x: x[0]),
    )


def steps() -> dict[str, float]:
    found = jax.lax.map(_steps_of, jr.split(jr.key(0), UNITS))
    names = ("defect", "volume", "mean", "slope_of_mean")
    worst = {k: float(jnp.max(x)) for k, x in zip(names, found, strict=False)}
    return worst | {"slope_of_largest": float(jnp.median(found[-1]))}


def speed() -> dict[str, float]:
    """The largest of |q̇ᵢ| √Mᵢ / c over momenta of all sizes."""
    mass = jnp.array([0.1, 1.0, 10.0])
    kinetic = cx.RelativisticKinetic(DIM, mass=mass, speed_limit=0.7)
    sizes = 10.0 ** jnp.linspace(-3, 100, 200)
    momenta = sizes[:, None] * jr.normal(jr.key(0), (200, DIM))
    velocities = jax.vmap(kinetic.velocity)(momenta)
    return {"largest": float(jnp.max(jnp.abs(velocities) * jnp.sqrt(mass) / 0.7))}


def heat_baths() -> dict[str, float]:
    """The variance of a relativistic momentum in two dimensions, in a bath of kT = 2:
    by quadrature, and of chains by three rules."""
    kT = TEMPERATURE
    kinetic = cx.RelativisticKinetic(2)

    def moment(n: int) -> float:
        return quad(lambda r: r**n * np.exp((1 - np.sqrt(1 + r**2)) / kT), 0, 400)[0]

    rate = float(cx.friction_rate(GAMMA, DT))
    rules = {
        # dp = -Γp dt + √(2Γ kT) dW, by its exact step.
        "paper": lambda p, x: (
            (1 - GAMMA) * p + jnp.sqrt(kT * (1 - (1 - GAMMA) ** 2)) * x[:2]
        ),
        "authors_code": lambda p, x: (
            (1 - GAMMA) * p + jnp.sqrt(2 * GAMMA * kT * DT) * x[:2]
        ),
        "thermostat": lambda p, x: kinetic.thermostat(p, rate * DT, kT, x),
    }
    found = {"exact": moment(3) / moment(1) / 2}
    for name, rule in rules.items():

        def step(p: Array, key: Array, rule: Callable = rule) -> tuple[Array, None]:
            noise = jr.normal(key, (CHAINS, kinetic.noise_dim))
            return jax.vmap(rule)(p, noise), None

        run = jax.jit(lambda p, step=step: jax.lax.scan(step, p, _keys())[0])
        squares = np.mean(np.asarray(run(jnp.zeros((CHAINS, 2)))) ** 2, axis=1)
        found[name] = float(squares.mean())
        found[f"{name}_error"] = float(squares.std() / np.sqrt(CHAINS))
    return found


def _keys() -> Array:
    return jr.split(jr.key(0), STEPS)


def gradients() -> dict[str, float]:
    """Of Hamiltonian RNNs by the heuristic's step: the least and the largest of
    ‖∂h_n/∂h_0‖ over lengths and seeds."""
    norms = []
    for length in LENGTHS:
        for seed in range(5):
            keys = jr.split(jr.key(seed))
            cell = cx.nn.HamiltonianRNNCell(2, 16, key=keys[0])
            dt = cx.nn.gradient_controlled_dt(cell, length, bound=BOUND)
            cell = eqx.tree_at(lambda c: c.dt, cell, dt)
            matrix = jacobian(cell, jr.normal(keys[1], (length, 2)))
            norms.append(float(jnp.linalg.norm(matrix, 2)))
    return {"least": min(norms), "largest": max(norms), "bound": BOUND}


def descent() -> dict[str, float]:
    """Relativistic gradient descent: how far its two corners are from what optax has,
    on the way of 200 steps, and a step from conformally symplectic."""
    rate, mu = 0.02, 0.8
    ours = cx.optim.relativistic_gradient_descent

    def loss(x: Array) -> Array:
        return jnp.sum(jnp.cosh(x)) + jnp.sum((x[1:] - x[:-1] ** 2) ** 2)

    def way(optimizer: optax.GradientTransformation) -> Array:
        def step(carry: tuple, _: None) -> tuple:
            x, state = carry
            updates, state = optimizer.update(jax.grad(loss)(x), state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        x = jnp.array([0.9, -1.2, 0.5])
        return jax.lax.scan(step, (x, optimizer.init(x)), None, length=200)[1]

    def distance(a: optax.GradientTransformation, b: optax.GradientTransformation):
        return float(jnp.max(jnp.abs(way(a) - way(b))))

    def defect(delta: float, alpha: float) -> float:
        optimizer = ours(rate, mu, delta, alpha)

        def step(z: Array) -> Array:
            """Of the trajectory x and the velocity."""
            x, w = jnp.split(z, 2)
            factor = lambda w: mu / jnp.sqrt(1 + delta * mu**2 * jnp.sum(w**2))  # noqa: E731
            state = cx.optim.RelativisticState(jnp.zeros((), jnp.int32), w, factor(w))
            y = x + factor(w) * w
            updates, state = optimizer.update(jax.grad(loss)(y), state)
            assert isinstance(state, cx.optim.RelativisticState)
            w, y = state.velocity, jnp.asarray(optax.apply_updates(y, updates))
            return jnp.concatenate([y - factor(w) * w, w])

        matrix = jax.jacfwd(step)(jr.normal(jr.key(0), (6,)))
        return float(symplecticity_defect(matrix, mu))

    return {
        "nesterov": distance(ours(rate, mu, 0.0, 0.0), optax.sgd(rate, mu, True)),
        "momentum": distance(ours(rate, mu, 0.0, 1.0), optax.sgd((1 + mu) * rate, mu)),
        "defect": defect(0.7, 1.0),
        "defect_half": defect(0.7, 0.5),
    }


def stability() -> dict[str, float]:
    """The longest steps with which x²/2 is descended, at a friction and a mass of one:
    where the spectral radius of a step is one. And the longest way of a step, in units
    of 1/√δ."""
    euler = cx.optim.conformal_symplectic_euler
    ours = cx.optim.relativistic_gradient_descent
    methods = {
        "nesterov": lambda h: ours(h**2, np.exp(-h), 0.0, 0.0),
        "momentum": lambda h: euler(h**2, np.exp(-h)),
        "rgd": lambda h: ours(h**2 / 2, np.exp(-h), 0.0, 1.0),
    }

    def radius(optimizer: Any) -> float:
        # As any later one, it knows how far the parameters are ahead.
        _, later = optimizer.update(jnp.zeros(()), optimizer.init(jnp.zeros(())))

        def step(z: Array) -> Array:
            state = eqx.tree_at(lambda s: s.velocity, later, z[1])
            updates, state = optimizer.update(z[0], state)
            return jnp.stack([z[0] + updates, state.velocity])

        matrix = jax.jacfwd(step)(jnp.zeros(2))
        return float(np.abs(np.linalg.eigvals(np.asarray(matrix))).max())

    def longest(make: Callable[[float], Any]) -> Any:
        return brentq(lambda h: radius(make(h)) - 1, 0.5, 3.0, xtol=1e-6)

    found = {name: float(longest(make)) for name, make in methods.items()}
    limited: Any = euler(1.0, 0.9, 4.0)
    pulls = 10.0 ** jnp.linspace(-3, 100, 200)
    ways = [float(limited.update(-g, limited.init(g))[0]) for g in pulls]
    return found | {"step_bound": 2 * max(ways)}


def flow() -> dict[str, float]:
    """The volume factor of a Hamiltonian flow, and its error there and back."""
    model = cx.nn.HamiltonianFlow(2, 4, key=jr.key(0))
    y = tuple(jr.normal(jr.key(1), (2, 2)))
    flat = jnp.concatenate(y)
    matrix = jax.jacfwd(lambda z: jnp.concatenate(model.forward(*jnp.split(z, 2))))(
        flat
    )
    there = model.inverse(*model.forward(*y))
    return {
        "log_det": float(jnp.abs(jnp.linalg.slogdet(matrix)[1])),
        "return": float(jnp.max(jnp.abs(jnp.concatenate(there) - flat))),
    }


STATEMENTS = (steps, speed, heat_baths, gradients, descent, stability, flow)


def table(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """The head and then a row for each number."""
    steps, baths, norms = found["steps"], found["heat_baths"], found["gradients"]
    rgd, bounds, volume = found["descent"], found["stability"], found["flow"]

    def draw(name: str) -> str:
        return f"{baths[name]:.3f} ± {baths[f'{name}_error']:.3f}"

    return [
        ["statement", "measured"],
        [
            "CHLU, a step with friction γ: ‖JᵀΩJ − (1−γ)Ω‖ / ‖J‖²",
            number(steps["defect"]),
        ],
        ["det J / (1−γ)ᵈ − 1", number(steps["volume"])],
        ["mean of log σ(J), minus ½ log(1−γ)", number(steps["mean"])],
        ["gradient of that mean by the weights", number(steps["slope_of_mean"])],
        ["gradient of the largest log σ(J)", number(steps["slope_of_largest"])],
        [
            "largest |q̇ᵢ| √Mᵢ / c, momenta up to 1e100",
            f"{found['speed']['largest']:.3f}",
        ],
        [
            "⟨pᵢ²⟩ at kT = 2m₀c², two coordinates: by quadrature",
            f"{baths['exact']:.3f}",
        ],
        ["of the thermostat", draw("thermostat")],
        ["of the paper's equation", draw("paper")],
        ["of the authors' update, dt = 0.1", draw("authors_code")],
        [
            f"Hamiltonian RNN by the heuristic: ‖∂h/∂h₀‖, bound {norms['bound']:.0f}",
            f"{norms['least']:.2f} to {norms['largest']:.2f}",
        ],
        ["RGD, δ = α = 0, from Nesterov's method", number(rgd["nesterov"])],
        ["RGD, δ = 0, α = 1, from classical momentum", number(rgd["momentum"])],
        ["RGD, α = 1: ‖JᵀΩJ − μΩ‖", number(rgd["defect"])],
        ["RGD, α = ½: ‖JᵀΩJ − μΩ‖", number(rgd["defect_half"])],
        [
            "longest stable step on x²/2, γ = 1: Nesterov, momentum, RGD",
            ", ".join(
                f"{bounds[name]:.3f}" for name in ("nesterov", "momentum", "rgd")
            ),
        ],
        [
            "longest step of momentum with a speed limit, √δ |Δx|",
            f"{bounds['step_bound']:.3f}",
        ],
        ["Hamiltonian flow: |log |det J||", number(volume["log_det"])],
        ["Hamiltonian flow: there and back", number(volume["return"])],
    ]


def main(
    quick: bool = False, out: Path = Path("out/exact_statements"), record: bool = False
) -> None:
    """Measure what the papers say of their maps, and what is so to rounding.

    Args:
        quick: as it is: it takes half a minute.
        out: where to write metrics.json.
        record: also keep the numbers under benchmarks/results, for README and docs.
    """
    del quick
    console = Console()
    metrics: dict[str, Any] = {
        "task": "exact_statements",
        "command": "python -m benchmarks exact_statements",
        "environment": environment(),
        "settings": {
            "precision": "float64",
            "units": UNITS,
            "gamma": GAMMA,
            "chains": CHAINS,
            "steps": STEPS,
            "temperature": TEMPERATURE,
            "dt": DT,
            "lengths": LENGTHS,
        },
        "found": {},
    }
    jax.config.update("jax_enable_x64", True)
    with progress_bars(console) as bars:
        for measure in bars.track(STATEMENTS, description="measuring"):
            metrics["found"][measure.__name__] = measure()
            write(out / "metrics.json", metrics)
    console.print(drawn(table(metrics["found"])))
    if record:
        keep(metrics, [])
    console.print(f"Wrote {out / 'metrics.json'}")
