import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import chlu_eqx as cx

from ..problems import random_state


def _unit(dim=2, **kwargs):
    return cx.nn.CHLU(dim, key=jax.random.key(0), **kwargs)


def test_default_is_the_papers_unit():
    unit = _unit()
    kinetic = unit.hamiltonian.kinetic
    assert isinstance(kinetic, cx.RelativisticKinetic)
    np.testing.assert_array_equal(kinetic.mass, np.ones(2))
    assert kinetic.rest_mass == kinetic.speed_limit == 1
    assert unit.friction is None and unit.dt == 0.05
    assert isinstance(unit.solver, cx.CHLUSolver)
    q, p = random_state(0, 2)
    potential = unit.hamiltonian.potential
    mlp, confinement = potential.potentials
    assert mlp.mlp.depth == 2 and mlp.mlp.width_size == 64
    np.testing.assert_allclose(confinement(q), 0.05 * jnp.sum(q**2))
    # H = c √(pᵀM⁻¹p + (m₀c)²) + V + α|q|², and the trajectory keeps it.
    energy = jnp.sqrt(jnp.sum(p**2) + 1) + mlp(q) + 0.05 * jnp.sum(q**2)
    np.testing.assert_allclose(unit.hamiltonian(q, p), energy, rtol=1e-14)
    energies = jax.vmap(unit.hamiltonian)(*unit((q, p), 2000))
    np.testing.assert_allclose(energies, energy, atol=1e-3)


def test_trajectory_is_that_of_diffeqsolve():
    unit = _unit(friction=0.3)
    y0 = random_state(1, 2)
    q, p = unit(y0, 40, save_every=4)
    assert q.shape == p.shape == (11, 2)
    ts = jnp.linspace(0.0, 2.0, 11)
    np.testing.assert_allclose(unit.solve(y0, ts).ys, (q, p), atol=1e-13)


@pytest.mark.parametrize("backward", [False, True])
def test_irregular_times(backward):
    """Steps of one length, none longer than `dt`; values between them of second
    order."""
    unit = _unit()
    y0 = random_state(2, 2)
    ts = jnp.array([0.3, 0.31, 0.77, 1.0, 2.041])
    ts = ts[::-1] if backward else ts
    sol = unit.solve(y0, ts)
    assert sol.stats["num_steps"] == 35
    exact = diffrax.diffeqsolve(
        unit.term,
        diffrax.Dopri8(),
        ts[0],
        ts[-1],
        None,
        y0,
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
    )
    np.testing.assert_allclose(sol.ys, exact.ys, atol=2e-4)


def test_modes():
    unit = _unit()
    y0 = random_state(3, 2)
    damped = unit.dissipative(0.5)
    q, p = damped(y0, 4000)
    np.testing.assert_allclose(p[-1], 0.0, atol=1e-6)
    np.testing.assert_allclose(
        jax.grad(unit.hamiltonian.potential)(q[-1]), 0.0, atol=1e-6
    )
    again = damped.conservative()
    assert eqx.tree_equal(again, unit)
    # The paper's friction per step.
    paper = _unit(solver=cx.KickDriftKickDamp()).dissipative(
        cx.friction_rate(0.2, 0.05)
    )
    _, p = paper(y0, 1)
    _, kept = unit(y0, 1)
    np.testing.assert_allclose(p[1], 0.8 * kept[1], rtol=1e-13)


def test_gradients_reach_everything():
    unit = _unit(friction=jnp.array(0.1), dt=jnp.array(0.05))
    y0 = random_state(4, 2)

    @eqx.filter_grad
    def grads(unit):
        q, p = unit(y0, 10)
        return jnp.sum(q[-1] ** 2) + jnp.sum(p[-1])

    for leaf in jax.tree.leaves(grads(unit)):
        # The last bias shifts all energies alike.
        assert np.isfinite(leaf).all() and (np.abs(leaf).max() > 0 or leaf.size == 1)


def test_serialisation(tmp_path):
    unit = _unit(3)
    path = tmp_path / "unit.eqx"
    eqx.tree_serialise_leaves(path, unit)
    other = cx.nn.CHLU(3, key=jax.random.key(1))
    assert not eqx.tree_equal(unit, other)
    assert eqx.tree_equal(unit, eqx.tree_deserialise_leaves(path, other))


def test_bad_arguments():
    for dt in (0.0, -0.1):
        with pytest.raises(ValueError, match="`dt` must be positive"):
            _unit(dt=dt)
    with pytest.raises(ValueError, match="`friction` must be non-negative"):
        _unit(friction=-0.1)
    with pytest.raises(ValueError, match="`friction` must be non-negative"):
        _unit().dissipative(-0.1)
    with pytest.raises(ValueError, match="`y0` must hold floating-point numbers"):
        eqx.filter_jit(cx.rollout)(
            _unit().term,
            cx.CHLUSolver(),
            (jnp.ones(2, int), jnp.ones(2, int)),
            dt=0.1,
            num_steps=1,
        )


def test_governed_mode_settles_on_the_threshold():
    """From above; what starts below is left alone."""
    unit = _unit(kinetic=cx.NewtonianKinetic(2))
    q, p = random_state(5, 2)
    threshold = unit.hamiltonian(q, 0.5 * p)
    governed = unit.governed(threshold)
    energy = jax.vmap(unit.hamiltonian)(*governed((q, p), 2000, save_every=10))
    assert energy[0] > threshold + 0.05
    np.testing.assert_allclose(energy[-20:], threshold, atol=2e-3)
    calm = (q, 0.3 * p)
    below = jax.vmap(unit.hamiltonian)(*governed(calm, 400))
    np.testing.assert_allclose(below, unit.hamiltonian(*calm), atol=1e-3)


def test_generative_mode_is_langevin():
    """An oscillator: ⟨q²⟩ = kT/2α, ⟨p²⟩ = M kT; and the same key the same run."""
    unit = cx.nn.CHLU(
        1,
        dt=0.2,
        kinetic=cx.NewtonianKinetic(1, mass=2.0),
        potential=cx.Confinement(0.5),
        key=jax.random.key(0),
    )
    y0 = (jnp.zeros(1), jnp.zeros(1))

    @jax.jit
    @jax.vmap
    def end(key):
        return unit.generate(
            y0, 100, temperature=0.6, friction=1.0, key=key, save_every=100
        )

    keys = jax.random.split(jax.random.key(1), 20_000)
    q, p = (np.asarray(x[:, -1, 0]) for x in end(keys))
    np.testing.assert_allclose(np.mean(q**2), 0.6, rtol=0.05)
    # BAOAB's momenta are colder by 1 - h²k/4M.
    np.testing.assert_allclose(np.mean(p**2), 1.2 * (1 - 0.04 / 8), rtol=0.05)
    again, _ = end(keys[:1])
    np.testing.assert_array_equal(again[0, -1, 0], q[0])


def test_generative_mode_cools():
    unit = _unit()
    schedule = optax.exponential_decay(1.0, 20.0, 1e-8)
    y0 = random_state(6, 2)
    q, p = unit.generate(
        y0, 3000, temperature=schedule, friction=2.0, key=jax.random.key(2)
    )
    assert np.abs(p[-1]).max() < 0.02 < 0.2 < np.abs(p[:200]).max()
    settled, _ = unit.dissipative(2.0)((q[-1], p[-1]), 400)
    np.testing.assert_allclose(settled[-1], q[-1], atol=0.02)


def test_forcing():
    """A call is the rollout of the forced term from time 0; `solve` is the same."""
    unit = _unit(friction=0.1, forcing=lambda t, q, args: jnp.sin(3 * t) * q)
    y0 = random_state(3, 2)
    found = unit(y0, 20)
    term = cx.HamiltonianTerm(unit.hamiltonian, 0.1, unit.forcing)
    same = cx.rollout(term, cx.CHLUSolver(), y0, dt=0.05, num_steps=20)
    np.testing.assert_array_equal(found, same)
    ts = jnp.linspace(0.0, 1.0, 21)
    np.testing.assert_allclose(unit.solve(y0, ts).ys, found, atol=1e-12)
    assert np.abs(found[0] - _unit(friction=0.1)(y0, 20)[0]).max() > 1e-3
    with pytest.raises(ValueError, match="`forcing` must be `None`"):
        unit.generate(y0, 5, temperature=1.0, friction=1.0, key=jax.random.key(0))
