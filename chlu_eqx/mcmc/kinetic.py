"""Kinetic energies whose mass depends on the position, as BlackJAX calls them."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, Scalar

from .._types import RealScalarLike
from ..hamiltonian.riemannian import metric_at, MetricRoot


MetricFunction = Callable[[PyTree], Float[Array, "..."]]


class ExtendedMomentum(NamedTuple):
    """The momentum of a position beside which a copy of the state runs: the momentum
    `p`; how far the copy `(x, y)` is from `(q, p)`, as `shift = x - q` and
    `momentum_shift = y - p`; and the kinetic energy's part of the velocity and the
    force at `(q, y)`, which the next step begins with. Each is like the position."""

    p: PyTree
    shift: PyTree
    momentum_shift: PyTree
    velocity: PyTree
    force: PyTree


class RiemannianKinetic(eqx.Module):
    r"""$K(q, p) = \tfrac12 \log\det G(q) + \tfrac12\, p^\top G(q)^{-1} p$."""

    metric: MetricFunction

    def root(self, position: PyTree | None) -> MetricRoot:
        if position is None:
            raise ValueError(
                "the mass depends on the position, which kick-drift integrators and "
                "NUTS do not pass: use `chlu_eqx.mcmc.integrator` with a solver for "
                "energies of any form, such as `chlu_eqx.TaoSolver()`, in "
                "`blackjax.rmhmc` or `blackjax.dynamic_hmc`."
            )
        return MetricRoot.of(metric_at(self.metric, position))

    def __call__(self, momentum: PyTree, position: PyTree | None = None) -> Scalar:
        return self.root(position).kinetic(ravel_pytree(momentum)[0])


class AbstractExtendedKinetic(eqx.Module):
    """A kinetic energy of an [`chlu_eqx.mcmc.ExtendedMomentum`][], with the `plain` one
    in whose field the copies move."""

    plain: eqx.AbstractVar[RiemannianKinetic]

    @abc.abstractmethod
    def __call__(
        self, momentum: ExtendedMomentum, position: PyTree | None = None
    ) -> Scalar:
        """The energy, a scalar."""


class CopiesKinetic(AbstractExtendedKinetic):
    r"""$K(q, p) + Q/2s^2$, with the copies' distance
    $Q = (x - q)^\top D(q) (x - q) + (y - p)^\top D(q)^{-1} (y - p)$."""

    plain: RiemannianKinetic
    distance: RiemannianKinetic
    spread: RealScalarLike

    def __call__(
        self, momentum: ExtendedMomentum, position: PyTree | None = None
    ) -> Scalar:
        root = self.distance.root(position)
        u, v = (ravel_pytree(x)[0] for x in (momentum.shift, momentum.momentum_shift))
        away = jnp.concatenate([root.multiply(u, transposed=True), root.solve(v)])
        spread = jnp.asarray(self.spread, away.dtype)
        return self.plain(momentum.p, position) + jnp.sum((away / spread) ** 2) / 2


class ResetCopiesKinetic(AbstractExtendedKinetic):
    r"""$K(q, p)$, wherever the copies are."""

    plain: RiemannianKinetic

    def __call__(
        self, momentum: ExtendedMomentum, position: PyTree | None = None
    ) -> Scalar:
        return self.plain(momentum.p, position)
