"""The line of a rule that gives a number that is not finite: torch itself tries each remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from optitrace.rules.breakdown import Breakdown, TakenStep, break_down
from optitrace.rules.catalogue import TORCH_OPTIMIZERS, find
from optitrace.rules.source_patching import extent

RULED = [name for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None]


@dataclass(frozen=True)
class Case:
    """Steps of an optimizer of torch of which the last leaves a number that is not finite.

    Attributes:
        gradients: that of each step.
        settings: of the optimizer.
        weights: before the first step.
        dtype: of the weights.
    """

    gradients: Sequence[Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Any = (0.5, 0.25)
    dtype: torch.dtype = torch.float16


def taken(name: str, case: Case) -> tuple[TakenStep, Tensor]:
    """Take the steps of a case; return the last one, and the weights after it."""
    entry = TORCH_OPTIMIZERS[name]
    weights = torch.tensor(case.weights, dtype=case.dtype).requires_grad_()
    optimizer = getattr(torch.optim, entry.class_path.rpartition(".")[2])([weights], **case.settings)
    for gradient in case.gradients:
        before = weights.detach().clone()
        used = torch.tensor(gradient, dtype=case.dtype)
        weights.grad = used.to_sparse() if entry.needs == "sparse gradient" else used
        optimizer.step()
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    state = optimizer.state[weights]
    rule = find(name).rule
    assert rule is not None
    return TakenStep(rule, len(case.gradients), before, used, {}, state, group), weights.detach()


def place_of(step: TakenStep, weights: Tensor) -> int:
    """Return the first coordinate at which the weights or the state are not finite."""
    vectors = [weights, *(v for v in step.after.values() if torch.is_tensor(v) and v.shape == weights.shape)]
    return next(int((~v.isfinite()).reshape(-1).int().argmax()) for v in vectors if not v.isfinite().all())


def broken(name: str, case: Case) -> Breakdown | None:
    step, weights = taken(name, case)
    place = place_of(step, weights)
    return break_down(step, place, float(weights.reshape(-1)[place]))


def is_finite(name: str, case: Case) -> bool:
    step, weights = taken(name, case)
    tensors = [weights, *(torch.as_tensor(value) for value in step.after.values())]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


TINY = (2e-5, 0.5)  # whose square is 4e-10, and 6e-8 is the smallest number of float16
EPS = "√{} is 0 and eps = {:g} is 0 in float16"

CASES: dict[str, tuple[Case, str, Case]] = {
    "adam": (Case([TINY]), EPS.format("v_hat", 1e-8), Case([TINY], {"eps": 1e-4})),
    "adamw": (Case([TINY]), EPS.format("v_hat", 1e-8), Case([TINY], {"eps": 1e-4})),
    "nadam": (Case([TINY]), EPS.format("v_hat", 1e-8), Case([TINY], {"eps": 1e-4})),
    "radam": (
        Case([(0.0, 0.5)] * 6),
        "step = r·√(1 − β₂ᵗ) / (√v + eps) divides by 0 in float16: " + EPS.format("v", 1e-8),
        Case([(0.0, 0.5)] * 6, {"eps": 1e-4}),
    ),
    "adamax": (
        Case([(0.0, 0.5)]),
        "|g| is 0 and eps = 1e-08 is 0 in float16",
        Case([(0.0, 0.5)], {"eps": 1e-4}),
    ),
    "sparseadam": (Case([TINY]), EPS.format("v", 1e-8), Case([TINY], {"eps": 1e-4})),
    "adagrad": (Case([TINY]), EPS.format("s", 1e-10), Case([TINY], {"eps": 1e-4})),
    "rmsprop": (Case([TINY]), EPS.format("v", 1e-8), Case([TINY], {"eps": 1e-4})),
    "adadelta": (
        Case([TINY], {"eps": 1e-9}),
        "v is 0 and eps = 1e-09 is 0 in float16",
        Case([TINY], {"eps": 1e-4}),
    ),
    "adafactor": (
        Case([(0.0, 0.5)], {"eps": (1e-30, 1e-3)}),
        "u = g / √(max(v, ε₁²)) divides 0 by 0 in float16",
        Case([(0.0, 0.5)], {"eps": (1e-3, 1e-3)}),
    ),
    "sgd": (
        Case([(1e10, 0.5)], {"lr": 1e30}, dtype=torch.float32),
        "lr·g = 1e+30·1e+10 is beyond 3.40282e+38, the largest number of float32",
        Case([(1e10, 0.5)], {"lr": 1e-10}, dtype=torch.float32),
    ),
    "asgd": (
        Case([(1.0, 0.5), (1e10, 0.5)], {"lr": 1e33}, dtype=torch.float32),
        "is beyond 3.40282e+38, the largest number of float32",
        Case([(1.0, 0.5), (1e10, 0.5)], {"lr": 1e-10}, dtype=torch.float32),
    ),
    "rprop": (
        Case([(0.5, 0.5)], {"lr": 40.0}, (-65500.0, 0.0)),
        "w − s·sign(g) = −6.55e+04 − 40·sign(0.5) is beyond 65504, the largest number of float16",
        Case([(0.5, 0.5)], {"lr": 0.1}, (-65500.0, 0.0)),
    ),
    "muon": (
        Case([((0.0, 0.0),)], {"eps": 1e-50}, ((0.5, 0.25),), torch.bfloat16),
        "norm(x) is 0 and eps = 1e-50 is 0 in bfloat16",
        Case([((0.0, 0.0),)], {"eps": 1e-7}, ((0.5, 0.25),), torch.bfloat16),
    ),
}
"""For each rule a case that breaks, what its cause says, and the same with a remedy."""


def test_every_rule_has_a_case() -> None:
    assert CASES.keys() == set(RULED)


@pytest.mark.parametrize("name", CASES)
def test_the_first_line_that_is_not_finite_is_named_with_its_operand(name: str) -> None:
    case, cause, remedied = CASES[name]
    found = broken(name, case)

    assert found is not None
    assert cause in found.cause
    assert not is_finite(name, case)
    assert is_finite(name, remedied)


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in ("adafactor", "sgd", "asgd", "rprop")]
)
def test_an_eps_that_is_zero_in_the_dtype_is_to_be_raised_to_one_that_is_not(name: str) -> None:
    case, _, remedied = CASES[name]
    found = broken(name, case)

    assert found is not None
    assert found.remedy.startswith(f"raise eps to {remedied.settings['eps']:g}")
    assert "lr" not in found.remedy
    assert "clip" not in found.remedy


@pytest.mark.parametrize("settings", [{"lr": 1e-7}, {"lr": 1e-12}], ids=str)
def test_what_is_not_named_does_not_help(settings: dict[str, float]) -> None:
    clipped = Case([tuple(g / 1000 for g in TINY)])

    assert not is_finite("adam", Case([TINY], settings))
    assert not is_finite("adam", clipped)


def test_float32_is_named_where_it_helps() -> None:
    case, _, _ = CASES["adam"]
    found = broken("adam", case)

    assert found is not None
    assert found.remedy == "raise eps to 0.0001, or keep weights and state in float32"
    assert is_finite("adam", Case([TINY], dtype=torch.float32))
    wide = broken("sgd", Case([(1e10, 0.5)], {"lr": 1e30}, dtype=torch.bfloat16))
    assert wide is not None
    assert "float32" not in wide.remedy  # it ends where bfloat16 does


@pytest.mark.parametrize("steps", [1, 3])
def test_a_square_that_overflows_is_named_though_the_weights_stay_finite(steps: int) -> None:
    case = Case([*[(0.5, 0.5)] * (steps - 1), (1e4, 5e3)])
    found = broken("adam", case)

    # (1 − 0.999)·(1e4)² is 1e5
    assert found is not None
    assert found.cause == (
        "in the line v = β₂·v + (1 − β₂)·g², g² = (1e+04)² is beyond 65504, the largest number of float16"
    )
    assert found.remedy == "clip the gradient, or keep weights and state in float32"
    assert is_finite("adam", Case([*[(0.5, 0.5)] * (steps - 1), (1.0, 0.5)]))
    assert is_finite("adam", Case(case.gradients, dtype=torch.float32))


def test_a_lower_lr_is_named_only_where_the_step_is_then_finite() -> None:
    first = Case([(1.0, 0.5), (1e10, 0.5)], {"lr": 1e30, "momentum": 0.9}, dtype=torch.float32)
    found = broken("sgd", first)

    assert found is not None
    assert found.remedy == "lower the lr (1e+30; at 0.1 this step is finite)"
    # a gradient of 1 is moved by 1e30 all the same
    assert "clip" not in found.remedy


def test_state_that_was_seen_is_taken_for_what_a_line_gives() -> None:
    """torch squares in float32: 300² is no float16, and 0.001·300² is."""
    step, weights = taken("adam", Case([(300.0, 0.5)]))

    assert bool(weights.isfinite().all())
    assert break_down(step, 0, float(weights[0])) is None


def test_weights_that_the_rule_keeps_finite_are_no_fault_of_it() -> None:
    """What a program has put there itself, after the step."""
    step, _ = taken("adam", Case([(0.5, 0.5)]))

    assert break_down(step, 0, math.nan) is None


@pytest.mark.parametrize("which", ["weights", "gradient"])
def test_what_was_not_finite_before_the_step_is_no_fault_of_the_rule(which: str) -> None:
    bad = (math.nan, 0.5)
    case = Case([bad]) if which == "gradient" else Case([(0.5, 0.5)], weights=bad)

    assert broken("adam", case) is None


def test_a_line_that_rests_on_state_of_which_nothing_is_known_is_not_blamed() -> None:
    """Adadelta's step is made of acc_delta as it was before."""
    case = Case([(0.5, 0.5), (0.5, 0.5)])
    step, _ = taken("adadelta", case)

    assert break_down(step, 0, math.nan) is None


def test_a_parameter_that_a_rule_does_not_see_whole_is_left_out() -> None:
    case = Case([((0.0, 0.5),)], {"eps": (1e-30, 1e-3)}, ((0.5, 0.25),))
    step, weights = taken("adafactor", case)

    assert extent(step.rule) == "vector"
    assert break_down(step, 0, float(weights[0, 0])) is None


def test_every_other_case_of_a_rule_at_work_says_nothing() -> None:
    for name in RULED:
        shape: Any = (0.5, 0.25) if name != "muon" else ((0.5, 0.25),)
        step, weights = taken(name, Case([shape], weights=shape, dtype=torch.float32))

        assert bool(weights.isfinite().all())
        for place in range(2):
            assert break_down(step, place, float(weights.reshape(-1)[place])) is None
