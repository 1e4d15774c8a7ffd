"""What is installed: the built wheel, away from the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SOLVE = """
import sys
import chlu_eqx, diffrax, jax.numpy as jnp

assert chlu_eqx.__file__.startswith(sys.argv[1]), chlu_eqx.__file__
energy = chlu_eqx.SeparableHamiltonian(
    chlu_eqx.NewtonianKinetic(1), lambda q: jnp.sum(q**2) / 2
)
sol = diffrax.diffeqsolve(
    chlu_eqx.HamiltonianTerm(energy), chlu_eqx.CHLUSolver(), 0.0, 1.0, 0.01,
    (jnp.ones(1), jnp.zeros(1)), adjoint=chlu_eqx.ReversibleAdjoint(),
)
assert jnp.allclose(sol.ys[0], jnp.cos(1.0), atol=1e-4)
import chlu_eqx.mcmc, chlu_eqx.nn.flow_bijection
print(chlu_eqx.__version__)
"""


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "-w", str(folder), str(ROOT))
    [path] = folder.glob("*.whl")
    return path


def test_contents(wheel):
    """The package whole, its licence, and nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in names if name.startswith("chlu_eqx/")}
    source = (ROOT / "chlu_eqx").rglob("*")
    assert package == {
        path.relative_to(ROOT).as_posix()
        for path in source
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert "chlu_eqx/py.typed" in package
    [about] = {name.split("/")[0] for name in names - package}
    assert about.endswith(".dist-info")
    assert f"{about}/licenses/LICENSE" in names


def test_works_elsewhere(wheel, tmp_path):
    site = tmp_path / "site"
    _pip("install", "--no-deps", "--target", str(site), str(wheel))
    done = subprocess.run(
        [sys.executable, "-c", SOLVE, str(site)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == wheel.name.split("-")[1]
