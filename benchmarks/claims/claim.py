"""What a row of the ledger is."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from ..record import cell


Metrics: TypeAlias = dict[str, Any]
Verdict: TypeAlias = Literal["holds", "holds with a change", "does not hold here"]


class Claim(NamedTuple):
    """A claim of a paper and what was found.

    - `says`: the claim, in our words.
    - `place`: where the paper has it.
    - `protocol`: what was done here, in few words.
    - `there`: the paper's number.
    - `results`: the results file, as TASK/DEVICE.
    - `here`: our numbers, from that file.
    - `verdict`, and `because`, which must be true of the numbers for it to stand.
    - `remark`: the change with which it holds, or what else matters.
    """

    says: str
    place: str
    protocol: str
    there: str
    results: str
    here: Callable[[Metrics], str]
    verdict: Verdict
    because: Callable[[Metrics], bool]
    remark: str = ""


class Paper(NamedTuple):
    """A paper's claims; and those that were not tested, with the reason."""

    title: str
    reference: str
    link: str
    claims: tuple[Claim, ...]
    untested: tuple[tuple[str, str], ...] = ()


def at(found: Metrics, *path: str) -> Any:
    """What stands in a results file at a path."""
    for name in path:
        found = found[name]
    return found


def shown(found: Metrics, *path: str) -> str:
    """The median and the range, as in the tables."""
    return cell(at(found, *path))


def median(found: Metrics, *path: str) -> float:
    return _or_infinite(at(found, *path, "median"))


def lowest(found: Metrics, *path: str) -> float:
    return _or_infinite(at(found, *path, "min"))


def highest(found: Metrics, *path: str) -> float:
    return _or_infinite(at(found, *path, "max"))


def _or_infinite(x: float | None) -> float:
    """A run that diverged is worse than any number."""
    return float("inf") if x is None else x
