"""Bad input to every public name is refused, in a sentence that says what is wrong; and
what looks bad but is not gives what it must.

As users have it: without the type checks of these tests, and with JAX's own defaults
for promotion, under which much bad input would be broadcast and pass.
"""

import jax
import jaxtyping
import pytest

import chlu_eqx

from . import core, fine, learned, use


ROWS = [*core.ROWS, *learned.ROWS, *use.ROWS]
MODULES = (
    chlu_eqx,
    chlu_eqx.analysis,
    chlu_eqx.mcmc,
    chlu_eqx.nn,
    chlu_eqx.optim,
    chlu_eqx.training,
)
# What functions return, for nobody to make.
RESULTS = {
    "ContrastiveReport",
    "EnergyDrift",
    "ExtendedMomentum",
    "Fit",
    "MeasuredOrder",
    "MemoryBand",
    "MemoryModes",
    "Progress",
    "RelativisticState",
}


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}: {row.what}")
def test_refused(row):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=row.message):
        row.call()


@pytest.mark.parametrize("row", fine.ROWS, ids=lambda row: f"{row.name}: {row.what}")
def test_fine(row):
    row.check()


def test_no_name_is_missing():
    """Every public function and class has a row, but for abstract ones and results."""
    public = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and value.__module__.startswith("chlu_eqx")
    }
    assert public > RESULTS
    made = {name for name in public - RESULTS if not name.startswith("Abstract")}
    assert {row.name for row in ROWS} == made | {"HamiltonianBijection"}
