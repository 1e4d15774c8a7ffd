import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chlu_eqx as cx
from chlu_eqx.analysis import measured_order

from ..problems import pendulum, PENDULUM_STATE


@pytest.mark.parametrize(
    "solver, friction, order, finest",
    [
        (cx.SymplecticEuler(), None, 1, 512),
        (cx.CHLUSolver(), 0.4, 2, 512),
        (cx.KickDriftKickDamp(), 0.4, 1, 512),
        (diffrax.Dopri5(), None, 5, 128),
    ],
    ids=["SymplecticEuler", "CHLUSolver", "KickDriftKickDamp", "Dopri5"],
)
def test_order(solver, friction, order, finest):
    num_steps = np.array([finest // 4, finest // 2, finest])
    got = measured_order(
        pendulum(friction), solver, PENDULUM_STATE, t1=5.0, num_steps=num_steps.tolist()
    )
    np.testing.assert_allclose(got.order, order, atol=0.1)
    np.testing.assert_allclose(got.steps, 5 / num_steps, rtol=1e-15)
    assert np.all(got.errors[1:] < got.errors[:-1])


def test_errors_of_explicit_euler():
    """q̇ = λq by Euler's method: q_n = (1 + λh)ⁿ q₀, whatever the state's structure and
    precision; in time from t0 on."""
    y0 = {"q": jnp.array([2.0, 1.0], jnp.float32)}
    field = diffrax.ODETerm(lambda t, y, rate: {"q": rate * y["q"]})

    @jax.jit
    def measure(rate):
        return measured_order(
            field,
            diffrax.Euler(),
            y0,
            t0=1.0,
            t1=3.0,
            num_steps=[20, 40],
            args=rate,
            exact={"q": jnp.exp(2 * rate) * y0["q"]},
        )

    got = measure(jnp.float32(-0.5))
    n = np.array([20, 40])
    errors = 2 * np.abs((1 - 1 / n) ** n - np.exp(-1))
    assert got.errors.dtype == got.order.dtype == jnp.float32
    np.testing.assert_allclose(got.errors, errors, rtol=1e-4)
    np.testing.assert_allclose(got.order, np.log2(errors[0] / errors[1]), rtol=1e-4)


def test_refusals():
    y0 = jax.tree.map(lambda x: x.astype(jnp.float32), PENDULUM_STATE)
    with pytest.raises(ValueError, match="`exact` must be given when `y0` is float32"):
        measured_order(pendulum(), cx.CHLUSolver(), y0, t1=1.0)
    for num_steps in ((), (8,), (8, 8), (0, 8)):
        with pytest.raises(ValueError, match="`num_steps` must hold at least two"):
            measured_order(
                pendulum(), cx.CHLUSolver(), PENDULUM_STATE, t1=1.0, num_steps=num_steps
            )
