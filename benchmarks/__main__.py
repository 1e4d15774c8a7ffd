"""`python -m benchmarks` lists the tasks; `python -m benchmarks TASK --help` tells what
one does."""

import sys

import tyro

from . import everything, pages, report


def main() -> None:
    arguments = sys.argv[1:] or ["--help"]
    tyro.extras.subcommand_cli_from_dict(
        {
            **everything.TASKS,
            "all": everything.main,
            "report": report.main,
            "pages": pages.main,
        },
        prog="python -m benchmarks",
        description="The papers' tasks, and what the code costs.",
        args=arguments,
    )


if __name__ == "__main__":
    main()
