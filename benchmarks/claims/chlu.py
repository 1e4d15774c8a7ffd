"""Jawahar & Pierini: the Causal Hamiltonian Learning Unit. Its numbers are those that
its authors' scripts give; the paper has pictures."""

from ..record import cell, spread
from .claim import at, Claim, highest, lowest, median, Metrics, Paper, shown


LEMNISCATE = "lemniscate/cpu"
SINES = "sine_waves/cpu"
DIGITS = "digits/cpu"
EXACT = "exact_statements/cpu"
SEQUENCES = "sequences/cpu"
CURVE = "trajectory_to_curve_1000"


def _curve(m: Metrics, model: str) -> str:
    return f"{model} {shown(m, 'summary', CURVE, model)}"


def _mse(m: Metrics, model: str) -> str:
    return ", ".join(
        shown(m, "summary", "mse", model, sigma) for sigma in ("0.1", "0.5", "1.0")
    )


def _drawn(m: Metrics, images: str, *names: str) -> str:
    def over_seeds(name: str) -> str:
        return cell(spread(run["scores"][images][name] for run in m["runs"]))

    return ", ".join(f"{name.replace('_', ' ')} {over_seeds(name)}" for name in names)


PAPER = Paper(
    "CHLU",
    "Jawahar & Pierini, ICLR 2026 workshop on AI and PDE",
    "https://arxiv.org/abs/2603.01768",
    (
        Claim(
            "The unit conserves the volume of phase space, or shrinks it by its "
            "friction alone.",
            "abstract; method",
            "Jacobians of one step of 20 random units with friction, float64",
            "exact",
            EXACT,
            lambda m: (
                f"det J off by {at(m, 'found', 'steps', 'volume'):.0e}, "
                f"JᵀΩJ by {at(m, 'found', 'steps', 'defect'):.0e}"
            ),
            "holds",
            lambda m: (
                max(
                    at(m, "found", "steps", "volume"), at(m, "found", "steps", "defect")
                )
                < 1e-14
            ),
        ),
        Claim(
            "Its speed saturates at the speed limit, however hard it is kicked.",
            "experiment 2 (kinetic safety)",
            "largest |q̇ᵢ| √Mᵢ / c at momenta up to 1e100; and trained units after a "
            "kick of 50",
            "c",
            EXACT,
            lambda m: f"{at(m, 'found', 'speed', 'largest'):.3f} of the limit",
            "holds with a change",
            lambda m: at(m, "found", "speed", "largest") <= 1 + 1e-12,
            "the limit of a coordinate is c/√Mᵢ; the position is another matter: "
            "[after such a kick it leaves](benchmarks.md#sine-waves)",
        ),
        Claim(
            "Trained on three cycles of a lemniscate, it traces the curve for fifty.",
            "experiment 1 (lemniscate)",
            "mean distance to the curve of a free run, the last of 1000 cycles; 5 "
            "seeds",
            "0.12 and 0.13 after 50 (two seeds)",
            LEMNISCATE,
            lambda m: _curve(m, "CHLU"),
            "holds with a change",
            lambda m: highest(m, "summary", CURVE, "CHLU") < 0.01,
            "training begins on windows of 4 steps and ends on 370",
        ),
        Claim(
            "An LSTM and a neural ODE cannot.",
            "experiment 1",
            "the same, trained by the same curriculum",
            "0.18; 0.008 (the neural ODE on one arc of it)",
            LEMNISCATE,
            lambda m: f"{_curve(m, 'LSTM')}; {_curve(m, 'neural ODE')}",
            "does not hold here",
            lambda m: (
                highest(m, "summary", CURVE, "LSTM") < 0.05
                and median(m, "summary", CURVE, "neural ODE") < 0.01
            ),
            "the LSTM stays in all seeds; of five neural ODEs three do",
        ),
        Claim(
            "It filters noise: from noisy starts it follows the clean sine wave.",
            "experiment 2 (sine waves); abstract",
            "mean squared error over 1000 steps at σ = 0.1, 0.5 and 1, governed; 3 "
            "seeds",
            "12.3, 12.4, 14.0",
            SINES,
            lambda m: (
                f"{_mse(m, 'CHLU, governed')}; ungoverned, the exact flow's: "
                f"{_mse(m, 'CHLU')}"
            ),
            "holds with a change",
            lambda m: all(
                highest(m, "summary", "mse", "CHLU, governed", s)
                < at(m, "summary", "limit", s)
                for s in ("0.1", "0.5", "1.0")
            ),
            "a polynomial potential, and a governor of strength 1/ω²: what filters is "
            "the friction",
        ),
        Claim(
            "The governor, at the strength of the paper, improves on that.",
            "method (governor)",
            "the same, s = 0.95",
            "no number",
            SINES,
            lambda m: _mse(m, "CHLU, governed, s = 0.95"),
            "does not hold here",
            lambda m: all(
                lowest(m, "summary", "mse", "CHLU, governed, s = 0.95", s)
                > at(m, "summary", "limit", s)
                for s in ("0.1", "0.5", "1.0")
            ),
            "it takes more than the noise",
        ),
        Claim(
            "An LSTM does not learn position and momentum of a wave together.",
            "experiment 2",
            "the same, trained by the same curriculum",
            "4.1, 4.7, 4.0",
            SINES,
            lambda m: _mse(m, "LSTM"),
            "does not hold here",
            lambda m: (
                median(m, "summary", "mse", "LSTM", "0.1")
                < at(m, "summary", "limit", "0.1")
            ),
            "it is as good as the governed unit",
        ),
        Claim(
            "Its gradients neither vanish nor explode over long times.",
            "abstract (stability)",
            "largest singular value of ∂h/∂h₀ of the recurrent cell as it is made, "
            "over 2000 steps; 3 seeds",
            "no number",
            SEQUENCES,
            lambda m: (
                f"{shown(m, 'gradients', 'CHLU', '2000', 'largest')}; "
                "relativistic "
                f"{shown(m, 'gradients', 'CHLU (relativistic)', '2000', 'largest')}"
            ),
            "holds with a change",
            lambda m: (
                highest(m, "gradients", "CHLU", "2000", "largest") < 10
                and lowest(m, "gradients", "CHLU (relativistic)", "2000", "largest")
                > 100
            ),
            "Newtonian kinetic energy: the relativistic cell becomes chaotic",
        ),
        Claim(
            "By Langevin dynamics in a learned energy it draws digits from noise.",
            "experiment 3 (digits)",
            "precision and recall by nearest neighbours, of 398 images of 8x8 pixels; "
            "3 seeds",
            "pictures",
            DIGITS,
            lambda m: _drawn(m, "from centroid + noise", "precision", "recall"),
            "holds with a change",
            lambda m: (
                at(m, "summary", "from centroid + noise", "precision") > 0.75
                and at(m, "summary", "from centroid + noise", "recall") > 0.65
            ),
            "an exact heat bath, and one temperature for training and drawing",
        ),
        Claim(
            "Annealing the temperature from 1 to 0.01 is the way to draw them.",
            "method (annealing)",
            "the same; and the part nearer to a training image than all but 1 % of "
            "held-out ones are",
            "pictures",
            DIGITS,
            lambda m: _drawn(
                m, "annealed to kT = 0.01", "precision", "recall", "too_near"
            ),
            "does not hold here",
            lambda m: (
                at(m, "summary", "annealed to kT = 0.01", "recall") < 0.5
                and at(m, "summary", "annealed to kT = 0.01", "too_near") > 0.25
            ),
            "the chains end at training images",
        ),
        Claim(
            "The Langevin equation with noise of variance 2γkT draws from exp(−H/kT).",
            "method (generation)",
            "variance of a relativistic momentum of two coordinates at kT = 2m₀c²: "
            "20 000 chains, against quadrature",
            "no number",
            EXACT,
            lambda m: (
                f"{at(m, 'found', 'heat_baths', 'paper'):.2f} by the equation, "
                f"{at(m, 'found', 'heat_baths', 'authors_code'):.2f} by the scripts' "
                f"update, {at(m, 'found', 'heat_baths', 'exact'):.2f} is right"
            ),
            "does not hold here",
            lambda m: (
                at(m, "found", "heat_baths", "paper")
                < 0.5 * at(m, "found", "heat_baths", "exact")
            ),
            "[the right noise](physics.md#two-corrections-to-the-chlu-paper)",
        ),
        Claim(
            "Penalising the mean Lyapunov exponent keeps trajectories from chaos.",
            "method (training)",
            "its gradient by the weights of 20 random units, beside that of the "
            "largest exponent",
            "no number",
            EXACT,
            lambda m: (
                f"{at(m, 'found', 'steps', 'slope_of_mean'):.0e}; "
                f"{at(m, 'found', 'steps', 'slope_of_largest'):.0e}"
            ),
            "does not hold here",
            lambda m: at(m, "found", "steps", "slope_of_mean") < 1e-14,
            "[it is a constant](physics.md#two-corrections-to-the-chlu-paper)",
        ),
    ),
    (
        (
            "Wake and sleep learn better than trajectories alone.",
            (
                "The paper compares with nothing. The digits need both; the other "
                "tasks are learned without."
            ),
        ),
        (
            "Digits 3, 5, 8 and 9 come too often.",
            "A finding on MNIST. Of the 8x8 digits drawn here none is above a quarter.",
        ),
    ),
)
