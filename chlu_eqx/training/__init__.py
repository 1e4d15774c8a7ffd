from .trajectory import (
    Fit as Fit,
    fit_trajectories as fit_trajectories,
    Progress as Progress,
    trajectory_mse as trajectory_mse,
)
