"""What draws are worth, and how far off they are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from blackjax.diagnostics import effective_sample_size
from jaxtyping import Array, Float
from scipy.stats import ks_2samp, norm, rankdata


Draws = Float[np.ndarray, "chains times dim"]


def bulk_ess(draws: Draws) -> float:
    """The least effective sample size over the coordinates and their squares, of ranks
    and of half chains (Vehtari, Gelman, Simpson, Carpenter & Bürkner, Bayesian Analysis
    16(2), 2021, eq. 14); zero if it is not twice the number of chains, which is what
    chains have that stand still."""
    both = np.concatenate([draws, draws**2], axis=-1)
    half = both.shape[1] // 2
    halves = np.concatenate([both[:, :half], both[:, -half:]])
    ranks = rankdata(halves.reshape(-1, halves.shape[-1]), axis=0)
    scores = norm.ppf((ranks - 3 / 8) / (len(ranks) + 1 / 4)).reshape(halves.shape)
    found = float(np.min(effective_sample_size(scores)))
    return found if found >= 2 * len(draws) else 0.0


QUARTILES = (0.25, 0.5, 0.75)


def bias(draws: Draws, exact: Float[np.ndarray, "draws dim"]) -> float:
    """By how many standard errors the share of draws below a quartile is off, where
    that is worst: of chains that began with draws of the law, one value each."""
    levels = np.quantile(exact, QUARTILES, axis=0)
    below = np.mean(draws[:, :, None] < levels, axis=1)
    spread = below.std(0, ddof=1) / np.sqrt(len(below))
    # The quartiles are those of a sample.
    own = np.sqrt([p * (1 - p) / len(exact) for p in QUARTILES])[:, None]
    away = np.abs(below.mean(0) - np.array(QUARTILES)[:, None])
    return float(np.max(away / np.hypot(spread, own)))


def distance(draws: Draws, exact: Float[np.ndarray, "draws dim"]) -> float:
    """Kolmogorov's and Smirnov's, of the coordinate where it is largest."""
    flat = draws.reshape(-1, draws.shape[-1])
    found: list[Any] = [ks_2samp(x, y) for x, y in zip(flat.T, exact.T, strict=True)]
    return max(float(each.statistic) for each in found)


class Count:
    """A function of a position, and how often it is evaluated: at all, and to be
    differentiated."""

    def __init__(self, f: Callable[[Array], Array]):
        self.all, self.differentiated = 0, 0

        def passed(x: Array, differentiated: int) -> Array:
            def called(x: np.ndarray) -> np.ndarray:
                self.all += 1
                self.differentiated += differentiated
                return x

            shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
            # Pure: what the compiler drops is not evaluated, and not counted.
            return jax.pure_callback(called, shape, x, vmap_method="sequential")

        once, twice = (
            jax.custom_jvp(partial(passed, differentiated=d)) for d in (0, 1)
        )
        for identity in (once, twice):
            identity.defjvp(lambda at, along: (twice(*at), *along))
        self.function = lambda q: f(once(q))
