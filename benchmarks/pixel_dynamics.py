"""Learn to move from pixels: latent dynamics behind images of mechanical systems.

The task of the Hamiltonian Generative Networks (Toth et al., ICLR 2020, arXiv
1909.13789) and of the variational integrator networks' pixel form (Saemundsson et al.,
AISTATS 2020, arXiv 1910.09349), with the measures of later papers.
"""

import functools
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from rich.console import Console
from scipy.stats import spearmanr

from chlu_eqx.nn import AbstractLatentDynamics
from chlu_eqx.training import negative_elbo

from . import pixel_figures as figures, pixel_metrics as measure
from .data.physics import simulate, System, SYSTEMS
from .data.rendering import draw
from .pixel_models import CONTEXT, energy, MODELS, Networks
from .record import cell, drawn, environment, finite, keep, spread, write
from .runs import (
    by_model,
    Curriculum,
    fit,
    median_run,
    num_steps,
    optimizer,
    Report,
    Run,
    train_all,
)


DT = 0.125  # of a frame, in the systems' time
HORIZON = 30  # frames, from that of the state on
FAR = 90
TRAIN, VALIDATION, TEST = 1000, 32, 64
WEIGHT = 1e-3
DECODED = 8
CLIP = 0.1
LOSS = functools.partial(negative_elbo, weight=WEIGHT, num_decoded=DECODED)
# Of each window the state is at the last of the context.
BEFORE = CONTEXT - 1


class Setting(NamedTuple):
    """What is drawn, how large, and how long is trained."""

    size: int
    convolutional: bool
    batch: int
    # (frames from the state on, steps, learning rate at the start of the stage).
    curriculum: Curriculum


SMALL = Setting(16, False, 32, ((6, 800, 3e-3), (15, 1700, 3e-3), (30, 5500, 3e-3)))
QUICK = Setting(16, False, 32, ((6, 400, 3e-3), (15, 400, 3e-3), (30, 400, 3e-3)))
FULL = Setting(32, True, 64, ((10, 1500, 2e-3), (30, 4500, 2e-3)))

# The number of coordinates of a latent position.
LATENT = {
    "mass_spring": 3,
    "pendulum": 3,
    "double_pendulum": 6,
    "two_body": 6,
    "three_body": 8,
}


class Task(NamedTuple):
    """A system, and the setting it is learned in."""

    name: str
    setting: Setting

    @property
    def system(self) -> System:
        return SYSTEMS[self.name]()

    def frames(self, q: Float[Array, "*batch times dim"]) -> Array:
        """Without the noise of the paper's, so that errors have no floor."""
        times = q.reshape(-1, *q.shape[-2:])
        found = draw(self.system, times, self.setting.size)
        return found.reshape(*q.shape[:-1], *found.shape[2:])

    def positions(self, key: int, batch: int, times: int, dt: float = DT) -> tuple:
        # Long chains of tiny steps: faster on a CPU than on a GPU.
        with jax.default_device(jax.devices("cpu")[0]):
            return simulate(self.system, jr.key(key), batch, times, dt=dt)

    def make(self, kind: str, key: PRNGKeyArray) -> AbstractLatentDynamics:
        images = self.images(0, 32, 8)
        images = images.reshape(-1, *images.shape[2:])
        latent = LATENT[self.name]
        return MODELS[kind](Networks(images, latent, self.setting.convolutional, key))

    def images(self, key: int, batch: int, times: int) -> Array:
        return jax.jit(self.frames)(self.positions(key, batch, times)[0])


class Truth(NamedTuple):
    """Test trajectories around the frames that the states are of: `FAR` frames on
    either side, and twice as many at half the time between them."""

    q: Float[Array, "batch times dim"]
    p: Float[Array, "batch times dim"]
    frames: Float[Array, "batch times size size channels"]
    slow: Float[Array, "batch times size size channels"]
    energies: Float[Array, " batch"]


@functools.lru_cache(1)
def truth(task: Task) -> Truth:
    q, p = task.positions(2, TEST, 4 * FAR, DT / 2)
    start = 2 * FAR
    energies = jax.vmap(task.system.hamiltonian)(q[:, start], p[:, start])
    frames = jax.jit(task.frames)
    slow = frames(q[:, start : start + 2 * HORIZON - 1])
    return Truth(q[:, ::2], p[:, ::2], frames(q[:, ::2]), slow, energies)


class Back(NamedTuple):
    """What only a motion in time can do: frames backward, at half and at twice the
    speed, and the state after going there and back."""

    frames: Array
    slow: Array
    fast: Array
    returned: Any


class Rollouts(NamedTuple):
    """From the states of the test frames."""

    states: Any
    trajectory: Any
    frames: Array
    back: Back | None


def inferred(model: AbstractLatentDynamics, frames: Array) -> Any:
    """The state of a test sequence, by the context in its middle."""
    return model.infer(frames[FAR - BEFORE : FAR + 1])


@eqx.filter_jit
def rollouts(model: AbstractLatentDynamics, frames: Array, in_time: bool) -> Rollouts:
    def one(frames: Array) -> Rollouts:
        state = inferred(model, frames)
        ahead = model.move(state, FAR - 1)
        rolled = jax.vmap(model.decode)(ahead)
        if not in_time:
            return Rollouts(state, ahead, rolled, None)
        end = jax.tree.map(lambda y: y[-1], ahead)
        returned = jax.tree.map(lambda y: y[-1], model.move(end, FAR - 1, -1.0))
        back = Back(
            model.rollout(state, FAR - 1, speed=-1.0),
            model.rollout(state, 2 * HORIZON - 2, speed=0.5),
            model.rollout(state, HORIZON // 2 - 1, speed=2.0),
            returned,
        )
        return Rollouts(state, ahead, rolled, back)

    return jax.vmap(one)(frames)


def evaluate(task: Task, kind: str, model: AbstractLatentDynamics) -> dict[str, Any]:
    """What a model's rollouts on the test trajectories are worth."""
    true = truth(task)
    found = rollouts(model, true.frames, kind != "recurrent")
    ahead = true.frames[:, FAR:]
    errors = measure.frame_errors(found.frames, ahead)
    metrics: dict[str, Any] = {
        "mse_inside": jnp.mean(errors[:, :HORIZON]),
        "mse_beyond": jnp.mean(errors[:, HORIZON:]),
        "valid_forward": jnp.median(measure.valid_frames(errors, ahead)),
    }
    if found.back is not None:
        behind = true.frames[:, FAR:0:-1]
        errors = measure.frame_errors(found.back.frames, behind)
        fast = ahead[:, : 2 * (HORIZON // 2) : 2]
        metrics |= {
            "valid_backward": jnp.median(measure.valid_frames(errors, behind)),
            "mse_half_speed": jnp.mean((found.back.slow - true.slow) ** 2),
            "mse_double_speed": jnp.mean((found.back.fast - fast) ** 2),
            "reversal_error": measure.reversal_error(found.states, found.back.returned),
        }
    hamiltonian = energy(model)
    if hamiltonian is not None:
        learned = jax.vmap(jax.vmap(hamiltonian))(*found.trajectory)
        metrics |= {
            "energy_drift": measure.energy_drift(learned),
            "energy_correlation": measure.correlation(learned[:, 0], true.energies),
        }
    r2, defect = symetric(task, true, found.trajectory)
    metrics |= {"symetric_r2": r2, "symetric_defect": defect}
    return {name: finite(value) for name, value in metrics.items()}


def symetric(task: Task, true: Truth, trajectory: Any) -> tuple[float, float]:
    """Of the states inside the horizon."""
    if not isinstance(trajectory, tuple):
        trajectory = jnp.split(trajectory, 2, axis=-1)
    inside = [y[:, :HORIZON].reshape(-1, y.shape[-1]) for y in trajectory]
    q, p = (y[:, FAR : FAR + HORIZON] for y in (true.q, true.p))
    points = q.reshape(-1, q.shape[-1]), p.reshape(-1, p.shape[-1])
    angles = "pendulum" in task.name

    def features(q: Array) -> Array:
        return jnp.concatenate([jnp.cos(q), jnp.sin(q)]) if angles else q

    degree = {1: 5, 2: 4}.get(q.shape[-1], 2)
    return measure.symetric(points, (inside[0], inside[1]), features, degree)


def ranks(task: Task, runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Spearman's rank correlation of a pendulum's energies, which any rising function
    leaves at 1: over all starts, and over those alone that do not go over the top,
    whose energy is below 2mgl."""
    true = truth(task)
    sides = {
        "all starts": np.full(TEST, True),
        "starts below the top": np.asarray(true.energies) < 3.0,
    }
    states = eqx.filter_jit(eqx.filter_vmap(inferred, in_axes=(None, 0)))
    found: dict[str, Any] = {side: {} for side in sides}
    for kind, trained in runs.items():
        energies = [
            (hamiltonian, states(run.model, true.frames))
            for run in trained
            if (hamiltonian := energy(run.model)) is not None
        ]
        learned = [jax.vmap(hamiltonian)(*start) for hamiltonian, start in energies]
        for side, which in sides.items():
            if learned:
                found[side][kind] = spread(
                    finite(spearmanr(x[which], true.energies[which])[0])
                    for x in learned
                )
    return found


def train(task: Task, kind: str, seed: int, report: Report) -> Run:
    curriculum = tuple(
        (frames - 1 + BEFORE, steps, rate)
        for frames, steps, rate in task.setting.curriculum
    )
    longest = curriculum[-1][0] + 1
    run = fit(
        functools.partial(task.make, kind),
        seed,
        task.images(0, TRAIN, 2 * HORIZON + BEFORE),
        # Early rollouts may diverge; such a step is left out.
        optax.apply_if_finite(
            optax.chain(optax.clip_by_global_norm(CLIP), optimizer(curriculum)), 100
        ),
        curriculum,
        report,
        batch_size=task.setting.batch,
        loss=LOSS,
        validation=task.images(1, VALIDATION, longest),
        report_every=200,
    )
    metrics = {"system": task.name, "kind": kind} | run.metrics
    return run._replace(metrics=metrics | evaluate(task, kind, run.model))


METRICS = {
    "parameters": "parameters",
    "mse_inside": "MSE, frames 1–30 (horizon)",
    "mse_beyond": "MSE, frames 31–90",
    "valid_forward": "valid frames of 90",
    "valid_backward": "valid frames of 90, backward",
    "mse_half_speed": "MSE at half speed",
    "mse_double_speed": "MSE at double speed",
    "reversal_error": "reversal error",
    "energy_drift": "drift of the learned energy",
    "energy_correlation": "its correlation with the true one",
    "symetric_r2": "SyMetric: R² (> 0.9)",
    "symetric_defect": "SyMetric: defect (< 0.05)",
    "training_seconds": "training, seconds",
}


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds, by system, metric and model."""
    systems: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        systems.setdefault(run["system"], []).append(run)
    return {
        system: {
            metric: {
                name.split(", ")[0]: spread(run[metric] for run in found)
                if metric in found[0]
                else None
                for name, found in by_model(members).items()
            }
            for metric in METRICS
        }
        for system, members in systems.items()
    }


def table(summary: dict[str, Any], system: str) -> list[list[str]]:
    """The head and then a row for each metric: median (range) for each model."""
    found = summary[system]
    return [
        [f"{system.replace('_', ' ')}, median (range)", *next(iter(found.values()))],
        *(
            [METRICS[metric], *map(cell, models.values())]
            for metric, models in found.items()
        ),
    ]


def ranks_table(found: dict[str, Any]) -> list[list[str]]:
    """The head and a row for each kind of starts: of `ranks`, by model."""
    return [
        ["rank correlation of the energies", *next(iter(found.values()))],
        *([side, *map(cell, models.values())] for side, models in found.items()),
    ]


def systems_table(summary: dict[str, Any]) -> list[list[str]]:
    """The head and then a row for each metric: of the one model, by system."""
    return [
        ["HGN", *(system.replace("_", " ") for system in summary)],
        *(
            [label, *(cell(found[metric].get("HGN")) for found in summary.values())]
            for metric, label in METRICS.items()
        ),
    ]


def main(
    systems: tuple[str, ...] | None = None,
    models: tuple[str, ...] = tuple(MODELS),
    seeds: int = 1,
    quick: bool = False,
    full: bool = False,
    out: Path = Path("out/pixel_dynamics"),
    record: bool = False,
    restart: bool = False,
) -> None:
    """Learn the motion behind images, and roll it out.

    Goes on where a run with the same settings and the same `out` was killed. Several
    processes, of other systems or models each, may share one `out`.

    Args:
        systems: of mass_spring, pendulum, double_pendulum, two_body, three_body; by
            default the pendulum, with `full` all.
        models: of HGN, VIN, "neural ODE", recurrent.
        seeds: how many times to train each model.
        quick: a short curriculum: a few minutes on two cores.
        full: 32 × 32 pixels and convolutions: for a GPU.
        out: where to write metrics.json, the trained models and the pictures.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
        restart: train every model anew.
    """
    if quick and full:
        raise ValueError("`quick` and `full` exclude one another.")
    if systems is None:
        systems = tuple(SYSTEMS) if full else ("pendulum",)
    for name, given, known in (
        ("systems", systems, SYSTEMS),
        ("models", models, MODELS),
    ):
        if not given or not set(given) <= set(known):
            raise ValueError(f"`{name}` must be of {list(known)}, got {given}.")
    setting = FULL if full else QUICK if quick else SMALL
    console = Console()
    options = ["--full"] if full else ["--quick"] if quick else []
    options += ["--systems", *systems]
    if set(models) != set(MODELS):
        options += ["--models", *models]
    command = ["python", "-m", "benchmarks", "pixel_dynamics", *options]
    metrics: dict[str, Any] = {
        "task": "pixel_dynamics",
        "command": shlex.join([*command, "--seeds", str(seeds)]),
        "environment": environment(),
        "settings": {
            **setting._asdict(),
            "latent": LATENT,
            "trajectories": [TRAIN, VALIDATION, TEST],
            "context": CONTEXT,
            "weight": WEIGHT,
            "decoded": DECODED,
            "clip": CLIP,
            "precision": "float32",
        },
    }
    tasks = {
        f"{kind}, {name.replace('_', ' ')}": (Task(name, setting), kind)
        for name in systems
        for kind in models
    }
    metrics["mean_image"] = {
        name: finite(measure.mean_image_error(truth(Task(name, setting)).frames))
        for name in systems
    }
    runs = train_all(
        {
            name: functools.partial(task.make, kind)
            for name, (task, kind) in tasks.items()
        },
        seeds,
        lambda name, seed, report: train(*tasks[name], seed, report),
        num_steps=num_steps(setting.curriculum),
        metrics=metrics,
        summarise=summarise,
        out=out,
        restart=restart,
        console=console,
    )
    pictures = []
    for system in systems:
        task = Task(system, setting)
        found = {kind: runs[name] for name, (of, kind) in tasks.items() if of == task}
        if system == "pendulum":
            metrics["ranks"] = ranks(task, found)
            write(out / "metrics.json", metrics)
        console.print(drawn(table(metrics["summary"], system), f"seeds: {seeds}"))
        shown = {}
        for kind, trained in found.items():
            model = median_run(trained, lambda m: m["mse_beyond"]).model
            moved = rollouts(model, truth(task).frames, kind != "recurrent")
            shown[kind] = figures.Shown(model, moved, energy(model))
        pictures += figures.draw(task.name, shown, truth(task), out, full)
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
