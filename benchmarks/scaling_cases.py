"""What `scaling` measures, in a process of its own: the number of simulated devices is
fixed when JAX starts. Prints a line of JSON per measurement."""

import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

import chlu_eqx as cx
from chlu_eqx.mcmc import relativistic_hmc
from chlu_eqx.training import fit_trajectories
from chlu_eqx.training.devices import shard_map


TOTAL, EACH = 256, 128  # of the batch, and of each device's part
TRAINING_STEPS, TRANSITIONS = 10, 50
CUT = PartitionSpec("batch")
OPTIMIZER = optax.adam(1e-3)  # one, so that what was compiled is found again


def training(mesh: Mesh, batch: int) -> Callable[[], PyTree]:
    """Steps of the lemniscate's unit on windows of 50, and its parameters after."""
    t = jnp.arange(0, 20, 0.05)[:, None]
    q, p = jnp.concatenate([jnp.cos(t), jnp.sin(2 * t)], 1), jnp.zeros((400, 2))
    data = (q[None], p[None])
    unit = cx.nn.CHLU(2, key=jr.key(0))

    def run() -> PyTree:
        fit = fit_trajectories(
            unit,
            data,
            OPTIMIZER,
            curriculum=[(50, TRAINING_STEPS)],
            batch_size=batch,
            key=jr.key(1),
            validation=jax.tree.map(lambda x: x[:, :2], data),
            report_every=TRAINING_STEPS,
            sharding=NamedSharding(mesh, CUT),
        )
        return eqx.filter(fit.last, eqx.is_inexact_array)

    return run


def sampling(mesh: Mesh, batch: int) -> Callable[[], PyTree]:
    """Relativistic Monte Carlo of a quartic law in 16 dimensions, and the last
    positions."""
    sampler: Any = relativistic_hmc(
        lambda q: -jnp.sum(q**4 + q**2) / 2, 0.1, cx.RelativisticKinetic(16), 10
    )

    def chain(position, key):
        def step(state, key):
            return sampler.step(key, state)[0], None

        keys = jr.split(key, TRANSITIONS)
        state, _ = jax.lax.scan(step, sampler.init(position), keys)
        return state.position

    chains = shard_map(jax.vmap(chain), mesh=mesh, in_specs=CUT, out_specs=CUT)
    compiled = jax.jit(chains)
    starts, keys = jr.normal(jr.key(2), (batch, 16)), jr.split(jr.key(3), batch)
    return lambda: compiled(starts, keys)


# By name: how to make a run, and of how many steps it is.
CASES = {
    "training step": (training, TRAINING_STEPS),
    "transition of chains": (sampling, TRANSITIONS),
}


def difference(x: PyTree, y: PyTree) -> float:
    """The largest, relative to the largest number of each array."""

    def one(a: Any, b: Any) -> float:
        a, b = np.asarray(a), np.asarray(b)
        return float(np.max(np.abs(a - b)) / np.max(np.abs(a)))

    return max(map(one, jax.tree.leaves(x), jax.tree.leaves(y)))


def main(repeats: int) -> None:
    devices = jax.devices()
    counts = [2**k for k in range(len(devices).bit_length())]
    counts = sorted({n for n in counts if n < len(devices)} | {len(devices)})
    for (name, (make, steps)), fixed in itertools.product(CASES.items(), (True, False)):
        batches = {n: TOTAL if fixed else EACH * n for n in counts}
        runs = {
            n: make(Mesh(devices[:n], ("batch",)), batch)
            for n, batch in batches.items()
        }
        results = {n: jax.block_until_ready(run()) for n, run in runs.items()}
        # Alternating, so that all meet the same machine.
        times: dict[int, list[float]] = {n: [] for n in counts}
        for _ in range(repeats):
            for n, run in runs.items():
                began = time.perf_counter()
                jax.block_until_ready(run())
                times[n].append((time.perf_counter() - began) / steps)
        for n in counts:
            ratios = sorted(a / b for a, b in zip(times[n], times[1], strict=True))
            row = {
                "case": name,
                "fixed": "total" if fixed else "each",
                "devices": n,
                "batch": batches[n],
                "milliseconds": 1e3 * statistics.median(times[n]),
                "ratio": statistics.median(ratios),
                "lower_quartile": ratios[len(ratios) // 4],
                "upper_quartile": ratios[-1 - len(ratios) // 4],
                "difference": difference(results[1], results[n]) if fixed else None,
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
