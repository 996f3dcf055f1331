"""Small trainings whose optimizers are held against their rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch import RuleWatch
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.records.findings import RuleAgreement


@contextmanager
def watching(model: nn.Module) -> Iterator[RuleWatch]:
    """Hold every optimizer that steps in here against its rule; the names of parameters are the model's."""
    rules = RuleWatch()
    interception = TorchHooks(Monitor(RecordingConfig(), models=[model], make_probe=rules.make_probe))
    interception.begin()
    try:
        yield rules
    finally:
        interception.end()


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a network with the parameters 0.weight, 0.bias, 2.weight and 2.bias."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def loss_of(model: nn.Module, step: int) -> Tensor:
    """Return the loss of a batch of made data, another one in every step."""
    generator = torch.Generator().manual_seed(step)
    dtype = next(model.parameters()).dtype
    inputs, targets = (torch.randn(16, n, generator=generator).to(dtype) for n in (6, 3))
    outputs: Tensor = model(inputs)
    return (outputs - targets).square().mean()


def train(
    model: nn.Module,
    optimizer: Optimizer,
    steps: int = 20,
    *,
    before_step: Callable[[int], None] = lambda step: None,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train as a program does."""
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss_of(model, step).backward()  # type: ignore[no-untyped-call]
        before_step(step)
        optimizer.step()
        after_step(step)


def verified(
    make: Callable[[nn.Module], Optimizer], *, dtype: torch.dtype = torch.float32, steps: int = 20
) -> RuleAgreement:
    """Return how an optimizer stands to its rule after a training."""
    model = network(dtype)
    with watching(model) as rules:
        train(model, make(model), steps)
    [agreement] = rules.agreements()
    return agreement
