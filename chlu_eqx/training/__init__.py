from .contrastive import (
    contrastive_steps as contrastive_steps,
    ContrastiveReport as ContrastiveReport,
    ContrastiveState as ContrastiveState,
    denoising_wake as denoising_wake,
    free_sleep as free_sleep,
    langevin_sleep as langevin_sleep,
    total_energy as total_energy,
    trajectory_wake as trajectory_wake,
)
from .flow import flow_loss as flow_loss
from .likelihood import gaussian_nll as gaussian_nll
from .regularizer import (
    largest_exponent as largest_exponent,
    lyapunov_exponents as lyapunov_exponents,
    positive_exponents as positive_exponents,
)
from .replay_buffer import (
    DataSeed as DataSeed,
    NoiseSeed as NoiseSeed,
    ReplayBuffer as ReplayBuffer,
)
from .trajectory import (
    Fit as Fit,
    fit_trajectories as fit_trajectories,
    Progress as Progress,
    trajectory_mse as trajectory_mse,
)
from .variational import (
    ConstrainedELBO as ConstrainedELBO,
    negative_elbo as negative_elbo,
)
