"""Handwritten digits: those that come with scikit-learn, or MNIST."""

import gzip
import hashlib
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real, UInt8
from sklearn.datasets import fetch_openml, load_digits


Images = Float[np.ndarray, "images pixels"]
Labels = Int[np.ndarray, " images"]

# The files of LeCun, Cortes & Burges: the shape of what they hold, the MD5 of the .gz.
MNIST_FILES = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte": ((60_000,), "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": ((10_000,), "ec29112dd5afa0611ce80d1b7f02629c"),
}


class Digits(NamedTuple):
    """Images in [-1, 1] and the digits 0 to 9 that they show: to train on, to choose
    models by, and to score the chosen ones. `shape` is (channels, height, width)."""

    train: Images
    train_labels: Labels
    validation: Images
    validation_labels: Labels
    held_out: Images
    held_out_labels: Labels
    shape: tuple[int, int, int]


def embedded() -> Digits:
    """The 1797 digits of 8x8 pixels in 17 levels of grey that come with scikit-learn
    (Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998), in
    random order: 1000 to train on, 398 held out, the other 399 for validation."""
    levels, labels = load_digits(return_X_y=True)
    images = _scaled(levels, 16)
    order = np.random.default_rng(0).permutation(len(images))
    train, held_out, validation = np.split(order, [1000, 1398])
    return Digits(
        images[train],
        labels[train],
        images[validation],
        labels[validation],
        images[held_out],
        labels[held_out],
        (1, 8, 8),
    )


def mnist(
    data_home: Path | None = None,
    *,
    num_train: int = 10_000,
    num_validation: int = 10_000,
    num_held_out: int = 10_000,
) -> Digits:
    """MNIST from OpenML, downloaded once to `data_home` (by default, scikit-learn's
    folder). Images to train on and to validate with are drawn from the training set,
    those held out from the test set. Without the network it is a `ConnectionError`."""
    try:
        # The other parser is faster, but needs pandas.
        images, labels = fetch_openml(
            "mnist_784",
            version=1,
            as_frame=False,
            return_X_y=True,
            data_home=data_home,
            parser="liac-arff",
        )
    except (OSError, HTTPException) as error:
        raise ConnectionError(
            f"MNIST could not be had from OpenML ({error}). Pass `--data-dir` with a "
            "folder that holds its IDX files, or leave `--mnist` out for the digits "
            "that come with scikit-learn."
        ) from error
    (last, *pixels), _ = MNIST_FILES["train-images-idx3-ubyte"]
    images, labels = images.reshape(-1, *pixels), labels.astype(np.int64)
    return _drawn(
        (images[:last], labels[:last]),
        (images[last:], labels[last:]),
        (num_train, num_validation, num_held_out),
    )


def idx(
    data_dir: Path,
    *,
    num_train: int = 10_000,
    num_validation: int = 10_000,
    num_held_out: int = 10_000,
) -> Digits:
    """MNIST from its four IDX files, each either unpacked or as the original .gz; drawn
    from as by `mnist`. A missing file is a `FileNotFoundError`, one with a wrong
    checksum, size or header a `ValueError`."""
    images, labels, test_images, test_labels = (
        _read(Path(data_dir), name) for name in MNIST_FILES
    )
    return _drawn(
        (images, labels.astype(np.int64)),
        (test_images, test_labels.astype(np.int64)),
        (num_train, num_validation, num_held_out),
    )


def load(from_openml: bool, data_dir: Path | None) -> Digits:
    """MNIST from a folder or from OpenML, or the embedded digits."""
    if data_dir is not None:
        return idx(data_dir)
    return mnist() if from_openml else embedded()


def _read(folder: Path, name: str) -> UInt8[np.ndarray, "..."]:
    shape, md5 = MNIST_FILES[name]
    path, packed = folder / name, folder / f"{name}.gz"
    if path.is_file():
        content = path.read_bytes()
    elif packed.is_file():
        path, content = packed, packed.read_bytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise ValueError(
                f"`data_dir`: {path} must be the original file, of MD5 {md5}, got "
                f"{len(content)} bytes of MD5 {found}."
            )
        content = gzip.decompress(content)
    else:
        raise FileNotFoundError(
            f"`data_dir` must hold {name} or {name}.gz, found neither in {folder}."
        )
    # A magic number, of which the last byte counts the dimensions, and the dimensions.
    header = np.array([0x0800 + len(shape), *shape], ">i4").tobytes()
    size = len(header) + int(np.prod(shape))
    if len(content) != size:
        raise ValueError(
            f"`data_dir`: {path} must hold {size} bytes, got {len(content)}."
        )
    if not content.startswith(header):
        raise ValueError(
            f"`data_dir`: {path} must start with {header.hex()}, the header of bytes "
            f"of shape {shape}, got {content[: len(header)].hex()}."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


Labelled = tuple[Real[np.ndarray, "images height width"], Labels]


def _drawn(train: Labelled, test: Labelled, counts: tuple[int, int, int]) -> Digits:
    """As many as `counts`, at random: of the training set to train on and to validate
    with, of the test set to hold out."""
    num_train, num_validation, num_held_out = counts
    images, labels = train
    test_images, test_labels = test
    for name, count, most in (
        ("num_train", num_train, len(images)),
        ("num_validation", num_validation, len(images) - num_train),
        ("num_held_out", num_held_out, len(test_images)),
    ):
        if not 0 < count <= most:
            raise ValueError(f"`{name}` must be from 1 to {most}, got {count}.")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))[: num_train + num_validation]
    kept, chosen = np.split(order, [num_train])
    held_out = rng.permutation(len(test_images))[:num_held_out]
    return Digits(
        _scaled(images[kept], 255),
        labels[kept],
        _scaled(images[chosen], 255),
        labels[chosen],
        _scaled(test_images[held_out], 255),
        test_labels[held_out],
        (1, *images.shape[1:]),
    )


def _scaled(images: Real[np.ndarray, "images ..."], white: float) -> Images:
    """From [0, white] to [-1, 1], flattened."""
    return (images.reshape(len(images), -1) / (white / 2) - 1).astype(np.float32)
