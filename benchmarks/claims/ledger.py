"""The page of all claims, from the results files."""

from collections import Counter
from typing import get_args

from ..record import markdown, results
from . import chlu, descent, generative, monte_carlo, recurrent, variational
from .claim import Claim, Paper, Verdict


PAPERS: tuple[Paper, ...] = (
    chlu.PAPER,
    generative.PAPER,
    variational.PAPER,
    monte_carlo.PAPER,
    descent.PAPER,
    recurrent.PAPER,
)
HEAD = ["claim", "where", "protocol here", "there", "here", "verdict", "from"]
ABOUT = """---
hide: [toc]  # the tables are wide
---

# The ledger

What the papers claim, and whether it holds here: one row for each claim that can be
tested. Numbers are medians and, in brackets, ranges over seeds; what is said beside a
verdict is the change with which the claim holds, or what else has to be known.
*Does not hold here* is a statement about the protocol of the row, which differs from
the paper's where the paper's was not to be had: of the CHLU paper and of variational
integrators the numbers *there* are those of their authors' code, of Hamiltonian
generative networks those that a replication quotes, and of Hamiltonian recurrent
networks only the abstract was at hand.

This page is made by `python -m benchmarks report` from the files under
`benchmarks/results`, each of which its command makes anew; a verdict that the numbers
do not bear out is an error there. `python -m benchmarks all --record` makes all of
them.
"""


def _row(claim: Claim) -> list[str]:
    found = results(claim.results)
    if not claim.because(found):
        raise ValueError(f"{claim.says!r}: the numbers do not say {claim.verdict!r}.")
    return [
        claim.says,
        claim.place,
        claim.protocol,
        claim.there,
        claim.here(found),
        f"**{claim.verdict}**" + (f": {claim.remark}" if claim.remark else ""),
        f"`{found['command']}`: `{claim.results}.json`",
    ]


def _section(paper: Paper) -> list[str]:
    lines = [f"## {paper.title}", "", f"{paper.reference}: <{paper.link}>.", ""]
    lines += markdown([HEAD, *map(_row, paper.claims)])
    if paper.untested:
        lines += ["", "Not tested:", ""]
        lines += [f"- *{claim}* {why}" for claim, why in paper.untested]
    return [*lines, ""]


def _tally() -> list[str]:
    verdicts = [*get_args(Verdict)]
    rows = [["paper", *verdicts]]
    for paper in PAPERS:
        counts = Counter(claim.verdict for claim in paper.claims)
        anchor = paper.title.lower().replace(" ", "-")
        numbers = [str(counts[verdict]) for verdict in verdicts]
        rows.append([f"[{paper.title}](#{anchor})", *numbers])
    return [*markdown(rows), ""]


def page() -> str:
    """The ledger in Markdown."""
    sections = [line for paper in PAPERS for line in _section(paper)]
    return "\n".join([ABOUT, *_tally(), *sections]).rstrip() + "\n"
