"""What trained flows are scored by."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from chlu_eqx.nn import HamiltonianFlow

from .data.densities import Data, LAWS, load, Mixture, Points
from .densities_models import Model
from .record import finite


SAMPLES = 1000  # momenta of the importance-weighted bound
NODES, INTEGRATED = 96, 100  # of the quadrature by axis, and at how many points
DRAWS = 10_000


class Scaling:
    """To coordinates in which the training points have mean 0 and deviation 1."""

    def __init__(self, name: str):
        train = load(name).train
        self.mean, self.scale = train.mean(0), train.std(0)

    def standard(self, x: Any) -> Any:
        return (x - self.mean) / self.scale

    def natural(self, x: Any) -> Any:
        return x * self.scale + self.mean

    @property
    def log_volume(self) -> float:
        """To be added to a log-density in the standard coordinates."""
        return -float(np.log(self.scale).sum())


def standardised(name: str) -> Data:
    scaling = Scaling(name)
    return Data(*map(scaling.standard, load(name)))


@eqx.filter_jit
def bounds(
    flow: HamiltonianFlow, q: Float[Array, "points dim"], num_samples: int
) -> tuple[Float[Array, " points"], Float[Array, " points"]]:
    """That of the evidence and the importance-weighted one, at every point."""

    def both(item: tuple) -> tuple[Array, Array]:
        log_weights = flow.log_weights(item[0], num_samples, key=item[1])
        return log_weights.mean(), logsumexp(log_weights) - jnp.log(num_samples)

    keys = jr.split(jr.key(0), len(q))
    return jax.lax.map(both, (q, keys), batch_size=8)


@eqx.filter_jit
def integrated(
    flow: HamiltonianFlow, q: Float[Array, "points 2"], reach: Array
) -> Float[Array, " points"]:
    """The logarithm of the density of q, by the trapezoidal rule for the integral over
    momenta up to `reach` in size."""
    line = jnp.linspace(-reach, reach, NODES)
    p = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
    step = 2 * reach / (NODES - 1)

    def log_density(q: Array) -> Array:
        return logsumexp(jax.vmap(flow.log_joint, (None, 0))(q, p)) + 2 * jnp.log(step)

    return jax.lax.map(log_density, q)


@eqx.filter_jit
def reach(flow: HamiltonianFlow) -> Array:
    """Somewhat further than the momenta of many draws."""

    def momentum(key: Any) -> Array:
        return flow.forward(*jnp.split(flow.base.sample(key), 2))[1]

    return 1.3 * jnp.abs(jax.vmap(momentum)(jr.split(jr.key(0), DRAWS))).max()


@eqx.filter_jit
def samples(model: Model, n: int) -> Float[Array, "points dim"]:
    keys = jr.split(jr.key(1), n)
    return jax.vmap(model.sample)(keys)


def log_density(model: Model, x: Array, num_samples: int = SAMPLES) -> Array:
    """Exact, or by the importance-weighted bound."""
    if isinstance(model, AbstractDistribution):
        return eqx.filter_jit(model.log_prob)(x)
    return bounds(model, x, num_samples)[1]


def evaluate(model: Model, name: str) -> dict[str, Any]:
    """In the target's own coordinates and in nats; means over the held-out points, with
    their standard errors."""
    scaling, held_out = Scaling(name), load(name).held_out
    x = jnp.asarray(scaling.standard(held_out))
    if isinstance(model, HamiltonianFlow):
        elbo, found = bounds(model, x, SAMPLES)
        log_likelihood = np.asarray(found) + scaling.log_volume
        numbers = {"elbo": finite(elbo.mean() + scaling.log_volume)}
    else:
        log_likelihood = np.asarray(log_density(model, x)) + scaling.log_volume
        numbers = {}
    numbers |= _mean("log_likelihood", log_likelihood)
    if name not in LAWS:
        return numbers
    law = LAWS[name]
    # Of the same points, so that most of their chance cancels: the divergence.
    numbers |= _mean("short", law.log_density(held_out) - log_likelihood)
    if isinstance(model, HamiltonianFlow):
        some = x[:INTEGRATED]
        exact = np.asarray(integrated(model, some, reach(model))) + scaling.log_volume
        numbers |= _mean("beyond_bound", exact - log_likelihood[:INTEGRATED])
    drawn = scaling.natural(np.asarray(samples(model, DRAWS)))
    return numbers | modes(name, drawn)


def modes(name: str, x: Points) -> dict[str, Any]:
    """How many samples are where nothing of the target is; and, of separate modes, the
    weights of all, over what they should be."""
    law = LAWS[name]
    outside = law.outside(x)
    numbers: dict[str, Any] = {"outside": float(outside.mean())}
    if isinstance(law, Mixture) and len(law.centres) < 10:
        inside = law.nearest(x[outside == 0])
        counts = np.bincount(inside, minlength=len(law.centres))
        weights = counts * len(law.centres) / len(inside)
        numbers["weights"] = [round(float(w), 3) for w in weights]
        numbers["modes"] = int((weights > 0.5).sum())
        numbers["least_weight"] = float(weights.min())
    return numbers


def _mean(name: str, values: np.ndarray) -> dict[str, float | None]:
    error = values.std() / len(values) ** 0.5
    return {name: finite(values.mean()), f"{name}_error": finite(error)}
