from .relativistic import (
    conformal_symplectic_euler as conformal_symplectic_euler,
    relativistic_eval_params as relativistic_eval_params,
    relativistic_gradient_descent as relativistic_gradient_descent,
    RelativisticState as RelativisticState,
)
