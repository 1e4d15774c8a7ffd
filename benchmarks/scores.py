"""What generated images are worth: scores of samples against real images that no model
was trained on, and the same scores of sets whose worth is known.

Precision, recall and MMD depend on how many images both sets hold: compare those of
equal counts only.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

from .data.digits import Digits, Images, Labels


Vectors = Float[np.ndarray, "vectors dim"] | Float[Array, "vectors dim"]
# The standard deviation of the noise that the CHLU paper's samplers start from.
NOISE = 0.5


def precision_recall(real: Vectors, fake: Vectors, k: int = 3) -> tuple[float, float]:
    """Precision, the fraction of `fake` inside the real manifold, and recall, the
    fraction of `real` inside the fake one: a manifold is the union of the balls about
    the vectors of a set that reach to the k-th nearest other vector of it (Kynkäänniemi
    et al., arXiv 1904.06991, equations 1 and 2)."""
    real, fake = _doubles("real", real), _doubles("fake", fake)
    return _inside(fake, real, k), _inside(real, fake, k)


def _inside(vectors: np.ndarray, manifold: np.ndarray, k: int) -> float:
    if not 0 < k < len(manifold):
        raise ValueError(
            f"`k` must be from 1 to {len(manifold) - 1}, the other vectors of a set, "
            f"got {k}."
        )
    distances, _ = NearestNeighbors(n_neighbors=k).fit(manifold).kneighbors()
    inside = pairwise_distances_chunked(
        vectors,
        manifold,
        reduce_func=lambda chunk, _: (chunk <= distances[:, -1]).any(1),
    )
    return float(np.concatenate(list(inside)).mean())


def mmd(real: Vectors, fake: Vectors, bandwidth: float | None = None) -> float:
    """The square of the maximum mean discrepancy, biased, with the kernel
    k(x, y) = exp(-|x - y|²/σ²): the mean of k over the pairs of two real vectors, plus
    that of two fake ones, minus twice that of one of each; vectors paired with
    themselves count (Gretton et al., JMLR 13, 2012, equation 5). The bandwidth σ is the
    median of the distances between all different vectors of both sets together.

    Of two sets of n from one distribution the mean is 2 (1 - E k)/n, not zero. Memory
    grows as the square of the counts.
    """
    real, fake = _doubles("real", real), _doubles("fake", fake)
    weights = np.repeat([1 / len(real), -1 / len(fake)], [len(real), len(fake)])
    squares = pdist(np.concatenate([real, fake]), "sqeuclidean")
    width = np.median(squares) if bandwidth is None else bandwidth**2
    if not width > 0:
        raise ValueError(
            "`bandwidth` must be positive, and be given where most vectors coincide, "
            f"got {bandwidth}."
        )
    return float(weights @ np.exp(-squareform(squares) / width) @ weights)


def nearest_distances(images: Vectors, train: Vectors) -> Float[np.ndarray, " vectors"]:
    """The distance of each image to the nearest training image."""
    neighbours = NearestNeighbors(n_neighbors=1).fit(_doubles("train", train))
    return neighbours.kneighbors(_doubles("images", images))[0][:, 0]


class Memorisation(NamedTuple):
    """The least distance of a sample to a training image; the 1st percentile of those
    of real images; and the fraction of samples below that, of which 0.01 is expected of
    fresh ones."""

    nearest: float
    threshold: float
    fraction: float


def memorisation(samples: Vectors, real: Vectors, train: Vectors) -> Memorisation:
    """How near the samples come to the training images, in pixels, beside how near real
    images do that are not among them."""
    distances = nearest_distances(samples, train)
    threshold = np.percentile(nearest_distances(real, train), 1)
    return Memorisation(
        float(distances.min()),
        float(threshold),
        float((distances < threshold).mean()),
    )


class Classifier(NamedTuple):
    """A network that tells the digits apart."""

    network: MLPClassifier

    def features(self, images: Vectors) -> Float[np.ndarray, "vectors features"]:
        """Activations of the last hidden layer."""
        x = _doubles("images", images)
        weights, biases = self.network.coefs_[:-1], self.network.intercepts_[:-1]
        for weight, bias in zip(weights, biases, strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return x

    def probabilities(self, images: Vectors) -> Float[np.ndarray, "vectors classes"]:
        """Of each class, for each image."""
        return np.asarray(self.network.predict_proba(_doubles("images", images)))

    def accuracy(self, images: Vectors, labels: Labels) -> float:
        predicted = self.probabilities(images).argmax(1)
        return float((self.network.classes_[predicted] == labels).mean())


def train_classifier(images: Images, labels: Labels, seed: int = 0) -> Classifier:
    """One hidden layer of 256 rectified units, by Adam until the loss stalls."""
    network = MLPClassifier((256,), max_iter=1000, random_state=seed)
    return Classifier(network.fit(_doubles("images", images), labels))


def evaluate(
    samples: Vectors, real: Vectors, train: Vectors, classifier: Classifier
) -> dict[str, Any]:
    """All the scores of a set of samples. `real` is what they are compared with, the
    held-out images, or those for validation where a model is being chosen; `train` what
    the sampler may have memorised.

    `confidence` is the mean probability of the likeliest class; `classes` the fraction
    of samples in each; `classes_present` how many there are, and `largest_class` the
    fraction of the commonest. `too_near` is the fraction of samples nearer to a
    training image than `nearest_real`, the 1st percentile of real images.
    """
    samples, real = _doubles("samples", samples), _doubles("real", real)
    precision, recall = precision_recall(real, samples)
    in_features = precision_recall(
        classifier.features(real), classifier.features(samples)
    )
    probabilities = classifier.probabilities(samples)
    counts = np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    classes = counts / len(samples)
    near = memorisation(samples, real, train)
    return {
        "precision": precision,
        "recall": recall,
        "precision_features": in_features[0],
        "recall_features": in_features[1],
        "mmd": mmd(real, samples),
        "confidence": float(probabilities.max(1).mean()),
        "classes": classes.tolist(),
        "classes_present": int((counts > 0).sum()),
        "largest_class": float(classes.max()),
        "nearest": near.nearest,
        "nearest_real": near.threshold,
        "too_near": near.fraction,
    }


def references(data: Digits, seed: int = 0) -> dict[str, Float[np.ndarray, "n pixels"]]:
    """Sets to score beside the samples, as many images of each as are held out (or for
    validation, if they are fewer): real ones, those of validation; from the normal
    distribution with the mean and covariance of the training images; and from the noise
    that sampling starts from, N(that mean, 0.5²). The last two are clipped to [-1, 1].
    """
    rng = np.random.default_rng(seed)
    n = min(len(data.held_out), len(data.validation))
    mean = data.train.mean(0, dtype=np.float64)
    covariance = np.cov(data.train, rowvar=False, dtype=np.float64)
    # Singular where a pixel never changes; this method does not mind.
    gaussian = rng.multivariate_normal(mean, covariance, n, method="eigh")
    noise = rng.normal(mean, NOISE, (n, len(mean)))
    return {
        "real": data.validation[:n],
        "Gaussian": np.clip(gaussian, -1, 1),
        "noise": np.clip(noise, -1, 1),
    }


SCORES = {
    "precision": "precision",
    "recall": "recall",
    "precision_features": "precision, features",
    "recall_features": "recall, features",
    "mmd": "MMD²",
    "confidence": "confidence",
    "classes_present": "classes present",
    "largest_class": "largest class",
    "nearest": "nearest to a training image",
    "nearest_real": "1st percentile of real ones",
    "too_near": "fraction nearer than that",
}


def table(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The head and then a row for each score: that of every set."""
    rows = [
        [title, *(_number(scores[key]) for scores in found.values())]
        for key, title in SCORES.items()
    ]
    return [["images", *found], *rows]


def _number(x: float) -> str:
    return str(x) if isinstance(x, int) else f"{x:.3f}"


def _doubles(name: str, vectors: Vectors) -> Float[np.ndarray, "vectors dim"]:
    found = np.asarray(vectors, np.float64)
    if found.ndim != 2 or not np.isfinite(found).all():
        raise ValueError(
            f"`{name}` must be finite and of shape (vectors, dim), got shape "
            f"{found.shape} with {np.sum(~np.isfinite(found))} values not finite."
        )
    return found
