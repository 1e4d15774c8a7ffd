"""Encoders and decoders of images."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from chlu_eqx.nn import (
    ConvDecoder,
    ConvEncoder,
    grid_shape,
    MLPDecoder,
    MLPEncoder,
    RecurrentMLPEncoder,
    StandardisedEncoder,
)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((16, 16, 3), (4, 4)),
        ((28, 28, 1), (7, 7)),
        ((32, 32, 3), (4, 4)),
        ((64, 64, 3), (4, 4)),
        ((7, 5, 2), (7, 5)),
        ((18, 32, 1), (9, 16)),
    ],
)
@pytest.mark.parametrize("on_grid", [False, True])
def test_sizes(shape, grid, on_grid):
    """Any size is halved to the coarsest grid and doubled back from there."""
    latent = grid_shape(shape, 2) if on_grid else 6
    assert not on_grid or latent == (2, *grid)

    def there_and_back(frames):
        encoder = ConvEncoder(shape, 3, latent, features=4, key=jr.key(0))
        decoder = ConvDecoder(latent, shape, features=4, key=jr.key(1))
        mean, log_scale = encoder(frames)
        return mean, log_scale, decoder(mean)

    frames = jnp.zeros((3, *shape))
    mean, log_scale, image = eqx.filter_eval_shape(there_and_back, frames)
    assert mean.shape == log_scale.shape == (2 * grid[0] * grid[1] if on_grid else 6,)
    assert image.shape == shape


def test_perceptrons():
    shape = (6, 5, 2)
    frames = jr.uniform(jr.key(0), (3, *shape))
    for encoder in (
        MLPEncoder(shape, 3, 4, width=8, key=jr.key(1)),
        RecurrentMLPEncoder(shape, 4, width=8, hidden_size=5, key=jr.key(1)),
        ConvEncoder(shape, 3, 4, features=4, key=jr.key(1)),
    ):
        mean, log_scale = encoder(frames)
        assert mean.shape == log_scale.shape == (4,)
        # The order of the frames matters.
        assert np.abs(mean - encoder(frames[::-1])[0]).max() > 1e-6
    for decoder in (
        MLPDecoder(4, shape, width=8, key=jr.key(2)),
        ConvDecoder(4, shape, features=4, key=jr.key(2)),
    ):
        images = jax.vmap(decoder)(100 * jr.normal(jr.key(3), (50, 4)))
        assert images.shape == (50, *shape)
        assert images.min() >= 0 and images.max() <= 1


def test_standardised():
    """What the encoder is given has mean 0 and variance 1, and the statistics are not
    trained."""
    frames = 0.3 + 0.05 * jr.normal(jr.key(0), (200, 4, 4, 1))
    given = StandardisedEncoder(
        lambda x: (x, x), jnp.mean(frames, axis=0), jnp.std(frames)
    )
    x, _ = given(frames)
    np.testing.assert_allclose(jnp.mean(x, axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(jnp.std(x), 1.0, rtol=0.01)
    grads = eqx.filter_grad(lambda g: jnp.sum(g(frames)[0] ** 2))(given)
    np.testing.assert_array_equal(grads.mean, 0.0)
    uniform = jr.uniform(jr.key(1), (10_000, 1, 1, 1))
    np.testing.assert_allclose(
        jnp.var(StandardisedEncoder(lambda x: (x, x))(uniform)[0]), 1.0, rtol=0.05
    )
    with pytest.raises(ValueError, match="`scale` must be positive"):
        StandardisedEncoder(lambda x: (x, x), 0.5, 0.0)


def test_bad_sizes():
    for name in ("context", "latent", "width"):
        sizes = {"context": 3, "latent": 4, "width": 8, name: 0}
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            MLPEncoder((4, 4, 1), **sizes, key=jr.key(0))
    with pytest.raises(ValueError, match="`hidden_size` must be a positive integer"):
        RecurrentMLPEncoder((4, 4, 1), 2, hidden_size=0, key=jr.key(0))
    with pytest.raises(ValueError, match="`image_shape` must be three positive"):
        MLPDecoder(4, (4, 4), key=jr.key(0))
    with pytest.raises(ValueError, match=r"`latent` must be .*\(channels, 4, 4\)"):
        ConvDecoder((2, 8, 8), (16, 16, 3), key=jr.key(0))
