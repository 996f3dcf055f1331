from __future__ import annotations

import json
import re

import pytest
from support.samples import written

from optitrace.analysis.explanation import RuleStep, explain
from optitrace.analysis.theory import theory
from optitrace.experiment.experiment import design
from optitrace.records.trace import TraceRecord
from optitrace.tracing.tracer import trace
from optitrace.views.display import Display
from optitrace.views.explanation import explained_fields, explained_lines, theory_lines
from optitrace.views.presenters.trace import TracePresenter


def text(traced: TraceRecord, width: int | None = None, **options: object) -> str:
    steps = explain(traced, **options).values()  # type: ignore[arg-type]
    return "\n".join(explained_lines(steps, Display(width=width)))


def numbers(printed: str) -> list[str]:
    return re.findall(r"[−-]?\d+\.\d+(?:e[+-]\d+)?", printed)


def test_the_documented_second_step_with_momentum_is_told_as_by_hand() -> None:
    told = text(trace(design("sgd", {"momentum": 0.1}, steps=2)))

    assert told.split("\n\n")[1].splitlines() == [
        "step 2",
        "  b = momentum·b + (1 − dampening)·g = 0.1·(1.0000, 2.0000) + (1 − 0)·(0.9800, 1.9200)"
        " = (1.0800, 2.1200)",
        "  g = b = (1.0800, 2.1200)",
        "  w = w − lr·g = (0.4900, 0.4800) − 0.01·(1.0800, 2.1200) = (0.4792, 0.4588)",
        "  torch: w = (0.4792, 0.4588), (0.1, 0.1) ulp from the rule",
        "  change: (-0.0098, -0.0192) gradient + (-0.0010, -0.0020) momentum",
    ]


def test_the_branch_that_was_taken_is_given_its_reason() -> None:
    told = text(trace(design("sgd", {"momentum": 0.1}, steps=1)))

    assert "  b = g = (1.0000, 2.0000)   (since t = 1)" in told.splitlines()


@pytest.mark.parametrize(
    ("name", "settings", "dtype", "idle"),
    [
        ("adam", {}, "float32", {"eps"}),  # 1 + 1e-8 is 1 in float32, and not in float64
        ("adam", {}, "float64", set()),
        ("adam", {"eps": 1e-3}, "float32", set()),
        ("adamw", {"lr": 1e-4, "weight_decay": 1e-4}, "float32", {"weight_decay", "eps"}),
        ("adamw", {"lr": 0.1, "weight_decay": 0.1}, "float32", {"eps"}),
        ("adamw", {"lr": 1e-3, "weight_decay": 0.01}, "bfloat16", {"weight_decay", "eps"}),
        ("adam", {"amsgrad": True, "eps": 1e-3}, "float32", {"amsgrad"}),
        ("sgd", {"momentum": 0.9, "nesterov": True}, "float32", set()),
        ("sgd", {"weight_decay": 1e-4, "lr": 1e-5}, "bfloat16", {"weight_decay"}),
    ],
)
def test_a_line_says_which_of_its_terms_has_no_effect(
    name: str, settings: dict[str, object], dtype: str, idle: set[str]
) -> None:
    told = text(trace(design(name, settings, steps=1, dtype=dtype)))

    assert set(re.findall(r"(\w+) has no effect here", told)) == idle


def test_a_term_without_effect_is_in_json_too() -> None:
    traced = trace(design("adam", steps=1))
    explained = explain(traced)

    assert explained_fields(explained, 1)["no_effect"] == ("eps",)
    assert "no_effect" not in explained_fields(explain(trace(design("sgd", steps=1))), 1)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
@pytest.mark.parametrize("name", ["sgd", "adam", "nadam", "radam", "adafactor", "muon", "rprop"])
def test_a_narrow_terminal_breaks_lines_and_no_number(name: str, width: int) -> None:
    traced = trace(design(name, steps=2))

    told = text(traced, width)
    assert numbers(told) == numbers(text(traced))
    rule_lines = [line for line in told.splitlines() if not line.startswith(("  torch:", "  change:"))]
    assert max(map(len, rule_lines)) <= max(width, 44)


def test_equals_signs_of_a_broken_line_stand_below_each_other() -> None:
    told = text(trace(design("adam", steps=1)), 60).splitlines()

    index = next(k for k, line in enumerate(told) if line.startswith("  m = "))
    assert [line.index("=") for line in told[index : index + 3]] == [4, 4, 4]


def test_json_has_the_lines_as_data_that_evaluates() -> None:
    traced = trace(design("adam", {"weight_decay": 0.1}, start=(-0.5, 0.25), steps=3))
    presenter = TracePresenter(traced, explains=True, coordinate=1)
    data = json.loads(written(presenter, "json", Display(precision=8)))

    assert "explanation" not in data["steps"][0]
    for row in data["steps"][1:]:
        assert row["explanation"][-1]["symbol"] == "w"
        for line in row["explanation"]:
            assert line.keys() == {"symbol", "formula", "filled", "value"}
            evaluated = eval(line["filled"], {"sqrt": lambda x: x**0.5})
            assert evaluated == pytest.approx(line["value"], abs=1e-7)
        assert sum(part[0] for part in row["parts"].values()) == pytest.approx(
            row["explanation"][-1]["value"] - data["steps"][row["step"] - 1]["weights"][0]
        )
        assert len(row["ulps"]) == 1


def test_json_of_lbfgs_has_what_its_search_did() -> None:
    traced = trace(design("lbfgs", steps=1))
    data = json.loads(written(TracePresenter(traced, explains=True), "json"))

    assert data["steps"][1]["search"].keys() == {"evaluations", "iterations", "step_length", "history"}
    assert "LBFGS has no rule to show" in text(traced)


def test_zero_distance_is_said_for_a_step_that_is_the_rules_exactly() -> None:
    """lr 0.5 on curvature 2: every number of the step is a power of two."""
    traced = trace(design("sgd", {"lr": 0.5}, coefficients=(1.0,), start=(1.0,), steps=1))

    (step,) = explain(traced).values()
    assert isinstance(step, RuleStep)
    assert step.ulps == (0.0,)


def test_theory_is_one_line_that_names_limit_rates_and_best_settings() -> None:
    told = theory_lines(theory(trace(design("sgd", {"lr": 0.1}, steps=200, dtype="float64"))))

    assert told == [
        "theory: converges for lr < 0.5 (= 2 / 4, the largest curvature); "
        "rate a step 0.8 predicted (w1), 0.8 observed; best lr 0.3431 with momentum 0.02944"
    ]


def test_theory_of_a_run_that_cannot_converge_says_why() -> None:
    (told,) = theory_lines(theory(trace(design("sgd", {"maximize": True}, steps=1))))

    assert "converges for no lr: a curvature is -4, where every step moves away from the minimum" in told
    assert "too few rows to observe one" in told


def test_theory_in_json_has_numbers() -> None:
    traced = trace(design("sgd", {"lr": 0.1}, steps=200, dtype="float64"))
    data = json.loads(written(TracePresenter(traced, theory=theory(traced)), "json"))

    assert data["theory"]["stability_limit"] == 0.5
    assert data["theory"]["predicted_rate"] == pytest.approx(0.8)
    assert data["theory"]["observed_rate"] == pytest.approx(0.8, rel=0.01)
