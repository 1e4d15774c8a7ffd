import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import chlu_eqx as cx
from chlu_eqx.training import fit_trajectories, trajectory_mse


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Old optax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


class Oscillator(eqx.Module):
    """A model with one unknown: the exact rotation at a learned frequency."""

    frequency: jax.Array
    label: str = "not trained"

    def __call__(self, y0, num_steps):
        q0, p0 = y0
        w = self.frequency

        def at(t):
            c, s = jnp.cos(w * t), jnp.sin(w * t)
            return q0 * c + p0 / w * s, p0 * c - q0 * w * s

        return jax.vmap(at)(0.1 * jnp.arange(num_steps + 1.0))


def _data(frequency=1.3, times=60):
    model = Oscillator(jnp.array(frequency))
    y0 = jr.normal(jr.key(0), (2, 4, 1))
    return jax.vmap(lambda q, p: model((q, p), times - 1))(*y0)


CURRICULUM = ((3, 150), (40, 150))


def _fit(model, **kwargs):
    kwargs = {
        "optimizer": optax.adam(3e-3),
        "curriculum": CURRICULUM,
        "key": jr.key(1),
        "batch_size": 8,
        "report_every": 50,
        **kwargs,
    }
    return fit_trajectories(model, _data(), **kwargs)


def test_mse():
    q, p = _data()
    model = Oscillator(jnp.array(1.3))
    trajectory = (q[0], p[0])
    np.testing.assert_allclose(trajectory_mse(model, trajectory), 0.0, atol=1e-28)

    def constant(y0, n):
        return jax.tree.map(lambda x: jnp.tile(x, (n + 1, 1)), y0)

    want = np.mean((q[0, 1:] - q[0, :1]) ** 2) + np.mean((p[0, 1:] - p[0, :1]) ** 2)
    np.testing.assert_allclose(trajectory_mse(constant, trajectory), want, rtol=1e-13)


def test_recovers_the_truth():
    """And reports as it goes, window by window, with the best model at hand."""
    reports = []
    fit = _fit(Oscillator(jnp.array(1.0)), callback=reports.append)
    np.testing.assert_allclose(fit.model.frequency, 1.3, atol=1e-3)
    assert reports == fit.history
    assert [r.step for r in reports] == [50, 100, 150, 200, 250, 300]
    assert [r.window for r in reports] == [3] * 3 + [40] * 3
    assert all(r.num_steps == 300 for r in reports)
    scores = [r.validation for r in reports]
    np.testing.assert_allclose([r.best for r in reports], np.minimum.accumulate(scores))
    best = np.mean(
        [trajectory_mse(fit.model, (q, p)) for q, p in zip(*_data(), strict=True)]
    )
    np.testing.assert_allclose(best, min(scores), rtol=1e-9)


def test_reproducible_by_key():
    def fit(**kwargs):
        short = {"curriculum": [(3, 12)], "report_every": 6, **kwargs}
        return _fit(Oscillator(jnp.array(1.0)), **short)

    first, again, other = fit(), fit(), fit(key=jr.key(2))
    np.testing.assert_array_equal(first.last.frequency, again.last.frequency)
    assert first.history == again.history
    assert first.last.frequency != other.last.frequency
    # However the steps are grouped into compiled calls.
    grouped, single = fit(report_every=4), fit(steps_per_call=1)
    for found in (grouped, single):
        np.testing.assert_allclose(first.last.frequency, found.last.frequency, 1e-13)
    for one, other in zip(first.history, single.history, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_best_model_survives_a_wreck():
    """A learning rate that blows up late cannot lose what was found before."""
    wreck = optax.join_schedules([lambda _: 3e-3, lambda _: jnp.nan], [200])
    fit = _fit(Oscillator(jnp.array(1.0)), optimizer=optax.adam(wreck))
    assert np.isnan(fit.last.frequency)
    assert abs(fit.model.frequency - 1.3) < 0.05
    assert np.isfinite(fit.history[-1].best) and np.isnan(fit.history[-1].validation)


def test_trains_a_chlu():
    unit = cx.nn.CHLU(
        1, kinetic=cx.NewtonianKinetic(1, frozen=("mass",)), dt=0.1, key=jr.key(0)
    )
    data = _data(1.0)
    fit = fit_trajectories(
        unit,
        data,
        optax.adam(1e-2),
        curriculum=[(2, 100), (10, 100)],
        key=jr.key(1),
        batch_size=8,
    )
    before = np.mean([trajectory_mse(unit, w) for w in zip(*data, strict=True)])
    assert fit.history[-1].best < before / 50
    np.testing.assert_array_equal(fit.model.hamiltonian.kinetic.mass, [1.0])


def test_random_losses():
    """In training each window has a key of its own; validation has none."""

    def noisy(model, window, *, key):
        target = 0.0 if key is None else 3 + jr.normal(key)
        return (model - target) ** 2

    fit = fit_trajectories(
        jnp.array(0.0),
        jnp.zeros((1, 4)),
        optax.sgd(optax.exponential_decay(0.2, 20, 0.5)),
        curriculum=[(1, 100)],
        key=jr.key(0),
        batch_size=50,
        loss=noisy,
        report_every=50,
    )
    first, last = fit.history
    # The mean of the targets is learned; their variance, 1, is what is left.
    np.testing.assert_allclose(fit.last, 3.0, atol=0.1)
    np.testing.assert_allclose(last.loss, 1.0, atol=0.15)
    np.testing.assert_allclose(last.validation, fit.last**2)


@pytest.mark.parametrize("curriculum", [[(0, 5)], [(60, 5)], [(3, 0)]])
def test_bad_curriculum(curriculum):
    with pytest.raises(ValueError, match="`curriculum` must hold pairs"):
        _fit(Oscillator(jnp.array(1.0)), curriculum=curriculum)


def test_bad_counts():
    for name in ("batch_size", "report_every", "steps_per_call"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive"):
            _fit(Oscillator(jnp.array(1.0)), **{name: 0})
