"""Numbers in the prose of README and docs: each stands in a table of its section, which
are those of the results files, or is derived from such a file here, or was set and not
measured, and is listed."""

import math
import re

import pytest

from benchmarks.record import results, ROOT


# The ledger is made of the results files; of the pages of the API tests run the code.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.name != "claims.md" and path.parent.name != "api"
}
# By page and section: protocols, versions, targets, what the papers have.
SET = {
    ("README.md", "chlu_eqx"): "3.11",
    ("README.md", "The lemniscate: three cycles to learn, a thousand to trace"): (
        "4400 30"
    ),
    ("README.md", "Solvers"): "1e-4 1e-7 11 10 17 15 27",
    ("README.md", "Cite"): "2.0",
    ("docs/benchmarks.md", "Exact statements"): (
        "20 0.3 0.05 0.5 000 200 100 400 1600"
    ),
    ("docs/benchmarks.md", "Lemniscate"): "0.05 377 4400 32 128 370 3e-4",
    ("docs/benchmarks.md", "Sine waves"): "1000 0.05 80 20 4400 16 64 128 2000",
    ("docs/benchmarks.md", "Digits"): (
        "1797 1000 398 0.15 30 4096 0.5 2019 0.75 0.65 0.010"
    ),
    ("docs/benchmarks.md", "Noisy pendulum"): (
        "9.82 0.1 1000 10 6.3 20 3000 0.001 100 19 0.03 29 50"
    ),
    ("docs/benchmarks.md", "Pixels"): (
        "1000 64 0.125 16 18 000 0.001 15 8000 32 0.003 0.025 89 0.95 6000"
    ),
    ("docs/benchmarks.md", "Densities"): (
        "0.3 50 000 1000 399 398 40 0.5 3000 256 0.003 100 0.02 0.01 400 10"
    ),
    ("docs/benchmarks.md", "Sampling"): "1e-9 0.05 300 960 2000 500",
    ("docs/benchmarks.md", "Sequences"): (
        "32 1997 1500 64 3000 0.2 784 4500 63 0.001 0.003 0.01 0.03 000 200 398"
    ),
    ("docs/benchmarks.md", "Optimisers"): "2020 300",
    ("docs/benchmarks.md", "Speed"): "1000 3.5 1.8",
    ("docs/benchmarks.md", "Work and precision"): "1000 100 5003",
    ("docs/contributing.md", "Tests"): "25 500",
    ("docs/devices.md", "Many devices"): "0.6",
    ("docs/devices.md", "Precision of the devices"): "10 23 64 366",
    ("docs/examples/extending.md", "A splitting of your own"): "146 2002",
    ("docs/examples/lemniscate.md", "A CHLU on the lemniscate"): "0.05",
    ("docs/examples/pixels.md", "Latent dynamics from pixels"): "12 25 30 60",
    ("docs/examples/sampling.md", "Sampling"): "0.2",
    ("docs/index.md", "chlu_eqx"): "160",
    ("docs/physics.md", "Compositions"): "2006",
    ("docs/precision.md", "Precision and cost"): "4000 0.01",
    ("docs/scope.md", "What is not proven"): "65",
    ("docs/solvers.md", "Separable energies"): "1e-4 1e-7 10 11 17",
    ("docs/solvers.md", "What diffrax's users have asked for"): (
        "201 269 300 303 437 489 517 541 771"
    ),
    ("docs/start.md", "Getting started"): "3.11",
    ("docs/swap.md", "A neural ODE"): "40",
}


def _gaps(summary):
    """By how much ELBOs lie below likelihoods in the plane, where they are trained."""
    return [
        summary["log_likelihood"][model][target]["median"] - found["median"]
        for model, row in summary["elbo"].items()
        if "momenta" not in model
        for target, found in row.items()
        if target != "digits"
    ]


def _leads(summary):
    """By how much Hamiltonian flows are above the others on the digits."""
    found = {
        name: row["digits"]["median"]
        for name, row in summary["log_likelihood"].items()
        if "digits" in row and row["digits"] is not None
    }
    others = [found.pop("RealNVP"), found.pop("spline flow")]
    return [a - b for a in found.values() for b in others]


def _quadratic(summary):
    short = summary["short"]
    return (
        short["NHF, 4, quadratic"]["ring"]["median"] - short["NHF, 4"]["ring"]["median"]
    )


def _failing(gate):
    return [
        row["acceptance"]
        for row in gate
        if row["rule"] == "copies reset" and abs(row["score"]) > 4
    ]


CPU, GPU = results("pixel_dynamics/cpu"), results("pixel_dynamics/gpu")
FLOWS, GATE = results("densities/cpu")["summary"], results("sampling/cpu")["gate"]
DERIVED = {
    "Pixels": {
        "0.0029": CPU["mean_image"]["mass_spring"],
        "0.0043": CPU["mean_image"]["pendulum"],
        "0.0059": GPU["mean_image"]["double_pendulum"],
        "0.0073": GPU["mean_image"]["two_body"],
        "0.0092": GPU["mean_image"]["three_body"],
    },
    "Densities": {
        "0.03": _quadratic(FLOWS),
        "0.3": min(_leads(FLOWS)),
        "0.8": max(_leads(FLOWS)),
        "0.07": min(_gaps(FLOWS)),
        "0.15": max(_gaps(FLOWS)),
        # The part of a normal law in the plane that is further than four deviations.
        "0.0003": math.exp(-8),
    },
    "Sampling": {"0.995": max(_failing(GATE))},
}


def _sections(text):
    for section in re.split(r"^(?=##? )", text, flags=re.MULTILINE):
        if section.strip():
            yield section.split("\n", 1)[0].lstrip("# "), section


def _numbers(section):
    """Those of the prose, and those of the tables."""
    blocks = r"<!-- results.*?end of results -->"
    tables = "\n".join(re.findall(blocks, section, re.DOTALL))
    for cut in (blocks, r"```.*?```", r"<!--.*?-->", r"\]\([^)]*\)", r"\d{4}\.\d{5}"):
        section = re.sub(cut, " ", section, flags=re.DOTALL)
    prose = re.findall(r"(?<![\w.^{])\d+(?:\.\d+)?(?:e-?\d+)?", section)
    # Of one digit are those that words might be.
    return (
        {x for x in prose if len(x) > 1},
        set(re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", tables)),
    )


SECTIONS = [
    pytest.param(page, title, section, id=f"{page}: {title}")
    for page, text in PAGES.items()
    for title, section in _sections(text)
]


@pytest.mark.parametrize(("page", "title", "section"), SECTIONS)
def test_numbers_of_prose(page, title, section):
    prose, tables = _numbers(section)
    known = set(SET.get((page, title), "").split())
    derived = DERIVED.get(title, {}) if page == "docs/benchmarks.md" else {}
    assert prose - tables - known - set(derived) == set()
    # And nothing is listed that is not there.
    assert known | set(derived) <= prose
    for number, value in derived.items():
        digits = len(number.split(".")[1])
        assert f"{value:.{digits}f}" == number


def test_beyond_the_bound():
    """The integral over momenta is never 0.01 above the bound."""
    assert (
        max(
            found["max"]
            for row in FLOWS["beyond_bound"].values()
            for found in row.values()
        )
        < 0.01
    )


def test_every_list_has_its_section():
    titles = {
        (page, title) for page, text in PAGES.items() for title, _ in _sections(text)
    }
    assert set(SET) <= titles
    assert {("docs/benchmarks.md", title) for title in DERIVED} <= titles
