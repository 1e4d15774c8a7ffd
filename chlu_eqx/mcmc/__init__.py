try:
    import blackjax as blackjax
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "`chlu_eqx.mcmc` needs BlackJAX: `pip install 'chlu_eqx[mcmc]'`."
    ) from error

from .integrator import integrator as integrator
from .kinetic import ExtendedMomentum as ExtendedMomentum
from .metric import FisherMetric as FisherMetric, SoftAbsMetric as SoftAbsMetric
from .momentum import (
    biased_reset_copies_metric as biased_reset_copies_metric,
    extended_metric as extended_metric,
    riemannian_metric as riemannian_metric,
    thermal_metric as thermal_metric,
)
from .sampler import relativistic_hmc as relativistic_hmc, rmhmc as rmhmc
from .softabs import softabs as softabs
from .whitening import Whitening as Whitening
