"""All tasks by one command, small."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import everything


TASKS = ("optimization", "lemniscate")
# As `python -m benchmarks all --quick`, of two tasks that are made smaller.
SCRIPT = """
import sys
from pathlib import Path
from benchmarks import everything, lemniscate, optimization

optimization.QUICK, optimization.QUICK_CONFIGURATIONS = ("Booth",), 4
kept = ("momentum", "RGD, α = 1")
optimization.OPTIMISERS = {name: optimization.OPTIMISERS[name] for name in kept}
lemniscate.QUICK = ((4, 20, 1e-2),)
lemniscate.MODELS = {name: lemniscate.MODELS[name] for name in ("CHLU", "LSTM")}
lemniscate.figures.draw = optimization.figures.draw = lambda *_: []
everything.main(("optimization", "lemniscate"), quick=True, out=Path(sys.argv[1]))
"""


def _start(out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(out: Path) -> str:
    process = _start(out)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def _numbers(out: Path) -> dict[str, Any]:
    """All of both tasks, but for how long it took."""

    def timeless(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: timeless(v) for k, v in x.items() if "seconds" not in k}
        return [timeless(v) for v in x] if isinstance(x, list) else x

    files = {task: out / "quick" / task / "metrics.json" for task in TASKS}
    return {
        task: timeless(json.loads(file.read_text(encoding="utf-8")))
        for task, file in files.items()
    }


def test_killed_at_random_moments(compiled_once, tmp_path):
    """As often as it is killed: in the end the same numbers, and none made twice."""
    began = time.perf_counter()
    _finish(tmp_path / "whole")
    whole = time.perf_counter() - began
    killed, moments = 0, random.Random()
    for _ in range(2):
        process = _start(tmp_path / "killed")
        try:
            process.communicate(timeout=moments.uniform(0.1, 0.5) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    assert killed > 0
    _finish(tmp_path / "killed")
    assert _numbers(tmp_path / "killed") == _numbers(tmp_path / "whole")
    # What is done is not done again.
    said = _finish(tmp_path / "killed")
    assert all(f"{task}: done before" in said for task in TASKS)


def test_a_task_that_fails_stops_no_other(tmp_path, monkeypatch):
    def fails(quick: bool, out: Path, record: bool) -> None:
        raise RuntimeError("broken")

    made = []

    def works(quick: bool, out: Path, record: bool) -> None:
        made.append(out)

    monkeypatch.setattr(everything, "TASKS", {"fails": fails, "works": works})
    for times in (1, 2):
        with pytest.raises(SystemExit, match="Failed: fails"):
            everything.main(("fails", "works"), quick=True, out=tmp_path)
        assert made == [tmp_path / "quick" / "works"], times
    with pytest.raises(SystemExit):
        everything.main(("fails", "works"), quick=True, out=tmp_path, restart=True)
    assert len(made) == 2


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="`tasks` must be of"):
        everything.main(("nothing",), out=tmp_path)
    with pytest.raises(ValueError, match="`record` keeps full runs only"):
        everything.main(quick=True, record=True, out=tmp_path)
