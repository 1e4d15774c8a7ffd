"""Saemundsson et al.: variational integrator networks. The numbers are those of the
authors' code and pages; the paper's tables were not at hand."""

from .claim import Claim, highest, lowest, median, Metrics, Paper, shown


NOISY, PIXELS = "noisy_pendulum/cpu", "pixel_dynamics/cpu"


def _error(m: Metrics, points: str, *models: str, key: str = "mse") -> str:
    return "; ".join(
        f"{model} {shown(m, 'summary', key, model, points)}" for model in models
    )


def _claim(points: str, there: str) -> Claim:
    return Claim(
        f"From {points} noisy observations it follows a pendulum; a residual network "
        "does not.",
        "noisy pendulum; data efficiency in the abstract",
        "mean squared error over 10 s from new starts; 5 seeds",
        there,
        NOISY,
        lambda m: _error(m, f"{points} points", "VIN-VV", "ResNet"),
        "holds",
        lambda m: (
            highest(m, "summary", "mse", "VIN-VV", f"{points} points")
            < lowest(m, "summary", "mse", "ResNet", f"{points} points")
        ),
    )


PAPER = Paper(
    "Variational integrator networks",
    "Saemundsson et al., AISTATS 2020",
    "https://arxiv.org/abs/1910.09349",
    (
        _claim("30", "1.2; ResNet 17.5"),
        _claim("150", "6.9; ResNet 19.6"),
        Claim(
            "The structure of mechanics is kept: the energy stays where it was.",
            "abstract; noisy pendulum",
            "drift of the pendulum's energy over the same runs, 30 observations",
            "no number",
            NOISY,
            lambda m: _error(m, "30 points", "VIN-VV", "ResNet", key="energy_drift"),
            "holds",
            lambda m: (
                highest(m, "summary", "energy_drift", "VIN-VV", "30 points")
                < lowest(m, "summary", "energy_drift", "ResNet", "30 points") / 5
            ),
        ),
        Claim(
            "Noisy positions alone are enough (Störmer–Verlet).",
            "VIN-SV",
            "the same, velocities hidden: 30 and 150 observations",
            "no number",
            NOISY,
            lambda m: (
                f"{_error(m, '30 points', 'VIN-SV')}; "
                f"{_error(m, '150 points', 'VIN-SV')}"
            ),
            "holds with a change",
            lambda m: (
                lowest(m, "summary", "mse", "VIN-SV", "30 points") > 15
                and highest(m, "summary", "mse", "VIN-SV", "150 points") < 10
            ),
            "with 150 of them, not with 30",
        ),
        Claim(
            "From images it predicts far beyond what it has seen: a spring.",
            "abstract; pixels",
            "error of frames 31 to 90: VIN; recurrence; 3 seeds",
            "animations",
            PIXELS,
            lambda m: "; ".join(
                shown(m, "summary", "mass_spring", "mse_beyond", name)
                for name in ("VIN", "recurrent")
            ),
            "holds",
            lambda m: (
                highest(m, "summary", "mass_spring", "mse_beyond", "VIN")
                < lowest(m, "summary", "mass_spring", "mse_beyond", "recurrent")
            ),
        ),
        Claim(
            "The same, a pendulum.",
            "abstract; pixels",
            "valid frames of 90: VIN; recurrence; 3 seeds",
            "animations",
            PIXELS,
            lambda m: "; ".join(
                shown(m, "summary", "pendulum", "valid_forward", name)
                for name in ("VIN", "recurrent")
            ),
            "does not hold here",
            lambda m: (
                median(m, "summary", "pendulum", "valid_forward", "VIN")
                < median(m, "summary", "pendulum", "valid_forward", "recurrent")
            ),
            "in one seed of three it holds for all 90",
        ),
    ),
    (
        (
            "On SO(2) the network knows that angles are periodic.",
            (
                "Its step is [here](api/nn.md#from-positions-and-velocities), and "
                "tested; its pixel form is not benchmarked."
            ),
        ),
    ),
)
