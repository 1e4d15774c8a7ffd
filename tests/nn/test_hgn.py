"""Latent dynamics of images: what Hamiltonian generative networks do, and refuse."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import chlu_eqx as cx
from chlu_eqx.nn import HamiltonianGenerativeNetwork, MLPDecoder, MLPEncoder


SHAPE = (8, 8, 1)
STATE = (jnp.array([0.4, -0.2]), jnp.array([0.1, 0.9]))
KEY = jr.key(4)
FRAMES = jr.uniform(jr.key(0), (7, *SHAPE))


def _model(**arguments):
    """With small perceptrons, which compile fast."""
    defaults = {
        "encoder": MLPEncoder(SHAPE, arguments.get("context", 5), 4, width=8, key=KEY),
        "decoder": MLPDecoder(2, SHAPE, width=8, key=KEY),
    }
    return _default(**(defaults | arguments))


def _default(**arguments):
    defaults = {"latent": 2, "features": 4, "width": 8, "key": jr.key(1)}
    return HamiltonianGenerativeNetwork(SHAPE, **(defaults | arguments))


def _curved(**arguments):
    """With energies that are far from flat."""
    kinetic = cx.MLPPotential(2, width=8, key=jr.key(2)) + cx.Confinement(0.3)
    potential = cx.MLPPotential(2, width=8, key=jr.key(3)) + cx.Confinement(0.7)
    return _model(kinetic=kinetic, potential=potential, dt=0.3, **arguments)


def test_leapfrog_drifts_by_the_kinetic_slope():
    """K = |p|²/4, whose slope is p/2 and not p."""
    model = _model(
        kinetic=lambda p: jnp.sum(p**2) / 4,
        potential=lambda q: jnp.sum(jnp.cos(q)),
        dt=0.3,
    )
    frames = eqx.filter_jit(model.rollout)(STATE, 5)
    decoder = eqx.filter_jit(model.decoder)
    (q, p), h = map(np.array, STATE), 0.3
    for frame in frames:
        np.testing.assert_allclose(frame, decoder(jnp.asarray(q)), rtol=1e-12)
        p = p + h / 2 * np.sin(q)
        q = q + h * p / 2
        p = p + h / 2 * np.sin(q)


@pytest.mark.parametrize("solver", [None, cx.Yoshida4()])
def test_speeds(solver):
    model = _curved(solver=solver)
    move = eqx.filter_jit(model.move)
    there = move(STATE, 8)
    back = move(jax.tree.map(lambda y: y[-1], there), 8, -1.0)
    for x, y in zip(there, back, strict=True):
        np.testing.assert_allclose(y[::-1], x, atol=1e-13)
    # Two steps of half the length are one of two substeps.
    slow = move(STATE, 16, 0.5)
    halves = eqx.filter_jit(_curved(solver=solver, substeps=2).move)(STATE, 8)
    for x, y in zip(slow, halves, strict=True):
        np.testing.assert_allclose(x[::2], y, atol=1e-13)


def test_symplectic_and_of_constant_energy():
    model = _curved()
    jacobian = jax.jacrev(
        lambda y: jnp.concatenate(
            [x[-1] for x in model.move(tuple(jnp.split(y, 2)), 9)]
        )
    )
    found = eqx.filter_jit(jacobian)(jnp.concatenate(STATE))
    one, zero = np.eye(2), np.zeros((2, 2))
    omega = np.block([[zero, one], [-one, zero]])
    np.testing.assert_allclose(found.T @ omega @ found, omega, atol=1e-13)

    def swing(model):
        energies = jax.vmap(model.unit.hamiltonian)(*model.move(STATE, 100))
        return jnp.ptp(energies)

    # Of second order in the step.
    assert 3 < swing(model) / swing(_curved(substeps=2)) < 5


def test_images_are_of_positions_alone():
    model = _model()
    rolled = jax.jacrev(lambda p: jnp.sum(model.rollout((STATE[0], p), 1), (1, 2, 3)))
    first, second = jax.jit(rolled)(STATE[1])
    np.testing.assert_array_equal(first, 0.0)
    assert np.abs(second).min() > 0


def test_gradients_by_going_back():
    """The rollout's gradients, in constant memory, are those of the steps kept."""
    model = _curved()

    def loss(model, adjoint):
        q, _ = model.unit(model.infer(FRAMES), 6, adjoint=adjoint)
        return jnp.sum(jax.vmap(model.decoder)(q) ** 2)

    def default(model):
        return jnp.sum(model.rollout(model.infer(FRAMES), 6) ** 2)

    found = eqx.filter_jit(eqx.filter_grad(default))(model)
    kept = eqx.filter_jit(eqx.filter_grad(loss))(model, diffrax.DirectAdjoint())
    undone = eqx.filter_jit(eqx.filter_grad(loss))(model, cx.ReversibleAdjoint())
    for want in (kept, undone):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-12),
            eqx.filter(found, eqx.is_inexact_array),
            eqx.filter(want, eqx.is_inexact_array),
        )


@pytest.mark.parametrize(
    "arguments",
    [
        {"transform": eqx.nn.Identity()},
        {"latent": cx.nn.grid_shape(SHAPE, 3), "substeps": 2},
        {"context": 3, "infer_index": 0, "solver": cx.Yoshida4()},
    ],
)
def test_choices(arguments):
    """Any choice infers, moves, decodes and samples, batched and in float32 too."""
    model = _default(**arguments)
    dim = model.dim
    assert dim == (2 if isinstance(arguments.get("latent", 2), int) else 3 * 16)

    @eqx.filter_jit
    def run(model, frames):
        state = jax.vmap(model.infer)(frames)
        sampled = model.sample(3, key=jr.key(0))
        return state, jax.vmap(lambda s: model.rollout(s, 3))(state), sampled

    for dtype in (jnp.float64, jnp.float32):
        cast = jax.tree.map(
            lambda x, t=dtype: x.astype(t) if eqx.is_inexact_array(x) else x, model
        )
        frames = jnp.stack([FRAMES, FRAMES[::-1]]).astype(dtype)
        state, rolled, sampled = run(cast, frames)
        assert all(y.shape == (2, dim) and y.dtype == dtype for y in state)
        assert rolled.shape == (2, 4, *SHAPE) and sampled.shape == (4, *SHAPE)
        assert rolled.dtype == sampled.dtype == dtype
        assert 0 < rolled.min() and rolled.max() < 1


def test_only_the_context_is_read():
    model = _model(context=3)
    inferred = model.infer(FRAMES)
    np.testing.assert_array_equal(inferred, model.infer(FRAMES[:3]))
    changed = FRAMES.at[2].set(1 - FRAMES[2])
    assert np.abs(np.subtract(inferred, model.infer(changed))).max() > 1e-6


def test_inference_is_a_draw_of_the_posterior():
    model = _model(transform=eqx.nn.Identity())
    posterior = model.posterior(FRAMES)
    draws = jax.vmap(lambda key: model.infer(FRAMES, key=key))(
        jr.split(jr.key(5), 4000)
    )
    z = np.concatenate(draws, axis=1)
    error = 5 * np.asarray(posterior.scale) / 4000**0.5
    assert (np.abs(z.mean(0) - posterior.mean) < error).all()
    np.testing.assert_allclose(z.std(0), posterior.scale, rtol=0.1)
    np.testing.assert_array_equal(
        np.concatenate(model.infer(FRAMES)), np.asarray(posterior.mean)
    )


def test_bad_frames():
    model = _model()
    with pytest.raises(ValueError, match=r"`frames` must be .* \(times, 8, 8, 1\)"):
        model.infer(jnp.zeros((7, 8, 8, 3)))
    with pytest.raises(ValueError, match="`frames` must be .* use `jax.vmap`"):
        model.infer(FRAMES[None])
    with pytest.raises(ValueError, match="`frames` must be 5 or more, the `context`"):
        model.infer(FRAMES[:4])
    for value in (1.1, -0.1, jnp.nan, jnp.inf):
        frames = FRAMES.at[6, 1, 2, 0].set(value)
        with pytest.raises(Exception, match=r"`frames` must be finite and in \[0, 1\]"):
            eqx.filter_jit(lambda f: jax.vmap(model.infer)(f))(frames[None])


def test_bad_rollouts():
    model = _model()
    for steps in (0, -1):
        with pytest.raises(ValueError, match="`num_steps` must be a positive integer"):
            model.rollout(STATE, steps)
        with pytest.raises(ValueError, match="`num_steps` must be a positive integer"):
            model.sample(steps, key=jr.key(0))
    with pytest.raises(ValueError, match="`speed` must be finite and not zero"):
        model.rollout(STATE, 3, speed=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 0}, "`context` must be a positive integer"),
        ({"infer_index": 5}, "`infer_index` must be that of one of the 5 frames"),
        ({"latent": 0}, "`latent` must be a positive integer"),
        ({"latent": (3, 8, 8)}, r"`latent` must be .* \(channels, 4, 4\)"),
        ({"features": 0}, "`features` must be a positive integer"),
        ({"dt": 0.0}, "`dt` must be positive"),
        ({"substeps": 0}, "`substeps` must be a positive integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        _default(**arguments)


def test_bad_image_shape():
    for shape in ((8, 8), (8, 0, 1), (8, 8, 1.0)):
        with pytest.raises(ValueError, match="`image_shape` must be three positive"):
            HamiltonianGenerativeNetwork(shape, key=jr.key(0))
