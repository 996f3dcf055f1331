"""The rules beyond torch.optim: their first steps worked out by hand from the papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from optitrace.functions import log
from optitrace.rules.families.adam_variants import adabelief, ademamix, adopt, qhadam, yogi
from optitrace.rules.families.decoupled_sgd import sgdw
from optitrace.rules.families.schedule_free import schedule_free_adamw, schedule_free_sgd
from optitrace.rules.families.sign_based import lion
from optitrace.rules.reader import read
from optitrace.rules.rule import Rule

RULES = (lion, adabelief, yogi, adopt, ademamix, qhadam, sgdw, schedule_free_sgd, schedule_free_adamw)

W = [3.0, -4.0]
"""Weights of norm 5."""

G = [0.6, 0.8]
"""A gradient of norm 1."""


def stepped(
    rule: Rule, settings: Mapping[str, Any], t: int = 1, given: Mapping[str, Any] | None = None
) -> list[Any]:
    """Return the weights after one step and the state, which begins as the rule says where none is given."""
    hyperparameters = {**{p.name: p.default for p in rule.parameters}, **settings}
    weights, gradient = (torch.tensor(x, dtype=torch.float64) for x in (W, G))
    state: list[Any] = []
    for entry, value in zip(rule.state, rule.initial_state(hyperparameters), strict=True):
        before = value if given is None else given.get(entry.key, value)
        shape = () if entry.scalar else weights.shape
        exists = entry.exists(hyperparameters)
        state.append(torch.as_tensor(before, dtype=torch.float64).expand(shape) if exists else None)
    return [*rule(weights, gradient, t, *state, **hyperparameters)]


# Each second line is the paper's formula with the numbers put in. With eps = 0 the first step of
# Adam is the sign of the gradient, since m_hat = g and v_hat = g^2.
FIRST_STEPS = [
    # sign(0.1 g) + 0.5 w = (2.5, -1)
    (lion, {"lr": 0.1, "weight_decay": 0.5}, [3 - 0.25, -4 + 0.1]),
    # g - m = 0.9 g, and so s_hat = 0.81 g^2
    (adabelief, {"lr": 0.9, "eps": 0.0, "rectify": False}, [2.0, -5.0]),
    # rho is 1 at step 1: the step is that of momentum
    (adabelief, {"lr": 0.1}, [3 - 0.06, -4 - 0.08]),
    # v = 0 - 0.001 sign(-g^2) g^2
    (yogi, {"lr": 0.1, "eps": 0.0, "initial_accumulator": 0.0}, [2.9, -4.1]),
    # step 1 only takes v
    (adopt, {"lr": 0.1}, W),
    # (g + 2 * 0.25 g) / |g|
    (ademamix, {"lr": 0.1, "betas": (0.9, 0.999, 0.75), "eps": 0.0}, [2.85, -4.15]),
    (qhadam, {"lr": 0.1, "nus": (0.7, 0.9), "eps": 0.2}, [3 - 0.1 * 0.6 / 0.8, -4 - 0.1 * 0.8 / 1.0]),
    (sgdw, {"lr": 0.1, "weight_decay": 0.5}, [3 - 0.15 - 0.06, -4 + 0.2 - 0.08]),
    (schedule_free_sgd, {"lr": 0.1}, [3 - 0.06, -4 - 0.08]),
    (schedule_free_adamw, {"lr": 0.1, "eps": 0.0}, [2.9, -4.1]),
]


@pytest.mark.parametrize(
    ("rule", "settings", "expected"), FIRST_STEPS, ids=[rule.name for rule, *_ in FIRST_STEPS]
)
def test_a_first_step_is_what_the_paper_says(rule: Rule, settings: Mapping[str, Any], expected: Any) -> None:
    after, *_ = stepped(rule, settings)

    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


# Where the first step leaves out what is new in a rule: a later one, from a state.
LATER_STEPS = [
    # g / sqrt(v) = (1, 2), clipped to 1^0.25, times 0.1
    (adopt, {"lr": 1.0}, {"exp_avg_sq": [0.36, 0.16]}, [2.9, -4.1]),
    # the share of z in the average is 1/2; 1 - 0.9 / 2 = 0.55
    (
        schedule_free_sgd,
        {"lr": 0.1},
        {"z": [1.0, 1.0], "lr_max": 0.1, "weight_sum": 0.01},
        [2 - 0.055 * 0.6, -1.5 - 0.055 * 0.8],
    ),
]


@pytest.mark.parametrize(
    ("rule", "settings", "state", "expected"), LATER_STEPS, ids=[rule.name for rule, *_ in LATER_STEPS]
)
def test_a_second_step_is_what_the_paper_says(
    rule: Rule, settings: Mapping[str, Any], state: Mapping[str, Any], expected: Any
) -> None:
    after, *_ = stepped(rule, settings, 2, state)

    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_the_logarithm_of_a_number_is_that_of_a_tensor() -> None:
    numbers = [0.5, 1.0, 0.0, -1.0]

    torch.testing.assert_close(
        torch.tensor([log(x) for x in numbers]), torch.tensor(numbers).log(), equal_nan=True
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_can_be_written_as_formulas(rule: Rule) -> None:
    assert any("w = " in line for line in read(rule).formulas())
