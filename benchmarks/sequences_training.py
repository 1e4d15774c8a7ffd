"""What the sequence tasks are, and how models are trained and tuned for them."""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

from chlu_eqx.training import Progress

from .data import digits, sequences
from .record import environment, finite
from .runs import num_parameters, Report, Run, train_all
from .sequences_models import KINDS, make, Reader


RATES = (1e-3, 3e-3, 1e-2, 3e-2)
CLIP = 1.0
CALL = 50  # steps of training in one call
ADDING_BATCH, DIGITS_BATCH = 50, 64
NOISE = 0.2  # on the pixels, in training: a thousand digits are few
# What is said where rounding has been magnified too much.
LOST = "could not find the past again"
# Of models, and of data, that nothing else is made of.
TUNING_SEED, TEST_SEED = 100, 1000


class Problem(NamedTuple):
    """What to read, and what to answer."""

    length: int
    input_size: int
    output_size: int
    steps: int
    # Of a key: inputs and targets of a batch to train on.
    draw: Callable[[Any], tuple[Array, Array]]
    loss: Callable[[Array, Array], Array]
    # Inputs and targets to choose by, and to test with.
    validation: tuple[Array, Array]
    test: tuple[Array, Array]
    score: Callable[[Array, Array], Array]


def adding(length: int, steps: int) -> Problem:
    def draw(key: Any, batch: int = ADDING_BATCH) -> tuple[Array, Array]:
        return sequences.adding(key, batch, length)

    def squared(found: Array, targets: Array) -> Array:
        return (found[:, 0] - targets) ** 2

    validation, test = (draw(jr.key(TEST_SEED + i), 500) for i in range(2))
    return Problem(length, 2, 1, steps, draw, squared, validation, test, squared)


def pixels(data: digits.Digits, permuted: bool, steps: int) -> Problem:
    order = sequences.reading_order(data, permuted)
    train, validation, test = (
        (jnp.asarray(sequences.pixels(images, order)), jnp.asarray(labels))
        for images, labels in (
            (data.train, data.train_labels),
            (data.validation, data.validation_labels),
            (data.held_out, data.held_out_labels),
        )
    )

    def draw(key: Any) -> tuple[Array, Array]:
        which, noise = jr.split(key)
        i = jr.randint(which, (DIGITS_BATCH,), 0, len(train[0]))
        inputs = train[0][i]
        inputs = inputs + NOISE * jr.normal(noise, inputs.shape, inputs.dtype)
        return inputs, train[1][i]

    def wrong(found: Array, labels: Array) -> Array:
        return (found.argmax(1) != labels).astype(found.dtype)

    entropy = optax.softmax_cross_entropy_with_integer_labels
    length = len(order)
    return Problem(length, 1, 10, steps, draw, entropy, validation, test, wrong)


@eqx.filter_jit
def descend(
    model: Reader,
    opt_state: Any,
    first: Array,
    key: Any,
    optimizer: optax.GradientTransformation,
    problem: Problem,
) -> tuple[Reader, Any, Float[Array, " steps"]]:
    """Some steps of training, the first by its number."""
    trained, static = eqx.partition(model, eqx.is_inexact_array)

    def step(carry: tuple, n: Array) -> tuple:
        trained, opt_state = carry
        inputs, targets = problem.draw(jr.fold_in(key, n))

        def loss(trained: Any) -> Array:
            found = jax.vmap(eqx.combine(trained, static))(inputs)
            return jnp.mean(problem.loss(found, targets))

        value, gradient = jax.value_and_grad(loss)(trained)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(trained, updates), opt_state), value

    (trained, opt_state), losses = jax.lax.scan(
        step, (trained, opt_state), first + jnp.arange(CALL)
    )
    return eqx.combine(trained, static), opt_state, losses


@eqx.filter_jit
def evaluate(model: Reader, data: tuple[Array, Array], score: Callable) -> Array:
    inputs, targets = data
    # Some at once: then it fits the cache.
    found = jax.lax.map(model, inputs, batch_size=50)
    return jnp.mean(score(found, targets))


class Choice(NamedTuple):
    """A model, and the rate that it is trained with."""

    kind: str
    size: str
    setting: int
    rate: float

    def make(self, problem: Problem, key: Any) -> Reader:
        return make(
            self.kind,
            self.setting,
            self.size,
            problem.input_size,
            problem.output_size,
            problem.length,
            key,
        )

    def described(self) -> dict[str, Any]:
        """With what the names stand for: what is kept of another unit is not this."""
        kind = KINDS[self.kind]
        return self._asdict() | {
            "units": kind.sizes[self.size],
            "layers": kind.layers,
            "arguments": kind.settings[self.setting],
        }


def train(choice: Choice, problem: Problem, seed: int, report: Report) -> Run:
    model_key, key = jr.split(jr.key(seed))
    model = eqx.filter_jit(choice.make)(problem, model_key)
    schedule = optax.cosine_decay_schedule(choice.rate, problem.steps, 0.02)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(schedule))
    opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    first, rest = jnp.zeros((), jnp.int32), (key, optimizer, problem)
    compiled = descend.lower(  # pyright: ignore
        model, opt_state, first, *rest
    ).compile()
    memory = compiled.compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore
    history, began = [], time.perf_counter()
    for done in range(0, problem.steps, CALL):
        try:
            model, opt_state, losses = jax.block_until_ready(
                compiled(model, opt_state, first + done, *rest)
            )
        except RuntimeError as error:
            if LOST not in str(error):
                raise
            # The dynamics have become chaotic: no gradient is to be had any more.
            history += [None] * (problem.steps // CALL - len(history))
            break
        loss = float(losses.mean())
        history.append(finite(loss))
        report(Progress(done + CALL, problem.steps, problem.length, loss, loss, loss))
    seconds = time.perf_counter() - began

    def scored(data: tuple[Array, Array], score: Callable) -> float | None:
        """`None` for a model that came to no end."""
        whole = history[-1] is not None
        return finite(evaluate(model, data, score)) if whole else None

    metrics = {
        "choice": choice._asdict(),
        "parameters": num_parameters(model),
        "training_seconds": round(seconds, 1),
        "megabytes": round(memory / 1e6, 3),
        "validation": scored(problem.validation, problem.loss),
        "test": scored(problem.test, problem.score),
        "history": history,
    }
    return Run(model, metrics)


def retrained(choice: Choice, problem: Problem, seed: int, report: Report) -> Run:
    """Trained, and where that comes to no end, anew at the next lower rate."""
    run = train(choice, problem, seed, report)
    lower = [rate for rate in RATES if rate < choice.rate]
    if run.metrics["history"][-1] is not None or not lower:
        return run
    slower = choice._replace(rate=max(lower))
    again = retrained(slower, problem, seed, report)
    both = sum(r.metrics["training_seconds"] for r in (run, again))
    return again._replace(metrics=again.metrics | {"training_seconds": round(both, 1)})


def trained(
    problem: Problem,
    choices: dict[str, Choice],
    seeds: range,
    by: Callable[[Choice, Problem, int, Report], Run] = retrained,
    **where: Any,
) -> list[dict[str, Any]]:
    """The numbers of every choice by every seed."""
    metrics: dict[str, Any] = {
        "environment": environment(),
        "settings": {
            "choices": {name: choice.described() for name, choice in choices.items()},
            "steps": problem.steps,
            "length": problem.length,
            "first_seed": seeds.start,
            "clip": CLIP,
            "batches": [ADDING_BATCH, DIGITS_BATCH],
            "noise": NOISE,
        },
    }
    train_all(
        {
            name: functools.partial(choice.make, problem)
            for name, choice in choices.items()
        },
        len(seeds),
        lambda name, n, report: by(choices[name], problem, seeds[n], report),
        num_steps=problem.steps,
        metrics=metrics,
        summarise=lambda runs: {},
        **where,
    )
    return metrics["runs"]


def tuned(
    problem: Problem, size: str, kinds: Iterable[str], **where: Any
) -> dict[str, Choice]:
    """Of each kind the best of all rates by both settings."""
    choices = {
        f"{kind} {setting} {rate}": Choice(kind, size, setting, rate)
        for kind in kinds
        for setting in (0, 1)
        for rate in RATES
    }
    seeds = range(TUNING_SEED, TUNING_SEED + 1)
    best: dict[str, tuple[float, Choice]] = {}
    for run in trained(problem, choices, seeds, train, **where):
        choice = Choice(**run["choice"])
        loss = np.inf if run["validation"] is None else run["validation"]
        if choice.kind not in best or loss < best[choice.kind][0]:
            best[choice.kind] = loss, choice
    return {kind: choice for kind, (_, choice) in best.items()}
