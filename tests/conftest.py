import gc
import os

import hypothesis
import jax
import pytest


# Most of the time goes to compiling programs that run once: a third less without LLVM's
# optimisations. Flags set from outside, empty ones too, are left as they are.
COMPILE_FAST = (
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
)
os.environ.setdefault("XLA_FLAGS", COMPILE_FAST)
# Nor do programs keep where each of their operations was written.
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_traceback_filtering", "off")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling takes seconds, and how many depends on the machine.
hypothesis.settings.register_profile(
    "jax", deadline=None, max_examples=25, derandomize=True
)
hypothesis.settings.register_profile(
    "long", deadline=None, max_examples=500, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "jax"))


# Tracing makes so many objects that looking for garbage among them takes a tenth of the
# time; there is little until a file is done.
gc.disable()


@pytest.fixture(autouse=True, scope="module")
def _free_what_was_compiled():
    """After some five hundred tests a worker has used up its memory mappings, and the
    compiler crashes."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def trains(monkeypatch):
    """Processes that a test starts run longer than they compile: as users have them."""
    if os.environ["XLA_FLAGS"] == COMPILE_FAST:
        monkeypatch.delenv("XLA_FLAGS")


@pytest.fixture
def compiled_once(monkeypatch, tmp_path, trains):
    """Processes that a test starts share what they compile. (What may raise is never
    kept.)"""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("EQX_ON_ERROR", "nan")
