"""Methods that model the curvature: LBFGS, which has no rule, as its control flow depends on the data."""

from __future__ import annotations

import inspect
from typing import Literal

from optitrace.rules.hyperparameter import Detail
from optitrace.rules.optimizer import Optimizer, hyperparameters_of


def _parameters(
    *,
    lr: float = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: Literal["strong_wolfe"] | None = None,
    maximize: bool = False,
) -> None:
    """Carry the hyperparameters of LBFGS."""


lbfgs = Optimizer(
    name="lbfgs",
    class_path="torch.optim.LBFGS",
    summary="Limited-memory quasi-Newton method (Broyden-Fletcher-Goldfarb-Shanno)",
    source="Liu & Nocedal 1989; line search: Nocedal & Wright 2006, algorithms 3.5 and 3.6",
    hyperparameters=hyperparameters_of(
        "lbfgs",
        inspect.signature(_parameters, eval_str=True).parameters.values(),
        {
            "lr": Detail("Factor of every step."),
            "max_iter": Detail(minimum=1),
            "max_eval": Detail(minimum=1),
            "tolerance_grad": Detail(minimum=0),
            "tolerance_change": Detail(minimum=0),
            "history_size": Detail(minimum=1),
        },
        keeps_lr=True,
    ),
    state=(
        "func_evals",
        "n_iter",
        "d",
        "t",
        "old_dirs",
        "old_stps",
        "ro",
        "H_diag",
        "prev_flat_grad",
        "prev_loss",
        "al",
    ),
    implementations=("single",),
    rule=None,
    needs="closure",
)
