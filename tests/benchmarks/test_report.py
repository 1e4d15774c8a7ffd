"""What README and docs say is so."""

import re
import subprocess
import sys
import tomllib

import pytest

from benchmarks import report


ROOT = report.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", report.PAGES, ids=lambda path: path.name)
def test_tables_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- results: " in text
    assert report.render(text) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
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


def _examples() -> list:
    return [
        pytest.param("\n".join(blocks), id=page.name)
        for page in PAGES
        if (blocks := re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    ]


@pytest.mark.parametrize("code", _examples())
def test_examples_run(code):
    """In a process of their own: a user has neither float64 nor strict promotion."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tasks_are_listed():
    command = [sys.executable, "-m", "benchmarks"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert all(task in done.stdout for task in ("lemniscate", "speed", "report"))
