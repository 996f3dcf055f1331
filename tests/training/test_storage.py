"""What the groups of an optimizer keep beside their weights, and how long a step takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optitrace import watch
from optitrace.monitoring import segment_recorder
from optitrace.monitoring.parameters import storage_of
from optitrace.monitoring.segment_recorder import StepClock
from optitrace.records.training import GroupStorage, OptimizerTrace


def stepped(
    make: Callable[[Sequence[dict[str, Any]]], Optimizer], dtype: torch.dtype = torch.float32
) -> Optimizer:
    """Return an optimizer of 6 weights in one group and 2 in another after a step."""
    first, second = (nn.Parameter(torch.ones(size, dtype=dtype)) for size in ((2, 3), (2,)))
    optimizer = make([{"params": [first]}, {"params": [second]}])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = first.sum() + second.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return optimizer


def test_adam_keeps_two_moments_and_a_counter_of_each_parameter() -> None:
    """Two moments of 6 and of 2 weights of 4 bytes, and a step of 4 bytes each."""
    assert storage_of(stepped(torch.optim.Adam)) == (
        GroupStorage(("float32",), ("float32",), 2 * 6 * 4 + 4),
        GroupStorage(("float32",), ("float32",), 2 * 2 * 4 + 4),
    )


def test_moments_of_bfloat16_weights_have_two_bytes() -> None:
    first, _ = storage_of(stepped(torch.optim.Adam, torch.bfloat16))

    assert first == GroupStorage(("bfloat16",), ("bfloat16",), 2 * 6 * 2 + 4)


def test_sgd_without_momentum_keeps_nothing() -> None:
    assert storage_of(stepped(torch.optim.SGD))[0] == GroupStorage(("float32",), (), 0)


def test_tensors_in_lists_count_and_shared_ones_once() -> None:
    optimizer = stepped(torch.optim.SGD)
    (one,) = optimizer.param_groups[0]["params"]
    table = torch.zeros(256)
    optimizer.state[one] = {"history": [table, (torch.zeros(4, dtype=torch.uint8),)], "map": table, "n": 3}

    assert storage_of(optimizer)[0] == GroupStorage(("float32",), ("float32", "uint8"), 256 * 4 + 4)


def test_a_state_of_a_subclass_is_what_its_tensors_are() -> None:
    class EightBits(Tensor):
        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["codes", "scale"], None

    optimizer = stepped(torch.optim.SGD)
    (one,) = optimizer.param_groups[0]["params"]
    entry = torch.zeros(6).as_subclass(EightBits)
    vars(entry).update(codes=torch.zeros(6, dtype=torch.uint8), scale=torch.ones(2))
    optimizer.state[one] = {"z": entry}

    assert storage_of(optimizer)[0] == GroupStorage(("float32",), ("uint8", "float32"), 6 + 2 * 4)


def test_no_gradient_has_no_dtype() -> None:
    optimizer = stepped(torch.optim.SGD)
    optimizer.zero_grad()

    assert storage_of(optimizer)[0].gradient == ()


@pytest.mark.parametrize(("times", "seconds"), [([], None), ([5.0], None), ([5.0, 6.0, 8.0, 11.0], 2.0)])
def test_the_time_of_a_step_is_that_between_the_first_and_the_last(
    times: list[float], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing = iter(times)
    monkeypatch.setattr(segment_recorder, "perf_counter", lambda: next(passing))
    clock = StepClock()
    for _ in times:
        clock.stepped()

    assert clock.seconds_per_step == seconds


def test_a_watched_training_has_both() -> None:
    weights = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    with watch(optimizer) as training:
        for _ in range(3):
            optimizer.zero_grad()
            weights.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    own: OptimizerTrace = training.record.optimizers[0]
    assert own.storage == (GroupStorage(("float32",), ("float32",), 12),)
    assert own.seconds_per_step is not None
    assert own.seconds_per_step >= 0
