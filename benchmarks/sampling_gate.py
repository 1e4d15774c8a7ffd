"""The simplest chain that tells an exact sampler from a biased one: N(0, 1) with the
metric 1 + 4 q², from exact draws."""

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from blackjax.mcmc import integrators
from jaxtyping import Array, Scalar

import chlu_eqx as cx
from chlu_eqx import mcmc


CHAINS, TRANSITIONS, STEPS = 2000, 500, 5
LENGTHS, BINDINGS = (0.5, 0.25, 0.1), (2.0, 10.0, 100.0)


def _logdensity(q: Array) -> Scalar:
    return -jnp.sum(q**2) / 2


def _metric(q: Array) -> Array:
    return 1 + 4 * q**2


def _tao(omega: Scalar) -> Callable:
    return mcmc.integrator(cx.TaoSolver(omega))


PLAIN = mcmc.riemannian_metric(_metric)
# By name: the integrator of a binding, and the law of the momenta.
RULES = {
    "explicit": (_tao, mcmc.extended_metric(_metric)),
    "copies reset": (_tao, mcmc.biased_reset_copies_metric(_metric)),
    "implicit midpoint": (lambda omega: integrators.implicit_midpoint, PLAIN),
    "generalised leapfrog, no step back": (
        lambda omega: mcmc.integrator(
            cx.GeneralizedLeapfrog(), reverse_tolerance=float("inf")
        ),
        PLAIN,
    ),
    "generalised leapfrog": (
        lambda omega: mcmc.integrator(cx.GeneralizedLeapfrog()),
        PLAIN,
    ),
}
BOUND = ("explicit", "copies reset")


def gate(name: str) -> list[dict[str, Any]]:
    """The mean of q², which is 1, with its standard error, for steps and bindings."""
    integrator, momenta = RULES[name]

    @jax.jit
    def run(h: Scalar, omega: Scalar) -> tuple[Array, Array]:
        kernel = blackjax.rmhmc.build_kernel(integrator(omega))

        def chain(key: Array, q: Array) -> tuple[Array, Array]:
            def move(state: Any, key: Array) -> tuple[Any, tuple]:
                state, info = kernel(key, state, _logdensity, h, momenta, STEPS)
                return state, (state.position[0] ** 2, info.acceptance_rate)

            state = blackjax.rmhmc.init(q, _logdensity)
            _, (squares, rates) = jax.lax.scan(move, state, jr.split(key, TRANSITIONS))
            return squares.mean(), rates.mean()

        start, keys = jr.split(jr.key(0))
        q = jr.normal(start, (CHAINS, 1))
        return jax.vmap(chain)(jr.split(keys, CHAINS), q)

    rows = []
    for h in LENGTHS:
        for omega in BINDINGS if name in BOUND else (None,):
            found, rates = run(jnp.asarray(h), jnp.asarray(omega or 0.0))
            found = np.asarray(found)
            error = float(found.std() / np.sqrt(CHAINS))
            rows.append(
                {
                    "rule": name,
                    "step": h,
                    "binding": omega,
                    "mean": round(float(found.mean()), 4),
                    "error": round(error, 4),
                    "score": round((float(found.mean()) - 1) / error, 1),
                    "acceptance": round(float(rates.mean()), 3),
                }
            )
    return rows
