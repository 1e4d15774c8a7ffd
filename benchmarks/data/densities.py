"""Laws to learn the density of: four in the plane, whose densities are known, and the
handwritten digits in eight dimensions."""

import functools
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp
from sklearn.decomposition import PCA

from . import digits


Points = Float[np.ndarray, "points dim"]
TRAIN, VALIDATION, HELD_OUT = 50_000, 2000, 1000
DIGITS_DIM = 8


class Law(Protocol):
    """A law in the plane."""

    def draw(self, rng: np.random.Generator, n: int) -> Points: ...

    def log_density(self, x: Points) -> Float[np.ndarray, " points"]: ...

    @property
    def entropy(self) -> float: ...

    def outside(self, x: Points) -> Float[np.ndarray, " points"]:
        """Where none, or next to none, of the law is: one there, and zero elsewhere."""
        ...


class Mixture(NamedTuple):
    """Normal distributions of one scale, of equal weights."""

    centres: Points
    scale: float

    def draw(self, rng: np.random.Generator, n: int) -> Points:
        noise = self.scale * rng.standard_normal((n, 2))
        return self.centres[rng.integers(len(self.centres), size=n)] + noise

    def log_density(self, x: Points) -> Float[np.ndarray, " points"]:
        squares = ((x[:, None] - self.centres) ** 2).sum(-1)
        weight = len(self.centres) * 2 * np.pi * self.scale**2
        return logsumexp(-squares / (2 * self.scale**2), axis=1) - np.log(weight)

    @property
    def entropy(self) -> float:
        """By the trapezoidal rule, which is exact to rounding where the step is well
        below the scale."""
        reach = np.abs(self.centres).max() + 8 * self.scale
        line = np.linspace(-reach, reach, int(2 * reach / (0.6 * self.scale)) + 1)
        total = 0.0
        for x in line:
            column = np.stack([np.full_like(line, x), line], axis=-1)
            log_density = self.log_density(column)
            total -= np.exp(log_density) @ log_density
        return total * (line[1] - line[0]) ** 2

    def nearest(self, x: Points) -> np.ndarray:
        """The number of the nearest centre."""
        return ((x[:, None] - self.centres) ** 2).sum(-1).argmin(1)

    def outside(self, x: Points) -> Float[np.ndarray, " points"]:
        """Further than four scales from all centres."""
        distance = np.linalg.norm(x - self.centres[self.nearest(x)], axis=-1)
        return (distance > 4 * self.scale).astype(float)


class Checkerboard(NamedTuple):
    """Uniform on the eight dark ones of sixteen unit squares."""

    def draw(self, rng: np.random.Generator, n: int) -> Points:
        row, pair = rng.integers(4, size=n), rng.integers(2, size=n)
        corner = np.stack([row, 2 * pair + row % 2], axis=-1) - 2
        return corner + rng.uniform(size=(n, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " points"]:
        return np.where(self.outside(x) == 1, -np.inf, -self.entropy)

    @property
    def entropy(self) -> float:
        return np.log(8)

    def outside(self, x: Points) -> Float[np.ndarray, " points"]:
        light = np.floor(x).sum(-1) % 2 == 1
        return (light | (np.abs(x) > 2).any(-1)).astype(float)


def ring() -> Mixture:
    """Eight on the circle of radius 2."""
    angles = np.arange(8) * np.pi / 4
    return Mixture(2 * np.stack([np.cos(angles), np.sin(angles)], -1), 0.3)


def grid() -> Mixture:
    """Nine, 2 apart."""
    line = 2.0 * np.arange(-1, 2)
    return Mixture(np.stack(np.meshgrid(line, line), -1).reshape(-1, 2), 0.35)


def moons() -> Mixture:
    """Two half circles of radius 1, each of 200 centres: closer together than the tenth
    part of the noise of 0.1."""
    angles = (np.arange(200) + 0.5) * np.pi / 200
    upper = np.stack([np.cos(angles), np.sin(angles)], -1)
    return Mixture(np.concatenate([upper, [1.0, 0.5] - upper]), 0.1)


LAWS: dict[str, Law] = {
    "ring": ring(),
    "grid": grid(),
    "moons": moons(),
    "checkerboard": Checkerboard(),
}


class Data(NamedTuple):
    """Points to train on, to choose a state of training by, and held out."""

    train: Points
    validation: Points
    held_out: Points


@functools.cache
def load(name: str) -> Data:
    """Of a law in the plane; or `digits`, which with their first eight principal
    components, of the training images and over their deviations, are points too."""
    if name == "digits":
        images = digits.embedded()
        pca = PCA(DIGITS_DIM, whiten=True, random_state=0).fit(images.train)
        parts = (images.train, images.validation, images.held_out)
        return Data(*(pca.transform(x).astype(float) for x in parts))
    rng = np.random.default_rng(0)
    sizes = (TRAIN, VALIDATION, HELD_OUT)
    return Data(*(LAWS[name].draw(rng, n) for n in sizes))
