"""What README and docs say is so."""

import inspect
import re
import subprocess
import sys
import tomllib

import pytest

from benchmarks import everything, pages, report
from benchmarks.claims import ledger
from benchmarks.record import results


ROOT = report.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", report.PAGES, ids=lambda path: path.name)
def test_tables_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- results: " in text
    assert report.render(text) == text


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda path: path.name)
def test_links_to_files(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target


def test_python_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [minimum] = re.findall(r"Python (\d+\.\d+) or newer", README)
    assert project["requires-python"] == f">={minimum}"
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {project['version']}\n" in citation


# That of docs/devices.md runs on many in tests/test_devices.py.
EXAMPLES = [p for p in pages.PAGES if pages.program(p) and p.name != "devices.md"]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(page, tmp_path, trains):
    """In a process of their own: a user has neither float64 nor strict promotion."""
    assert pages.run(page, tmp_path) is None
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == set(re.findall(r'savefig\("(.*?)"', pages.program(page)))
    assert all((report.FIGURES / name).exists() for name in drawn)


def test_ledger():
    """That of the results files, with no empty cell; and a verdict that they do not
    bear out is refused."""
    assert report.LEDGER.read_text(encoding="utf-8") == ledger.page()
    for paper in ledger.PAPERS:
        for claim in paper.claims:
            cells = [
                claim.says,
                claim.place,
                claim.protocol,
                claim.there,
                claim.here(results(claim.results)),
            ]
            assert all(cell.strip() for cell in cells)
    claim = ledger.PAPERS[0].claims[0]._replace(because=lambda found: False)
    with pytest.raises(ValueError, match="do not say 'holds'"):
        ledger._row(claim)


@pytest.mark.parametrize("task", everything.TASKS)
def test_all_runs_what_is_recorded(task):
    """`all` makes each results file by the command that the file names."""
    command = ["python -m benchmarks", task]
    for name, value in everything.FULL.get(task, {}).items():
        values = value if isinstance(value, tuple) else (value,)
        command += [f"--{name}", *map(str, values)]
    found = results(f"{task}/cpu")["command"]
    assert found.startswith(" ".join(command))
    # What it says beyond is the default.
    rest = found.removeprefix(" ".join(command)).split()
    defaults = inspect.signature(everything.TASKS[task]).parameters
    for flag, value in zip(rest[::2], rest[1::2], strict=True):
        assert str(defaults[flag.removeprefix("--")].default) == value


def test_tasks_are_listed():
    command = [sys.executable, "-m", "benchmarks"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert all(task in done.stdout for task in ("lemniscate", "speed", "report"))
