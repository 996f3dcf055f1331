"""What each hyperparameter does, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "adjust_lr_fn": "How lr is scaled with the shape of the matrix.",
    "alpha": "Smoothing constant of the running mean of squared gradients.",
    "amsgrad": "Use the largest second moment so far.",
    "asgd.alpha": "Power of the fall of the step size.",
    "beta2_decay": "Exponent by which the second moment's smoothing grows.",
    "betas": "Decay rates of the running means of the gradient and of its square.",
    "centered": "Divide by an estimate of the standard deviation.",
    "d": "Largest root mean square of an update before it is clipped.",
    "dampening": "Share of the gradient kept out of the momentum buffer.",
    "decoupled_weight_decay": "Shrink the weights themselves, as AdamW does.",
    "eps": "Small number that keeps a division from failing.",
    "adafactor.eps": "Smallest root of the second moment (none: the dtype's), of the weights' size.",
    "etas": "Factors that shrink and grow a step size.",
    "history_size": "How many past updates are remembered.",
    "initial_accumulator_value": "Start of the sum of squared gradients.",
    "lambd": "Decay of the weights toward zero.",
    "line_search_fn": "Line search; none steps by lr.",
    "lr": "Learning rate.",
    "adadelta.lr": "Factor of every step.",
    "adafactor.lr": "Cap of the relative step.",
    "lbfgs.lr": "Factor of every step.",
    "rprop.lr": "Initial step size.",
    "lr_decay": "Fall of the learning rate with the steps.",
    "max_eval": "Most closure evaluations in a step (none: 1.25 max_iter).",
    "max_iter": "Most iterations in a step.",
    "maximize": "Climb instead of descend.",
    "momentum": "Share of the last update that is kept.",
    "momentum_decay": "Speed of the momentum schedule.",
    "nesterov": "Look ahead along the momentum.",
    "ns_coefficients": "Coefficients of the Newton-Schulz iteration.",
    "ns_steps": "Number of Newton-Schulz iterations.",
    "rho": "Decay rate of both running means.",
    "step_sizes": "Smallest and largest step size.",
    "t0": "Step at which averaging begins.",
    "tolerance_change": "Stop when the loss or the weights change by less.",
    "tolerance_grad": "Stop when the gradient's largest entry is smaller.",
    "weight_decay": "Pull of the weights toward zero.",
}
"""What each hyperparameter does, by name, or by optimizer and name where one name has two meanings."""
