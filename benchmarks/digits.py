"""Learn an energy of handwritten digits, and draw new ones from it.

The CHLU paper's generative task (Jawahar & Pierini, arXiv 2603.01768): persistent
contrastive divergence, with Langevin dynamics for the sleep, and 1000 steps of it to
draw.

What differs from the paper: the heat bath is exact, where the paper's noise is that of
another law. The unit lives in whitened coordinates, where the training images with
their noise have unit variance in every direction: one step size fits all, and the
confinement |q|²/2 is their normal distribution. It trains and draws at one temperature,
kT = 1. One more step may take the noise off: the mean of the clean images given a noisy
one x is x - σ² ∇V(x)/kT, by Tweedie's formula (Saremi & Hyvärinen, "Neural Empirical
Bayes", JMLR 20, 2019).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray
from rich.console import Console

import chlu_eqx as cx
from chlu_eqx.training import NoiseSeed

from . import digits_figures as figures, scores
from .checkpoint import Checkpoints
from .data import digits
from .digits_training import (
    over_devices,
    Pair,
    QUICK,
    Seed,
    Settings,
    train,
    Trained,
)
from .record import drawn, environment, keep, progress_bars, spread, write


@eqx.filter_jit
def draw(
    trained: Trained, states: Pair, key: PRNGKeyArray, settings: Settings, kT: Any = 1.0
) -> Pair:
    """Trajectories of the generative mode, of ten states after the first: each of shape
    `(chains, 11, pixels)`."""
    n = settings.draw_steps

    def run(state: Pair, key: PRNGKeyArray) -> Pair:
        return trained.unit.generate(
            state,
            n,
            temperature=kT,
            friction=settings.rate,
            key=key,
            save_every=n // 10,
        )

    return jax.vmap(run)(states, jr.split(key, len(states[0])))


def denoised(trained: Trained, q: Array, settings: Settings) -> Array:
    """The mean of the clean images, given these noisy ones in white coordinates."""
    slope = jax.vmap(jax.grad(trained.unit.hamiltonian.potential))(q)
    # By the pixels, of which q is a linear function.
    score = -slope @ trained.white.from_pixels
    return trained.white.pixels(q) + settings.noise**2 * score


def starts(
    trained: Trained, image: Callable[[PRNGKeyArray], Array], n: int, key: PRNGKeyArray
) -> Pair:
    kinetic = trained.unit.hamiltonian.kinetic
    seed = Seed(image, trained.white, kinetic)  # pyright: ignore
    return jax.vmap(seed)(jr.split(key, n))


def generate(
    trained: Trained, n: int, seed: int, settings: Settings
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`n` images from each start, and the way of those from centroid and noise, of
    shape `(n, 12, pixels)`, the denoised ones at its end."""
    keys = jr.split(jr.fold_in(jr.key(seed), 1), 4)
    mean = trained.white.mean
    centroid = starts(trained, NoiseSeed(mean, scores.NOISE), n, keys[0])
    uniform = starts(
        trained,
        lambda key: jr.uniform(key, mean.shape, minval=-1.0, maxval=1.0),
        n,
        keys[1],
    )
    way, _ = draw(trained, centroid, keys[2], settings)
    other, _ = draw(trained, uniform, keys[3], settings)
    duration = settings.draw_steps * settings.dt
    annealed, _ = draw(
        trained,
        centroid,
        keys[2],
        settings,
        optax.exponential_decay(1.0, duration, 0.01),  # pyright: ignore
    )
    clean = denoised(trained, way[:, -1], settings)
    found = {
        "from centroid + noise": trained.white.pixels(way[:, -1]),
        "from pure noise": trained.white.pixels(other[:, -1]),
        "denoised": clean,
        "annealed to kT = 0.01": trained.white.pixels(annealed[:, -1]),
    }
    frames = jnp.concatenate([trained.white.pixels(way), clean[:, None]], axis=1)
    clipped = {name: np.clip(np.asarray(x), -1, 1) for name, x in found.items()}
    return clipped, np.clip(np.asarray(frames), -1, 1)


def modes(
    trained: Trained, images: Array, states: Pair, key: PRNGKeyArray, settings: Settings
) -> dict[str, Array]:
    """The images that noisy states become in each mode of the unit."""
    unit, n = trained.unit, settings.draw_steps
    still = (trained.white.white(images), jnp.zeros_like(images))
    threshold = jnp.percentile(jax.vmap(unit.hamiltonian)(*still), 1)

    @eqx.filter_jit
    def run(mode: cx.nn.CHLU) -> Pair:
        return jax.vmap(lambda y: mode(y, n, save_every=n))(states)

    found = {
        "conservative": run(unit),
        "dissipative": run(unit.dissipative(settings.rate)),
        "governed": run(unit.governed(threshold)),
        "generative": draw(trained, states, key, settings),
    }
    return {name: trained.white.pixels(q[:, -1]) for name, (q, _) in found.items()}


def energies(trained: Trained, images: np.ndarray) -> np.ndarray:
    """V of images."""
    q = trained.white.white(jnp.asarray(images, jnp.float32))
    return np.asarray(jax.vmap(trained.unit.hamiltonian.potential)(q))


def _median(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each score over the seeds, and of each class."""
    return {
        key: spread(row[key] for row in found)["median"]
        if not isinstance(found[0][key], list)
        else np.median([row[key] for row in found], axis=0).tolist()
        for key in found[0]
    }


def main(
    seeds: int = 1,
    quick: bool = False,
    mnist: bool = False,
    data_dir: Path | None = None,
    out: Path = Path("out/digits"),
    restart: bool = False,
    record: bool = False,
) -> None:
    """Learn an energy of handwritten digits, and draw new ones from it.

    A run that was stopped goes on where its last checkpoint has it.

    Args:
        seeds: how many times to train.
        quick: a short training, about a minute on two cores: the digits are poor.
        mnist: the digits of MNIST, downloaded from OpenML, instead of the 8x8 ones that
            come with scikit-learn.
        data_dir: a folder with the four IDX files of MNIST, to load these instead.
        out: where to keep checkpoints, and to write metrics.json and the pictures.
        restart: forget the checkpoints.
        record: also keep the numbers under benchmarks/results and the pictures under
            docs, for README and docs.
    """
    if seeds < 1:
        raise ValueError(f"`seeds` must be positive, got {seeds}.")
    settings = QUICK if quick else Settings()
    data = digits.load(mnist, data_dir)
    console = Console()
    classifier = scores.train_classifier(data.train, data.train_labels)
    # As many of each as the references are: the scores depend on how many.
    sets = scores.references(data)
    n = min(1000, len(sets["real"]))
    real = data.held_out[:n]
    known = {
        name: scores.evaluate(images[:n], real, data.train, classifier)
        for name, images in sets.items()
    }
    metrics: dict[str, Any] = {
        "task": "digits",
        "command": "python -m benchmarks digits"
        + (" --quick" if quick else f" --seeds {seeds}")
        + " --mnist" * (mnist or data_dir is not None),
        "environment": environment(),
        "settings": settings._asdict(),
        "images": {"train": len(data.train), "scored": n, "shape": data.shape},
        "classifier_accuracy": classifier.accuracy(data.held_out, data.held_out_labels),
        "runs": [],
    }
    runs: list[tuple[Trained, dict[str, np.ndarray], np.ndarray]] = []
    with progress_bars(console) as bars:
        for seed in range(seeds):
            bar = bars.add_task(f"seed {seed}", total=settings.steps)

            def report(step: int, found: dict[str, float], bar=bar, seed=seed) -> None:
                text = ", ".join(f"{k} {v:.2f}" for k, v in found.items())
                bars.update(
                    bar, completed=step, description=f"seed {seed}: energy of {text}"
                )

            began = time.perf_counter()
            checkpoints = Checkpoints(
                out / f"seed_{seed}",
                settings._asdict() | {"images": list(data.train.shape)},
                restart,
            )
            trained = train(
                data.train,
                seed,
                settings,
                checkpoints,
                report,
                over_devices(settings.batch),
            )
            seconds = time.perf_counter() - began
            bars.update(bar, completed=settings.steps, description=f"seed {seed}: draw")
            samples, way = generate(trained, n, seed, settings)
            runs.append((trained, samples, way))
            metrics["runs"].append(
                {
                    "seed": seed,
                    # Of this call: less, where it went on from a checkpoint.
                    "training_seconds": round(seconds, 1),
                    "history": trained.history,
                    "scores": {
                        name: scores.evaluate(images, real, data.train, classifier)
                        for name, images in samples.items()
                    },
                }
            )
            medians = {
                name: _median([run["scores"][name] for run in metrics["runs"]])
                for name in samples
            }
            metrics["summary"] = known | medians
            # Whatever comes, what was found so far is kept.
            write(out / "metrics.json", metrics)
    console.print(drawn(scores.table(metrics["summary"]), f"{n} images of each"))
    trained, samples, way = runs[0]
    states = starts(trained, NoiseSeed(trained.white.mean, scores.NOISE), 10, jr.key(0))
    pictures = figures.draw(
        out,
        data,
        samples,
        way,
        {
            "start": trained.white.pixels(states[0]),
            **modes(trained, jnp.asarray(data.train), states, jr.key(1), settings),
        },
        {
            "training images": energies(trained, data.train),
            "held-out images": energies(trained, data.held_out),
            "samples": energies(trained, samples["from centroid + noise"]),
            "noise": energies(trained, sets["noise"]),
        },
    )
    if record:
        keep(metrics, pictures)
    console.print(f"Wrote {out / 'metrics.json'}", *pictures, sep="\n  ")
