"""Cobb et al.: explicit Riemannian Monte Carlo. The numbers are those of the authors'
code and pages; the paper's tables were not at hand."""

from .claim import at, Claim, highest, lowest, median, Metrics, Paper, shown


SAMPLING = "sampling/cpu"
ESS = "ess_per_1000_gradients"
PAIR = ("explicit", "implicit midpoint")


def _rows(m: Metrics, rule: str) -> list[Metrics]:
    return [row for row in m["gate"] if row["rule"] == rule]


def _worst(m: Metrics, rule: str) -> str:
    row = max(_rows(m, rule), key=lambda row: abs(row["score"]))
    return (
        f"{row['mean']:.3f} ± {row['error']:.3f} ({row['score']:.0f} σ) at acceptance "
        f"{row['acceptance']:.2f}"
    )


def _sizes(m: Metrics, law: str, *names: str) -> str:
    found = at(m, "summary", ESS, law)
    return "; ".join(
        f"{name} {shown(found, name) if median(found, name) > 0 else 'stuck'}"
        for name in names
    )


PAPER = Paper(
    "Explicit Riemannian Monte Carlo",
    "Cobb et al., 2019",
    "https://arxiv.org/abs/1910.06243",
    (
        Claim(
            "Steps by Tao's method, the copy reset at each trajectory and forgotten at "
            "its end, sample the law.",
            "algorithm",
            "mean of q² (1) under a metric 1 + 4q²: the worst of nine settings; 2000 "
            "chains of 500",
            "no number",
            SAMPLING,
            lambda m: _worst(m, "copies reset"),
            "does not hold here",
            lambda m: max(abs(r["score"]) for r in _rows(m, "copies reset")) > 10,
            "[why](benchmarks.md#explicit-rmhmc)",
        ),
        Claim(
            "Steps by Tao's method sample the law.",
            "algorithm",
            "the same",
            "no number",
            SAMPLING,
            lambda m: _worst(m, "explicit"),
            "holds with a change",
            lambda m: max(abs(r["score"]) for r in _rows(m, "explicit")) < 4,
            "the copy is drawn anew, and is part of the test",
        ),
        Claim(
            "They cost less than implicit ones: on regressions.",
            "abstract",
            "effective sample size for 1000 gradients, whitened logistic regression, "
            "d = 5; 3 seeds",
            "no number",
            SAMPLING,
            lambda m: _sizes(m, "logistic, d = 5", *PAIR),
            "holds",
            lambda m: (
                lowest(m, "summary", ESS, "logistic, d = 5", PAIR[0])
                > 1.3 * highest(m, "summary", ESS, "logistic, d = 5", PAIR[1])
            ),
            "as it does, just, with 14 coefficients",
        ),
        Claim(
            "The same, of more coefficients.",
            "abstract",
            "the same, d = 25",
            "no number",
            SAMPLING,
            lambda m: _sizes(m, "logistic, d = 25", *PAIR),
            "does not hold here",
            lambda m: (
                median(m, "summary", ESS, "logistic, d = 25", PAIR[0])
                < median(m, "summary", ESS, "logistic, d = 25", PAIR[1])
            ),
            "the copies have to be accepted too",
        ),
        Claim(
            "The same, on Neal's funnel.",
            "funnel",
            "the same, v and ten x, α = 1e6; 8 chains of 960",
            "4.3 times faster at equal acceptance (50 draws)",
            SAMPLING,
            lambda m: _sizes(m, "funnel, 1 + 10, α = 1e+06", *PAIR),
            "does not hold here",
            lambda m: (
                median(m, "summary", ESS, "funnel, 1 + 10, α = 1e+06", PAIR[0]) == 0
            ),
            "by the exact rule, and from draws of the law; the paper's rule is biased",
        ),
        Claim(
            "A Riemannian metric is worth it: on regressions.",
            "introduction",
            "the same, d = 25: explicit, midpoint and plain HMC, all whitened",
            "no number",
            SAMPLING,
            lambda m: _sizes(m, "logistic, d = 25", *PAIR, "HMC"),
            "does not hold here",
            lambda m: (
                lowest(m, "summary", ESS, "logistic, d = 25", "HMC")
                > 5 * highest(m, "summary", ESS, "logistic, d = 25", PAIR[1])
            ),
            "a unit mass in whitened coordinates has ten times as much",
        ),
        Claim(
            "A Riemannian metric is worth it: on the funnel.",
            "funnel",
            "the same, v and ten x: midpoint at α = 1e6; HMC and NUTS of unit mass",
            "KL of v: implicit .043, explicit .089, HMC .123, NUTS .548",
            SAMPLING,
            lambda m: (
                f"{_sizes(m, 'funnel, 1 + 10, α = 1e+06', PAIR[1])}; "
                f"{_sizes(m, 'funnel, 1 + 10', 'HMC', 'NUTS')}"
            ),
            "holds",
            lambda m: (
                lowest(m, "summary", ESS, "funnel, 1 + 10, α = 1e+06", PAIR[1])
                > highest(m, "summary", ESS, "funnel, 1 + 10", "NUTS")
            ),
            "by implicit steps, for each gradient; in seconds NUTS is about as good",
        ),
    ),
    (
        (
            "On a 3-D normal distribution explicit steps are slower (1.28 times).",
            "Not run: it tells nothing of a metric.",
        ),
        (
            "The funnel by the paper's own protocol, from (0, 1, ..., 1), 50 draws.",
            "Not run: 50 draws tell no law.",
        ),
    ),
)
