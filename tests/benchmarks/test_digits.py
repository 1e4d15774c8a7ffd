"""The digits task, small."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from benchmarks import digits
from benchmarks.checkpoint import Checkpoints
from benchmarks.digits_training import make_unit, Settings, train, Trained, Whitening


SMALL = Settings(
    steps=40,
    width=8,
    batch=8,
    chains=32,
    sleep_steps=2,
    draw_steps=20,
    save_every=2,
)
# As a user would run it; what it trained is written last.
SCRIPT = """
import sys
from pathlib import Path
import jax
import numpy as np
from benchmarks.checkpoint import Checkpoints
from benchmarks.digits_training import train
from tests.benchmarks.test_digits import images, SMALL

out = Path(sys.argv[1])
checkpoints = Checkpoints(out, SMALL._asdict())
trained = train(images(), 0, SMALL, checkpoints, lambda step, found: None)
leaves = [np.asarray(x) for x in jax.tree.leaves(trained.unit) if hasattr(x, "dtype")]
np.savez(out / "trained.npz", *leaves, history=str(trained.history))
"""


def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(0, 0.5, (40, 16)), -1, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def _single_precision():
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


def _start(out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)], stdout=subprocess.DEVNULL
    )


def _steps(out: Path) -> list[int]:
    found = (out / "states").glob("*")
    return [int(path.name) for path in found if path.name.isdigit()]


def test_survives_being_killed(compiled_once, tmp_path):
    """At any moment: it ends with the same bits."""
    whole = _start(tmp_path / "whole")
    assert whole.wait() == 0
    out, rng = tmp_path / "killed", np.random.default_rng(0)
    for progress in (4, 16):
        process = _start(out)
        while max(_steps(out), default=0) < progress:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert _start(out).wait() == 0
    expected, found = (np.load(x / "trained.npz") for x in (tmp_path / "whole", out))
    assert set(expected.files) == set(found.files)
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name])


def test_other_settings_are_refused(tmp_path):
    Checkpoints(tmp_path, {"steps": 3})
    with pytest.raises(ValueError, match="`out` holds a run with other settings"):
        Checkpoints(tmp_path, {"steps": 4})
    Checkpoints(tmp_path, {"steps": 4}, restart=True)


def test_whitening():
    """Images with noise get the unit covariance; there and back is the identity."""
    white = Whitening.of(images(), 0.3)
    q = white.white(jnp.asarray(images()))
    covariance = np.cov(images(), rowvar=False) + 0.3**2 * np.eye(16)
    root = np.asarray(white.from_pixels)
    np.testing.assert_allclose(root @ covariance @ root.T, np.eye(16), atol=1e-4)
    np.testing.assert_allclose(white.pixels(q), images(), atol=1e-5)


def test_denoising_is_exact_for_a_gaussian():
    """Of x = clean + noise the mean of the clean image is C (C + σ²)⁻¹ (x - μ) + μ,
    which is what the confinement alone stands for."""
    settings = SMALL._replace(noise=0.3)
    white = Whitening.of(images(), settings.noise)
    unit = make_unit(16, settings, jr.key(0))
    network = lambda unit: unit.hamiltonian.potential.potentials[0]  # noqa: E731
    flat = jax.tree.map(
        lambda x: 0 * x if hasattr(x, "dtype") else x,
        network(unit),
    )
    unit = eqx.tree_at(network, unit, flat)
    trained = Trained(unit, white, [])
    x = jr.normal(jr.key(1), (5, 16))
    clean = np.cov(images(), rowvar=False)
    gain = clean @ np.linalg.inv(clean + 0.3**2 * np.eye(16))
    mean = images().mean(0)
    exact = (np.asarray(x) - mean) @ gain.T + mean
    found = digits.denoised(trained, white.white(x), settings)
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_draws_and_modes(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    settings = SMALL._replace(steps=2)
    trained = train(images(), 0, settings, checkpoints, lambda *_: None)
    samples, way = digits.generate(trained, 6, 0, settings)
    assert way.shape == (6, 12, 16)
    for found in samples.values():
        assert found.shape == (6, 16) and np.abs(found).max() <= 1
    np.testing.assert_array_equal(way[:, -1], samples["denoised"])
    states = digits.starts(trained, lambda key: jr.normal(key, (16,)), 4, jr.key(0))
    found = digits.modes(trained, jnp.asarray(images()), states, jr.key(1), settings)
    assert list(found) == ["conservative", "dissipative", "governed", "generative"]
