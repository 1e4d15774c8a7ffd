"""Toth et al.: Hamiltonian generative networks and flows. The numbers of the paper are
those that its replication (ReScience C 7(2) #18) quotes."""

from .claim import at, Claim, highest, lowest, median, Metrics, Paper, shown


SMALL, FULL, DENSITIES = "pixel_dynamics/cpu", "pixel_dynamics/gpu", "densities/cpu"


def _inside(m: Metrics, system: str) -> str:
    return shown(m, "summary", system, "mse_inside", "HGN")


def _short(m: Metrics, model: str, *targets: str) -> str:
    found = ", ".join(f"{shown(m, 'summary', 'short', model, t)}" for t in targets)
    return f"{model}: {found}"


PAPER = Paper(
    "Hamiltonian generative networks and flows",
    "Toth et al., ICLR 2020",
    "https://arxiv.org/abs/1909.13789",
    (
        Claim(
            "HGN learns the motion of a spring from images.",
            "table of pixel errors (1 in the replication)",
            "mean squared error of 30 frames of 32x32 pixels; one seed, on a GPU",
            "6.2e-4",
            FULL,
            lambda m: _inside(m, "mass_spring"),
            "holds",
            lambda m: (
                highest(m, "summary", "mass_spring", "mse_inside", "HGN") < 6.2e-4
            ),
            "our images have no jitter, which is most of the paper's error",
        ),
        Claim(
            "HGN learns two and three bodies from images.",
            "the same table",
            "the same",
            "16.5e-4; 9.8e-4",
            FULL,
            lambda m: f"{_inside(m, 'two_body')}; {_inside(m, 'three_body')}",
            "holds",
            lambda m: (
                highest(m, "summary", "two_body", "mse_inside", "HGN") < 16.5e-4
                and highest(m, "summary", "three_body", "mse_inside", "HGN") < 9.8e-4
            ),
            "within the 30 frames; beyond them no better than the mean image",
        ),
        Claim(
            "HGN learns a pendulum from images.",
            "the same table",
            "30 frames of 16x16 pixels; 3 seeds",
            "11.7e-4",
            SMALL,
            lambda m: _inside(m, "pendulum"),
            "holds",
            lambda m: highest(m, "summary", "pendulum", "mse_inside", "HGN") < 11.7e-4,
            "a neural ODE and a recurrence fit [somewhat better](benchmarks.md#pixels)",
        ),
        Claim(
            "Its rollouts may run backward in time.",
            "abstract; figure of rollouts",
            "valid frames of 90 before the state: spring; pendulum; a neural ODE's "
            "pendulum; 3 seeds",
            "pictures",
            SMALL,
            lambda m: "; ".join(
                shown(m, "summary", system, "valid_backward", model)
                for system, model in (
                    ("mass_spring", "HGN"),
                    ("pendulum", "HGN"),
                    ("pendulum", "neural ODE"),
                )
            ),
            "holds",
            lambda m: (
                lowest(m, "summary", "pendulum", "valid_backward", "HGN")
                > 5 * highest(m, "summary", "pendulum", "valid_backward", "neural ODE")
            ),
        ),
        Claim(
            "They may be sped up and slowed down.",
            "abstract; figure of rollouts",
            "error of the spring at normal, half and double speed; 3 seeds",
            "pictures",
            SMALL,
            lambda m: ", ".join(
                shown(m, "summary", "mass_spring", key, "HGN")
                for key in ("mse_inside", "mse_half_speed", "mse_double_speed")
            ),
            "holds",
            lambda m: (
                highest(m, "summary", "mass_spring", "mse_double_speed", "HGN")
                < 5 * median(m, "summary", "mass_spring", "mse_inside", "HGN")
            ),
            "half speed proves little: a neural ODE plays it as well",
        ),
        Claim(
            "What it learns is an energy: conserved, and the true one.",
            "text (the replication found it not conserved)",
            "drift over 90 frames, in deviations over the starts, and correlation "
            "with the true energy: spring; pendulum; 3 seeds",
            "no number",
            SMALL,
            lambda m: "; ".join(
                f"{shown(m, 'summary', system, 'energy_drift', 'HGN')}, "
                f"{shown(m, 'summary', system, 'energy_correlation', 'HGN')}"
                for system in ("mass_spring", "pendulum")
            ),
            "holds",
            lambda m: (
                highest(m, "summary", "pendulum", "energy_drift", "HGN") < 0.01
                and lowest(m, "summary", "pendulum", "energy_correlation", "HGN") > 0.9
            ),
            "the pendulum's rises with the true one, but not in proportion",
        ),
        Claim(
            "The Hamiltonian makes predictions more accurate than a free latent "
            "motion.",
            "text",
            "error of the pendulum's 30 frames: HGN; neural ODE; recurrence; 3 seeds",
            "no number (the replication: the same)",
            SMALL,
            lambda m: "; ".join(
                shown(m, "summary", "pendulum", "mse_inside", model)
                for model in ("HGN", "neural ODE", "recurrent")
            ),
            "does not hold here",
            lambda m: (
                lowest(m, "summary", "pendulum", "mse_inside", "HGN")
                > highest(m, "summary", "pendulum", "mse_inside", "recurrent")
            ),
            "on the spring it is more accurate; beyond the horizon it holds longer",
        ),
        Claim(
            "A Hamiltonian flow is volume preserving and invertible: no determinant "
            "is needed.",
            "section on flows; abstract",
            "of a flow of four energies, float64",
            "exact",
            "exact_statements/cpu",
            lambda m: (
                f"|log |det J|| {at(m, 'found', 'flow', 'log_det'):.0e}, there "
                f"and back {at(m, 'found', 'flow', 'return'):.0e}"
            ),
            "holds",
            lambda m: max(at(m, "found", "flow").values()) < 1e-13,
        ),
        Claim(
            "It is as expressive as RealNVP: on mixtures of normal distributions.",
            "figure of densities",
            "nats short of the target on a ring of 8 and a grid of 9, equal "
            "parameters; 3 seeds",
            "pictures",
            DENSITIES,
            lambda m: (
                f"{_short(m, 'NHF, 4', 'ring', 'grid')}; "
                f"{_short(m, 'RealNVP', 'ring', 'grid')}"
            ),
            "holds",
            lambda m: all(
                median(m, "summary", "short", "NHF, 4", t)
                < median(m, "summary", "short", "RealNVP", t)
                for t in ("ring", "grid")
            ),
            "in the median: on the ring seeds overlap",
        ),
        Claim(
            "The same, of densities with edges.",
            "text (expressive densities)",
            "two moons and a checkerboard",
            "no number",
            DENSITIES,
            lambda m: (
                f"{_short(m, 'NHF, 4', 'moons', 'checkerboard')}; "
                f"{_short(m, 'RealNVP', 'moons', 'checkerboard')}"
            ),
            "does not hold here",
            lambda m: all(
                lowest(m, "summary", "short", "NHF, 4", t)
                > highest(m, "summary", "short", "RealNVP", t)
                for t in ("moons", "checkerboard")
            ),
        ),
        Claim(
            "It costs less, since there is no determinant.",
            "text (computational efficiency)",
            "seconds of training on the ring, the same number of steps; 3 seeds",
            "no number",
            DENSITIES,
            lambda m: "; ".join(
                f"{name} {shown(m, 'summary', 'training_seconds', name, 'ring')}"
                for name in ("NHF, 4", "RealNVP")
            ),
            "does not hold here",
            lambda m: (
                lowest(m, "summary", "training_seconds", "NHF, 4", "ring")
                > highest(m, "summary", "training_seconds", "RealNVP", "ring")
            ),
            "RealNVP's determinant is a sum; what costs are the energies' gradients",
        ),
    ),
    (
        (
            "HGN beats Hamiltonian neural networks on pixels by far.",
            (
                "Not run: the peers here are a neural ODE and a recurrence. Of states, "
                "[an HNN is beside VIN](benchmarks.md#noisy-pendulum)."
            ),
        ),
        (
            "Sequences drawn from the prior look like the data.",
            "By [pictures](benchmarks.md#pixels) alone: springs do, pendulums do not.",
        ),
        (
            "Leapfrog or Euler makes little difference within 30 frames.",
            "Not run.",
        ),
        (
            "The flow's potential has a basin for each mode.",
            "By [pictures](benchmarks.md#densities): one energy has, on the grid.",
        ),
    ),
)
