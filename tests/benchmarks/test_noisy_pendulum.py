import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import ellipj, ellipk

import chlu_eqx as cx
from benchmarks import (
    noisy_pendulum as task,
    noisy_pendulum_metrics as metrics,
    noisy_pendulum_models as models,
)
from benchmarks.data import noisy_pendulum as data


def test_starts_librate():
    q, v = data.starts(np.random.default_rng(0), 3000)
    energy = np.asarray(v**2 / 2 + data.potential_at(np.asarray(q)))
    assert energy.max() < 2 * data.GRAVITY
    assert np.abs(v).max() <= 1
    high = np.pi - np.abs(q)
    assert high.min() >= 0.1 and high.max() <= np.pi / 2
    assert (np.asarray(q) > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert np.median(np.abs(v)) == pytest.approx(0.5, abs=0.05)


def test_motion():
    """Released at rest: q = 2 arcsin(k sn(K - √g t)), k = sin(q₀/2)."""
    top = np.array([2.0, 3.0])
    q, v = data.motion((jnp.asarray(top)[:, None], jnp.zeros((2, 1))), 60)
    t = np.sqrt(data.GRAVITY) * data.DT * np.arange(60)
    k = np.sin(top / 2)[:, None]
    sn, *_ = ellipj(ellipk(k**2) - t, k**2)
    np.testing.assert_allclose(q[..., 0], 2 * np.arcsin(k * sn), atol=1e-6)
    energy = np.asarray(v**2 / 2 + data.potential_at(np.asarray(q)))
    np.testing.assert_allclose(energy, energy[:, :1] + 0 * energy, rtol=1e-8)


def test_observations():
    """Their noise; and of a larger number of trajectories the first are the same."""
    truth, observed = data.observations(7, 60, 30)
    noise = np.stack([x - y for x, y in zip(observed, truth, strict=True)])
    assert noise.std() == pytest.approx(data.NOISE, rel=0.05)
    assert abs(noise.mean()) < 0.02
    fewer = data.observations(7, 2, 30)
    for x, y in zip(jax.tree.leaves(fewer), [*truth, *observed], strict=True):
        np.testing.assert_allclose(x, y[:2], rtol=1e-12)


def test_windows():
    """All of them, side by side."""
    x = jnp.arange(2.0 * 5).reshape(2, 5, 1)
    found = models.windows((x, -x), 3)
    expected = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [5, 6, 7], [6, 7, 8], [7, 8, 9]]
    assert found[0].shape == (1, 3, 6, 1)
    np.testing.assert_array_equal(found[0][0, :, :, 0].T, expected)
    np.testing.assert_array_equal(found[1], -found[0])


def test_scores():
    """Of a run that is off by a constant in q, and one that loses its speed halfway."""
    q, v = jnp.zeros((3, 101, 1)), jnp.ones((3, 101, 1))
    found = metrics.scores((q + 0.5, v), (q, v))
    assert found["mse"] == pytest.approx(0.25)
    assert found["energy_drift"] == pytest.approx(0, abs=1e-12)
    found = metrics.scores((q, v.at[:, 51:].set(0)), (q, v))
    assert found["mse"] == pytest.approx(0.5)
    assert found["energy_drift"] == pytest.approx(0.5)
    assert metrics.scores((q, jnp.nan * v), (q, v))["mse"] is None


def test_references():
    """Zero is off by the true motion; Verlet's error is that of order 2."""
    found = metrics.references()
    q, v = metrics.test_data()
    size = np.mean(np.asarray(q[:, 1:]) ** 2 + np.asarray(v[:, 1:]) ** 2)
    assert found["zero"]["mse"] == pytest.approx(size)
    error = found["velocity Verlet, true potential"]["mse"]
    assert error is not None and 0 < error < 0.02


@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_potential_is_that_over_the_mass(mass):
    """And free of its zero; the relativistic rest mass counts too."""
    grid = np.linspace(-1, 1, 11)
    for kinetic in (
        cx.NewtonianKinetic(1, mass=mass),
        cx.RelativisticKinetic(1, mass=mass / 2, rest_mass=2.0, speed_limit=10.0),
    ):
        network = cx.nn.VariationalIntegratorNetwork(
            1,
            kinetic=kinetic,
            potential=lambda q: 3 - mass * data.GRAVITY * jnp.cos(q[0]),
            key=jr.key(0),
        )
        states = cx.nn.FreeInitialStates(jnp.zeros((1, 1)))
        model = cx.nn.ObservedDynamics(network, states)
        found = metrics.learned_potential(model, grid, 1.0)
        assert found is not None
        np.testing.assert_allclose(found, data.potential_at(grid), atol=1e-9)


@pytest.mark.parametrize("name", models.DYNAMICS)
def test_models(name, monkeypatch):
    """Each is made, trained on and rolled from a position and a velocity."""
    monkeypatch.setattr(models, "WIDTH", 4)
    model = models.inferred(jr.key(0), name)
    _, observed = data.observations(0, 1, 22)
    if name in models.OF_POSITIONS:
        observed = observed[0]
    seen = jax.tree.map(lambda x: x[0], models.windows(observed, 21))
    assert np.isfinite(models.loss(model, (seen, seen)))
    y0 = jnp.array([2.0]), jnp.array([0.5])
    q, v = models.rolled(model)(y0, 3)
    assert q.shape == v.shape == (4, 1)
    np.testing.assert_allclose((q[0], v[0]), y0, rtol=1e-6)


@pytest.fixture
def tiny(monkeypatch):
    kinds = [("ResNet", True), ("ResNet", False)]
    cases = {name: task.Case(*kind, 1) for name, kind in zip("ab", kinds, strict=True)}
    monkeypatch.setattr(task, "cases", lambda quick: cases)
    monkeypatch.setattr(task, "QUICK", 2)
    monkeypatch.setattr(models, "WIDTH", 3)
    monkeypatch.setattr(metrics, "STEPS", 4)
    monkeypatch.setattr(task.figures, "draw", lambda *_: [])
    metrics.test_data.cache_clear()
    # optax mixes integers and floats.
    with jax.numpy_dtype_promotion("standard"):
        yield
    metrics.test_data.cache_clear()


def test_goes_on_where_it_was_killed(tiny, monkeypatch, tmp_path):
    """And comes to the numbers of a run that was not."""
    train, trained = task.train, []

    def counted(case, *args):
        trained.append(case.free)
        return train(case, *args)

    def killed(case, *args):
        if trained:
            raise KeyboardInterrupt
        return counted(case, *args)

    def main(train, out):
        trained.clear()
        monkeypatch.setattr(task, "train", train)
        task.main(quick=True, out=out)

    def numbers(out):
        found = json.loads((out / "metrics.json").read_text())["runs"]
        return [{k: v for k, v in r.items() if k != "training_seconds"} for r in found]

    whole, out = tmp_path / "whole", tmp_path / "killed"
    main(counted, whole)
    with pytest.raises(KeyboardInterrupt):
        main(killed, out)
    assert len(numbers(out)) == 1
    main(counted, out)
    assert trained == [False]
    assert numbers(out) == numbers(whole)
    main(counted, out)
    assert trained == []


def test_tables(tiny):
    """Rows by model and columns by size; what was not trained is left blank, and one
    run that diverged does not spoil the median."""

    def run(row, points, mse, potential):
        numbers = dict.fromkeys(task.METRICS, 1.0)
        numbers |= {"mse": mse, "potential_rmse": potential}
        return {"model": f"{row}, {points}", "row": row, "points": points} | numbers

    runs = [run("VIN", "30 points", x, 0.5) for x in (1.0, 2.0, None)]
    runs += [run("VIN", "90 points", 4.0, 0.5), run("HNN", "30 points", 3.0, None)]
    numbers = {
        "summary": task.summarise(runs),
        "references": {"zero": {"mse": 15.0, "energy_drift": 0.0}},
    }
    assert task.error_table(numbers) == [
        ["MSE, median (range)", "30 points", "90 points"],
        ["zero", "15", "15"],
        ["VIN", "2 (1 – diverged)", "4"],
        ["HNN", "3", ""],
    ]
    head, vin, hnn = task.models_table(numbers)
    column = head.index("error of the potential, 30 points")
    assert vin[column] == "0.5" and hnn[column] == ""
