"""The rules of the house, checked on the source."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import equinox as eqx
import pytest

import chlu_eqx


PACKAGE = Path(chlu_eqx.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The floors of the house, lowest first. A module imports from its own folder or from
# lower floors only.
FLOORS = [
    ["_checks", "_types"],
    ["hamiltonian", "friction", "noise", "stepsize"],
    ["term"],
    ["solver"],
    ["_backward"],
    ["_saved"],
    ["adjoint"],
    ["rollout"],
    ["analysis", "mcmc", "nn", "optim", "training"],
]


def _name(path: Path) -> str:
    return ".".join(("chlu_eqx", *path.relative_to(PACKAGE).with_suffix("").parts))


def _part(name: str) -> str:
    """The file or folder right below `chlu_eqx` that a dotted name lies in."""
    return name.split(".")[1]


def _floor(part: str) -> int:
    [floor] = [i for i, parts in enumerate(FLOORS) if part in parts]
    return floor


def _imports(path: Path) -> list[str]:
    """The absolute names of all that a module imports."""
    package = _name(path).rsplit(".", 1)[0].split(".")
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def _classes() -> list[type]:
    found = []
    for info in pkgutil.walk_packages(chlu_eqx.__path__, "chlu_eqx."):
        module = importlib.import_module(info.name)
        found += [
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if cls.__module__ == info.name and issubclass(cls, eqx.Module)
        ]
    return found


def test_every_part_has_a_floor():
    parts = {_part(_name(path)) for path in MODULES} - {"__init__"}
    assert parts == {part for floor in FLOORS for part in floor}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_down(path):
    own = _part(_name(path))
    for name in _imports(path):
        top, *rest = name.split(".")
        assert top != "benchmarks"
        if own == "__init__" or top != "chlu_eqx":
            continue
        other = rest[0]
        assert other == own or _floor(other) < _floor(own), f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_nothing_private_is_imported(path):
    for name in _imports(path):
        top, *rest = name.split(".")
        if top in ("diffrax", "equinox", "optax", "jax"):
            assert not any(part.startswith("_") for part in rest), name
            if _part(_name(path)) != "adjoint":  # where diffrax itself needs it
                assert not name.startswith("equinox.internal"), name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_assert_and_no_bare_error_if(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), "validate with a ValueError"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            assert not called.endswith("error_if"), "its result must be used"


@pytest.mark.parametrize("cls", _classes(), ids=lambda cls: cls.__name__)
def test_abstract_or_final(cls):
    """A class is abstract, and named so, or nobody inherits from it; and no concrete
    method of ours is overridden."""
    abstract = cls.__name__.startswith("Abstract")
    # Old equinox makes a twin of every class, of the same name.
    children = [c for c in cls.__subclasses__() if c.__qualname__ != cls.__qualname__]
    assert abstract or not children
    for base in cls.__mro__[1:]:
        if not base.__module__.startswith("chlu_eqx"):
            continue
        for name, member in vars(base).items():
            concrete = inspect.isfunction(member) and not getattr(
                member, "__isabstractmethod__", False
            )
            if concrete and (name == "__call__" or not name.startswith("__")):
                assert name not in vars(cls), f"{cls.__name__} overrides {name}"


@pytest.mark.parametrize("name", [n for n in dir(chlu_eqx) if not n.startswith("_")])
def test_public_names_are_documented(name):
    value = getattr(chlu_eqx, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
