"""`python -m benchmarks` lists the tasks; `python -m benchmarks TASK --help` tells what
one does."""

import sys

import tyro

from . import (
    densities,
    digits,
    lemniscate,
    noisy_pendulum,
    optimization,
    pixel_dynamics,
    report,
    sampling,
    sequences,
    sine_waves,
    speed,
    work_precision,
)


TASKS = {
    "densities": densities.main,
    "digits": digits.main,
    "lemniscate": lemniscate.main,
    "noisy_pendulum": noisy_pendulum.main,
    "optimization": optimization.main,
    "pixel_dynamics": pixel_dynamics.main,
    "sampling": sampling.main,
    "sequences": sequences.main,
    "sine_waves": sine_waves.main,
    "speed": speed.main,
    "work_precision": work_precision.main,
    "report": report.main,
}


def main() -> None:
    arguments = sys.argv[1:] or ["--help"]
    tyro.extras.subcommand_cli_from_dict(
        TASKS,
        prog="python -m benchmarks",
        description="The papers' tasks, and what the code costs.",
        args=arguments,
    )


if __name__ == "__main__":
    main()
