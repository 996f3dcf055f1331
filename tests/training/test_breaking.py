"""Why the weights or the state of a training are not finite: cause and remedy, and each remedy tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from support.verified import verified
from support.watched import only, seen, watching
from torch import Tensor, nn

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis

SMALL = (2e-5, 0.5)
"""A gradient whose first square is 0 in float16."""


def diagnosed(
    make: Callable[[Sequence[Tensor]], torch.optim.Optimizer],
    *gradients: Sequence[float],
    dtype: torch.dtype = torch.float16,
) -> list[Diagnosis]:
    """Return the faults of numbers of steps with these gradients, from weights (0.5, 0.25)."""
    weights = torch.tensor([0.5, 0.25], dtype=dtype, requires_grad=True)
    with watching() as watcher:
        optimizer = make([weights])
        for gradient in gradients:
            optimizer.zero_grad()
            weights.backward(torch.tensor(gradient, dtype=dtype))  # type: ignore[no-untyped-call]
            optimizer.step()
    return [each for each in diagnose(seen(watcher)) if each.fault == "not finite"]


def adam(**settings: Any) -> Callable[[Sequence[Tensor]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, **settings)


def sgd(**settings: Any) -> Callable[[Sequence[Tensor]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, **settings)


@pytest.mark.parametrize("steps", [1, 3])
def test_an_eps_that_is_zero_in_float16_is_named(steps: int) -> None:
    gradients = [(0.5, 0.5)] * (steps - 1) + [SMALL] * 3
    settings: dict[str, Any] = {"betas": (0.0, 0.0)}  # no moment of the steps before
    (found,) = diagnosed(adam(**settings), *gradients)

    assert found.step == steps
    assert found.remedy == (
        "the line w = w − lr·m_hat / (√v_hat + eps) divides by 0 in float16: "
        "√v_hat is 0 and eps = 1e-08 is 0 in float16; "
        "raise eps to 0.0001, or keep weights and state in float32"
    )
    assert not diagnosed(adam(eps=1e-4, **settings), *gradients)
    assert not diagnosed(adam(**settings), *gradients, dtype=torch.float32)
    # what was said before
    assert diagnosed(adam(lr=1e-7, **settings), *gradients)
    assert diagnosed(adam(**settings), *[tuple(g / 100 for g in each) for each in gradients])


def test_a_square_that_overflows_in_float16_is_named_of_the_state() -> None:
    large = (1e4, 5e3)
    (found,) = diagnosed(adam(), large, large)

    assert "the state exp_avg_sq is not finite" in found.fact
    assert found.remedy == (
        "in the line v = β₂·v + (1 − β₂)·g², g² = (1e+04)² is beyond 65504, the largest number of float16; "
        "clip the gradient, or keep weights and state in float32"
    )
    assert not diagnosed(adam(), (1.0, 0.5), (1.0, 0.5))
    assert not diagnosed(adam(), large, large, dtype=torch.float32)


def test_a_step_that_overflows_asks_for_a_lower_lr() -> None:
    gradients = [(1.0, 0.5), (2e9, 0.5), (1.0, 0.5)]
    (found,) = diagnosed(sgd(lr=1e30), *gradients, dtype=torch.float32)

    assert found.step == 2
    assert found.remedy == (
        "in the line w = w − lr·g, lr·g = 1e+30·2e+09 is beyond 3.40282e+38, the largest number of float32; "
        "lower the lr (1e+30; at 0.1 this step is finite)"
    )
    assert not diagnosed(sgd(lr=0.1), *gradients, dtype=torch.float32)


def test_a_gradient_that_is_not_finite_is_not_the_rules() -> None:
    (found,) = diagnosed(adam(), (0.5, 0.5), (float("nan"), 0.5))

    assert "step 2 of Adam: the gradient is not finite" in found.fact
    assert "line" not in found.remedy


def test_a_derivative_that_is_not_finite_is_not_the_rules() -> None:
    weights = torch.zeros(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.Adam([weights])
        weights.norm().sqrt().backward()
        optimizer.step()
    (found,) = diagnose(seen(watcher))

    assert "the gradient is not finite" in found.fact
    assert found.remedy.startswith("a derivative is not finite")
    assert all(not each.cause for each in only(watcher).non_finite)


def test_a_loss_that_is_infinite_is_not_the_rules() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.01)
        for size in (1.0, 1e38):
            optimizer.zero_grad()
            (weights.sum() * size * 10).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    found = next(each for each in diagnose(seen(watcher)) if each.fault == "not finite")

    assert "step 2 of SGD: the loss is not finite" in found.fact
    assert found.remedy == "look in data and forward for log(0), 0/0 or an overflow"


class Stretched(torch.optim.SGD):
    """An optimizer with a step of its own, of which no rule is known."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad / 0)


def test_of_a_class_without_a_rule_only_what_was_seen_is_said() -> None:
    (found,) = diagnosed(lambda parameters: Stretched(parameters), (0.5, 0.5))

    assert "the weights are not finite" in found.fact
    assert found.remedy.startswith("the gradient of that step is finite; --watch")


def spoil(weights: Tensor) -> None:
    weights.data.fill_(float("nan"))


def test_weights_that_the_program_spoils_itself_are_no_fault_of_the_rule() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.Adam([weights])
        optimizer.register_step_post_hook(lambda *_: spoil(weights))
        weights.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    (found,) = diagnose(seen(watcher))

    assert "the weights are not finite" in found.fact
    assert "line" not in found.remedy


def test_looking_for_a_cause_leaves_the_optimizer_as_it_was() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching():
        optimizer = torch.optim.SGD([weights], lr=1e30)
        for _ in range(2):
            optimizer.zero_grad()
            (weights * 1e10).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert not weights.isfinite().all()
    assert not optimizer.state


def test_a_failure_to_find_a_cause_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("optitrace.monitoring.update_rule.break_down", fail)
    (found,) = diagnosed(adam(), SMALL, SMALL)

    assert found.remedy.startswith("the gradient of that step is finite")


@pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float16, 1e-8), (torch.bfloat16, 1e-50), (torch.float32, 1e-50)], ids=str
)
def test_torch_is_not_blamed_for_what_the_rule_gives_in_the_dtype(dtype: torch.dtype, eps: float) -> None:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        for parameter in model.parameters():  # as in a network whose units are dead
            parameter.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
        return torch.optim.Adam(model.parameters(), eps=eps)

    found = verified(make, dtype=dtype, steps=3)

    assert found.agrees
    assert "in which a number of the rule is not finite" in found.note


def test_a_class_that_makes_other_numbers_infinite_still_departs() -> None:
    class Spoiled(torch.optim.Adam):
        pass

    def make(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = Spoiled(model.parameters())
        plain = torch.Tensor.addcdiv_

        def spoiled(self: Tensor, *given: Any, **named: Any) -> Tensor:
            return plain(self, *given, **named).fill_(float("inf"))

        monkeypatched.setattr(torch.Tensor, "addcdiv_", spoiled)
        return optimizer

    with pytest.MonkeyPatch.context() as monkeypatched:
        found = verified(make, steps=1)

    assert (found.departure, found.quantity) == (1, "weights")
