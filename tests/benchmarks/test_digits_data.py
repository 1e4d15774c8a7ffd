import gzip
import hashlib
import struct
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.data import digits


# The level of an image tells which it is: below 100 in the training set, and above in
# the test set. Its label is the last digit.
TRAIN, TEST = np.arange(50), np.arange(100, 120)
COUNTS = {"num_train": 30, "num_validation": 20, "num_held_out": 15}


def _images(levels):
    return np.tile(levels[:, None, None], (1, 3, 2)).astype(np.uint8)


def _file(array):
    """The format by hand: two zeros, 8 for unsigned bytes, the number of dimensions,
    each of them in big-endian order, the bytes."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


ARRAYS = (_images(TRAIN), TRAIN % 10, _images(TEST), TEST % 10)
FILES = dict(zip(digits.MNIST_FILES, map(_file, ARRAYS), strict=True))
PACKED = {name: gzip.compress(content, mtime=0) for name, content in FILES.items()}


@pytest.fixture
def small(monkeypatch):
    """As though MNIST had these images."""
    expected = {
        name: (array.shape, hashlib.md5(PACKED[name]).hexdigest())
        for name, array in zip(FILES, ARRAYS, strict=True)
    }
    monkeypatch.setattr(digits, "MNIST_FILES", expected)


def _check(data):
    """Every image once, from the right set, with its label, scaled from 0..255."""
    assert data.shape == (1, 3, 2)
    found = []
    for images, labels in zip(data[:5:2], data[1:6:2], strict=True):
        levels = (images + 1) * 127.5
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-5)
        np.testing.assert_array_equal(np.ptp(levels, axis=1), 0)
        levels = np.round(levels[:, 0]).astype(int)
        np.testing.assert_array_equal(labels, levels % 10)
        assert images.dtype == np.float32 and images.shape[1] == 6
        found.append(levels)
    train, validation, held_out = found
    assert len(train) == 30 and len(validation) == 20
    assert set(train) | set(validation) == set(TRAIN)
    assert len(set(held_out)) == 15 and set(held_out) <= set(TEST)


def test_embedded():
    """All 1797 once, with their labels; the same split every time."""
    data = digits.embedded()
    assert data.shape == (1, 8, 8)
    assert [len(part) for part in data[:6]] == [1000, 1000, 399, 399, 398, 398]
    images, labels = np.concatenate(data[:5:2]), np.concatenate(data[1:6:2])
    assert images.dtype == np.float32
    rows = np.column_stack([(images + 1) * 8, labels])
    expected = np.column_stack(load_digits(return_X_y=True))
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(expected, axis=0))
    assert len(np.unique(expected, axis=0)) == 1797
    # In random order: each part has about a tenth of every digit.
    for part in data[1:6:2]:
        np.testing.assert_allclose(np.bincount(part) / len(part), 0.1, atol=0.05)
    np.testing.assert_array_equal(digits.embedded().held_out, data.held_out)


def test_scale():
    """Black and white are the ends of [-1, 1], exactly."""
    levels = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(digits._scaled(levels, 255), [[-1.0, 1.0]])


@pytest.mark.usefixtures("small")
def test_idx(tmp_path):
    """Two files unpacked and two as they come."""
    for i, name in enumerate(FILES):
        if i % 2:
            (tmp_path / name).write_bytes(FILES[name])
        else:
            (tmp_path / f"{name}.gz").write_bytes(PACKED[name])
    _check(digits.idx(tmp_path, **COUNTS))


def test_size_of_the_originals():
    """As published: 47040016, 60008, 7840016 and 10008 bytes, unpacked."""
    sizes = [4 + 4 * len(s) + np.prod(s) for s, _ in digits.MNIST_FILES.values()]
    assert sizes == [47_040_016, 60_008, 7_840_016, 10_008]


NAME = "t10k-images-idx3-ubyte"
GOOD, GOOD_GZ = FILES[NAME], PACKED[NAME]
# The file's ending, what is in it, and what is said.
BAD = {
    "cut": ("", GOOD[:-1], "must hold 136 bytes, got 135"),
    "labels": ("", FILES["t10k-labels-idx1-ubyte"], "must hold 136 bytes, got 28"),
    "magic": ("", GOOD[:2] + b"\x0d" + GOOD[3:], "start with 00000803.* 00000d03"),
    "turned": ("", GOOD[:11] + b"\x02\0\0\0\x03" + GOOD[16:], r"\(20, 3, 2\)"),
    "cut .gz": (".gz", GOOD_GZ[:-1], f"{len(GOOD_GZ) - 1} bytes of MD5"),
    "not a .gz": (".gz", GOOD, hashlib.md5(GOOD).hexdigest()),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", BAD)
def test_bad_file(tmp_path, case):
    ending, content, message = BAD[case]
    for name in FILES:
        (tmp_path / (name + ".gz")).write_bytes(PACKED[name])
    (tmp_path / (NAME + ending)).write_bytes(content)
    with pytest.raises(ValueError, match=f"`data_dir`: .*{NAME}.*{message}"):
        digits.idx(tmp_path, **COUNTS)


@pytest.mark.usefixtures("small")
def test_missing_file(tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes(FILES[name])
    (tmp_path / NAME).unlink()
    with pytest.raises(FileNotFoundError, match=f"{NAME} or {NAME}.gz, found neither"):
        digits.idx(tmp_path, **COUNTS)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "name, count, most",
    [("num_train", 51, 50), ("num_validation", 21, 20), ("num_held_out", 0, 20)],
)
def test_bad_count(tmp_path, name, count, most):
    for file in FILES:
        (tmp_path / file).write_bytes(FILES[file])
    with pytest.raises(ValueError, match=f"`{name}` .* from 1 to {most}, got {count}"):
        digits.idx(tmp_path, **{**COUNTS, name: count})


@pytest.mark.usefixtures("small")
def test_openml(monkeypatch, tmp_path):
    """As OpenML has them: the training set and then the test set, flat and in floating
    point, with labels in letters."""

    def fetch(name, **settings):
        assert name == "mnist_784" and settings["data_home"] == tmp_path
        levels = np.concatenate([TRAIN, TEST])
        return _images(levels).reshape(70, 6).astype(float), (levels % 10).astype(str)

    monkeypatch.setattr(digits, "fetch_openml", fetch)
    _check(digits.mnist(tmp_path, **COUNTS))


def test_openml_out_of_reach(monkeypatch):
    def fetch(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(digits, "fetch_openml", fetch)
    message = "OpenML .*no route to host.*`--data-dir`.*leave `--mnist` out"
    with pytest.raises(ConnectionError, match=message):
        digits.mnist()
