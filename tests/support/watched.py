"""Watching small trainings in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.records.trace import Outcome
from optitrace.records.training import OptimizerTrace, Program, TrainingRecord

ALWAYS = RecordingConfig()


@contextmanager
def watching(config: RecordingConfig = ALWAYS, **more: Any) -> Iterator[Monitor]:
    """Watch every optimizer while entered."""
    watcher = Monitor(config, **more)
    interception = TorchHooks(watcher)
    interception.begin()
    try:
        yield watcher
    finally:
        interception.end()
    for failure in watcher.failures:
        raise failure.error


def seen(watcher: Monitor) -> TrainingRecord:
    return watcher.training(Program(), Outcome())


def only(watcher: Monitor) -> OptimizerTrace:
    [trace] = seen(watcher).optimizers
    return trace


def numbers(trace: OptimizerTrace, name: str) -> list[float]:
    """Return a scalar column."""
    return list(trace.columns[name].values)


def gradient_kinds(trace: OptimizerTrace) -> list[str]:
    """Return the kind of the gradient of each recorded step."""
    return [trace.kind(row) for row in range(len(trace.steps))]


class Task:
    """A linear model of four inputs and three outputs, its data and its loss."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(dtype)

        self.model = nn.Linear(4, 3).to(dtype)
        with torch.no_grad():
            for p in self.model.parameters():
                p.copy_(random(*p.shape))
        self.inputs, self.targets = random(8, 4), random(8, 3)

    def loss(self) -> Tensor:
        predicted: Tensor = self.model(self.inputs)
        return (predicted - self.targets).square().mean()

    def train(
        self, optimizer: torch.optim.Optimizer, steps: int, then: Callable[[int], None] | None = None
    ) -> None:
        """Take steps as one should."""
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            self.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if then is not None:
                then(step)
