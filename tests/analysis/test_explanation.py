from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from optitrace.analysis.explanation import RuleStep, SearchStep, explain
from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.records.trace import Status, TraceRecord
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.mistakes import MISTAKES, damaged
from optitrace.tracing.tracer import trace

RULED = [name for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None]


def rule_steps(traced: TraceRecord, **options: object) -> list[RuleStep]:
    explained = explain(traced, **options)  # type: ignore[arg-type]
    steps = [step for step in explained.values() if isinstance(step, RuleStep)]
    assert len(steps) == len(explained)
    return steps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RULED)
def test_every_step_of_torch_is_the_rules_to_a_few_ulps(name: str, dtype: str) -> None:
    steps = rule_steps(trace(design(name, steps=20, dtype=dtype)))

    # ASGD and NAdam keep scalars in float32 even for float64 weights: some 1e-8 of an update
    allowed = 1e8 if dtype == "float64" and name in ("asgd", "nadam") else 8
    assert [step.step for step in steps] == list(range(1, 21))
    assert max(ulp for step in steps for ulp in step.ulps) <= allowed


@pytest.mark.parametrize("name", RULED)
def test_parts_add_up_to_the_change_of_the_weights(name: str) -> None:
    settings = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    known = {h.name for h in TORCH_OPTIMIZERS[name].hyperparameters}
    if "weight_decay" in known:
        settings["weight_decay"] = 0.1
    traced = trace(design(name, settings, steps=5, dtype="float64"))

    for step in rule_steps(traced):
        before, after = traced.weights.row(step.step - 1), traced.weights.row(step.step)
        assert before is not None
        assert after is not None
        for coordinate in range(2):
            parts = [part.value[coordinate] for part in step.parts]
            change = after[coordinate] - before[coordinate]
            assert math.fsum(parts) == pytest.approx(change, rel=1e-6, abs=1e-12)


def test_sgd_with_momentum_and_decay_changes_by_three_parts() -> None:
    """By hand: -lr·g, -lr·momentum·b and -lr·decay·w at step 2."""
    settings = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.25}
    traced = trace(design("sgd", settings, steps=2, dtype="float64"))

    # step 1: g + 0.25·w = (1.125, 2.125) = b; w = 0.5 - 0.1·b = (0.3875, 0.2875)
    # step 2: g = (0.775, 1.15)
    second = rule_steps(traced)[1]
    parts = {part.name: part.value for part in second.parts}
    assert parts.keys() == {"gradient", "momentum", "weight decay"}
    assert parts["gradient"] == pytest.approx((-0.0775, -0.115))
    assert parts["momentum"] == pytest.approx((-0.05625, -0.10625))
    assert parts["weight decay"] == pytest.approx((-0.0096875, -0.0071875))


def test_a_damaged_rule_is_told_by_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = TORCH_OPTIMIZERS["adam"].rule
    assert rule is not None
    (mistake,) = (m for m in MISTAKES["adam"] if m.name == "eps is inside the square root")
    wrong = damaged(rule, mistake)
    traced = trace(design("adam", {"eps": 0.01, "weight_decay": 0.1}, steps=3, dtype="float64"))
    monkeypatch.setattr(
        "optitrace.experiment.experiment.find", lambda name: replace(TORCH_OPTIMIZERS[name], rule=wrong)
    )

    assert max(ulp for step in rule_steps(traced) for ulp in step.ulps) > 1000


def test_the_step_that_breaks_names_the_line_of_the_rule_and_its_operand() -> None:
    """The gradient at (0, 0.5) is (0, 2); of Adam's eps, float16 has 0."""
    settings: dict[str, Any] = {"start": (0.0, 0.5), "steps": 3}
    steps = rule_steps(trace(design("adam", {"lr": 0.01}, dtype="float16", **settings)))

    first, *later = (step.breakdown for step in steps)
    assert first is not None
    assert first.cause.endswith("divides 0 by 0 in float16: √v_hat is 0 and eps = 1e-08 is 0 in float16")
    assert first.remedy == "raise eps to 0.0001, or keep weights and state in float32"
    assert later == [None, None]
    for remedied in (
        trace(design("adam", {"lr": 0.01, "eps": 1e-4}, dtype="float16", **settings)),
        trace(design("adam", {"lr": 0.01}, dtype="float32", **settings)),
    ):
        assert remedied.outcome.status is Status.COMPLETED
        assert all(step.breakdown is None for step in rule_steps(remedied))
    lower = trace(design("adam", {"lr": 1e-7}, dtype="float16", **settings))
    assert lower.outcome.status is Status.NON_FINITE


def test_a_step_that_truly_overflows_asks_for_a_lower_lr() -> None:
    """By hand: w = (0.5, 0.5) − 1e30·(1, 2), and then g = (−2e30, −8e30)."""
    steps = rule_steps(trace(design("sgd", {"lr": 1e30}, steps=3)))

    assert [step.breakdown is not None for step in steps] == [False, True, False]
    assert steps[1].breakdown is not None
    assert "lr·g = 1e+30·(−2e+30) is beyond 3.40282e+38" in steps[1].breakdown.cause
    assert steps[1].breakdown.remedy == "lower the lr (1e+30; at 0.1 this step is finite)"


def test_a_square_that_overflows_names_what_is_squared() -> None:
    """The gradient at (5000, 0.5) is (1e4, 2)."""
    settings: dict[str, Any] = {"start": (5000.0, 0.5), "dtype": "float16", "steps": 2}
    (first, *_) = rule_steps(trace(design("adam", **settings)))

    assert first.breakdown is not None
    assert "g² = (1e+04)² is beyond 65504" in first.breakdown.cause
    assert first.breakdown.remedy == "clip the gradient, or keep weights and state in float32"


def test_a_gradient_that_is_not_finite_is_no_fault_of_the_rule() -> None:
    steps = rule_steps(trace(design("sgd", objective="sqrt(w1)", start=(0.0,), steps=2)))

    assert all(step.breakdown is None for step in steps)


def test_one_coordinate_is_followed_as_plain_numbers() -> None:
    traced = trace(design("sgd", {"momentum": 0.1}, steps=2))

    both, second = rule_steps(traced)[1], rule_steps(traced, coordinate=2)[1]
    assert str(second.lines[0]).endswith("= 0.1·2.0000 + (1 − 0)·1.9200 = 2.1200")
    assert second.weights == both.weights[1:]
    assert second.ulps == both.ulps[1:]
    assert [part.value for part in second.parts] == [part.value[1:] for part in both.parts]


def test_only_the_rows_that_are_asked_for_are_explained() -> None:
    traced = trace(design("sgd", steps=5))

    assert list(explain(traced, rows=[0, 2, 5])) == [2, 5]


def test_the_start_alone_has_nothing_to_explain() -> None:
    assert explain(trace(design("sgd", steps=0))) == {}


def test_the_gradient_that_was_used_is_the_one_explained() -> None:
    steps = rule_steps(trace(design("sgd", {"momentum": 0.1}, steps=2, gradient="stale")))

    assert "(1 − 0)·(1.0000, 2.0000)" in steps[1].lines[0].filled


def test_lbfgs_tells_what_its_search_did() -> None:
    (step,) = explain(trace(design("lbfgs", steps=1))).values()

    assert isinstance(step, SearchStep)
    # 20 iterations are allowed; on a quadratic of two weights it is at the minimum long before
    assert step.evaluations == step.iterations + 1
    assert 2 <= step.iterations < 20
    assert step.history == step.iterations - 1
    assert step.step_length == 1.0


def test_a_diverged_run_is_explained_without_failing() -> None:
    traced = trace(design("sgd", {"lr": 1e30}, steps=6))

    assert len(explain(traced)) == 6


def test_a_trace_with_steps_left_out_is_refused() -> None:
    with pytest.raises(UsageError, match=r"an explanation needs every step, and some were left out; trace"):
        explain(trace(design("sgd", steps=4), every=2))


def test_a_coordinate_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no coordinate 3; the weights have 1 to 2\."):
        explain(trace(design("sgd", steps=1)), coordinate=3)


def test_a_coordinate_of_an_optimizer_without_a_rule_is_refused() -> None:
    with pytest.raises(UsageError, match=r"lbfgs has no rule, so no coordinate can be followed\."):
        explain(trace(design("lbfgs", steps=1)), coordinate=1)
