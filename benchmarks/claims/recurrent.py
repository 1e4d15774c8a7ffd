"""Rusch et al.: Hamiltonian recurrent networks. Of the paper only the abstract was at
hand: the cell's details are ours."""

from .claim import at, Claim, highest, lowest, Paper, shown


SEQUENCES, EXACT = "sequences/cpu", "exact_statements/cpu"
RNN = "Hamiltonian RNN"

PAPER = Paper(
    "Hamiltonian recurrent networks",
    "Rusch et al., 2019",
    "https://arxiv.org/abs/1911.05035",
    (
        Claim(
            "A hyperparameter keeps the gradient of the hidden state from vanishing "
            "and from exploding.",
            "abstract",
            "‖∂h/∂h₀‖ over 2000 steps, as the cell is made; 3 seeds",
            "no number",
            SEQUENCES,
            lambda m: shown(m, "gradients", RNN, "2000", "largest"),
            "holds",
            lambda m: (
                1 <= lowest(m, "gradients", RNN, "2000", "largest")
                and highest(m, "gradients", RNN, "2000", "largest") < 10
            ),
        ),
        Claim(
            "A heuristic tells its value.",
            "abstract",
            "‖∂h/∂h₀‖ by [our heuristic](api/nn.md#recurrence) for a bound of 4, over "
            "100 to 1600 steps; 5 seeds",
            "no number",
            EXACT,
            lambda m: (
                f"{at(m, 'found', 'gradients', 'least'):.2f} to "
                f"{at(m, 'found', 'gradients', 'largest'):.2f}"
            ),
            "holds",
            lambda m: (
                1 - 1e-9
                <= at(m, "found", "gradients", "least")
                <= at(m, "found", "gradients", "largest")
                <= 4
            ),
        ),
        Claim(
            "It learns sequences of any length.",
            "abstract",
            "squared error of the adding problem (1/6 by guessing) at T = 500, 3 "
            "seeds; at T = 2000, one seed",
            "no number",
            SEQUENCES,
            lambda m: "; ".join(
                shown(m, "summary", task, RNN, "test")
                for task in ("adding_500", "adding_2000")
            ),
            "holds",
            lambda m: (
                highest(m, "summary", "adding_500", RNN, "test") < 0.01
                and highest(m, "summary", "adding_2000", RNN, "test") < 0.01
            ),
            "at T = 2000 it is the only one of seven cells that does",
        ),
        Claim(
            "It outperforms other recurrent networks: on the adding problem.",
            "abstract",
            "the same at T = 500, of an LSTM and of coRNN, all tuned alike",
            "no number",
            SEQUENCES,
            lambda m: "; ".join(
                f"{name} {shown(m, 'summary', 'adding_500', name, 'test')}"
                for name in (RNN, "LSTM", "coRNN")
            ),
            "holds",
            lambda m: (
                highest(m, "summary", "adding_500", RNN, "test")
                < lowest(m, "summary", "adding_500", "LSTM", "test")
            ),
            "so does the CHLU's cell",
        ),
        Claim(
            "The same, on images read pixel by pixel.",
            "abstract",
            "digits misread, of 64 pixels row by row; 3 seeds",
            "no number",
            SEQUENCES,
            lambda m: "; ".join(
                f"{name} {shown(m, 'summary', 'digits', name, 'test')}"
                for name in (RNN, "LSTM", "coRNN")
            ),
            "does not hold here",
            lambda m: (
                lowest(m, "summary", "digits", RNN, "test")
                > highest(m, "summary", "digits", "LSTM", "test")
            ),
            "nor of seven cells is any as poor",
        ),
        Claim(
            "Without a search for hyperparameters.",
            "abstract",
            "the bound of its gradient, of 100 or 10 000, was tuned with the rate",
            "no number",
            SEQUENCES,
            lambda m: "; ".join(
                f"{task}: setting {best[RNN]['setting'] + 1} of 2, rate "
                f"{best[RNN]['rate']:g}"
                for task, best in m["settings"]["best"].items()
            ),
            "holds with a change",
            lambda m: (
                len({c[RNN]["setting"] for c in m["settings"]["best"].values()}) == 1
            ),
            "one bound serves both tasks; the learning rate was tuned, as of all",
        ),
    ),
)
