"""Neural Hamiltonian flows."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import array, count, function, positive, random_key
from .._types import RealScalarLike
from ..hamiltonian import Confinement, MLPPotential, SeparableHamiltonian
from ..solver import CHLUSolver
from ..solver.composition import AbstractComposition
from ..term import HamiltonianTerm
from .flow_encoder import CorrelatedEncoder
from .latent_dynamics import Gaussian


class HamiltonianFlow(eqx.Module):
    r"""A density of $q$ by symplectic maps of $q$ and a momentum $p$ that nobody
    observes,

    $$(q_0, p_0) \sim \pi = \mathcal N(\mu, \operatorname{diag} \sigma^2), \qquad
    (q, p) = \Phi_T \circ \dots \circ \Phi_1 (q_0, p_0),$$

    where $\Phi_k$ is a step, or a few, of a solver with its own learned energy
    $K_k(p) + V_k(q)$. These maps keep volume and are undone exactly, so that the joint
    density is $\pi$ of where a state came from, of **both** its halves,

    $$\log \rho(q, p) = \log \pi(\Phi_1^{-1} \circ \dots \circ \Phi_T^{-1}(q, p)),$$

    without a determinant. That of $q$ alone is bounded by a law of the momentum, the
    encoder $f(p \mid q)$:

    $$\log \rho(q) \ge \mathbb E_{p \sim f(p \mid q)}
    \left[ \log \rho(q, p) - \log f(p \mid q) \right],$$

    with equality if $f$ is the posterior $\rho(p \mid q)$. No map changes the volume:
    standardise the data.

    !!! Example

        ```python
        flow = chlu_eqx.nn.HamiltonianFlow(2, key=key)
        flow.elbo(q, key=key)                    # of one q; jax.vmap for more
        flow.importance_bound(q, 1000, key=key)  # closer to log ρ(q)
        flow.sample(key)
        flow.potentials[0](q)
        ```

        With kinetic energies that are quadratic, of a learned mass (Souveton et al.,
        arXiv 2302.01955):

        ```python
        energies = [
            chlu_eqx.SeparableHamiltonian(
                chlu_eqx.NewtonianKinetic(2), chlu_eqx.MLPPotential(2, key=k)
            )
            for k in jax.random.split(key, 4)
        ]
        flow = chlu_eqx.nn.HamiltonianFlow(2, energies, key=key)
        ```

    ??? cite "Reference"

        ```bibtex
        @inproceedings{toth2020hamiltonian,
            title={Hamiltonian Generative Networks},
            author={Toth, Peter and Rezende, Danilo J. and Jaegle, Andrew and
                    Racani{\`e}re, S{\'e}bastien and Botev, Aleksandar and Higgins,
                    Irina},
            booktitle={International Conference on Learning Representations},
            year={2020},
        }
        ```
    """

    hamiltonians: tuple[SeparableHamiltonian, ...]
    encoder: Callable[[Array], Any]
    solver: AbstractComposition
    dt: RealScalarLike
    mean: Float[Array, " joint"]
    log_scale: Float[Array, " joint"]
    dim: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        hamiltonians: int | Sequence[Any] = 4,
        *,
        num_steps: int = 1,
        dt: RealScalarLike = 0.5,
        solver: Any = None,
        encoder: Callable[[Array], Any] | None = None,
        width: int = 64,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `dim`: the number of coordinates of $q$.
        - `hamiltonians`: the energies, each a [`chlu_eqx.SeparableHamiltonian`][], that
            of $\Phi_1$ first; or how many to make, with a [`chlu_eqx.MLPPotential`][]
            for $V$ and another, with $\lVert p \rVert^2/2$ added, for $K$. (The
            paper's networks have softplus, with which they learn several times more
            slowly than with this one's tanh.)
        - `num_steps`: how many steps to make with each of them.
        - `dt`: the length of a step, positive. A Python number is a constant; an array
            is learned unless it is filtered out.
        - `solver`: an explicit splitting: [`chlu_eqx.CHLUSolver`][]`()`, the default,
            [`chlu_eqx.SymplecticEuler`][], [`chlu_eqx.Yoshida4`][] or another.
        - `encoder`: $f$, a callable from $q$ to a law of $p$ with methods `sample(key)`
            and `log_prob(p)`; defaults to a [`chlu_eqx.nn.CorrelatedEncoder`][].
        - `width`: the hidden layers of the default networks.
        - `key`: a `jax.random.key` for their initial weights.

        $\mu$ and $\sigma$ are learned, from 0 and 1 on.

        **Raises:** `ValueError` if a size is not a positive integer, `dt` is not
        positive, `hamiltonians` are none or not all separable, or `solver` is another
        than those.
        """
        self.dim = count("dim", dim)
        self.num_steps = count("num_steps", num_steps)
        count("width", width)
        energy_key, encoder_key = jr.split(random_key("key", key))
        if isinstance(hamiltonians, int):
            keys = jr.split(energy_key, count("hamiltonians", hamiltonians))
            hamiltonians = [_learned(dim, width, k) for k in keys]
        separable = [isinstance(h, SeparableHamiltonian) for h in hamiltonians]
        if not separable or not all(separable):
            raise ValueError(
                "`hamiltonians` must be a number or one or more "
                f"`chlu_eqx.SeparableHamiltonian`, got {hamiltonians}."
            )
        self.hamiltonians = tuple(hamiltonians)
        solver = CHLUSolver() if solver is None else solver
        if not isinstance(solver, AbstractComposition):
            raise ValueError(
                "`solver` must be an explicit splitting, whose steps keep volume and "
                f"are undone exactly, such as `chlu_eqx.CHLUSolver()`, got {solver}."
            )
        self.solver = solver
        self.dt = positive("dt", dt)
        if encoder is None:
            encoder = CorrelatedEncoder(dim, width=width, key=encoder_key)
        self.encoder = function("encoder", encoder)
        self.mean = jnp.zeros(2 * dim)
        self.log_scale = jnp.zeros(2 * dim)

    @property
    def base(self) -> Gaussian:
        r"""The law $\pi$ of $q_0$ and $p_0$, one after the other."""
        return Gaussian(self.mean, jnp.exp(self.log_scale))

    @property
    def potentials(self) -> tuple[Callable[[Array], Scalar], ...]:
        r"""$V_1, \dots, V_T$."""
        return tuple(hamiltonian.potential for hamiltonian in self.hamiltonians)

    def forward(
        self, q: Float[Array, "..."], p: Float[Array, "..."]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        r"""$\Phi_T \circ \dots \circ \Phi_1(q, p)$.

        **Raises:** `ValueError` if `q` or `p` is not of shape `(dim,)`.
        """
        y = array("q", q, self.dim), array("p", p, self.dim)
        for hamiltonian in self.hamiltonians:
            y = self._moved(hamiltonian, y, 1)
        return y

    def inverse(
        self, q: Float[Array, "..."], p: Float[Array, "..."]
    ) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        r"""$\Phi_1^{-1} \circ \dots \circ \Phi_T^{-1}(q, p)$, to rounding.

        **Raises:** as `forward`.
        """
        y = array("q", q, self.dim), array("p", p, self.dim)
        for hamiltonian in self.hamiltonians[::-1]:
            y = self._moved(hamiltonian, y, -1)
        return y

    def log_joint(self, q: Float[Array, "..."], p: Float[Array, "..."]) -> Scalar:
        r"""$\log \rho(q, p)$, exactly.

        **Raises:** as `forward`.
        """
        return self.base.log_prob(jnp.concatenate(self.inverse(q, p)))

    def log_weights(
        self, q: Float[Array, "..."], num_samples: int, *, key: PRNGKeyArray
    ) -> Float[Array, " samples"]:
        r"""$\log \rho(q, p_k) - \log f(p_k \mid q)$ of draws $p_k \sim f(p \mid q)$, of
        which the two bounds are means.

        **Arguments:**

        - `q`: of shape `(dim,)`.
        - `num_samples`: how many to draw.
        - `key`: a `jax.random.key`.

        **Raises:** `ValueError` if `q` is of another shape or `num_samples` is not a
        positive integer.
        """
        law = self.encoder(array("q", q, self.dim))

        def log_weight(key: PRNGKeyArray) -> Scalar:
            p = law.sample(key)
            return self.log_joint(q, p) - law.log_prob(p)

        num_samples = count("num_samples", num_samples)
        return jax.vmap(log_weight)(jr.split(random_key("key", key), num_samples))

    def elbo(
        self, q: Float[Array, "..."], num_samples: int = 1, *, key: PRNGKeyArray
    ) -> Scalar:
        r"""An unbiased estimate of the evidence lower bound of $\log \rho(q)$, the mean
        of `log_weights`. Arguments and errors are theirs."""
        return jnp.mean(self.log_weights(q, num_samples, key=key))

    def importance_bound(
        self, q: Float[Array, "..."], num_samples: int, *, key: PRNGKeyArray
    ) -> Scalar:
        r"""The importance-weighted bound

        $$\log \frac1K \sum_{k=1}^K \frac{\rho(q, p_k)}{f(p_k \mid q)}$$

        with the logarithms of `log_weights`, whose arguments and errors it has. Its
        expectation grows with $K$, from that of `elbo` to $\log \rho(q)$ (Burda, Grosse
        & Salakhutdinov, ICLR 2016, arXiv 1509.00519, theorem 1).
        """
        log_weights = self.log_weights(q, num_samples, key=key)
        return logsumexp(log_weights) - jnp.log(num_samples).astype(log_weights.dtype)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " dim"]:
        """A draw of $q$."""
        q, _ = self.forward(*jnp.split(self.base.sample(random_key("key", key)), 2))
        return q

    def _moved(
        self, hamiltonian: SeparableHamiltonian, y: tuple[Array, Array], sign: int
    ) -> tuple[Array, Array]:
        """The steps with one energy made or, for a sign of -1, undone."""
        term = HamiltonianTerm(hamiltonian)
        dtype = y[0].dtype
        times = (jnp.zeros((), dtype), jnp.asarray(self.dt, dtype))
        # What a step begins with is what another ends with: it serves both ways.
        state = self.solver.init(term, *times, y, None)
        # A loop that is unrolled compiles and runs faster than a scan of one step.
        for _ in range(self.num_steps):
            if sign > 0:
                y, _, _, state, _ = self.solver.step(
                    term, *times, y, None, state, made_jump=False
                )
            else:
                y, _, state, _ = self.solver.backward_step(
                    term, *times, y, None, state, made_jump=False
                )
        return y


def _learned(dim: int, width: int, key: PRNGKeyArray) -> SeparableHamiltonian:
    kinetic, potential = (MLPPotential(dim, width=width, key=k) for k in jr.split(key))
    return SeparableHamiltonian(kinetic + Confinement(0.5), potential)
