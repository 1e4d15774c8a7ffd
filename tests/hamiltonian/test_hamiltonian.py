import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import chlu_eqx as cx

from ..problems import learned, random_state


@pytest.mark.parametrize(
    "energy",
    [
        learned(0, 3, True),
        learned(1, 3, False),
        cx.NeuralHamiltonian(3, key=jr.key(0)),
        cx.SeparableHamiltonian(lambda p: jnp.sum(p**4), lambda q: jnp.sum(q**2)),
        lambda q, p: jnp.sum(jnp.cos(q) * p**2),
    ],
    ids=["relativistic", "Newtonian", "neural", "callables", "plain"],
)
def test_hamiltons_equations(energy):
    """The field is Ω∇H, by central differences, and keeps H."""
    q, p = random_state(2, 3)
    dq, dp = cx.HamiltonianTerm(energy).vf(0.0, (q, p), None)
    eps = 1e-6
    for i in range(3):
        e = eps * jnp.eye(3)[i]
        dH_dq = (energy(q + e, p) - energy(q - e, p)) / (2 * eps)
        dH_dp = (energy(q, p + e) - energy(q, p - e)) / (2 * eps)
        np.testing.assert_allclose([dq[i], dp[i]], [dH_dp, -dH_dq], atol=1e-8)
    _, change = jax.jvp(energy, (q, p), (dq, dp))
    np.testing.assert_allclose(change, 0.0, atol=1e-12)


def test_bad_energies():
    # A TypeError under beartype, a ValueError without.
    with pytest.raises((ValueError, TypeError), match="potential"):
        cx.SeparableHamiltonian(cx.NewtonianKinetic(1), 3.0)  # pyright: ignore
    with pytest.raises((ValueError, TypeError), match="kinetic"):
        cx.SeparableHamiltonian(None, cx.Confinement())  # pyright: ignore
