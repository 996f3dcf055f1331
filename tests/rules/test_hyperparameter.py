from __future__ import annotations

import math
import re
import types
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optitrace.errors import UsageError
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.hyperparameter import SUMMARIES, Detail, Hyperparameter, describe, show

ALL = {f"{h.optimizer}.{h.name}": h for o in OPTIMIZERS.values() for h in o.hyperparameters}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a hyperparameter's type, of at least 1 and at most 99 if whole."""
    if kind is float:
        return st.floats(min_value=0, allow_nan=False, allow_infinity=False)
    if kind is int:
        return st.integers(1, 99)
    if kind is bool:
        return st.booleans()
    if kind is types.NoneType:
        return st.none()
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        return st.tuples(*map(values, get_args(kind)))
    assert get_origin(kind) in (Union, types.UnionType), kind
    return st.one_of(*map(values, get_args(kind)))


def exactly(sentence: str) -> str:
    return f"^{re.escape(sentence)}$"


def values_of(name: str) -> st.SearchStrategy[Any]:
    if ALL[name].detail.is_range:
        return values(ALL[name].type).map(lambda pair: (min(pair) + 1e-9, max(pair) + 1e-9))
    return values(ALL[name].type)


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
def test_what_is_shown_is_read_as_the_same_value(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(name))

    read = ALL[name].parse(show(value))

    assert (type(read), read) == (type(value), value)
    assert ALL[name].check(value) == value


@pytest.mark.parametrize("name", ALL)
def test_a_default_is_a_value_that_can_be_used(name: str) -> None:
    hyperparameter = ALL[name]

    assert hyperparameter.check(hyperparameter.default) == hyperparameter.default
    assert hyperparameter.parse(show(hyperparameter.default)) == hyperparameter.default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sgd.lr", " 0.5 ", 0.5),
        ("sgd.lr", "1e-3", 0.001),
        ("sgd.nesterov", "True", True),
        ("sgd.nesterov", "false", False),
        ("adam.betas", "0.8,0.9", (0.8, 0.9)),
        ("adam.betas", "0.8;0.9", (0.8, 0.9)),
        ("adam.betas", "(0.8, 0.9)", (0.8, 0.9)),
        ("adafactor.eps", "none,1e-3", (None, 1e-3)),
        ("adafactor.eps", "1e-30,0.001", (1e-30, 1e-3)),
        ("lbfgs.max_eval", "None", None),
        ("lbfgs.max_eval", "7", 7),
        ("lbfgs.line_search_fn", "strong_wolfe", "strong_wolfe"),
        ("muon.adjust_lr_fn", "none", None),
    ],
)
def test_a_text_stands_for_a_value(name: str, text: str, value: object) -> None:
    assert ALL[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("sgd.lr", "fast", "sgd: lr must be a number, not 'fast'."),
        ("sgd.lr", "", "sgd: lr must be a number, not ''."),
        ("sgd.lr", "nan", "sgd: lr is nan; it must be finite."),
        ("sgd.lr", "1e999", "sgd: lr is inf; it must be finite."),
        ("sgd.nesterov", "yes", "sgd: nesterov must be true or false, not 'yes'."),
        ("adam.betas", "0.9", "adam: betas must be 2 numbers such as 0.1,0.2, not '0.9'."),
        ("adam.betas", "0.9,0.99,1", "adam: betas must be 2 numbers such as 0.1,0.2, not '0.9,0.99,1'."),
        ("adam.betas", "0.9,-inf", "adam: betas is 0.9,-inf; it must be finite."),
        ("muon.ns_steps", "2.5", "muon: ns_steps must be an integer, not '2.5'."),
        ("muon.ns_steps", "-1", "muon: ns_steps is -1; it must be at least 0."),
        ("muon.ns_steps", "100", "muon: ns_steps is 100; it must be at most 99."),
        (
            "muon.adjust_lr_fn",
            "mine",
            "muon: adjust_lr_fn must be original or match_rms_adamw or none, not 'mine'.",
        ),
        ("lbfgs.max_eval", "0", "lbfgs: max_eval is 0; it must be at least 1."),
        ("lbfgs.max_eval", "many", "lbfgs: max_eval must be an integer or none, not 'many'."),
        ("asgd.t0", "-1", "asgd: t0 is -1; it must be at least 0."),
        (
            "rprop.step_sizes",
            "5,1",
            "rprop: step_sizes is 5,1; it must be the smallest step size, above 0, and then the largest.",
        ),
        (
            "rprop.step_sizes",
            "0,50",
            "rprop: step_sizes is 0,50; it must be the smallest step size, above 0, and then the largest.",
        ),
    ],
)
def test_a_text_that_cannot_be_used_is_told_in_a_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=exactly(sentence)):
        ALL[name].parse(text)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("sgd.lr", "0.1", "sgd: lr must be a number, not '0.1'."),
        ("sgd.lr", True, "sgd: lr must be a number, not True."),
        ("sgd.lr", None, "sgd: lr must be a number, not None."),
        ("sgd.lr", [0.1], "sgd: lr must be a number, not [0.1]."),
        ("sgd.nesterov", 1, "sgd: nesterov must be true or false, not 1."),
        ("adam.betas", 0.9, "adam: betas must be 2 numbers such as 0.1,0.2, not 0.9."),
        ("adam.betas", (0.9,), "adam: betas must be 2 numbers such as 0.1,0.2, not (0.9,)."),
        ("lbfgs.max_iter", 2.5, "lbfgs: max_iter must be an integer, not 2.5."),
        ("lbfgs.max_iter", float("inf"), "lbfgs: max_iter must be an integer, not inf."),
        ("lbfgs.max_iter", float("nan"), "lbfgs: max_iter must be an integer, not nan."),
    ],
)
def test_a_value_of_another_type_is_told_in_a_sentence(name: str, value: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=exactly(sentence)):
        ALL[name].check(value)


def test_a_whole_number_too_large_for_a_float_is_told_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="sgd: lr must be a number, not 1000"):
        ALL["sgd.lr"].check(10**400)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("sgd.lr", 1, 1.0), ("muon.ns_steps", 3.0, 3), ("adam.betas", [0, 0.5], (0.0, 0.5))],
)
def test_a_value_is_made_the_type_of_the_hyperparameter(name: str, value: object, expected: object) -> None:
    checked = ALL[name].check(value)

    assert (type(checked), checked) == (type(expected), expected)


@pytest.mark.parametrize("name", ALL)
def test_every_hyperparameter_says_what_it_does_in_one_sentence(name: str) -> None:
    assert ALL[name].summary[:1].isupper()
    assert ALL[name].summary.endswith(".")


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_summary_is_of_a_hyperparameter(name: str) -> None:
    assert name in {hyperparameter.name for hyperparameter in ALL.values()}


def test_every_detail_of_a_rule_is_of_a_hyperparameter() -> None:
    rules = [optimizer.rule for optimizer in OPTIMIZERS.values() if optimizer.rule is not None]
    details = {f"{rule.name}.{name}" for rule in rules for name in rule.details}

    assert details <= set(ALL)
    assert {name for name in details if ALL[name].detail == Detail()} == set()


def test_a_default_that_is_not_finite_is_a_value_and_no_other_is() -> None:
    growth = ALL["prodigy.growth_rate"]

    assert growth.parse("inf") == math.inf
    with pytest.raises(UsageError, match="prodigy: growth_rate is -inf; it must be finite"):
        growth.parse("-inf")


def test_a_hyperparameter_that_is_not_known_has_no_summary() -> None:
    assert Hyperparameter("mine", "warmth", 1.0, float).summary == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bool, "true or false"),
        (int | None, "an integer or none"),
        (tuple[float, float, float], "3 numbers such as 0.1,0.2,0.3"),
        (str, "a text"),
    ],
)
def test_a_type_is_described_in_words(kind: Any, words: str) -> None:
    assert describe(kind) == words
