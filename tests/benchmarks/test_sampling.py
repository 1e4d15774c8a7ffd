import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import (
    sampling as task,
    sampling_gate,
    sampling_metrics as metrics,
    sampling_runs as runs,
)
from benchmarks.data import posteriors
from benchmarks.sampling_methods import METHODS


@pytest.mark.parametrize(
    "name", ["logistic, d = 5", "banana", "eight schools", "funnel, 1 + 2"]
)
def test_draws_are_of_the_density(name, monkeypatch):
    """By Stein's identities: of q_j ∂_i log π the mean is -1 if i = j, and else 0; and
    of ∂_i log π it is 0."""
    monkeypatch.setattr(posteriors, "DRAWS", 1200)
    posterior = posteriors.POSTERIORS[name]()
    q = posterior.draws
    slopes = jax.jit(jax.vmap(jax.grad(posterior.logdensity)))(q)
    products = np.asarray(q[:, :, None] * slopes[:, None, :])
    products = products.reshape(len(q), -1)
    z = products.mean(0) + np.eye(posterior.dim).ravel()
    if name == "funnel, 1 + 2":
        # Where q_j and e^v are far apart, in either way, moments are those of few.
        z = np.diag(z.reshape(3, 3))
        products = products[:, [0, 4, 8]]
    z = z / (products.std(0) / np.sqrt(len(q)))
    # (Draws of chains are not independent.)
    assert np.abs(z).max() < 6
    matrix = np.asarray(posterior.metric(q[0], jnp.ones(())))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_funnel_and_banana():
    """Their densities, less a constant."""
    q = jnp.array([[0.5, 1.0, -2.0], [-1.0, 0.3, 0.7]])
    v, x = q[:, 0], q[:, 1:]
    law = norm(0, np.exp(-v / 2)[:, None])
    expected = norm(0, 3).logpdf(v) + law.logpdf(x).sum(1)
    found = jax.vmap(posteriors.funnel(2).logdensity)(q)
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-12)
    expected = norm.logpdf(q[:, 0]) + norm(q[:, 0] ** 2, 0.3).logpdf(q[:, 1])
    found = jax.vmap(posteriors.banana().logdensity)(q[:, :2])
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-12)


def _walk(rho, chains=8, times=4000):
    """Of an autoregressive process of correlation `rho`, started from its law."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(chains, times, 2)) * np.sqrt(1 - rho**2)
    x = [rng.normal(size=(chains, 2))]
    for t in range(times):
        x.append(rho * x[-1] + noise[:, t])
    return np.stack(x[1:], 1)


def test_effective_sample_size():
    """n (1 - ρ)/(1 + ρ); of the squares, whose correlation is ρ², it is more."""
    assert metrics.bulk_ess(_walk(0.0)) == pytest.approx(32_000, rel=0.1)
    assert metrics.bulk_ess(_walk(0.8)) == pytest.approx(32_000 / 9, rel=0.15)


def test_chains_that_stand_still():
    still = np.repeat(np.random.default_rng(0).normal(size=(8, 1, 2)), 100, 1)
    assert metrics.bulk_ess(still) == 0
    moving = still + 1e-9 * np.random.default_rng(1).normal(size=still.shape)
    assert metrics.bulk_ess(moving) == 0


def test_bias_and_distance():
    exact = np.random.default_rng(1).normal(size=(4000, 2))
    draws = np.random.default_rng(2).normal(size=(16, 500, 2))
    assert metrics.bias(draws, exact) < 4
    assert metrics.distance(draws, exact) < 0.04
    shifted = draws + np.array([0.0, 0.3])
    assert metrics.bias(shifted, exact) > 8
    # Of two normal laws that far apart.
    expected = 2 * norm.cdf(0.15) - 1
    assert metrics.distance(shifted, exact) == pytest.approx(expected, abs=0.03)


def test_count():
    """Of a function in a loop, of its derivative, and of the derivative of that."""
    count = metrics.Count(lambda q: jnp.sum(q**3))
    f = count.function
    q = jnp.array([2.0, 1.0])
    jax.block_until_ready(jax.lax.fori_loop(0, 5, lambda i, x: f(q + x), 0.0))
    assert (count.all, count.differentiated) == (5, 0)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(q), 3 * q**2)
    assert (count.all, count.differentiated) == (6, 1)
    second = jax.jit(lambda q: jax.jvp(jax.grad(f), (q,), (q,))[1])(q)
    np.testing.assert_allclose(second, 6 * q**2)
    assert (count.all, count.differentiated) == (7, 2)


LAW = posteriors.Posterior(
    lambda q: -jnp.sum(q**2) / 2,
    lambda q, alpha: jnp.diag(1 + q**2),
    jr.normal(jr.key(0), (500, 2)),
)
NUMBERS = {"step": 0.3, "time": 1.2, "turn": 1.5, "spread": 0.3, "speed": 2.0}


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"semi-explicit"}))
def test_methods(name):
    """Each moves, tells what it costs, and is about right."""
    method = METHODS[name]
    size = runs.Size(chains=8, transitions=100, trials=1, blocks=1)
    sampling = runs.Sampling(LAW, method, size)
    numbers = {k: jnp.asarray(NUMBERS[k]) for k in method.ranges}
    alpha = jnp.ones(())
    _, block = sampling._block(numbers, alpha, jr.key(1), sampling.start(jr.key(2)))
    assert 0.3 < block.acceptance <= 1
    assert metrics.bulk_ess(np.asarray(block.positions)) > 16
    assert metrics.bias(np.asarray(block.positions), np.asarray(LAW.draws)) < 6
    gradients, evaluations = sampling.cost(numbers, alpha, block)
    assert gradients >= 1
    assert (evaluations > 0) == method.riemannian


def test_costs_are_those_that_are_counted():
    """What is known of the explicit steps beforehand; the lengths are others by
    chance."""
    method = METHODS["explicit"]._replace(cost=None)
    numbers = {k: jnp.asarray(NUMBERS[k]) for k in method.ranges}
    # As long as no length is random.
    numbers["time"] = numbers["step"] * 1.4
    numbers["step"] = numbers["step"] * 2
    count = runs.counter(LAW, method)
    gradients, evaluations = count(numbers, jnp.ones(()))
    lengths = runs._lengths(jr.split(jr.key(2))[0], numbers, runs.COUNTED)
    known = METHODS["explicit"].cost(_Info(float(lengths.mean())))
    assert (gradients, evaluations) == pytest.approx(known)


class _Info:
    def __init__(self, steps):
        self.num_integration_steps = steps


def test_gate(monkeypatch):
    """It lets the exact rule pass and not the other."""
    monkeypatch.setattr(sampling_gate, "TRANSITIONS", 200)
    monkeypatch.setattr(sampling_gate, "LENGTHS", (0.5,))
    monkeypatch.setattr(sampling_gate, "CHAINS", 500)
    scores = {
        k: [r["score"] for r in sampling_gate.gate(k)] for k in sampling_gate.BOUND
    }
    assert np.abs(scores["explicit"]).max() < 4
    assert np.abs(scores["copies reset"]).max() > 10


def test_runs_and_resumes(tmp_path, monkeypatch):
    tiny = runs.Size(chains=4, transitions=20, trials=2, blocks=2)
    monkeypatch.setattr(task, "QUICK", tiny)
    monkeypatch.setattr(task, "QUICK_METHODS", ("explicit", "NUTS"))
    task.main(quick=True, out=tmp_path)
    first = json.loads((tmp_path / "metrics.json").read_text())
    assert [run["method"] for run in first["runs"]] == list(task.QUICK_METHODS)
    assert (tmp_path / "sampling_ess.png").stat().st_size > 10_000
    files = sorted((tmp_path / "runs").glob("*.json"))
    assert len(files) == 2
    # Killed before the second; seconds are others.
    kept = files[0].read_bytes()
    files[1].unlink()
    task.main(quick=True, out=tmp_path)
    assert files[0].read_bytes() == kept
    again = json.loads((tmp_path / "metrics.json").read_text())
    for one, other in zip(first["runs"], again["runs"], strict=True):
        for key in ("seconds", "ess_per_second"):
            one.pop(key), other.pop(key)
        assert one == other


def test_table():
    row = {"law": "a", "alpha": 100.0, "method": "explicit"}
    numbers = {name: [1.0, 3.0, 2.0] for name in task.SIZES}
    numbers |= {"bias": 1.0, "distance": 0.1, "acceptance": 0.5, "divergent": 0.0}
    stuck = numbers | {"ess_per_1000_gradients": [0.0, 0.0, 1.0], "method": "NUTS"}
    summary = task.summarise([row | numbers, row | stuck])
    lines = task.table(summary, "ess_per_1000_gradients")
    assert lines == [
        ["ESS per 1000 gradients, median (range)", "explicit", "NUTS"],
        ["a, α = 100", "2 (1 – 3)", "stuck"],
    ]


def test_bad_input():
    with pytest.raises(ValueError, match="`seeds` must be positive, got 0"):
        task.main(seeds=0)
    with pytest.raises(ValueError, match="`laws` must be of"):
        task.main(laws=("pears",))
