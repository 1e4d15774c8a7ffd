"""The sequence tasks, small."""

import json

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from rich.console import Console

from benchmarks import sequences as task, sequences_training as training
from benchmarks.data import digits, sequences
from benchmarks.record import progress_bars
from benchmarks.sequences_models import KINDS, make, start
from chlu_eqx.nn import RNN


def test_adding_problem():
    """One mark in each half; the sum of what is marked; 1/6 for the answer 1."""
    inputs, targets = sequences.adding(jr.key(0), 4000, 11)
    values, marks = np.asarray(inputs[..., 0]), np.asarray(inputs[..., 1])
    assert values.min() >= 0 and values.max() <= 1
    np.testing.assert_array_equal(marks[:, :5].sum(1), 1)
    np.testing.assert_array_equal(marks[:, 5:].sum(1), 1)
    assert set(marks.ravel()) == {0.0, 1.0} and (marks.sum(0) > 0).all()
    expected = [v[m == 1].sum() for v, m in zip(values, marks, strict=True)]
    np.testing.assert_allclose(targets, expected, rtol=1e-12)
    assert np.mean((targets - 1) ** 2) == pytest.approx(1 / 6, abs=0.01)


def test_pixels():
    data = digits.embedded()
    rows = sequences.reading_order(data, permuted=False)
    mixed = sequences.reading_order(data, permuted=True)
    image = data.train[:3]
    np.testing.assert_array_equal(
        sequences.pixels(image, rows)[..., 0].reshape(3, 8, 8),
        image.reshape(3, 8, 8).astype(np.float32),
    )
    found = sequences.pixels(image, mixed)[..., 0]
    assert (sorted(mixed) == rows).all() and (mixed != rows).any()
    np.testing.assert_array_equal(found[:, np.argsort(mixed)], image.astype(np.float32))


def _parameters(kind, size, *shape):
    model = eqx.filter_eval_shape(make, kind, 0, size, *shape, 64, jr.key(0))
    leaves = jax.tree.leaves(eqx.filter(model, lambda x: hasattr(x, "dtype")))
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def test_budgets_of_parameters():
    whole = _parameters("LSTM", "large", 1, 10)
    for kind in KINDS:
        assert _parameters(kind, "small", 2, 1) == pytest.approx(4500, rel=0.04)
        assert _parameters(kind, "large", 1, 10) == pytest.approx(whole, rel=0.04)
        half = _parameters(kind, "half", 1, 10)
        assert half <= whole / 2 and half == pytest.approx(whole / 2, rel=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_jacobian(kind):
    """Step by step: that of the whole layer."""
    cell = KINDS[kind].make(2, 3, 0, 7, jr.key(0))
    inputs, parts = jr.normal(jr.key(1), (7, 2)), start(cell)
    layer = RNN(cell, adjoint=diffrax.DirectAdjoint())

    def last(h):
        return jnp.concatenate(layer(inputs, tuple(jnp.split(h, len(parts))))[1])

    expected = jax.jacfwd(last)(jnp.concatenate(parts))
    np.testing.assert_allclose(task.jacobian(cell, inputs), expected, atol=1e-12)


def test_gradients_of_hamiltonian_cells_stay(monkeypatch):
    """Neither vanish nor explode; those of an LSTM vanish."""
    monkeypatch.setattr(task, "GRADIENT_LENGTHS", (100, 300))
    monkeypatch.setattr(task, "GRADIENT_UNITS", 4)
    kinds = {k: KINDS[k] for k in ("CHLU", "Hamiltonian RNN", "LSTM")}
    monkeypatch.setattr(task, "KINDS", kinds)
    found = task.gradients(1, progress_bars(Console()))
    for kind in ("CHLU", "Hamiltonian RNN"):
        for values in found[kind].values():
            assert 1 <= values["rms"]["median"] <= values["largest"]["median"] < 100
    assert found["LSTM"]["300"]["largest"]["median"] < 1e-20


@pytest.fixture
def tiny(monkeypatch):
    lstm = KINDS["LSTM"]
    small = {"LSTM": lstm._replace(sizes=dict.fromkeys(lstm.sizes, 3))}
    for name, value in {
        "ADDING": {6: 2}, "TUNED_ON": {4: 2}, "DIGITS_STEPS": 2,
        "DIGITS_TUNING_STEPS": 2, "GRADIENT_LENGTHS": (2, 3), "KINDS": small,
        "GRADIENT_UNITS": 2,
    }.items():  # fmt: skip
        monkeypatch.setattr(task, name, value)
    for name, value in {
        "CALL": 2, "RATES": (1e-3,), "ADDING_BATCH": 3,
        "DIGITS_BATCH": 3, "KINDS": small,
    }.items():  # fmt: skip
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr("benchmarks.sequences_models.KINDS", small)
    monkeypatch.setattr(task.figures, "draw", lambda *_: [])
    data = digits.embedded()
    few = [x[:5] for x in data[:6]]
    monkeypatch.setattr(digits, "load", lambda *_: digits.Digits(*few, data.shape))
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


def test_chaotic_runs_start_anew(monkeypatch):
    """At the next lower rate of the list, and their seconds count."""
    tried = []

    def train(choice, problem, seed, report):
        tried.append(choice.rate)
        lost = choice.rate > 3e-3
        metrics = {"history": [None if lost else 1.0], "training_seconds": 2.0}
        return training.Run(None, metrics)

    monkeypatch.setattr(training, "train", train)
    choice = training.Choice("LSTM", "small", 0, 3e-2)
    run = training.retrained(choice, None, 0, None)
    assert tried == [3e-2, 1e-2, 3e-3]
    assert run.metrics == {"history": [1.0], "training_seconds": 6.0}
    tried.clear()
    monkeypatch.setattr(training, "RATES", (1e-2, 3e-2))
    assert training.retrained(choice, None, 0, None).metrics["history"] == [None]
    assert tried == [3e-2, 1e-2]


def test_goes_on_where_it_was_killed(tiny, monkeypatch, tmp_path):
    """And trains nothing twice."""
    trained, train = [], training.train

    def killed(choice, *args):
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(choice)
        return train(choice, *args)

    monkeypatch.setattr(training, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        task.main(seeds=1, out=tmp_path)
    monkeypatch.setattr(
        training, "train", lambda *args: trained.append(args) or train(*args)
    )
    task.main(seeds=1, out=tmp_path)
    # Two settings, tuned three times; then one model, and two of them twice.
    assert len(trained) == 3 * 2 + 1 + 2 * 2
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert set(found["summary"]) == {"adding_6", "digits", "digits_permuted"}
    for models in found["summary"].values():
        for numbers in models.values():
            assert np.isfinite(numbers["test"]["median"])
    for table in (task.table, task.costs_table):
        head, *rows = table(found["summary"])
        assert [row[0] for row in rows] == ["LSTM", task.WHOLE]
        assert all(len(row) == len(head) == 4 for row in rows)
