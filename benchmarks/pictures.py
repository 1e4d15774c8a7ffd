"""How the pictures of a task are written."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def save_all(figures: dict[str, Figure], out: Path) -> list[Path]:
    """Write every figure under `out`, by its name, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
        plt.close(figure)
    return paths
