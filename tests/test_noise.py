import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest

import chlu_eqx as cx


def _path(key=0, dt=0.1, shape=(3,), **kwargs):
    return cx.FixedGridBrownianPath(dt, shape, jr.key(key), **kwargs)


def _geometric(path, n=20, adjoint=None, saveat=None, t0=0.0, y0=1.0, rate=0.3):
    """dy = y dW - rate y dt by Euler's method, from t0 in n steps."""
    term = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, args: -args * y),
        diffrax.ControlTerm(lambda t, y, args: jnp.diag(y), path),
    )
    return diffrax.diffeqsolve(
        term,
        diffrax.Euler(),
        t0,
        t0 + 0.1 * n,
        0.1,
        jnp.full(3, y0),
        args=rate,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        saveat=diffrax.SaveAt(t1=True) if saveat is None else saveat,
    )


def test_increments_are_normal():
    """W, H and K of independent steps: variances h, h/12 and h/720 (Foster, Lyons and
    Oberhauser, SIAM J. Numer. Anal. 58(3), 2020), uncorrelated."""
    path = _path(shape=(2,), levy_area=diffrax.SpaceTimeTimeLevyArea)
    steps = 0.1 * jnp.arange(20_000.0)
    found = jax.vmap(lambda t: path.evaluate(t, t + 0.1, use_levy=True))(steps)
    np.testing.assert_allclose(found.dt, 0.1, rtol=1e-9)
    columns = np.concatenate([found.W, found.H, found.K], axis=1)
    scale = np.sqrt(0.1 * np.repeat([1, 1 / 12, 1 / 720], 2))
    moments = np.cov(columns.T) / np.outer(scale, scale)
    np.testing.assert_allclose(moments, np.eye(6), atol=0.05)
    assert np.all(np.abs(columns.mean(0)) < 4 * scale / np.sqrt(20_000))
    # Of one step and the next, too.
    lagged = np.mean(columns[1:] * columns[:-1], axis=0) / scale**2
    assert np.all(np.abs(lagged) < 4 / np.sqrt(20_000))


def test_shapes_and_types():
    shape = {
        "a": jax.ShapeDtypeStruct((2, 3), jnp.float32),
        "b": jax.ShapeDtypeStruct((), jnp.float64),
    }
    w = _path(shape=shape).evaluate(0.0, 0.1)
    assert jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), w) == shape
    levy = _path(shape=shape, levy_area=diffrax.SpaceTimeLevyArea)
    area = levy.evaluate(0.0, 0.1, use_levy=True)
    assert isinstance(area, diffrax.SpaceTimeLevyArea)
    assert area.H["a"].shape == (2, 3) and area.dt["a"].dtype == jnp.float32
    np.testing.assert_array_equal(levy.evaluate(0.0, 0.1)["a"], area.W["a"])


def test_keyed_by_the_number_of_the_step():
    path = _path(start=1.0)
    w = path.evaluate(1.3, 1.4)
    np.testing.assert_allclose(path.evaluate(1.3 + 1e-9, 1.4), w, rtol=1e-7)
    # A step that is cut has its own length.
    np.testing.assert_allclose(path.evaluate(1.3, 1.325), w / 2, rtol=1e-12)
    assert np.all(path.evaluate(1.4, 1.5) != w)
    assert np.all(_path(1, start=1.0).evaluate(1.3, 1.4) != w)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_steps_are_independent(implementation):
    """And so are paths of neighbouring keys: no two numbers alike, all correlations
    those of chance."""
    paths = [
        cx.FixedGridBrownianPath(0.25, (4,), jr.key(seed, impl=implementation))
        for seed in range(3)
    ]
    t = 0.25 * jnp.arange(4096.0)
    w = np.stack([2 * jax.vmap(path.evaluate)(t, t + 0.25) for path in paths])
    assert np.unique(w).size == w.size
    assert kstest(w.ravel(), "norm").pvalue > 1e-3
    for lag in (1, 2, 3, 4, 1024):
        across = np.einsum("ank,bnl->akbl", w[:, lag:], w[:, :-lag]) / (4096 - lag)
        assert np.abs(across).max() < 5 / 4096**0.5


def test_stops_and_goes_on():
    path = _path()
    whole = _geometric(path, 20).ys
    half = _geometric(path, 10).ys
    rest = _geometric(path, 10, t0=1.0, y0=half[0, 0]).ys
    np.testing.assert_allclose(rest[0, 0], whole[0, 0], rtol=1e-13)


@pytest.mark.parametrize(
    "adjoint",
    [
        diffrax.RecursiveCheckpointAdjoint(),
        diffrax.RecursiveCheckpointAdjoint(checkpoints=3),
        diffrax.DirectAdjoint(),
    ],
    ids=["default", "few checkpoints", "direct"],
)
def test_gradients(adjoint):
    """Euler's product Π (1 - r h + ΔWₖ) has the derivative Σₖ -h / (1 - r h + ΔWₖ)."""
    path = _path()

    @jax.jit
    def run(rate):
        return _geometric(path, adjoint=adjoint, rate=rate).ys[0]

    w = jax.vmap(lambda k: path.evaluate(0.1 * k, 0.1 * k + 0.1))(jnp.arange(20.0))
    factors = 1 - 0.1 * 0.3 + w
    product = jnp.prod(factors, axis=0)
    np.testing.assert_allclose(run(0.3), product, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda rate: run(rate).sum()))(0.3)
    np.testing.assert_allclose(slope, jnp.sum(product * jnp.sum(-0.1 / factors, 0)))


def test_refusals():
    with pytest.raises(ValueError, match="`dt` must be positive"):
        _path(dt=0.0)
    with pytest.raises(ValueError, match="`shape` must be .* of floating-point"):
        _path(shape=jax.ShapeDtypeStruct((), jnp.int32))
    with pytest.raises(ValueError, match="pass `t1`"):
        _path().evaluate(0.0)
    for t0, t1 in ((0.05, 0.1), (0.0, 0.2)):
        with pytest.raises(RuntimeError, match="not on the grid"):
            eqx.filter_jit(_path().evaluate)(t0, t1)
