"""França et al.: relativistic gradient descent. The paper's ends are read off its
figures."""

from .claim import at, Claim, highest, lowest, median, Metrics, Paper


SEARCH, EXACT = "optimization/cpu", "exact_statements/cpu"
RGD, MOMENTUM, NESTEROV, CLIPPED = (
    "RGD, α = 1",
    "momentum",
    "Nesterov",
    "clipped momentum",
)


def _ends(m: Metrics, problem: str, *names: str) -> str:
    def one(name: str) -> str:
        low, middle, high = (
            at(m, "summary", problem, name, key) for key in ("min", "median", "max")
        )
        return f"{name} {middle:.0f} ({low:.0f} to {high:.0f})"

    return "; ".join(one(name) for name in names)


def _ahead(problem: str, place: str, there: str) -> Claim:
    return Claim(
        f"It ends lower than momentum and Nesterov's method: {problem}.",
        place,
        "log10 f at twice the horizon of tuning, 300 configurations each, 5 searches",
        there,
        SEARCH,
        lambda m: _ends(m, problem, RGD, MOMENTUM, NESTEROV, CLIPPED),
        "holds",
        lambda m: (
            median(m, "summary", problem, RGD)
            < min(median(m, "summary", problem, k) for k in (MOMENTUM, NESTEROV)) - 2
        ),
        "as clipped momentum does",
    )


def _failures(m: Metrics, name: str) -> float:
    found = [row[name]["failures"] for row in m["summary"].values()]
    return sum(found) / len(found)


PAPER = Paper(
    "Relativistic gradient descent",
    "França et al., NeurIPS 2020",
    "https://arxiv.org/abs/1903.04100",
    (
        Claim(
            "Its corners are Nesterov's method (δ = 0, α = 0) and classical momentum "
            "(δ = 0, α = 1).",
            "algorithm 1; section 5",
            "largest distance to optax.sgd on the way of 200 steps, float64",
            "exact",
            EXACT,
            lambda m: (
                f"{at(m, 'found', 'descent', 'nesterov'):.0e}; "
                f"{at(m, 'found', 'descent', 'momentum'):.0e}"
            ),
            "holds",
            lambda m: (
                max(
                    at(m, "found", "descent", "nesterov"),
                    at(m, "found", "descent", "momentum"),
                )
                < 1e-13
            ),
        ),
        Claim(
            "With α = 1 it is conformally symplectic, for any δ.",
            "section 5; theorem 3.3",
            "‖JᵀΩJ − μΩ‖ of a step at δ = 0.7: α = 1; α = ½",
            "exact",
            EXACT,
            lambda m: (
                f"{at(m, 'found', 'descent', 'defect'):.0e}; "
                f"{at(m, 'found', 'descent', 'defect_half'):.0e}"
            ),
            "holds",
            lambda m: (
                at(m, "found", "descent", "defect") < 1e-13
                and at(m, "found", "descent", "defect_half") > 1e-3
            ),
        ),
        Claim(
            "It is stable at longer steps than momentum, and that than Nesterov's.",
            "section 6; figure 1",
            "longest stable step on x²/2, friction and mass 1, by the spectral radius "
            "of what is implemented",
            "2, 1.556, 1.282",
            EXACT,
            lambda m: (
                ", ".join(
                    f"{at(m, 'found', 'stability', name):.3f}"
                    for name in ("rgd", "momentum", "nesterov")
                )
                + "; by learning rate "
                + ", ".join(
                    f"{at(m, 'found', 'stability', name) ** 2 / divisor:.2f}"
                    for name, divisor in (("rgd", 2), ("momentum", 1), ("nesterov", 1))
                )
            ),
            "holds",
            lambda m: (
                abs(at(m, "found", "stability", "rgd") - 2) < 1e-3
                and abs(at(m, "found", "stability", "momentum") - 1.556) < 1e-3
                and abs(at(m, "found", "stability", "nesterov") - 1.282) < 1e-3
            ),
            "by the step; by the learning rate, h²/2 of it and h² of the others, "
            "momentum is the most stable",
        ),
        Claim(
            "A step of it is bounded, by 1/δ.",
            "section 1; section 5",
            "largest half-drift over velocities up to 1e100, δ = 4, in units of 1/√δ",
            "1/δ (a slip)",
            EXACT,
            lambda m: f"{at(m, 'found', 'stability', 'step_bound'):.3f}",
            "holds with a change",
            lambda m: 0.99 < at(m, "found", "stability", "step_bound") <= 1 + 1e-12,
            "the bound is 1/√δ",
        ),
        _ahead("Rosenbrock, n = 100", "figure 2c", "−27; −2.5; −6.6"),
        _ahead("camel", "appendix B", "−41; −3; −2"),
        _ahead("Zakharov", "appendix B", "−31; −1.3; −1.1"),
        Claim(
            "The same: on a correlated quadratic.",
            "figure 2a",
            "the same",
            "−46; −35; −17",
            SEARCH,
            lambda m: _ends(m, "correlated quadratic", RGD, MOMENTUM, NESTEROV),
            "does not hold here",
            lambda m: (
                median(m, "summary", "correlated quadratic", RGD)
                > median(m, "summary", "correlated quadratic", MOMENTUM)
            ),
            "momentum, tuned as much, is level with it",
        ),
        Claim(
            "The same: on a random quadratic.",
            "figure 2b",
            "the same",
            "a figure",
            SEARCH,
            lambda m: _ends(m, "random quadratic", RGD, MOMENTUM, NESTEROV),
            "does not hold here",
            lambda m: (
                median(m, "summary", "random quadratic", RGD)
                > median(m, "summary", "random quadratic", MOMENTUM) - 5
                and lowest(m, "summary", "random quadratic", MOMENTUM)
                < highest(m, "summary", "random quadratic", RGD)
            ),
            "level with momentum",
        ),
        Claim(
            "The same: on matrix completion.",
            "figure 2d",
            "the same",
            "a figure",
            SEARCH,
            lambda m: _ends(m, "matrix completion", RGD, MOMENTUM, NESTEROV),
            "does not hold here",
            lambda m: (
                median(m, "summary", "matrix completion", RGD)
                > median(m, "summary", "matrix completion", MOMENTUM)
            ),
        ),
        Claim(
            "It is robust: momentum and Nesterov's method diverge more often.",
            "sections 7 and 8",
            "configurations that end above their start, mean over 17 functions",
            "no number",
            SEARCH,
            lambda m: "; ".join(
                f"{name} {100 * _failures(m, name):.0f} %"
                for name in (RGD, MOMENTUM, NESTEROV, CLIPPED)
            ),
            "holds",
            lambda m: (
                _failures(m, RGD)
                < min(_failures(m, MOMENTUM), _failures(m, NESTEROV)) / 3
            ),
            "clipped momentum nearly as much",
        ),
    ),
    (
        (
            "Tuned values of α and δ tend to 1 and above 0.",
            (
                "Searches with α = 1 and with any α are [compared]"
                "(benchmarks.md#optimisers); what they chose is not reported."
            ),
        ),
    ),
)
