import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import chlu_eqx as cx
from benchmarks import sine_waves as task
from benchmarks.data import sine_waves
from benchmarks.runs import load, Run, save


OMEGA = 2 * np.pi
MODELS = ("CHLU", "LSTM")


def test_flow():
    """By the exponential of the oscillator's matrix; the waves are orbits of it."""
    y0 = jnp.array([[0.3], [-1.0]]), jnp.array([[2.0], [5.0]])
    q, p = sine_waves.flow(y0, 7, 0.05)
    for n in range(7):
        step = expm(0.05 * n * np.array([[0, 1], [-(OMEGA**2), 0]]))
        expected = step @ np.hstack(y0).T
        np.testing.assert_allclose(np.hstack([q[:, n], p[:, n]]).T, expected, 1e-12)
    waves = sine_waves.waves(np.array([0.0, 2.0]), 1000, 0.05)
    np.testing.assert_allclose(waves[0][1, 0, 0], np.sin(2.0))
    found = sine_waves.flow((waves[0][:, 0], waves[1][:, 0]), 1000, 0.05)
    for x, y in zip(found, waves, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-10)


def test_limit():
    """By the flow from many starts; and the benchmark's own, to rounding."""
    waves = sine_waves.waves(np.linspace(0, 6, 5), 40, 0.05)
    drawn = np.random.default_rng(2).standard_normal((4000, 5, 2))
    sigmas = jnp.array([0.1, 1.0])

    def errors(noise):
        run = lambda y0, n: sine_waves.flow(y0, n + 1, 0.05)  # noqa: E731
        return task.squared_errors(run, waves, sigmas, noise)

    limit = sine_waves.limit(np.asarray(sigmas))
    np.testing.assert_allclose(limit[1], 10.376, atol=1e-3)
    np.testing.assert_allclose(errors(jnp.asarray(drawn)), limit, rtol=0.05)
    np.testing.assert_allclose(errors(sine_waves.noise(3, 5)), limit, rtol=1e-10)


def _unit(kinetic, stiffness: float) -> cx.nn.CHLU:
    return cx.nn.CHLU(
        1,
        dt=task.DT,
        kinetic=kinetic,
        potential=cx.Confinement(stiffness / 2),
        key=jax.random.key(0),
    )


def test_verlet_is_exact_at_the_right_mass():
    """M = ωh/sin(ωh) and k = 2M (1 - cos(ωh))/h²: the unit is on the limit."""
    angle = OMEGA * task.DT
    mass = angle / np.sin(angle)
    kinetic = cx.NewtonianKinetic(1, mass=mass)
    unit = _unit(kinetic, 2 * mass * (1 - np.cos(angle)) / task.DT**2)
    noise = sine_waves.noise(task.DRAWS, task.TEST)[:1]
    _, waves = task.data()
    found = task.squared_errors(unit, waves, jnp.array([0.0, 0.3]), noise)
    exact = task.squared_errors(task.exact, waves, jnp.array([0.0, 0.3]), noise)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-15)


def test_kicked():
    """Speed and turning point by the conservation of energy."""
    c, stiffness, p = 8.0, OMEGA**2, 10 * np.pi
    unit = _unit(cx.RelativisticKinetic(1, speed_limit=c), stiffness)
    found = task.kicked(unit, 5)
    assert found["limit"] == pytest.approx(c)
    top = p / np.hypot(p, c)
    assert found["speed_over_limit"] == pytest.approx(top, abs=0.01)
    assert found["speed"] == pytest.approx(c * top, abs=0.1)
    q = np.abs(task.data()[1][0][:, 0]).max()
    energy = c * np.hypot(p, c) - c**2 + stiffness * q**2 / 2
    assert found["reach"] == pytest.approx(np.sqrt(2 * energy / stiffness), rel=0.02)
    assert found["energy_drift"] is not None and found["energy_drift"] < 0.02


@pytest.fixture
def tiny(monkeypatch):
    small = {
        "TIMES": 20, "TRAIN": 3, "TEST": 2, "SIGMAS": (0.1, 0.2, 0.5, 1.0), "DRAWS": 2,
        "KICKED_STEPS": 20, "QUICK": ((2, 2, 1e-2),), "BATCH": 2,
        "MODELS": {name: task.MODELS[name] for name in MODELS},
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(task, name, value)
    monkeypatch.setattr(task.figures, "draw", lambda *_: [])
    # optax mixes integers and floats.
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_goes_on_where_it_was_killed(tiny, monkeypatch, tmp_path):
    """And comes to the numbers of a run that was not; other settings start anew."""
    whole, out, train = tmp_path / "whole", tmp_path / "killed", task.train
    runs, trained = {}, []

    def counted(name, *args):
        runs[name] = train(name, *args)
        trained.append(name)
        return runs[name]

    def killed(name, *args):
        if trained:
            raise KeyboardInterrupt
        return counted(name, *args)

    def stand_in(name, *_):
        trained.append(name)
        return runs[name]

    def main(train, out, **kwargs):
        trained.clear()
        monkeypatch.setattr(task, "train", train)
        task.main(quick=True, out=out, **kwargs)

    def numbers(out):
        found = json.loads((out / "metrics.json").read_text())["runs"]
        return [{k: v for k, v in r.items() if k != "training_seconds"} for r in found]

    main(counted, whole)
    with pytest.raises(KeyboardInterrupt):
        main(killed, out)
    assert [run["model"] for run in numbers(out)] == ["CHLU"]
    main(counted, out)
    assert trained == ["LSTM"]
    assert numbers(out) == numbers(whole)
    main(stand_in, out)
    assert trained == []
    main(stand_in, out, restart=True)
    assert trained == list(MODELS)
    monkeypatch.setattr(task, "CLIP", 2.0)
    main(stand_in, out)
    assert trained == list(MODELS)


def test_a_stored_model_is_the_one_that_was_saved(tiny, tmp_path):
    model = task.MODELS["CHLU"](jax.random.key(7))
    run = Run(model, {"model": "CHLU", "mse": 0.1})
    save(tmp_path / "a.eqx", {"clip": 1.0, "waves": (3, 2)}, run)
    assert [path.name for path in tmp_path.iterdir()] == ["a.eqx"]
    make = task.MODELS["CHLU"]
    found = load(tmp_path / "a.eqx", {"clip": 1.0, "waves": (3, 2)}, make)
    assert found is not None and found.metrics == run.metrics
    y0 = jnp.array([0.5]), jnp.array([1.0])
    np.testing.assert_array_equal(found.model(y0, 3), model(y0, 3))
    assert load(tmp_path / "a.eqx", {"clip": 2.0, "waves": (3, 2)}, make) is None


def test_summary_of_a_run_that_diverged(tiny):
    numbers = {"parameters": 1, "training_seconds": 1.0, "clean_mse": None}
    kicks = {str(kick): {"speed": 1.0, "reach": None} for kick in task.KICKS}
    run = {
        "model": "LSTM",
        "mse": {"LSTM": [0.2, 1.0, 1.0, None]},
        "kicks": kicks,
    } | numbers
    summary = task.summarise([run, run | {"mse": {"LSTM": [0.4, 1.0, 1.0, 1.0]}}])
    assert summary["mse"]["LSTM"]["0.1"]["median"] == pytest.approx(0.3)
    assert summary["mse"]["LSTM"]["worst"]["max"] is None
    row = next(row for row in task.models_table(summary) if "clean" in row[0])
    assert row[1] == "diverged"
