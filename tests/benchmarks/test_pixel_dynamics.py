import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import chlu_eqx as cx
from benchmarks import pixel_dynamics, pixel_metrics as measure
from benchmarks.pixel_dynamics import Setting, Task
from benchmarks.pixel_models import MODELS
from benchmarks.runs import num_parameters


TINY = Setting(16, False, 2, ((4, 2, 1e-3),))


def test_valid_frames():
    """Those before the first bad one, even if good ones follow; of no finite error,
    none."""
    frames = jnp.full((4, 5, 2, 2, 1), 2.0)  # mean square 4, so errors up to 0.1
    errors = jnp.array(
        [
            [0.0, 0.05, 0.2, 0.0, 0.0],
            [0.09] * 5,
            [0.11] + [0.0] * 4,
            [0.0, jnp.nan, 0.0, jnp.inf, 0.0],
        ]
    )
    np.testing.assert_array_equal(measure.valid_frames(errors, frames), [2, 5, 0, 1])
    found = frames + jnp.array([0.0, 0.1, 0.2, 0.3, 0.4]).reshape(1, 5, 1, 1, 1)
    want = np.tile(np.arange(5) ** 2 / 100, (4, 1))
    np.testing.assert_allclose(measure.frame_errors(found, frames), want, atol=1e-15)


def test_mean_image():
    """Of noise around an image, the noise's variance."""
    noise = jr.normal(jr.key(0), (50, 40, 2, 2, 1))
    image = jnp.arange(4.0).reshape(1, 1, 2, 2, 1)
    found = measure.mean_image_error(image + noise)
    np.testing.assert_allclose(found, 1.0, rtol=0.1)
    np.testing.assert_allclose(found, measure.mean_image_error(noise), rtol=1e-9)


def test_energy_numbers():
    """Neither the scale nor the zero of an energy matters."""
    start = jr.normal(jr.key(0), (200,))
    energies = start[:, None] + 0.1 * jnp.array([[0.0, 1.0, -1.0, 1.0]])
    want = 0.1 * 0.75**0.5 / np.std(start)
    for scaled in (energies, 3 - 7 * energies):
        np.testing.assert_allclose(measure.energy_drift(scaled), want)
        np.testing.assert_allclose(measure.correlation(scaled[:, 0], start), 1.0)


def test_reversal_error():
    start = (jnp.ones((3, 2)), jnp.zeros((3, 2)))
    end = (jnp.ones((3, 2)), jnp.zeros((3, 2)).at[0].set(1.0).at[1].set(0.5))
    np.testing.assert_allclose(measure.reversal_error(start, end), 0.5)


def _points(n=400):
    q, p = jr.normal(jr.key(0), (2, n, 1))
    return q, p


def test_symplectic_maps_pass():
    """A shear, nonlinear, scaled; beside it a coordinate that is always zero."""
    q, p = _points()
    latent_p = p + 0.3 * q**2
    wide = [jnp.concatenate([y, jnp.zeros_like(y)], axis=1) for y in (3 * q, latent_p)]
    for latent in ((3 * q, latent_p), tuple(wide)):
        r2, defect = measure.symetric((q, p), latent, lambda q: q, 3)
        np.testing.assert_allclose([r2, defect], [1.0, 0.0], atol=1e-9)


def test_other_maps_fail():
    q, p = _points()
    r2, defect = measure.symetric((q, p), (q**3 + q, p), lambda q: q, 3)
    assert r2 > 0.999 and defect > 0.2  # (1 + 3q²) is no constant
    r2, _ = measure.symetric((q, p), (jnp.sin(9 * q), p), lambda q: q, 3)
    assert r2 < 0.9
    # Reflected for half of the states: the same area, of the other sign.
    _, defect = measure.symetric((q, p), (jnp.abs(q), p), lambda q: q, 5)
    assert defect > 0.5


def test_symplectic_in_angles():
    """Features of the positions are differentiated through."""
    q, p = _points()
    q = jnp.pi * jnp.tanh(q)
    latent = jnp.sin(q), p * jnp.cos(q)  # area: p sin² + cos² dq dp is not kept

    def features(q):
        return jnp.concatenate([jnp.cos(q), jnp.sin(q)])

    r2, defect = measure.symetric((q, p), latent, features, 2)
    np.testing.assert_allclose(r2, 1.0)
    # The pulled-back form is cos² q dq ∧ dp.
    form = np.cos(np.asarray(q)) ** 2
    best = form.mean() / np.mean(form**2)
    np.testing.assert_allclose(defect, np.mean((best * form - 1) ** 2), rtol=1e-6)


@pytest.fixture(scope="module")
def tiny_truth():
    return pixel_dynamics.truth(Task("mass_spring", TINY))


def test_truth(tiny_truth):
    """Slow frames and frames agree where they are at the same time."""
    far = pixel_dynamics.FAR
    ahead = tiny_truth.frames[:, far : far + pixel_dynamics.HORIZON]
    np.testing.assert_array_equal(tiny_truth.slow[:, ::2], ahead)
    # A spring's period is 2π √(m/k) = π.
    q = np.asarray(tiny_truth.q[0, :, 0])
    w, dt = 2.0, pixel_dynamics.DT
    np.testing.assert_allclose(
        q[2:] + q[:-2], 2 * np.cos(w * dt) * q[1:-1], atol=1e-6 * np.abs(q).max()
    )


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(pixel_dynamics, "QUICK", TINY)
    monkeypatch.setattr(pixel_dynamics, "TRAIN", 4)
    monkeypatch.setattr(pixel_dynamics, "VALIDATION", 2)
    pixel_dynamics.truth.cache_clear()
    monkeypatch.setattr(pixel_dynamics, "TEST", 3)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
    pixel_dynamics.truth.cache_clear()


def test_runs_and_resumes(tiny, tmp_path, monkeypatch):
    """Table, pictures and numbers; a second call trains only what is not there."""
    run = {"systems": ("mass_spring",), "quick": True, "out": tmp_path}
    pixel_dynamics.main(**run, models=("HGN",))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found = metrics["summary"]["mass_spring"]
    assert found["reversal_error"]["HGN"]["median"] < 1e-3
    assert len(list(tmp_path.glob("*.png"))) == 4

    trained = []
    real = pixel_dynamics.train
    monkeypatch.setattr(pixel_dynamics.figures, "draw", lambda *_: [])

    def counted(*arguments):
        trained.append(arguments[1])
        return real(*arguments)

    monkeypatch.setattr(pixel_dynamics, "train", counted)
    pixel_dynamics.main(**run, models=("HGN", "recurrent"))
    assert trained == ["recurrent"]
    again = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert tuple(again["mass_spring"]["mse_inside"]) == ("HGN", "recurrent")
    for name in ("mse_inside", "valid_forward"):
        assert again["mass_spring"][name]["HGN"] == found[name]["HGN"]


def test_equal_sizes():
    task = Task("pendulum", TINY)
    sizes = {}
    for kind in MODELS:
        model = eqx.filter_eval_shape(functools.partial(task.make, kind), jr.key(0))
        sizes[kind] = num_parameters(model)
        networks = model.encoder, model.decoder
        sizes[kind] -= num_parameters(networks)
    assert max(sizes.values()) < 1.2 * min(sizes.values())


def test_bad_input(tmp_path):
    for name in ("systems", "models"):
        for given in ((), ("pendulm",)):
            with pytest.raises(ValueError, match=f"`{name}` must be of"):
                pixel_dynamics.main(**{name: given}, out=tmp_path)
    with pytest.raises(ValueError, match="`quick` and `full` exclude"):
        pixel_dynamics.main(quick=True, full=True, out=tmp_path)
    model = Task("mass_spring", TINY).make("recurrent", jr.key(0))
    with pytest.raises(ValueError, match="`speed` must be 1 for a recurrence"):
        model.rollout(jnp.zeros(6), 3, speed=-1.0)
    assert isinstance(model, cx.nn.AbstractLatentDynamics)
