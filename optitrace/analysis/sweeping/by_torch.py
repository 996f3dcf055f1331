"""A batch run by the rule itself, operation by operation in torch: on any device, in any dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from optitrace.analysis.sweeping.batch import Batch
from optitrace.analysis.sweeping.gradient import used_gradient
from optitrace.analysis.sweeping.measures import Watch
from optitrace.analysis.sweeping.square_root import correctly_rounded


def run_by_torch(batch: Batch, watch: Watch) -> Tensor | None:
    """Return the last weights of a batch, shaped as the first; None if told to stop."""
    w, rule = batch.w, correctly_rounded(batch.rule)
    state = batch.initial_state()
    used = torch.zeros_like(w)
    for t in range(1, batch.steps + 1):
        if batch.stop():
            return None
        used = used_gradient(batch.protocol, t, used, batch.loss.gradient, w)
        moved, *state = rule(w, used, t, *state, **batch.hyperparameters)
        assert isinstance(moved, Tensor)
        watch.after_step(t, w, moved)
        w = moved
    return w
