"""The mistakes that are derived from a rule: their names, what they change, and that they are noticed."""

from __future__ import annotations

import re

import pytest
import torch
from support.known_mistakes import KNOWN_MISTAKES
from support.noticed import DTYPES, is_noticed, missed_mistakes

from optitrace.functions import Number, where
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import damaged_functions, distinct_mistakes, effect_of
from optitrace.rules.families.adam_family import adam
from optitrace.rules.families.adaptive import rmsprop
from optitrace.rules.families.gradient_descent import sgd
from optitrace.rules.families.sign_based import lion
from optitrace.rules.mistake_derivation import derived_mistakes, mistakes_of
from optitrace.rules.mistakes import ADDED_MISTAKES, damaged_function
from optitrace.rules.rule import Rule, as_rule
from optitrace.rules.source_patching import extent

RULES = {name: each.rule for name, each in OPTIMIZERS.items() if each.rule is not None}

CHECKED = {name: rule for name, rule in RULES.items() if rule.torch is not None or extent(rule) == "weight"}
"""The rules whose mistakes are all tried here; ``tests/benchmarks/mistakes.py`` tries those of all rules.

It takes minutes where a rule beyond torch sees parameters whole.
"""

WANTED = 0.95
"""The share of the derived mistakes, over all rules, that must be noticed in each dtype."""

EQUIVALENT = {
    "asgd": ["ax is computed as if never mu = 1"],  # w_mean + 1·(w − w_mean) is w
    "rprop": [
        "step_size is left as it is in step 1",  # the first change is 0
        "change lacks the sign of gradient·prev",  # it is asked only whether it is above or below 0
    ],
    "adafactor": [
        "variance starts as the squared gradient",  # beta2 is 0 in step 1
        # the check puts the machine epsilon of the dtype in place of None
        "u reads ε₁ before its update",
        "u reads ε₁ before its update: ε₁ = machine_epsilon(weights)",
        "ε₁ is left out where ε₁ is none",
        "ε₁ is left out",
    ],
    # exp_avg is 0 until step 2
    "adopt": [
        "the step uses t + 1 in place of t: weights = weights if t + 1 = 1 else weights − lr·exp_avg",
        "the step is computed as if never t = 1: weights = weights − lr·exp_avg",
    ],
    # no learning rate is below 0, and none falls in a run
    "schedule_free_sgd": ["lr_max starts at zero", "lr_max has no lower bound lr_max of gamma"],
    "schedule_free_adamw": ["lr_max starts at zero", "lr_max has no lower bound lr_max of gamma"],
}
"""The derived mistakes that change nothing, by the name of the rule."""

BEYOND_FLOAT32 = {
    "ademamix": ["the sign of 1e-08 is wrong in half_life1", "half_life1 lacks the term 1e-08"],
}
"""The derived mistakes whose effect is less than float32 can hold, by the name of the rule."""


def derived_functions(rule: Rule) -> dict[str, str]:
    """Return the effects of the derived mistakes, by name."""
    derived = set(derived_mistakes(rule))
    return {m.name: effect_of(rule, function) for m, function in damaged_functions(rule) if m in derived}


@pytest.mark.newer_torch
@pytest.mark.parametrize("name", CHECKED)
def test_every_derived_mistake_is_noticed_or_listed_with_the_reason(name: str) -> None:
    both = {mistake: [*DTYPES] for mistake in EQUIVALENT.get(name, [])}
    single = {mistake: [torch.float32] for mistake in BEYOND_FLOAT32.get(name, [])}

    assert missed_mistakes(RULES[name]) == {**both, **single}


def test_few_of_the_derived_mistakes_are_not_noticed() -> None:
    derived = sum(len(derived_mistakes(rule)) for rule in CHECKED.values())
    missed = sum(map(len, (*EQUIVALENT.values(), *BEYOND_FLOAT32.values())))

    assert derived > 2000
    assert missed < (1 - WANTED) * derived


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_rule_without_a_mistake_is_not_noticed(dtype: torch.dtype) -> None:
    assert not is_noticed(sgd, sgd.function, dtype)
    assert not is_noticed(lion, lion.function, dtype)


@pytest.mark.parametrize("name", KNOWN_MISTAKES)
def test_every_known_mistake_is_derived_or_was_added_by_hand(name: str) -> None:
    rule = RULES[name]
    made = {effect_of(rule, function) for _, function in damaged_functions(rule)}

    known = KNOWN_MISTAKES[name]
    assert [m.name for m in known if effect_of(rule, damaged_function(rule, m)) not in made] == []


@pytest.mark.parametrize("name", ADDED_MISTAKES)
def test_no_mistake_that_was_added_by_hand_can_be_derived(name: str) -> None:
    rule = RULES[name]
    effects = set(derived_functions(rule).values())

    added = ADDED_MISTAKES[name]
    assert [m.name for m in added if effect_of(rule, damaged_function(rule, m)) in effects] == []


@pytest.mark.parametrize("name", RULES)
def test_the_mistakes_of_a_rule_have_different_names_which_are_clauses(name: str) -> None:
    names = [mistake.name for mistake in mistakes_of(RULES[name])]

    assert sorted(set(names)) == sorted(names)
    for each in names:
        assert each == each.strip()
        assert not each.endswith((".", ":"))
        assert "\n" not in each


@pytest.mark.parametrize(
    "name", sorted(set(RULES) - {"soap"})
)  # whose keys, such as GG.0, name a place in a list
def test_a_mistake_is_named_in_the_words_of_torch(name: str) -> None:
    rule = RULES[name]
    symbols = {entry.symbol for entry in rule.state if entry.symbol != entry.key}
    words = {word for mistake in mistakes_of(rule) for word in re.split("[ ,]+", mistake.name)}

    assert words.isdisjoint(symbols | {"w", "g"})


@pytest.mark.parametrize("name", RULES)
def test_distinct_mistakes_have_an_effect_and_no_two_the_same(name: str) -> None:
    rule = RULES[name]
    effects = [effect_of(rule, damaged_function(rule, mistake)) for mistake in distinct_mistakes(rule)]

    assert len(set(effects)) == len(effects)
    assert effect_of(rule, rule.function) not in effects


ADAM = {"lr": 0.5, "betas": (0.5, 0.75), "eps": 0.5}


@pytest.mark.parametrize(
    ("rule", "name", "arguments", "settings", "expected"),
    [
        # m = 0.5·2 = 1 and m_hat = 2; v = 0.25·4 = 1 and v_hat = 4: w = 1 − 0.5·2 / (2 + 0.5)
        (adam, "", (1.0, 2.0, 1, 0.0, 0.0, None), ADAM, 0.6),
        (adam, "eps is left out", (1.0, 2.0, 1, 0.0, 0.0, None), ADAM, 0.5),
        (adam, "the bias of exp_avg is not corrected", (1.0, 2.0, 1, 0.0, 0.0, None), ADAM, 0.8),
        (adam, "the bias of exp_avg_sq is not corrected", (1.0, 2.0, 1, 0.0, 0.0, None), ADAM, 1 / 3),
        (
            adam,
            "eps is inside the square root",
            (1.0, 2.0, 1, 0.0, 0.0, None),
            {**ADAM, "eps": 12.0},
            1 - 0.5 * 2 / 4,
        ),
        # m_hat is 0 if the moment is the one before its update
        (adam, "m_hat reads exp_avg before its update", (1.0, 2.0, 1, 0.0, 0.0, None), ADAM, 1.0),
        # the decay of 0.5·0.5·1 comes off the new weights, 0.6, instead of the old ones
        (
            adam,
            "weight decay comes after the step",
            (1.0, 2.0, 1, 0.0, 0.0, None),
            {**ADAM, "weight_decay": 0.5, "decoupled_weight_decay": True},
            0.6 * 0.75,
        ),
        # c = 0.5·(0.5·(−2) + 0.5·1) + 0.5·1 is above 0, where 0.5·(−2) + 0.5·1 is below
        (
            lion,
            "c reads exp_avg after its update",
            (1.0, 1.0, 2, -2.0),
            {"lr": 0.5, "betas": (0.5, 0.5)},
            0.5,
        ),
        (lion, "", (1.0, 1.0, 2, -2.0), {"lr": 0.5, "betas": (0.5, 0.5)}, 1.5),
        (
            lion,
            "weight decay joins the gradient instead of shrinking the weights",
            (1.0, -1.0, 1, 0.0),
            {"lr": 0.5, "weight_decay": 2.0},
            0.5,
        ),
        # b is 0.5·2 + (1 − 0.5)·4 instead of 0.5·2 + 4
        (
            sgd,
            "momentum_buffer is a running mean",
            (0.0, 4.0, 2, 2.0),
            {"lr": 1.0, "momentum": 0.5},
            -3.0,
        ),
        # v is 0.5·0 + 0.5·4, and its bias, 1 − 0.5, makes it 4 again
        (
            rmsprop,
            "the bias of square_avg is corrected",
            (1.0, 2.0, 1, 0.0, None, None),
            {"lr": 0.5, "alpha": 0.5, "eps": 0.0},
            0.5,
        ),
    ],
)
def test_a_mistake_does_what_its_name_says(
    rule: Rule, name: str, arguments: tuple[float, ...], settings: dict[str, object], expected: float
) -> None:
    mistakes = [mistake for mistake in mistakes_of(rule) if mistake.name == name]
    function = damaged_function(rule, *mistakes)
    defaults = {parameter.name: parameter.default for parameter in rule.parameters}

    assert len(mistakes) == bool(name)
    assert function(*arguments, **{**defaults, **settings})[0] == pytest.approx(expected)


def test_the_mistakes_in_a_rule_of_ones_own_are_derived_too() -> None:
    def clipped(
        w: Number,
        g: Number,
        t: int,
        trace: Number,
        *,
        lr: float = 0.1,
        decay: float = 0.9,
        limit: float = 1.0,
    ) -> tuple[Number, ...]:
        """Step by a running mean of the gradient where it is large."""
        trace = decay * trace + (1 - decay) * g
        step = where(trace > limit, limit, trace)
        w = w - lr * step
        return w, trace

    names = [mistake.name for mistake in derived_mistakes(as_rule(clipped))]

    assert "the bias of trace is corrected" in names
    assert "step reads trace before its update" in names
    assert "step is computed as if never trace > limit" in names
    assert "the step lacks the factor lr" in names
    assert "trace adds the gradient without the factor 1 − decay" in names
