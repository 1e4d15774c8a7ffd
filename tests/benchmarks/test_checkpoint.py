"""What is said of the files of runs that cannot be read or written."""

import re

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import pytest

from benchmarks import runs
from benchmarks.checkpoint import Checkpoints


SETTINGS = {"seed": 0}
STATE = {"a": jnp.arange(1000.0), "name": "model"}


def _make(key):
    return eqx.nn.Linear(3, 2, key=key)


def _broken(path, how):
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b""}[how])


def test_kept_and_found(tmp_path):
    checkpoints = Checkpoints(tmp_path, SETTINGS)
    assert checkpoints.latest(STATE) == (0, STATE)
    checkpoints.save(3, STATE)
    step, found = Checkpoints(tmp_path, SETTINGS).latest(
        {"a": jnp.zeros(1000), "name": "model"}
    )
    assert step == 3 and found["name"] == "model"
    assert (found["a"] == STATE["a"]).all()


@pytest.mark.parametrize("how", ["cut", "empty"])
def test_broken_settings(tmp_path, how):
    Checkpoints(tmp_path, SETTINGS)
    file = tmp_path / "settings.json"
    _broken(file, how)
    message = f"`out`: {file} must be as a run has written it.*`--restart`"
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, SETTINGS)
    assert Checkpoints(tmp_path, SETTINGS, restart=True).latest(STATE)[0] == 0


@pytest.mark.parametrize("how", ["cut", "empty"])
def test_broken_state(tmp_path, how):
    Checkpoints(tmp_path, SETTINGS).save(3, STATE)
    for path in (tmp_path / "states" / "3").rglob("*"):
        if path.is_file():
            _broken(path, how)
    message = re.escape(f"`out`: {tmp_path / 'states' / '3'} must be as a run")
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, SETTINGS).latest(STATE)


def test_no_folder(tmp_path):
    """Where a file is, no folder can be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Checkpoints(tmp_path / "file", SETTINGS)
    with pytest.raises(OSError, match="file"):
        runs.save(tmp_path / "file" / "run.eqx", SETTINGS, runs.Run(None, {}))


@pytest.mark.parametrize("how", ["cut", "empty"])
def test_broken_run(tmp_path, how):
    path = tmp_path / "run.eqx"
    model = _make(jr.key(1))
    runs.save(path, SETTINGS, runs.Run(model, {"loss": 1.0}))
    found = runs.load(path, SETTINGS, _make)
    assert found is not None and eqx.tree_equal(found.model, model)
    assert runs.load(path, {"seed": 1}, _make) is None
    _broken(path, how)
    with pytest.raises(ValueError, match=f"`out`: {path} must be as a run.*--restart"):
        runs.load(path, SETTINGS, _make)
