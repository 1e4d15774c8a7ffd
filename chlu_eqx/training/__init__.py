from .trajectory import (
    fit_trajectories as fit_trajectories,
    Fit as Fit,
    Progress as Progress,
    trajectory_mse as trajectory_mse,
)
