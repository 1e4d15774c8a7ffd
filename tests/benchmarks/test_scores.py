import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import scores
from benchmarks.data import digits


@pytest.fixture(scope="module")
def data():
    return digits.embedded()


@pytest.fixture(scope="module")
def classifier(data):
    return scores.train_classifier(data.train, data.train_labels)


def _normal(seed, n, dim):
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_precision_recall_by_hand():
    """On a line. With k = 1 the balls about 0, 1, 3 reach to 1, 1, 2: they cover
    [-1, 5]. With k = 2 they cover [-3, 6]. Those about -2, 4, 5.5 cover [-8, 7], and
    without -2 and its ball, which reaches to 4, [2.5, 7]."""
    real = np.array([[0.0], [1.0], [3.0]])
    fake = np.array([[-2.0], [4.0], [5.5]])
    assert scores.precision_recall(real, fake, k=1) == (1 / 3, 1.0)
    assert scores.precision_recall(real, fake, k=2) == (1.0, 1.0)
    assert scores.precision_recall(real, fake[1:], k=1) == (1 / 2, 1 / 3)
    assert scores.precision_recall(jnp.asarray(real), jnp.asarray(real), 1) == (1, 1)


def test_sets_alike_and_apart():
    x = _normal(0, 50, 5)
    assert scores.precision_recall(x, x) == (1.0, 1.0)
    np.testing.assert_allclose(scores.mmd(x, x), 0, atol=1e-15)
    assert scores.precision_recall(x, x + 100) == (0.0, 0.0)
    # Only vectors of one set have anything to do with each other: k = 1 or 0.
    apart = scores.mmd([[0.0], [1e-9]], [[1e3], [1e3 + 1e-9]], bandwidth=1.0)
    np.testing.assert_allclose(apart, 2)


def test_missing_mode():
    """Half of the modes: everything there is real, half of what is real is there."""
    modes = np.repeat([[0.0, 0.0], [50.0, 0.0]], 40, axis=0)
    real = modes + _normal(0, 80, 2)
    assert scores.precision_recall(real, real[:40]) == (1.0, 0.5)
    assert scores.precision_recall(real[:40], real) == (0.5, 1.0)
    invented = scores.mmd(real[:40], real)
    np.testing.assert_allclose(scores.mmd(real, real[:40]), invented)
    assert invented > 0.1


def test_mmd_of_normal_distributions():
    """x - y ~ N(m, v) in each of d dimensions, so that the mean of exp(-|x - y|²/σ²) is
    (1 + 2v/σ²)^(-d/2) exp(-|m|²/(σ² + 2v)); of n² pairs of one set, n are equal."""
    n, dim, width, shift, scale = 1500, 3, 2.0, 0.4, 1.5

    def mean(variance, squared_shift=0.0):
        far = np.exp(-squared_shift / (width**2 + 2 * variance))
        return (1 + 2 * variance / width**2) ** (-dim / 2) * far

    x, y = _normal(0, n, dim), shift + scale * _normal(1, n, dim)
    among = 2 / n + (1 - 1 / n) * (mean(2.0) + mean(2 * scale**2))
    expected = among - 2 * mean(1 + scale**2, dim * shift**2)
    np.testing.assert_allclose(scores.mmd(x, y, bandwidth=width), expected, rtol=0.05)
    # Of one distribution: the bias, which is the mean over many pairs of sets.
    pairs = [(_normal(i, 50, dim), _normal(i + 100, 50, dim)) for i in range(100)]
    found = np.mean([scores.mmd(*pair, bandwidth=width) for pair in pairs])
    np.testing.assert_allclose(found, 2 * (1 - mean(2.0)) / 50, rtol=0.05)


def test_mmd_bandwidth_by_hand():
    """Distances 3, 4 and 5 between the vertices: the median is 4."""
    real, fake = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 4.0]])
    k = np.exp(-np.array([9, 16, 25]) / 16)
    expected = (2 + 2 * k[0]) / 4 + 1 - 2 * (k[1] + k[2]) / 2
    np.testing.assert_allclose(scores.mmd(real, fake), expected)
    np.testing.assert_allclose(scores.mmd(real, fake, bandwidth=4.0), expected)


def test_memorisation():
    """The first percentile of 1, 2, ..., 101 is 2."""
    train, real = np.array([[0.0], [-500.0]]), np.arange(1.0, 102.0)[:, None]
    samples = np.array([[1.5], [3.0], [7.0], [-2.5]])
    assert scores.memorisation(samples, real, train) == (1.5, 2.0, 0.25)
    assert scores.memorisation(real, real, train) == (1.0, 2.0, 1 / 101)
    assert scores.memorisation(train, real, train) == (0.0, 2.0, 1.0)


def test_classifier(data, classifier):
    """Right about held-out images, and linear but for a softmax in the features."""
    accuracy = classifier.accuracy(data.held_out, data.held_out_labels)
    assert 0.97 < accuracy < 1
    probabilities = classifier.probabilities(data.held_out)
    right = probabilities.argmax(1) == data.held_out_labels
    np.testing.assert_allclose(accuracy, right.mean())
    network = classifier.network
    logits = classifier.features(data.held_out) @ network.coefs_[-1]
    weights = np.exp(logits + network.intercepts_[-1])
    expected = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)


# Precision, recall and MMD² of each on 398 images against 398 held out, as measured
# independently of this code, and how much they vary with the images drawn.
KNOWN = {
    "real": ((0.93, 0.91, 0.003), (0.03, 0.03, 0.001)),
    "Gaussian": ((0.50, 0.42, 0.023), (0.08, 0.08, 0.003)),
    "noise": ((0.04, 0.04, 0.068), (0.03, 0.03, 0.004)),
}


def test_known_scores(data, classifier):
    sets = scores.references(data)
    assert list(sets) == list(KNOWN)
    found = {
        name: scores.evaluate(images, data.held_out, data.train, classifier)
        for name, images in sets.items()
    }
    for name, (expected, tolerances) in KNOWN.items():
        assert sets[name].shape == (398, 64) and np.abs(sets[name]).max() <= 1
        for key, value, tolerance in zip(
            ("precision", "recall", "mmd"), expected, tolerances, strict=True
        ):
            np.testing.assert_allclose(found[name][key], value, atol=tolerance)
        np.testing.assert_allclose(sum(found[name]["classes"]), 1)
    real, gaussian, noise = found.values()
    for better, worse in ((real, gaussian), (gaussian, noise)):
        for key in ("precision_features", "recall_features", "confidence"):
            assert better[key] > worse[key]
    # Of real images, the classes are those of the labels, up to the classifier's
    # errors, and a percent or so is nearer to the training images than one percent.
    labels = np.bincount(data.validation_labels[:398]) / 398
    np.testing.assert_allclose(real["classes"], labels, atol=0.02)
    assert real["classes_present"] == 10 and real["largest_class"] < 0.15
    assert real["too_near"] < 0.04 and gaussian["too_near"] == 0
    # The noise looks like few digits.
    assert noise["largest_class"] > 0.25 > gaussian["largest_class"]
    head, *rows = scores.table(found)
    assert head == ["images", *KNOWN]
    assert [row[0] for row in rows] == list(scores.SCORES.values())
    assert all(len(row) == len(head) for row in rows)


def test_copies_of_training_images(data, classifier):
    """They look as good as any to all scores but one."""
    copies = data.train[:398]
    found = scores.evaluate(copies, data.held_out, data.train, classifier)
    assert min(found["precision"], found["recall"]) > 0.85 and found["mmd"] < 0.005
    assert found["too_near"] == 1 and found["nearest"] < 1e-6


def test_refusals():
    x = _normal(0, 5, 2)
    with pytest.raises(ValueError, match="`k` must be from 1 to 4, .* got 5"):
        scores.precision_recall(x, x, k=5)
    with pytest.raises(ValueError, match=r"`fake` must be finite .* \(5, 2\) with 10"):
        scores.mmd(x, x + np.nan)
    with pytest.raises(ValueError, match=r"`real` must .* got shape \(5,\)"):
        scores.precision_recall(x[:, 0], x)
    with pytest.raises(ValueError, match="`bandwidth` must be positive"):
        scores.mmd(x, x, bandwidth=0.0)
