import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import dblquad

from benchmarks import (
    densities as task,
    densities_figures as figures,
    densities_metrics as metrics,
    densities_models as models,
)
from benchmarks.data import densities as data
from chlu_eqx.nn import HamiltonianFlow


@pytest.fixture(autouse=True)
def _promotion():
    # FlowJAX and optax mix types and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("name", data.LAWS)
def test_laws(name):
    """Densities integrate to one, and draws have the entropy that is told."""
    law = data.LAWS[name]
    line = np.linspace(-5, 5, 201)
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2) + 1e-9
    cell = (line[1] - line[0]) ** 2
    mass = sum(np.exp(law.log_density(part)).sum() for part in np.split(x, 201))
    assert mass * cell == pytest.approx(1, abs=1e-3)
    drawn = law.draw(np.random.default_rng(1), 20_000)
    found = law.log_density(drawn)
    error = found.std() / 20_000**0.5
    assert -found.mean() == pytest.approx(law.entropy, abs=4 * error + 1e-9)
    assert law.outside(drawn).mean() < 1e-3
    assert law.outside(np.array([[5.0, 5.0]])) == 1


def test_entropy_by_adaptive_quadrature():
    law = data.Mixture(np.array([[0.0, 0.0], [1.0, 0.0]]), 0.5)

    def integrand(y, x):
        log_density = law.log_density(np.array([[x, y]]))[0]
        return -np.exp(log_density) * log_density

    want, _ = dblquad(integrand, -4, 5, -4, 4, epsabs=1e-7)
    assert law.entropy == pytest.approx(want, abs=1e-5)


def test_data():
    """Apart, standard where it should be, and the same again."""
    found = data.load("digits")
    assert [x.shape for x in found] == [(1000, 8), (399, 8), (398, 8)]
    np.testing.assert_allclose(np.cov(found.train.T), np.eye(8), atol=1e-3)
    points = metrics.standardised("moons").train
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(points.std(0), 1, atol=1e-4)


@pytest.mark.parametrize("dim", [2, 8])
def test_parameters(dim):
    """All models are of one size, to two in a hundred."""
    for kind in models.kinds(dim).values():
        model = eqx.filter_eval_shape(kind.make, jr.key(0))
        arrays = [x for x in jax.tree.leaves(model) if hasattr(x, "dtype")]
        size = sum(x.size for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact))
        assert size == pytest.approx(40_000, rel=0.02)


def test_integral_is_the_marginal():
    """Of a flow whose density is a normal one, as it starts with flat potentials."""
    flow = HamiltonianFlow(2, 1, width=3, key=jr.key(0))

    def last(flow):
        [energy] = flow.hamiltonians
        mlps = energy.potential.mlp, energy.kinetic.potentials[0].mlp
        return [mlp.layers[-1].weight for mlp in mlps]

    flow = eqx.tree_at(last, flow, replace_fn=jnp.zeros_like)
    # Then q = q₀ + p₀/2, of variance 5/4.
    q = jnp.array([[0.0, 0.0], [1.0, -2.0], [0.5, 3.0]])
    want = -jnp.sum(q**2, axis=-1) / 2.5 - jnp.log(2 * jnp.pi * 1.25)
    found = metrics.integrated(flow, q, metrics.reach(flow))
    np.testing.assert_allclose(found, want, atol=1e-5)
    elbo, bound = metrics.bounds(flow, q[:1], 4000)
    assert elbo < want[0]
    np.testing.assert_allclose(bound, want[:1], atol=0.1)


def test_modes():
    """Six points on two of nine modes, and one on none."""
    centres = data.grid().centres
    x = np.concatenate([centres[[0] * 2 + [4] * 4], [[9.0, 9.0]]])
    found = metrics.modes("grid", x)
    assert found["outside"] == pytest.approx(1 / 7)
    assert found["modes"] == 2 and found["least_weight"] == 0
    assert found["weights"][0] == 3 and found["weights"][4] == 6
    assert "modes" not in metrics.modes("moons", x)


@pytest.fixture
def tiny(monkeypatch):
    widths = {name: {2: 3} for name in models.WIDTHS}
    monkeypatch.setattr(models, "WIDTHS", widths)
    monkeypatch.setattr(models, "CALL", 2)
    monkeypatch.setattr(models, "LAYERS", 2)
    monkeypatch.setattr(models, "BATCH", 8)
    for name, value in (("SAMPLES", 3), ("INTEGRATED", 2), ("DRAWS", 50)):
        monkeypatch.setattr(metrics, name, value)
    monkeypatch.setattr(task, "QUICK_STEPS", 4)
    whole, sizes = data.load, (60, 10, 10)

    def cut(name):
        return data.Data(*(x[:n] for x, n in zip(whole(name), sizes, strict=True)))

    for module in (metrics, task, figures):
        monkeypatch.setattr(module, "load", cut)
    for name, value in (("PIXELS", 6), ("MOMENTA", 2), ("DRAWN", 30)):
        monkeypatch.setattr(figures, name, value)


def test_goes_on_where_it_was_killed(tiny, monkeypatch, tmp_path):
    """And comes to the numbers of a run that was not."""
    monkeypatch.setattr(task.figures, "draw", lambda *_: [])
    monkeypatch.setattr(task, "QUICK_MODELS", ("NHF, 1", "NHF, 1 again"))
    kind = models.kinds(2)["NHF, 1"]
    again = {"NHF, 1": kind, "NHF, 1 again": kind}
    monkeypatch.setattr(models, "kinds", lambda dim: again)
    train, trained = task.train, []

    def counted(*args):
        trained.append(args[0].name)
        return train(*args)

    def killed(*args):
        if trained:
            raise KeyboardInterrupt
        return counted(*args)

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
    assert trained == ["NHF, 1 again"]
    assert numbers(out) == numbers(whole)
    main(counted, out)
    assert trained == []


def test_pictures(tiny, monkeypatch, tmp_path):
    """Of models that were loaded, too."""
    monkeypatch.setattr(task, "QUICK_MODELS", ("NHF, 1", "RealNVP"))
    for _ in range(2):
        task.main(quick=True, out=tmp_path)
        pictures = list(tmp_path.glob("*.png"))
        assert len(pictures) == 3
        for picture in pictures:
            picture.unlink()


def test_the_best_state_is_kept(tiny):
    """Of training whose rate is so high that it makes things worse."""
    points = metrics.standardised("ring")
    points = data.Data(*(x[:n] for x, n in zip(points, (60, 40, 10), strict=True)))
    kind = models.kinds(2)["NHF, 1"]
    reports = []
    run = models.train(kind, points, 0, 0.3, 20, reports.append)
    losses = [r.validation for r in reports]
    assert [r.step for r in reports] == list(range(2, 21, 2))
    assert run.metrics["validation_loss"] == min(losses) == reports[-1].best


def test_tables():
    """Rows by model and columns by target; no entropy, no bound, no cell."""

    def run(kind, target, value, **more):
        head = {"model": f"{target}, {kind}", "target": target, "kind": kind}
        numbers = {"log_likelihood": value, "parameters": 1, "training_seconds": 2.0}
        return head | numbers | more

    runs = [run("NHF, 1", "ring", x, elbo=-5.0, short=0.5) for x in (-3, -4, None)]
    runs += [run("NHF, 1", "digits", -9.0, elbo=-9.5), run("RealNVP", "digits", -8.0)]
    runs += [run("RealNVP", "ring", -3.5, short=0.25, modes=8)]
    numbers = {"summary": task.summarise(runs), "limits": {"ring": -2.5}}
    assert task.table(numbers) == [
        ["log-likelihood, median (range)", "ring", "digits"],
        ["the target itself", "-2.5", ""],
        ["NHF, 1", "-4 (diverged – -3)", "-9"],
        ["RealNVP", "-3.5", "-8"],
    ]
