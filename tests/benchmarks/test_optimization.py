import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import optimization as task
from benchmarks.data import objectives
from chlu_eqx.optim import relativistic_eval_params


# Where each is least, by the survey of Jamil & Yang (arXiv 1308.4008) or by hand.
MINIMISERS = {
    "correlated quadratic": np.zeros(50),
    "random quadratic": np.zeros(500),
    "Rosenbrock, n = 2": np.ones(2),
    "Rosenbrock, n = 100": np.ones(100),
    "Booth": [1.0, 3.0],
    "Matyas": [0.0, 0.0],
    "Lévi 13": [1.0, 1.0],
    "sum of squares": np.zeros(100),
    "Beale": [3.0, 0.5],
    "camel": [0.0, 0.0],
    "Chung–Reynolds": np.zeros(50),
    "quartic": np.zeros(50),
    "Schwefel 2.23": np.zeros(20),
    "Qing": np.sqrt(np.arange(1, 101)) * np.resize([1, -1], 100),
    "Zakharov": np.zeros(5),
}
# At the starts, by hand.
STARTS = {
    "Rosenbrock, n = 2": 409.0,
    # 50 pairs up from -2, of 400 + 9, and 49 down from 2, of 3600 + 1.
    "Rosenbrock, n = 100": 50 * 409 + 49 * 3601,
    "Booth": 23**2 + 25**2,
    "Matyas": 0.26 * 149 + 0.48 * 70,
    "Lévi 13": 81 + 121,
    "sum of squares": 100 * 5050,
    "Beale": 13.5**2 + 21.75**2 + 86.625**2,
    "camel": 50 - 1.05 * 625 + 15625 / 6 + 50,
    "Chung–Reynolds": (50 * 2500) ** 2,
    "quartic": 16 * 50 * 51 / 2,
    "Schwefel 2.23": 20 * 1024,
    "Qing": sum((2500 - i) ** 2 for i in range(1, 101)),
    "Zakharov": 5 + 7.5**2 + 7.5**4,
}


@pytest.fixture(scope="module")
def every():
    return objectives.all_objectives()


@pytest.mark.parametrize("name", MINIMISERS)
def test_least_values(every, name):
    """0, with no slope, and more around it."""
    objective = every[name]
    start, data = objective.start(0)
    x = jnp.asarray(MINIMISERS[name])
    assert start.shape == x.shape and start.dtype == jnp.float64
    value, slope = jax.value_and_grad(objective.value)(x, data)
    np.testing.assert_allclose(value, 0, atol=objective.floor)
    np.testing.assert_allclose(slope, 0, atol=1e-11)
    around = np.random.default_rng(0).normal(size=(10, x.size))
    near = jax.vmap(lambda y: objective.value(y, data))(x[None] + 0.1 * around)
    assert (near > objective.floor).all()


@pytest.mark.parametrize("name", STARTS)
def test_starts(every, name):
    found = every[name].value(*every[name].start(3))
    np.testing.assert_allclose(found, STARTS[name], rtol=1e-12)


def test_quadratics():
    """Gradients and eigenvalues, and what a seed changes."""
    x, matrix = objectives.correlated().start(0)
    gradient = jax.grad(objectives.quadratic)(x, matrix)
    np.testing.assert_allclose(gradient, matrix @ x, rtol=1e-12)
    np.testing.assert_allclose(matrix[3, 7], 0.95**4)
    # The inverse of ρ^|i - j| is tridiagonal: 1 + ρ² and -ρ inside, over 1 - ρ².
    middle = np.linalg.inv(matrix)[20, 18:23] * (1 - 0.95**2)
    expected = [0, -0.95, 1 + 0.95**2, -0.95, 0]
    np.testing.assert_allclose(middle, expected, atol=1e-12)
    assert np.std(x) == pytest.approx(10, rel=0.3)

    drawn = objectives.random_quadratic(200)
    matrices = [np.asarray(drawn.start(seed)[1]) for seed in (0, 0, 1)]
    eigenvalues = np.linalg.eigvalsh(matrices[0])
    assert 1e-3 <= eigenvalues[0] and eigenvalues[-1] <= 10
    assert np.mean(eigenvalues) == pytest.approx(5, abs=0.8)
    np.testing.assert_array_equal(matrices[0], matrices[1])
    assert not np.allclose(matrices[0], matrices[2])


def test_matrix_completion(every):
    objective = every["matrix completion"]
    (u, v), entries = objective.start(1)
    matrix, observed = entries
    assert u.shape == v.shape == (100, 5)
    assert np.linalg.matrix_rank(matrix) == 5
    assert set(np.unique(observed)) == {0, 1} and np.sum(observed) == 3000
    # From the other side: entry by entry.
    seen = np.argwhere(observed)
    by_hand = sum((u[i] @ v[j] - matrix[i, j]) ** 2 for i, j in seen[:40]) / 2
    few = np.zeros((100, 100))
    few[tuple(seen[:40].T)] = 1
    found = objective.value((u, v), objectives.Entries(matrix, jnp.asarray(few)))
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)
    left, sizes, right = np.linalg.svd(matrix)
    solution = left[:, :5] * sizes[:5], right[:5].T
    assert objective.value(solution, entries) < 1e-20
    assert objective.value((u, v), entries) > 1000


def test_network(every):
    """Not much above log 10 at the start, where nothing is known yet."""
    x, data = every["network"].start(0)
    assert [leaf.dtype for leaf in jax.tree.leaves(x)] == [jnp.float64] * 4
    assert data[0].shape == (200, 64)
    assert every["network"].value(x, data) == pytest.approx(np.log(10), abs=0.5)


def by_hand(optimizer, objective, start, steps, evaluated):
    """A plain loop."""
    x, data = start
    state, values = optimizer.init(x), [objective.value(x, data)]
    step = jax.jit(lambda x, state: optimizer.update(jax.grad(value)(x), state, x))

    def value(x):
        return objective.value(x, data)

    for _ in range(steps):
        updates, state = step(x, state)
        x = optax.apply_updates(x, updates)
        values.append(value(evaluated(state, x)))
    return np.array(values)


@pytest.mark.parametrize("name", task.OPTIMISERS)
def test_search(every, name):
    """Every value, what is best and its curve against loops of the optimiser."""
    objective, optimiser = every["camel"], task.OPTIMISERS[name]
    # A step that is far too long, and two that are not.
    given = {
        "rate": [50.0, 1e-4, 4e-4],
        "friction": [0.1, 0.02, 0.2],
        "forget": [0.1, 0.01, 0.1],
        "norm": [1e9, 30.0, 10.0],
        "relativity": [1e-9, 0.5, 0.02],
        "alpha": [0.3, 0.9, 0.3],
    }
    drawn = {k: jnp.asarray(given[k]) for k in optimiser.ranges}
    with jax.numpy_dtype_promotion("standard"):
        start = objective.start(0)
        found = task.search(objective, optimiser, 15, start, drawn)
        curves = []
        for i in range(3):
            make = optimiser.make(**{k: float(x[i]) for k, x in drawn.items()})
            ours = name.startswith("RGD")
            evaluated = relativistic_eval_params if ours else lambda state, x: x
            curves.append(by_hand(make, objective, start, 30, evaluated))
    ends = np.array([curve[15] for curve in curves])
    np.testing.assert_allclose(found.values, ends, rtol=1e-8)
    worse = [not x <= curve[0] for x, curve in zip(ends, curves, strict=True)]
    np.testing.assert_array_equal(found.failed, worse)
    assert found.failed[0] and not found.failed[2]
    assert found.best == 1 + np.argmin(ends[1:])
    np.testing.assert_allclose(found.curve, curves[int(found.best)], rtol=1e-8)


def test_configurations():
    """In their ranges; the same rates and frictions for all, ten times for Adam."""
    found = {
        name: task.configurations(optimiser.ranges, 400, 5)
        for name, optimiser in task.OPTIMISERS.items()
    }
    for name, drawn in found.items():
        for key, x in drawn.items():
            low, high, log = task.OPTIMISERS[name].ranges[key]
            assert low <= x.min() and x.max() <= high
            middle = np.sqrt(low * high) if log else (low + high) / 2
            assert np.mean(x < middle) == pytest.approx(0.5, abs=0.1)
        np.testing.assert_array_equal(
            drawn["friction"], found["RGD, any α"]["friction"]
        )
        scale = 10 if name == "Adam" else 1
        np.testing.assert_allclose(drawn["rate"], scale * found["RGD, any α"]["rate"])
    others = task.configurations(task.OPTIMISERS["RGD, any α"].ranges, 400, 6)
    assert not np.any(others["rate"] == found["RGD, any α"]["rate"])


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(task, "QUICK", ("camel", "Booth"))
    monkeypatch.setattr(task, "QUICK_CONFIGURATIONS", 3)
    monkeypatch.setattr(task, "HORIZONS", {"camel": 4, "Booth": 3})
    few = {name: task.OPTIMISERS[name] for name in ("momentum", "RGD, any α")}
    monkeypatch.setattr(task, "OPTIMISERS", few)
    monkeypatch.setattr(task.figures, "draw", lambda *_: [])
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_goes_on_where_it_was_killed(tiny, monkeypatch, tmp_path):
    """And comes to the numbers of a run that was not; other settings start anew."""
    whole, out, tune = tmp_path / "whole", tmp_path / "killed", task.tune
    runs, done = {}, []

    def counted(name, objective, optimiser, *args):
        runs[name, optimiser] = tune(name, objective, optimiser, *args)
        done.append((name, optimiser))
        return runs[name, optimiser]

    def stand_in(name, objective, optimiser, *_):
        done.append((name, optimiser))
        return runs[name, optimiser]

    def killed(*args):
        if len(done) == 3:
            raise KeyboardInterrupt
        return counted(*args)

    def main(tune, out, **kwargs):
        done.clear()
        monkeypatch.setattr(task, "tune", tune)
        task.main(quick=True, out=out, **kwargs)

    def numbers(out):
        found = json.loads((out / "metrics.json").read_text())
        assert found["summary"] == task.summarise(found["runs"])
        return [{k: v for k, v in r.items() if k != "seconds"} for r in found["runs"]]

    main(counted, whole)
    assert len(done) == 4
    with pytest.raises(KeyboardInterrupt):
        main(killed, out)
    assert len(numbers(out)) == 3
    main(counted, out)
    assert done == [("camel", "RGD, any α")]
    assert numbers(out) == numbers(whole)
    main(stand_in, out)
    assert done == []
    main(stand_in, out, restart=True)
    assert len(done) == 4
    monkeypatch.setattr(task, "QUICK_CONFIGURATIONS", 2)
    main(stand_in, out)
    assert len(done) == 4


def test_numbers_of_a_run(tiny):
    reports = []
    run = task.tune(
        "camel", objectives.all_objectives()["camel"], "RGD, any α", 3, 5,
        lambda: reports.append(1),
    )  # fmt: skip
    assert len(reports) == 3
    assert run["steps"] == list(range(9))
    assert run["curve"][0] == pytest.approx(np.log10(STARTS["camel"]), abs=1e-3)
    # The curve is that of the median search.
    assert run["curve"][4] in run["log10_at_horizon"]
    assert run["curve"][-1] == np.median(run["log10"])
    assert [*run["best"][0]] == ["rate", "friction", "relativity", "alpha"]


def test_what_fails():
    """A value above the start, and one that is none; a best that is lost later."""
    objective = objectives.Objective(
        lambda x, data: x[0] ** 2, lambda seed: (jnp.asarray([2.0]), None)
    )
    sgd = task.Optimiser(lambda rate: optax.sgd(rate), {})
    rates = jnp.asarray([1.1, 1e200, 0.5, 0.1])
    found = task.search(objective, sgd, 2, objective.start(0), {"rate": rates})
    assert found.failed.tolist() == [True, True, False, False]
    assert found.best == 2 and found.curve[-1] == 0
    assert task.logarithm(found.curve[-1], objective.floor) == -60
    assert task.logarithm(np.inf, 1e-60) is None
    assert task.logarithm(np.nan, 1e-60) is None

    run = {"problem": "f", "optimiser": "a", "log10": [-3.0, -2.0, None]}
    run |= {"failures": [0.5, 0.0, 0.25], "overflows": [0.0, 0.0, 0.0]}
    other = run | {"optimiser": "b", "log10": [None, None, 1.0]}
    summary = task.summarise([run, other])
    assert summary["f"]["a"]["failures"] == 0.25
    assert task.lowest(summary["f"]) == ["a"]
    medians = {"c": -2.4, "d": -2.6, "e": None}
    near = {k: {"median": x} for k, x in medians.items()}
    assert task.lowest(summary["f"] | near) == ["c", "d"]
    head, row, last = task.table(summary)
    assert len(head) == len(row) == len(last) == 4
    assert row == [
        "f",
        "-2.0 (-3.0 to failed); 25%",
        "failed (1.0 to failed); 25%",
        "a",
    ]
    assert last[1].startswith("lowest 1; 25%")


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="`seeds` must be positive"):
        task.main(seeds=0, out=tmp_path)


def test_horizons(every):
    assert every.keys() == task.HORIZONS.keys()
    assert set(task.QUICK) < every.keys()
