"""Faults of torch that others have reported, as an outside test of the check: it must find them by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.verified import watching
from torch import Tensor, nn

from optitrace.records.findings import RuleAgreement


def one_step(weights: Tensor, optimizer_class: Any, **settings: Any) -> RuleAgreement:
    """Return how the first step on a gradient of ones stands to the rule."""
    with watching(nn.Identity()) as rules:
        weights.requires_grad_().grad = torch.ones_like(weights)
        optimizer_class([weights], **settings).step()
    [found] = rules.agreements()
    return found


def test_fused_sgd_that_leaves_weights_of_half_the_digits_as_they_are_is_found() -> None:
    """See issue 191763 of pytorch."""
    weights = torch.ones(64, dtype=torch.bfloat16)
    found = one_step(weights, torch.optim.SGD, lr=0.5, fused=True)
    if weights.tolist() == [0.5] * 64:
        pytest.skip("this torch does not have the fault")

    assert weights.tolist() == [1.0] * 64
    assert (found.departure, found.quantity) == (1, "weights")
    # off by 0.5, where one rounding of weight and gradient moves the weight by (1 + 0.5)·2**-7
    assert found.worst == 0.5 / (1.5 * 2**-7)


def test_muon_that_normalizes_its_momentum_buffer_in_place_is_found() -> None:
    """See pull request 194664 of pytorch."""
    weights = torch.zeros(4, 4, dtype=torch.bfloat16)
    found = one_step(weights, torch.optim.Muon, momentum=0.5, nesterov=False)
    if found.agrees:
        pytest.skip("this torch does not have the fault")

    assert (found.departure, found.quantity) == (1, "momentum_buffer")
    # sixteen times 0.5 has the norm 2, by which all are divided: off by 0.25; one rounding moves 0.5·2**-7
    assert found.worst == 0.25 / (0.5 * 2**-7)
