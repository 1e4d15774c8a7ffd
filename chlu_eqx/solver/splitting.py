"""Higher orders: splittings with more kicks and drifts."""

from typing import ClassVar, TYPE_CHECKING

import diffrax
from jaxtyping import PyTree

from .base import flows
from .composition import AbstractComposition


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


def _palindrome(*half: float, middle: int) -> tuple[float, ...]:
    """`half`, then one or two equal coefficients that bring the sum to one, then `half`
    backward. In multiples of 2^-52: every partial sum is then exact in float64, and
    the whole is one."""
    half = tuple(round(x * 2**52) / 2**52 for x in half)
    return half + ((1 - 2 * sum(half)) / middle,) * middle + half[::-1]


def _verlet_kicks(steps: tuple[float, ...]) -> tuple[float, ...]:
    """The kicks of velocity Verlets of these steps, where one's last joins the next's
    first."""
    return tuple((a + b) / 2 for a, b in zip((0.0, *steps), (*steps, 0.0), strict=True))


# The digits of Blanes & Moan and of Kahan & Li, refined in high precision until the
# order conditions hold: by no more than 2e-15.


class AbstractSplitting(AbstractComposition):
    """A composition with half of the friction before it and half after."""

    conservative_order: AbstractClassVar[int]
    frictions: ClassVar[tuple[float, float]] = (0.5, 0.5)

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        return self.conservative_order if flows(terms).friction is None else 2


class Yoshida4(AbstractSplitting):
    r"""The triple jump: three velocity Verlets $S$, the middle one backward,

    $$S_{\gamma h} \circ S_{(1 - 2\gamma) h} \circ S_{\gamma h}, \qquad
    \gamma = \frac{1}{2 - 2^{1/3}} \approx 1.35.$$

    Order 4, time-symmetric and symplectic, for any separable energy; three forces per
    step. Stable on an oscillator while $h\omega < 1.57$. Friction is half before and
    half after, as in [`chlu_eqx.CHLUSolver`][]; the order is then 2.

    The simplest method of order 4, found also by Forest and Ruth and by Suzuki, and
    the one to compare with. Its long steps cost accuracy: at the same number of forces
    the energy error of [`chlu_eqx.BlanesMoan4`][] is seven to ten times smaller. They
    also reach $0.35\,h$ outside the step, which a force that depends on time sees.

    ??? cite "Reference"

        ```bibtex
        @article{yoshida1990construction,
            title={Construction of higher order symplectic integrators},
            author={Yoshida, Haruo},
            journal={Physics Letters A},
            volume={150},
            number={5--7},
            pages={262--268},
            year={1990},
        }
        ```
    """

    drifts: ClassVar[tuple[float, ...]] = _palindrome(1 / (2 - 2 ** (1 / 3)), middle=1)
    kicks: ClassVar[tuple[float, ...]] = _verlet_kicks(drifts)
    conservative_order: ClassVar[int] = 4


class Suzuki4(AbstractSplitting):
    r"""Suzuki's fractal: five velocity Verlets $S$, the middle one backward,

    $$S_{\gamma h} \circ S_{\gamma h} \circ S_{(1 - 4\gamma) h} \circ S_{\gamma h} \circ
    S_{\gamma h}, \qquad \gamma = \frac{1}{4 - 4^{1/3}} \approx 0.41.$$

    Order 4, time-symmetric and symplectic, for any separable energy; five forces per
    step. Stable on an oscillator while $h\omega < 2.72$. Friction is half before and
    half after; the order is then 2.

    Its steps are shorter than those of [`chlu_eqx.Yoshida4`][] and stay inside the
    step: at the same number of forces the solution is three to eight times more
    accurate. The energy is not: its errors are about as large.

    ??? cite "Reference"

        ```bibtex
        @article{suzuki1990fractal,
            title={Fractal decomposition of exponential operators with applications to
                   many-body theories and {M}onte {C}arlo simulations},
            author={Suzuki, Masuo},
            journal={Physics Letters A},
            volume={146},
            number={6},
            pages={319--323},
            year={1990},
        }
        ```
    """

    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        *[1 / (4 - 4 ** (1 / 3))] * 2, middle=1
    )
    kicks: ClassVar[tuple[float, ...]] = _verlet_kicks(drifts)
    conservative_order: ClassVar[int] = 4


class BlanesMoan4(AbstractSplitting):
    r"""Blanes and Moan's partitioned method $S_6$ of order 4.

    Seven kicks and six drifts, kick first; six forces per step. The three coefficients
    left free by the order make the leading error small. Time-symmetric and symplectic,
    of order 4 for any separable energy, the relativistic one included. Stable on an
    oscillator while $h\omega < 3.13$. Friction is half before and half after; the order
    is then 2. Output between the steps is a cubic, with an error $O(h^4)$ of its own.

    The method of order 4 to start with. If the kinetic energy is quadratic,
    [`chlu_eqx.BlanesMoanNystrom4`][] is better.

    ??? cite "Reference"

        ```bibtex
        @article{blanes2002practical,
            title={Practical symplectic partitioned {R}unge--{K}utta and
                   {R}unge--{K}utta--{N}ystr{\"o}m methods},
            author={Blanes, Sergio and Moan, Per Christian},
            journal={Journal of Computational and Applied Mathematics},
            volume={142},
            number={2},
            pages={313--330},
            year={2002},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = _palindrome(
        0.07920369643119567, 0.35317290604977399, -0.04206508035771954, middle=1
    )
    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.20951510661336202, -0.14385177317981801, middle=2
    )
    conservative_order: ClassVar[int] = 4


class BlanesMoan6(AbstractSplitting):
    r"""Blanes and Moan's partitioned method $S_{10}$ of order 6.

    Eleven kicks and ten drifts, kick first; ten forces per step. Time-symmetric and
    symplectic, of order 6 for any separable energy, the relativistic one included.
    Stable on an oscillator while $h\omega < 3.13$. Friction is half before and half
    after; the order is then 2. Output between the steps is a cubic, with an error
    $O(h^4)$: save at the steps to see the order.

    For float64: it overtakes [`chlu_eqx.BlanesMoan4`][] at relative energy errors of
    $10^{-4}$ to $10^{-7}$, depending on the problem. If the kinetic energy is
    quadratic, [`chlu_eqx.BlanesMoanNystrom6`][] is better.

    ??? cite "Reference"

        ```bibtex
        @article{blanes2002practical,
            title={Practical symplectic partitioned {R}unge--{K}utta and
                   {R}unge--{K}utta--{N}ystr{\"o}m methods},
            author={Blanes, Sergio and Moan, Per Christian},
            journal={Journal of Computational and Applied Mathematics},
            volume={142},
            number={2},
            pages={313--330},
            year={2002},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = _palindrome(
        0.05026276440039269,
        0.41351430042834382,
        0.04507988979439806,
        -0.18805485381956891,
        0.54196067845078013,
        middle=1,
    )
    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.14881644790104323,
        -0.13238586576778365,
        0.06730760469218446,
        0.43266640257817360,
        middle=2,
    )
    conservative_order: ClassVar[int] = 6


class BlanesMoanNystrom4(AbstractSplitting):
    r"""Blanes and Moan's Nyström method $\text{SRKN}_6^b$ of order 4, for a quadratic
    kinetic energy.

    Seven kicks and six drifts, kick first; six forces per step. Time-symmetric and
    symplectic. Stable on an oscillator while $h\omega < 3.16$. Friction is half before
    and half after; the order is then 2. Output between the steps is a cubic, with an
    error $O(h^4)$ of its own.

    The three coefficients left free by the order make small those leading errors that
    are there when $T(p) = \tfrac12\, p^\top M^{-1} p$: the energy error is hundreds of
    times smaller than that of [`chlu_eqx.Yoshida4`][] at the same number of forces, or
    the same at a third of them. With another kinetic energy it is still of order 4, but
    up to several times less accurate than [`chlu_eqx.BlanesMoan4`][].

    ??? cite "Reference"

        ```bibtex
        @article{blanes2002practical,
            title={Practical symplectic partitioned {R}unge--{K}utta and
                   {R}unge--{K}utta--{N}ystr{\"o}m methods},
            author={Blanes, Sergio and Moan, Per Christian},
            journal={Journal of Computational and Applied Mathematics},
            volume={142},
            number={2},
            pages={313--330},
            year={2002},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = _palindrome(
        0.08298440641740502, 0.39630980149836808, -0.03905630492234844, middle=1
    )
    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.24529895718427116, 0.60487266571107997, middle=2
    )
    conservative_order: ClassVar[int] = 4


class BlanesMoanNystrom6(AbstractSplitting):
    r"""Blanes and Moan's Nyström method $\text{SRKN}_{11}^b$ of order 6, for a
    quadratic kinetic energy.

    Twelve kicks and eleven drifts, kick first; eleven forces per step. Time-symmetric
    and symplectic. Stable on an oscillator while $h\omega < 3.14$. Friction is half
    before and half after; the order is then 2. Output between the steps is a cubic,
    with an error $O(h^4)$: save at the steps to see the order.

    It is of order 6 when $T(p) = \tfrac12\, p^\top M^{-1} p$: then
    $\nabla V^\top M^{-1} \nabla V$ depends on $q$ alone, which spares it two of the
    conditions for order 6. With another kinetic energy, such as
    [`chlu_eqx.RelativisticKinetic`][], it is of order 4 only, whatever `order` says:
    take [`chlu_eqx.BlanesMoan6`][].

    For float64: it overtakes [`chlu_eqx.BlanesMoanNystrom4`][] at relative energy
    errors of some $10^{-6}$.

    ??? cite "Reference"

        ```bibtex
        @article{blanes2002practical,
            title={Practical symplectic partitioned {R}unge--{K}utta and
                   {R}unge--{K}utta--{N}ystr{\"o}m methods},
            author={Blanes, Sergio and Moan, Per Christian},
            journal={Journal of Computational and Applied Mathematics},
            volume={142},
            number={2},
            pages={313--330},
            year={2002},
        }
        ```
    """

    kicks: ClassVar[tuple[float, ...]] = _palindrome(
        0.04146499851826284,
        0.19812867191806654,
        -0.04000619210415269,
        0.07525398430158034,
        -0.01151138742068777,
        middle=2,
    )
    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.12322977594627115,
        0.29055379779955827,
        -0.12704921262541692,
        -0.24633176106207540,
        0.35720887279592775,
        middle=1,
    )
    conservative_order: ClassVar[int] = 6


class KahanLi6(AbstractSplitting):
    r"""Kahan and Li's `s9odr6a`: nine velocity Verlets $S$ of order 6 together,

    $$S_{\gamma_1 h} \circ \cdots \circ S_{\gamma_9 h}, \qquad
    \gamma_i = \gamma_{10 - i}.$$

    Time-symmetric and symplectic, of order 6 for any separable energy; nine forces per
    step. Stable on an oscillator while $h\omega < 2.53$. Friction is half before and
    half after; the order is then 2. Output between the steps is a cubic, with an error
    $O(h^4)$: save at the steps to see the order.

    The fewest forces per step here for order 6. At the same number of forces,
    [`chlu_eqx.BlanesMoan6`][] is ten to thirty times more accurate.

    ??? cite "Reference"

        ```bibtex
        @article{kahan1997composition,
            title={Composition constants for raising the orders of unconventional
                   schemes for ordinary differential equations},
            author={Kahan, William and Li, Ren-Cang},
            journal={Mathematics of Computation},
            volume={66},
            number={219},
            pages={1089--1099},
            year={1997},
        }
        ```
    """

    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.39216144400731414,
        0.33259913678935944,
        -0.70624617255763936,
        0.08221359629355080,
        middle=1,
    )
    kicks: ClassVar[tuple[float, ...]] = _verlet_kicks(drifts)
    conservative_order: ClassVar[int] = 6


class KahanLi8(AbstractSplitting):
    r"""Kahan and Li's `s17odr8a`: seventeen velocity Verlets $S$ of order 8 together,

    $$S_{\gamma_1 h} \circ \cdots \circ S_{\gamma_{17} h}, \qquad
    \gamma_i = \gamma_{18 - i}.$$

    Time-symmetric and symplectic, of order 8 for any separable energy; seventeen forces
    per step. Stable on an oscillator while $h\omega < 3.09$. Friction is half before
    and half after; the order is then 2. Output between the steps is a cubic, with an
    error $O(h^4)$: save at the steps to see the order.

    For errors near the rounding of float64: it overtakes [`chlu_eqx.BlanesMoan6`][] at
    relative energy errors of $10^{-7}$ to $10^{-12}$, depending on the problem.

    ??? cite "Reference"

        ```bibtex
        @article{kahan1997composition,
            title={Composition constants for raising the orders of unconventional
                   schemes for ordinary differential equations},
            author={Kahan, William and Li, Ren-Cang},
            journal={Mathematics of Computation},
            volume={66},
            number={219},
            pages={1089--1099},
            year={1997},
        }
        ```
    """

    drifts: ClassVar[tuple[float, ...]] = _palindrome(
        0.13020248308889008,
        0.56116298177510838,
        -0.38947496264484729,
        0.15884190655515560,
        -0.39590389413323758,
        0.18453964097831571,
        0.25837438768632205,
        0.29501172360931030,
        middle=1,
    )
    kicks: ClassVar[tuple[float, ...]] = _verlet_kicks(drifts)
    conservative_order: ClassVar[int] = 8
