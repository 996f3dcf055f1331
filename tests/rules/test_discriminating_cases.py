"""The settings that are derived from a rule's signature and branches."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal

import pytest
import torch
from support.noticed import recordings

from optitrace.analysis.verification.recorded_run import recompute
from optitrace.functions import Number, sqrt
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import LR, cases_of
from optitrace.rules.families.adam_family import adamw
from optitrace.rules.families.gradient_descent import sgd
from optitrace.rules.open_lines import OpenLine, open_lines
from optitrace.rules.rule import Rule, as_rule

RULES = {name: each.rule for name, each in OPTIMIZERS.items() if each.rule is not None}

IDLE = {
    ("adamw", "g = g + weight_decay·w"),  # its weight decay is decoupled
    ("adafactor", "ε₁ = machine_epsilon(w)"),  # the check puts the number in place of None
    # settings of these are chosen for what departs most, not yet for every branch
    ("muon_jordan", "x = 0.2·√(max(rows(w), columns(w)))·x"),
    ("muon_jordan", "x = bfloat16(m)"),
    ("muon_moonlight", "x = bfloat16(√(max(1, rows(w) / columns(w)))·x)"),
    ("prodigy", "step = d·g"),
}
"""Lines that act under no settings."""


def acts(line: OpenLine, rule: Rule) -> bool:
    """Return whether a line acts in the first steps of any run."""
    seen: list[Any] = []

    def look(value: Any) -> Any:
        seen.append(value)
        return value

    for run in recordings(rule, torch.float64):
        for step in islice(recompute(rule, run), 3):
            inputs = step.inputs
            arguments = inputs.weights, inputs.gradient, inputs.number, *inputs.state
            line.step(look, *arguments, **inputs.settings)
            if seen:
                return True
    return False


@pytest.mark.newer_torch
@pytest.mark.parametrize("name", RULES)
def test_every_line_of_a_rule_acts_in_its_cases(name: str) -> None:
    idle = {(name, line.text) for line in open_lines(RULES[name]) if not acts(line, RULES[name])}

    assert idle == {each for each in IDLE if each[0] == name}


@pytest.mark.parametrize("name", RULES)
def test_the_first_case_is_the_defaults_with_another_lr(name: str) -> None:
    assert cases_of(RULES[name])[0] == {"lr": LR}


@pytest.mark.newer_torch
@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.torch is not None])
def test_torch_accepts_every_case(name: str) -> None:
    rule = RULES[name]
    assert rule.torch is not None
    for settings in cases_of(rule):
        getattr(torch.optim, rule.torch.name)([torch.zeros(2, 2, requires_grad=True)], **settings)


def test_nesterov_is_tried_although_torch_refuses_it_with_dampening() -> None:
    cases = cases_of(sgd)

    assert any(case.get("nesterov") and case.get("momentum") for case in cases)
    assert any(case.get("dampening") for case in cases)


def test_a_weight_decay_that_is_on_by_default_is_also_tried_off() -> None:
    assert {bool(case.get("weight_decay", 0.01)) for case in cases_of(adamw)} == {True, False}


def test_what_is_refused_is_left_out() -> None:
    cases = cases_of(sgd, lambda settings: not settings.get("maximize"))

    assert len(cases) > 1
    assert not any(case.get("maximize") for case in cases)


def test_where_all_else_is_refused_the_defaults_are_left() -> None:
    assert cases_of(sgd, lambda settings: settings == {"lr": LR}) == ({"lr": LR},)


def test_the_settings_of_a_rule_of_ones_own_come_from_its_signature() -> None:
    def scaled(
        w: Number,
        g: Number,
        t: int,
        v: Number,
        *,
        lr: float = 1e-3,
        alpha: float = 0.99,
        eps: float = 1e-8,
        warmup: int | None = None,
        scale: Literal["root", "plain"] = "root",
        centered: bool = False,
    ) -> tuple[Number, ...]:
        """Step by the gradient over its size."""
        v = alpha * v + (1 - alpha) * g**2
        if centered:
            g = g - v
        size = sqrt(v) + eps if scale == "root" else v + eps
        gamma = lr if warmup is None else lr * t / warmup
        w = w - gamma * g / size
        return w, v

    cases = cases_of(as_rule(scaled))
    tried = {name: {case.get(name) for case in cases} for name in ("warmup", "scale", "centered")}

    assert cases[0] == {"lr": LR}
    assert tried["scale"] == {None, "plain"}
    assert tried["centered"] == {None, True}
    assert len(tried["warmup"]) > 1
    assert any(case.get("eps", 0) > 1e-3 for case in cases)
    assert len(cases) <= 6


def test_a_rule_with_nothing_but_an_lr_has_its_cases() -> None:
    def plain(w: Number, g: Number, t: int, *, lr: float = 0.1) -> tuple[Number, ...]:
        """Step by the gradient."""
        w = w - lr * g
        return (w,)

    assert cases_of(as_rule(plain)) == ({"lr": LR},)


def test_settings_under_which_numbers_overflow_are_left_out() -> None:
    def growing(
        w: Number, g: Number, t: int, s: Number, *, lr: float = 0.1, rate: float = 2.0
    ) -> tuple[Number, ...]:
        """Step by a sum that grows."""
        s = (rate - 1) ** 400 * s + g
        w = w - lr * s
        return w, s

    rates = [case.get("rate", 2.0) for case in cases_of(as_rule(growing))]

    assert max(rates) <= 2.0
    assert len(rates) > 1
