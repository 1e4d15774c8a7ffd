"""A sampler tuned for a law, and run."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Scalar

from .data.posteriors import Posterior
from .sampling_methods import MAX_STEPS, Method, Numbers, Target
from .sampling_metrics import bias, bulk_ess, Count, distance
from .search import configurations


class Size(NamedTuple):
    """How many chains there are; of how many transitions, with how many numbers, a
    trial is, and of how many trials' lengths a run."""

    chains: int
    transitions: int
    trials: int
    blocks: int


class Block(NamedTuple):
    """The positions of all chains after each transition, and means over these."""

    positions: Array
    acceptance: Scalar
    divergent: Scalar
    gradients: Scalar
    metrics: Scalar


COUNTED = 20
# Of the draws that a picture shows.
SHOWN = 400


def _target(posterior: Posterior, alpha: Scalar) -> Target:
    metric = lambda q: posterior.metric(q, alpha)  # noqa: E731
    return Target(posterior.logdensity, metric, posterior.dim)


def _lengths(key: PRNGKeyArray, numbers: Numbers, count: int) -> Array:
    """Random numbers of steps, from half of the time to half more; the same for all
    chains, which take their steps together."""
    if "time" not in numbers:
        return jnp.zeros(count, int)
    part = jr.uniform(key, (count,), minval=0.5, maxval=1.5)
    steps = jnp.ceil(part * numbers["time"] / numbers["step"])
    return jnp.minimum(steps, MAX_STEPS).astype(int)


def _chains(
    target: Target,
    method: Method,
    numbers: Numbers,
    key: PRNGKeyArray,
    states: Any,
    transitions: int,
) -> tuple[Any, Block]:
    transition = jax.vmap(method.make(target, numbers), (0, 0, None))
    lengths_key, key = jr.split(key)
    lengths = _lengths(lengths_key, numbers, transitions)

    def step(states: Any, inputs: tuple[PRNGKeyArray, Array]) -> tuple[Any, tuple]:
        key, length = inputs
        keys = jr.split(key, len(states.logdensity))
        states, info = transition(keys, states, length)
        cost = (jnp.nan, jnp.nan) if method.cost is None else method.cost(info)
        means = (info.acceptance_rate, info.is_divergent, *cost)
        means = [jnp.mean(jnp.asarray(x, float)) for x in means]
        return states, (states.position, *means)

    states, (positions, *means) = jax.lax.scan(
        step, states, (jr.split(key, transitions), lengths)
    )
    return states, Block(positions.swapaxes(0, 1), *(x.mean() for x in means))


def counter(
    posterior: Posterior, method: Method
) -> Callable[[Numbers, Scalar], tuple[float, float]]:
    """How many gradients of the energy and evaluations of the metric a transition
    takes, by one chain of a few."""
    target = _target(posterior, jnp.ones(()))
    counts = {}

    @jax.jit
    def run(numbers: Numbers, alpha: Scalar, state: Any) -> Any:
        counts["metric"] = Count(lambda q: posterior.metric(q, alpha))
        counted = target._replace(metric=counts["metric"].function)
        return _chains(counted, method, numbers, jr.key(2), state, COUNTED)[0]

    state = blackjax.rmhmc.init(posterior.draws[0], target.logdensity)
    state = jax.tree.map(lambda x: x[None], state)

    def count(numbers: Numbers, alpha: Scalar) -> tuple[float, float]:
        run.lower(numbers, alpha, state)  # makes the count, if it is not there
        found = counts["metric"]
        before = found.differentiated, found.all
        jax.block_until_ready(run(numbers, alpha, state))
        after = found.differentiated, found.all
        gradients, metrics = (
            (b - a) / COUNTED for a, b in zip(before, after, strict=True)
        )
        return gradients, metrics

    return count


class Sampling:
    """A method on a law, compiled once, for metrics of any sharpness."""

    def __init__(self, posterior: Posterior, method: Method, size: Size):
        self.posterior, self.method, self.size = posterior, method, size
        self._count = counter(posterior, method) if method.cost is None else None
        init = lambda q: blackjax.rmhmc.init(q, posterior.logdensity)  # noqa: E731
        self._init = jax.jit(jax.vmap(init))

        @jax.jit
        def block(numbers: Numbers, alpha: Scalar, key: PRNGKeyArray, states: Any):
            target = _target(posterior, alpha)
            return _chains(target, method, numbers, key, states, size.transitions)

        self._block = block

    def start(self, key: PRNGKeyArray) -> Any:
        """Chains that begin with draws of the law."""
        draws = self.posterior.draws
        return self._init(draws[jr.choice(key, len(draws), (self.size.chains,))])

    def cost(
        self, numbers: Numbers, alpha: Scalar, block: Block
    ) -> tuple[float, float]:
        if self._count is None:
            return float(block.gradients), float(block.metrics)
        return self._count(numbers, alpha)

    def tune(self, alpha: Scalar, report: Callable[[], None]) -> Numbers:
        """The numbers of the largest effective sample size for each gradient; where all
        chains stand still, of the largest jumps."""
        tried = configurations(self.method.ranges, self.size.trials, 0)
        states = self.start(jr.key(3))
        best, found = (-1.0, 0.0), {}
        for i in range(self.size.trials):
            numbers = {name: x[i] for name, x in tried.items()}
            _, block = self._block(numbers, alpha, jr.key(4), states)
            gradients, _ = self.cost(numbers, alpha, block)
            positions = np.asarray(block.positions)
            worth = bulk_ess(positions) / gradients, self._jumps(positions) / gradients
            if worth > best:
                best, found = worth, numbers
            report()
        return found

    def _jumps(self, positions: np.ndarray) -> float:
        """The mean square of a transition's, over the variance, where that is least."""
        squares = np.mean(np.diff(positions, axis=1) ** 2, axis=(0, 1))
        return float(np.min(squares / np.var(self.posterior.draws, axis=0)))

    def run(
        self, alpha: Scalar, seeds: int, report: Callable[[], None]
    ) -> dict[str, Any]:
        """The numbers of the tuned sampler; and of the first seed, for pictures, some
        draws of two coordinates and all of one chain's first."""
        numbers = self.tune(alpha, report)
        draws, lists, blocks = [], {"gradients": [], "metrics": [], "second": []}, []
        per_draw = []
        gradients = metrics = 0.0
        for seed in range(seeds):
            start, *keys = jr.split(jr.fold_in(jr.key(5), seed), self.size.blocks + 1)
            states, parts = self.start(start), []
            began = time.perf_counter()
            for key in keys:
                states, block = self._block(numbers, alpha, key, states)
                parts.append(jax.block_until_ready(block))
            seconds = time.perf_counter() - began
            positions = np.concatenate([np.asarray(b.positions) for b in parts], 1)
            ess = bulk_ess(positions)
            gradients, metrics = self.cost(numbers, alpha, parts[0])
            transitions = positions.shape[0] * positions.shape[1]
            per_draw.append(ess / transitions)
            lists["gradients"].append(1000 * ess / (transitions * gradients))
            lists["second"].append(ess / seconds)
            if metrics:
                lists["metrics"].append(1000 * ess / (transitions * metrics))
            draws.append(positions)
            blocks += parts
            report()
        exact, every = np.asarray(self.posterior.draws), np.concatenate(draws)
        flat = draws[0].reshape(-1, self.posterior.dim)
        shown = flat[np.linspace(0, len(flat) - 1, SHOWN).astype(int), :2]
        return {
            "best": {name: float(f"{x:.3g}") for name, x in numbers.items()},
            "gradients": round(gradients, 2),
            "metrics": round(metrics, 2),
            "acceptance": round(float(np.mean([b.acceptance for b in blocks])), 4),
            "divergent": round(float(np.mean([b.divergent for b in blocks])), 5),
            "ess_per_draw": [round(x, 5) for x in per_draw],
            "ess_per_1000_gradients": [round(x, 4) for x in lists["gradients"]],
            "ess_per_1000_metrics": [round(x, 4) for x in lists["metrics"]],
            "ess_per_second": [round(x, 2) for x in lists["second"]],
            "bias": round(bias(every, exact), 2),
            "distance": round(distance(every, exact), 4),
            "pairs": np.round(shown, 3).tolist(),
            "trace": np.round(draws[0][0, :, 0], 3).tolist(),
        }
