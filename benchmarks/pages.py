"""The programs that stand in README and docs, and the pictures that they draw."""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .record import FIGURES, progress_bars, ROOT


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def program(page: Path) -> str:
    """All Python of a page, in order; in comments too, which readers are spared."""
    pattern = r"```python\n(.*?)```|<!-- python\n(.*?)-->"
    found = re.findall(pattern, page.read_text(encoding="utf-8"), re.DOTALL)
    return "\n".join(shown or hidden for shown, hidden in found)


def run(page: Path, folder: Path) -> str | None:
    """Run a page as a program of its own, in a folder; what it complained of, or `None`
    if it ended well."""
    done = subprocess.run(
        [sys.executable, "-c", program(page)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    return done.stderr if done.returncode else None


def main() -> None:
    """Run the examples of README and docs, and draw their pictures anew."""
    console = Console()
    with progress_bars(console) as bars:
        pages = [page for page in PAGES if "savefig" in program(page)]
        for page in bars.track(pages, description="pages"):
            if error := run(page, FIGURES):
                raise RuntimeError(f"{page.relative_to(ROOT)}:\n{error}")
