"""Input that looks bad and is not."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import chlu_eqx as cx
from chlu_eqx import nn, optim

from ..problems import henon_heiles, HENON_HEILES_STATE
from .row import Fine, KEY, Q, Y


TERM, CHLU = henon_heiles(), cx.CHLUSolver()
OLD_KEY = jr.PRNGKey(0)


def _ends(sol):
    return np.stack(jax.tree.map(lambda y: y[0], sol.ys))


def no_time():
    sol = diffrax.diffeqsolve(TERM, CHLU, 1.0, 1.0, 0.1, HENON_HEILES_STATE)
    np.testing.assert_array_equal(_ends(sol), HENON_HEILES_STATE)


def no_steps():
    ys = cx.rollout(TERM, CHLU, HENON_HEILES_STATE, dt=0.1, num_steps=0)
    np.testing.assert_array_equal(ys, np.stack(HENON_HEILES_STATE)[:, None])


def time_backward():
    """And forward again, to rounding."""
    back = diffrax.diffeqsolve(TERM, CHLU, 1.0, 0.0, -0.1, HENON_HEILES_STATE)
    ends = tuple(_ends(back))
    again = diffrax.diffeqsolve(TERM, CHLU, 0.0, 1.0, 0.1, ends)
    np.testing.assert_allclose(_ends(again), HENON_HEILES_STATE, atol=1e-14)
    assert np.max(np.abs(ends[0] - HENON_HEILES_STATE[0])) > 0.1


def empty_batch():
    def run(y):
        return cx.rollout(TERM, CHLU, y, dt=0.1, num_steps=3)

    empty = jnp.zeros((0, 2))
    q, p = jax.vmap(run)((empty, empty))
    assert q.shape == p.shape == (0, 4, 2)


def no_coordinates():
    """The constant energy of a system without any."""
    nothing = (jnp.zeros(0), jnp.zeros(0))
    term = cx.HamiltonianTerm(lambda q, p: jnp.sum(q**2 + p**2))
    q, p = cx.rollout(term, CHLU, nothing, dt=0.1, num_steps=2)
    assert q.shape == p.shape == (3, 0)


def huge_momenta(dtype):
    """No faster than light, and no slower, whatever the size."""

    def check():
        kinetic = cx.RelativisticKinetic(2, speed_limit=2.0)
        p = jnp.array([3e30, 4e30], dtype)
        np.testing.assert_allclose(kinetic.velocity(p), [1.2, 1.6], rtol=1e-6)
        np.testing.assert_allclose(kinetic(p), 1e31, rtol=1e-6)
        np.testing.assert_allclose(jax.grad(kinetic)(p), [1.2, 1.6], rtol=1e-6)

    return check


def tiny_momenta():
    """Newton's law, with the rest mass."""
    kinetic = cx.RelativisticKinetic(2, rest_mass=2.0)
    p = jnp.array([3e-30, 4e-30], jnp.float32)
    np.testing.assert_allclose(kinetic.velocity(p), p / 2, rtol=1e-6)


def huge_friction():
    """The momentum is gone, and nothing else."""
    term = cx.HamiltonianTerm(lambda q, p: jnp.sum(p**2) / 2, friction=1e300)
    q, p = cx.rollout(term, CHLU, (Q, Q + 1), dt=0.1, num_steps=2)
    np.testing.assert_array_equal(p[1:], 0.0)
    np.testing.assert_array_equal(q, 0.0)


def not_finite_in_rollout():
    """Nothing is raised, and what is not finite stays so."""
    q, p = cx.rollout(TERM, CHLU, (Q + jnp.nan, Q), dt=0.1, num_steps=2)
    assert not np.isfinite(q).any() and not np.isfinite(p[1:]).any()


def one_of_a_batch_not_finite():
    """The others go on as by themselves."""
    q, p = HENON_HEILES_STATE
    batch = jnp.stack([q, q + jnp.nan]), jnp.stack([p, p])

    def run(y):
        return diffrax.diffeqsolve(TERM, CHLU, 0.0, 1.0, 0.1, y, throw=False)

    sol, alone = jax.vmap(run)(batch), run((q, p))
    np.testing.assert_allclose(sol.ys[0][0], alone.ys[0], rtol=1e-14)
    np.testing.assert_array_equal(
        sol.result == diffrax.RESULTS.nonfinite, [False, True]
    )


def mixed_precision():
    """A state of single precision in an energy of double: it keeps its own."""
    q, p = (x.astype(jnp.float32) for x in HENON_HEILES_STATE)
    energy = cx.SeparableHamiltonian(
        cx.NewtonianKinetic(2, mass=jnp.array([1.0, 2.0])),
        cx.MLPPotential(2, width=4, key=KEY),
    )
    term = cx.HamiltonianTerm(energy, friction=jnp.array(0.1))
    found = cx.rollout(term, CHLU, (q, p), dt=jnp.array(0.1), num_steps=2)
    assert found[0].dtype == found[1].dtype == jnp.float32


def one_time():
    unit = nn.CHLU(2, potential=cx.Confinement(), key=KEY)
    sol = unit.solve(HENON_HEILES_STATE, jnp.array([1.0]))
    np.testing.assert_array_equal(_ends(sol), HENON_HEILES_STATE)


def old_key(make):
    """An old key draws what the new key of its bits draws."""

    def check():
        old, new = make(OLD_KEY), make(jr.wrap_key_data(OLD_KEY))
        for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
            np.testing.assert_array_equal(a, b)

    return check


def numpy_sizes():
    """Integers of NumPy are integers."""
    potential = cx.MLPPotential(np.int64(2), width=np.int32(4), key=KEY)
    assert potential(Q).shape == ()
    q, _ = cx.rollout(TERM, CHLU, Y, dt=0.1, num_steps=np.int64(3))
    assert q.shape == (4, 2)


def parameters_of_nothing():
    optimiser = optim.relativistic_gradient_descent(0.1)
    state = optimiser.init({})
    assert optimiser.update({}, state)[0] == {}


ROWS = [
    Fine("CHLUSolver", "no time", no_time),
    Fine("CHLUSolver", "time backward", time_backward),
    Fine("CHLUSolver", "one of a batch not finite", one_of_a_batch_not_finite),
    Fine("rollout", "no steps", no_steps),
    Fine("rollout", "an empty batch", empty_batch),
    Fine("rollout", "no coordinates", no_coordinates),
    Fine("rollout", "not finite", not_finite_in_rollout),
    Fine("rollout", "mixed precision", mixed_precision),
    Fine("RelativisticKinetic", "huge momenta", huge_momenta(jnp.float64)),
    Fine("RelativisticKinetic", "huge float32 momenta", huge_momenta(jnp.float32)),
    Fine("RelativisticKinetic", "tiny momenta", tiny_momenta),
    Fine("HamiltonianTerm", "huge friction", huge_friction),
    Fine("CHLU", "one time", one_time),
    Fine("CHLU", "an old key", old_key(lambda k: nn.CHLU(2, key=k))),
    Fine(
        "FixedGridBrownianPath",
        "an old key",
        old_key(lambda k: cx.FixedGridBrownianPath(0.5, (2,), k).evaluate(0.0, 0.5)),
    ),
    Fine(
        "RelativisticKinetic",
        "an old key",
        old_key(lambda k: cx.RelativisticKinetic(2).sample(k, 1.0)),
    ),
    Fine("MLPPotential", "NumPy's integers", numpy_sizes),
    Fine("relativistic_gradient_descent", "no parameters", parameters_of_nothing),
]
