from __future__ import annotations

import math
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.calculator import calculate

from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.discriminating_cases import cases_of, gradient, start
from optitrace.rules.families.adam_family import adam, adamw, radam, sparseadam
from optitrace.rules.families.adaptive import adafactor, adagrad
from optitrace.rules.families.gradient_descent import asgd, rprop, sgd
from optitrace.rules.families.orthogonal import muon
from optitrace.rules.mistakes import MISTAKES, Mistake, damaged
from optitrace.rules.reader import ASCII, UNICODE, RuleLine, Spelling, StepExplanation, read
from optitrace.rules.rule import rule, takes_matrices
from optitrace.rules.source_patching import compiled, definition

TELLING = {o.name: cases_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}
"""The settings under which a rule is told from a wrong one, by the name of the rule."""

RULES = {name: optimizer.rule for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None}
SETTINGS = [(name, index) for name, several in TELLING.items() for index in range(len(several))]
SHOWN_STEPS = (1, 2, 3, 12)


def in_form(name: str, values: list[float], index: int) -> Any:
    """Return weights in the form that a rule takes: for muon a row, a column or a square."""
    if name != "muon":
        return values
    return (values, [[v] for v in values], [values[:2], values[2:]])[index % 3]


def steps(name: str, index: int, **options: Any) -> Iterator[StepExplanation]:
    """Yield the explanations of some steps under telling settings."""
    rule, hyperparameters = RULES[name], TELLING[name][index]
    weights: Any = in_form(name, start(4), index)
    state: Any = {}
    for t in range(1, max(SHOWN_STEPS) + 1):
        g = in_form(name, gradient(t, 4), index)
        shown = options if t in SHOWN_STEPS else {}
        step = read(rule).explain(weights, g, t, state, hyperparameters, **shown)
        if t in SHOWN_STEPS:
            yield step
        weights, state = step.weights, step.state


def is_true(filled: str, result: str) -> bool:
    """Tell whether printed arithmetic comes to the number printed beside it, to half of its last digit."""
    printed = calculate(result).reshape(-1)
    calculated = calculate(filled).reshape(-1).expand(printed.shape)
    halves = [half_of_last_digit(number) for number in re.findall(r"inf|nan|\d[\d.]*(?:e[+-]\d+)?", result)]
    return all(
        str(a) == str(b) or abs(a - b) <= half * (1 + 1e-6) + 1e-14 * abs(b)
        for a, b, half in zip(calculated.tolist(), printed.tolist(), halves, strict=True)
    )


def half_of_last_digit(number: str) -> float:
    if not number[0].isdigit():
        return math.nan
    mantissa, _, exponent = number.partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


@pytest.mark.parametrize("spelling", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("precision", [2, 4, 7, 12])
@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_printed_arithmetic_is_true(name: str, index: int, precision: int, spelling: Spelling) -> None:
    for coordinate in (None, 2):
        for step in steps(name, index, precision=precision, spelling=spelling, coordinate=coordinate):
            for line in step.lines:
                assert is_true(line.filled, line.result), str(line)


@given(
    data=st.data(),
    name=st.sampled_from(sorted(set(RULES) - {"muon"})),
    precision=st.integers(2, 12),
    t=st.integers(1, 10_000),
    lr=st.floats(1e-9, 1e3),
)
@settings(deadline=None, max_examples=300)
def test_printed_arithmetic_is_true_for_any_numbers(
    data: st.DataObject, name: str, precision: int, t: int, lr: float
) -> None:
    numbers = st.one_of(st.floats(-10, 10), st.floats(-1e9, 1e9), st.floats(-1e-9, 1e-9))
    vectors = st.lists(numbers, min_size=3, max_size=3)
    hyperparameters = {**data.draw(st.sampled_from(TELLING[name])), "lr": lr}
    signed = ("exp_avg", "momentum_buffer", "prev", "ax", "grad_avg")
    state: dict[str, Any] = {}
    for entry in RULES[name].state:
        if entry.scalar:
            state[entry.key] = data.draw(st.floats(1e-6, 1))
        else:
            vector = data.draw(vectors)
            state[entry.key] = vector if entry.key in signed else list(map(abs, vector))
    w, g = data.draw(vectors), data.draw(vectors)

    step = read(RULES[name]).explain(w, g, t, state, hyperparameters, precision=precision)

    for line in step.lines:
        assert is_true(line.filled, line.result), str(line)


@pytest.mark.parametrize(
    "damaged_text",
    [
        "0.1·1.0000 + (1 − 0)·0.9700",  # another number
        "0.1·1.0000 − (1 − 0)·0.9800",  # another sign
        "0.1·1.0000 + 1 − 0·0.9800",  # no parentheses
        "0.1·1.0000 + (1 − 0)·0.9800²",  # a square too many
        "0.1·1.0000 + (1 − 0.1)·0.9800",  # another hyperparameter
        "0.1·1.0000 + (1 − 0)·0.98006",  # a digit too many
    ],
)
def test_damaged_arithmetic_is_noticed(damaged_text: str) -> None:
    assert is_true("0.1·1.0000 + (1 − 0)·0.9800", "1.0800")
    assert not is_true(damaged_text, "1.0800")


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_a_result_with_another_last_digit_is_noticed(name: str, index: int) -> None:
    for step in steps(name, index, coordinate=1):
        for line in step.lines:
            changed = re.sub(
                r"\d(?=(e[+-]\d+)?\)?$)", lambda digit: str((int(digit[0]) + 5) % 10), line.result
            )

            assert not is_true(line.filled, changed), str(line)


def test_four_decimals_alone_would_not_be_true() -> None:
    step = list(steps("adam", 0, coordinate=2))[-1]
    rounded = [
        re.sub(r"\d\.\d{5,}", lambda match: f"{float(match[0]):.4f}", line.filled) for line in step.lines
    ]

    assert not all(is_true(filled, line.result) for filled, line in zip(rounded, step.lines, strict=True))


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_an_ascii_line_of_one_coordinate_is_python(name: str, index: int) -> None:
    if name in ("adafactor", "muon"):
        pytest.skip("its rule mixes coordinates")
    known = {
        "sqrt": math.sqrt,
        "abs": abs,
        "sign": lambda x: math.copysign(x != 0, x),
        "min": min,
        "max": max,
    }
    for step in steps(name, index, coordinate=3, spelling=ASCII, precision=9):
        for line in step.lines:
            assert line.filled.isascii()
            assert eval(line.filled, dict(known)) == pytest.approx(line.value, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_the_result_is_that_of_the_rule_itself(name: str, index: int) -> None:
    rule = RULES[name]
    filled_in = {parameter.name: parameter.default for parameter in rule.parameters}
    filled_in.update(TELLING[name][index])
    weights: Any = torch.tensor(in_form(name, start(4), index), dtype=torch.float64)
    if name == "muon" and weights.dim() == 1:
        weights = weights[None]
    state: list[Any] = [
        torch.as_tensor(value, dtype=torch.float64).expand(weights.shape if not entry.scalar else ())
        if value is not None
        else None
        for entry, value in zip(rule.state, rule.initial_state(filled_in), strict=True)
    ]
    explained = {}
    for t in range(1, max(SHOWN_STEPS) + 1):
        g = torch.tensor(in_form(name, gradient(t, 4), index), dtype=torch.float64).reshape(weights.shape)
        given = {e.key: v for e, v in zip(rule.state, state, strict=True) if v is not None}
        step = read(rule).explain(weights, g, t, given, TELLING[name][index])
        weights, *state = rule(weights, g, t, *state, **TELLING[name][index])
        explained = {"weights": step.weights, **step.state}
        expected = {"weights": weights, **{e.key: v for e, v in zip(rule.state, state, strict=True)}}

        for key, value in explained.items():
            torch.testing.assert_close(
                torch.tensor(value, dtype=torch.float64).reshape(torch.as_tensor(expected[key]).shape),
                torch.as_tensor(expected[key], dtype=torch.float64),
                rtol=1e-14,
                atol=1e-15,
            )


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_parts_add_up_to_the_weight_change(name: str, index: int) -> None:
    before = torch.tensor(in_form(name, start(4), index), dtype=torch.float64)
    for t, step in zip(SHOWN_STEPS[:3], steps(name, index), strict=False):  # steps that follow one another
        after = torch.tensor(step.weights, dtype=torch.float64)
        total = sum((torch.tensor(part.value, dtype=torch.float64) for part in step.parts), 0.0 * after)

        torch.testing.assert_close(total, after - before, rtol=1e-13, atol=1e-15, msg=f"step {t}")
        before = after


def test_parts_of_sgd_are_those_worked_out_by_hand() -> None:
    settings = {"lr": 0.1, "momentum": 0.5, "dampening": 0.25, "weight_decay": 0.2}
    step = read(sgd).explain(2.0, 3.0, 2, {"momentum_buffer": 4.0}, settings)

    parts = {part.name: part.value for part in step.parts}
    assert parts == pytest.approx(
        {"gradient": -0.1 * 0.75 * 3, "momentum": -0.1 * 0.5 * 4, "weight decay": -0.1 * 0.75 * 0.2 * 2}
    )


@pytest.mark.parametrize(
    ("name", "hyperparameters", "parts"),
    [
        ("sgd", {}, ["gradient"]),
        (
            "sgd",
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            ["gradient", "momentum", "weight decay"],
        ),
        ("adam", {"weight_decay": 0.1}, ["gradient", "momentum", "weight decay"]),
        ("adamw", {}, ["gradient", "momentum", "weight decay"]),
        ("nadam", {}, ["gradient", "momentum"]),
        ("rmsprop", {"centered": True, "momentum": 0.9}, ["gradient", "momentum"]),
        ("adadelta", {}, ["gradient"]),
        ("adafactor", {"weight_decay": 0.1}, ["gradient", "weight decay"]),
        ("asgd", {}, ["gradient", "weight decay"]),
        ("rprop", {}, ["step"]),
        ("muon", {}, ["weight decay", "step"]),
    ],
)
def test_an_update_is_split_as_far_as_it_is_a_sum(
    name: str, hyperparameters: dict[str, Any], parts: list[str]
) -> None:
    first = read(RULES[name]).explain([1.0, -2.0], [0.5, 0.25], 1, {}, hyperparameters)
    second = read(RULES[name]).explain(first.weights, [0.75, -0.5], 2, first.state, hyperparameters)

    assert parts == [part.name for part in second.parts]


@rule(source="none: a rule for this test")
def shrinking(w: Any, g: Any, t: int, *, lr: float = 0.1, weight_decay: float = 0.5) -> tuple[Any, ...]:
    w = (1 - lr * weight_decay) * w
    w = w - lr * g
    return (w,)


def test_weights_that_are_shrunk_by_a_factor_show_their_decay_too() -> None:
    parts = read(shrinking).explain(2.0, 3.0, 1, {}, {}).parts

    assert {part.name: part.value for part in parts} == pytest.approx(
        {"gradient": -0.3, "weight decay": -0.1}
    )


@rule(source="none: a rule for this test")
def guarded(w: Any, g: Any, t: int, *, lr: float = 0.1) -> tuple[Any, ...]:
    if g > 0:
        w = w - lr * g
    return (w,)


def test_a_guard_on_coordinates_is_refused() -> None:
    with pytest.raises(UsageError, match="the condition of an if cannot depend on the coordinate; use where"):
        read(guarded).explain([1.0, 2.0], [1.0, -1.0], 1, {}, {})


UNREADABLE = {
    "w -= lr * g": "w -= lr * g",
    "w = w - lr * np.sign(g)": "np.sign(g)",
    "w = w - lr * g.sign()": "g.sign()",
    "w = w - lr * exp(g)": "exp(g)",
    "w = w - lr * EPS": "EPS",
    "w = w - lr * g[0]": "g[0]",
    "w = w - lr * (0 < g < 1)": "0 < g < 1",
    "w = w - lr * maximum(a=g, b=w)": "maximum(a=g, b=w)",
    "w, g = g, w": "w, g = g, w",
    "while lr: w = w - g": "while lr: w = w - g",
    "print(w)": "print(w)",
    "for k in (1, 2): w = w - k * g": "for k in (1, 2): w = w - k * g",
}
"""Lines that a rule cannot have, and the part of each that cannot be read."""


@pytest.mark.parametrize("line", UNREADABLE)
def test_what_cannot_be_read_is_named_with_its_line_and_what_may_stand_there(
    line: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from optitrace.functions import maximum\nfrom optitrace.rules.rule import rule\n\n"
        "EPS = 1e-8\n\n"
        '@rule(source="none")\n'
        "def mine(w, g, t, *, lr=0.1):\n"
        '    """A rule for this test."""\n'
        "    g = -g\n"
        f"    {line}\n"
        "    return (w,)\n"
    )
    written = runpy.run_path(str(path))["mine"]
    functions = ", ".join(sorted(FUNCTIONS))

    with pytest.raises(UsageError) as raised:
        read(written)

    sentence = str(raised.value)
    assert sentence.startswith(f"{path}, line 10: a rule cannot contain '{UNREADABLE[line]}'; ")
    assert sentence.endswith(f"and of optitrace.functions: {functions}.")


def test_a_function_of_the_same_name_from_elsewhere_is_refused() -> None:
    def sqrt(x: Any) -> Any:
        return x

    wrong = replace(sgd, function=compiled(definition(adagrad.function), adagrad.function, "wrong"))
    wrong.function.__globals__["sqrt"] = sqrt

    with pytest.raises(UsageError, match=r"a rule cannot contain 'sqrt\(s\)'"):
        read(wrong)


@rule(source="none: a rule for this test")
def endless(w: Any, g: Any, t: int, *, lr: float = 0.1) -> tuple[Any, ...]:
    raise NotImplementedError


def test_a_rule_that_returns_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="a rule must end by returning its weights and state"):
        read(endless)


def text(step: StepExplanation) -> list[str]:
    return [str(line) for line in step.lines]


def test_the_second_documented_momentum_step_reads_as_in_the_document() -> None:
    settings = {"lr": 0.01, "momentum": 0.1}
    step = read(sgd).explain([0.49, 0.48], [1.0, 2.0], 2, {"momentum_buffer": [1.0, 2.0]}, settings)

    assert text(step) == [
        "b = momentum·b + (1 − dampening)·g = 0.1·(1.0000, 2.0000) + (1 − 0)·(1.0000, 2.0000)"
        " = (1.1000, 2.2000)",
        "g = b = (1.1000, 2.2000)",
        "w = w − lr·g = (0.4900, 0.4800) − 0.01·(1.1000, 2.2000) = (0.4790, 0.4580)",
    ]


def test_operands_get_the_digits_that_the_result_needs() -> None:
    step = read(adagrad).explain(0.5, 3e-5, 1, {}, {"lr": 0.01})

    assert text(step) == [
        "lr_t = lr / (1 + (t − 1)·lr_decay) = 0.01 / (1 + (1 − 1)·0) = 0.0100",
        "s = s + g² = 0.0000 + (3.0000e-05)² = 9.0000e-10",
        "w = w − lr_t·g / (√s + eps) = 0.5000 − 0.0100·3.0000e-05 / (√9.0000e-10 + 1e-10) = 0.4900",
    ]


def test_negative_numbers_stand_in_parentheses_after_a_sign() -> None:
    step = read(sgd).explain(-0.5, -1.0, 1, {}, {"lr": 0.01, "weight_decay": 0.1, "maximize": True})

    assert [line.filled for line in step.lines] == [
        "−(−1.0000)",
        "1.0000 + 0.1·(−0.5000)",
        "−0.5000 − 0.01·0.9500",
    ]


def test_lines_that_do_nothing_are_left_out() -> None:
    plain = read(sgd).explain(0.5, 1.0, 1, {}, {})
    before_the_threshold = read(radam).explain(0.5, 1.0, 5, {}, {})

    assert [line.name for line in plain.lines] == ["w"]
    assert "r" not in [line.name for line in before_the_threshold.lines]
    assert before_the_threshold.lines[-2].when == "ρ ≤ 5"
    assert "r" in [line.name for line in read(radam).explain(0.5, 1.0, 6, {}, {}).lines]


def test_coordinates_that_take_different_branches_have_lines_of_their_own() -> None:
    state = {"exp_avg": [0.1, 0.2, 0.3]}
    step = read(sparseadam).explain([1.0, 2.0, 3.0], [1.0, 0.0, -1.0], 2, state, {})

    first, second = (line for line in step.lines if line.name == "m")
    assert str(first) == (
        "m[1, 3] = β₁·m + (1 − β₁)·g = 0.9·(0.1000, 0.3000) + (1 − 0.9)·(1.0000, −1.0000) = (0.1900, 0.1700)"
    )
    assert str(second) == "m[2] = m = 0.2000"
    assert (second.coordinates, second.when, second.value) == ((2,), "g = 0", (0.2,))


def test_a_coordinate_is_followed_as_plain_numbers() -> None:
    step = read(rprop).explain(
        [1.0, 2.0], [-1.0, 1.0], 2, {"prev": [1.0, 1.0], "step_size": 0.01}, {}, coordinate=1
    )

    assert text(step) == [
        "change = sign(g·g_prev) = sign(−1.0000·1.0000) = −1.0000",
        "s = η_minus·s = 0.5·0.0100 = 0.0050",
        "s = min(max(s, s_min), s_max) = min(max(0.0050, 1e-06), 50) = 0.0050",
        "g = 0.0000",
        "w = w − s·sign(g) = 1.0000 − 0.0050·sign(0.0000) = 1.0000",
        "g_prev = g = 0.0000",
    ]
    assert step.weights == (1.0, 1.988)


def test_where_a_rule_mixes_coordinates_all_of_them_are_shown() -> None:
    step = read(adafactor).explain([3.0, 4.0], [1.0, 1.0], 1, {}, {"lr": 0.01}, coordinate=2)

    assert "max(0.001, rms(3.0000, 4.0000))·min(0.01, 1 / 1^0.5)" in [line.filled for line in step.lines]


def test_many_coordinates_are_shortened_in_the_text_alone() -> None:
    (line,) = read(sgd).explain([float(k) for k in range(9)], [0.0] * 9, 1, {}, {}).lines

    assert line.result == "(0.0000, 1.0000, …, 7.0000, 8.0000)"
    assert line.value == tuple(float(k) for k in range(9))
    assert is_true(line.filled, line.result)


def test_rounds_of_a_loop_are_numbered() -> None:
    lines = read(muon).explain([1.0, 2.0], [3.0, -4.0], 1, {}, {"ns_steps": 2}).lines

    assert [(line.iteration, line.name) for line in lines if line.iteration] == [
        (k, name) for k in (1, 2) for name in ("gram", "update", "x")
    ]


@pytest.mark.parametrize("g", [math.inf, -math.inf, math.nan, 1e200, 0.0, 5e-324])
@pytest.mark.parametrize("name", sorted(set(RULES) - {"muon"}))
def test_numbers_that_are_not_finite_are_printed_and_never_raised(name: str, g: float) -> None:
    without_eps = {"eps": (0.0, 0.0) if name == "adafactor" else 0.0}
    settings = without_eps if "eps" in read(RULES[name]).defaults else {}
    first = read(RULES[name]).explain([1.0, 2.0], [g, 1.0], 1, {}, settings)
    second = read(RULES[name]).explain(first.weights, [g, 1.0], 2, first.state, settings)

    assert all(is_true(line.filled, line.result) for line in (*first.lines, *second.lines))


def test_the_machine_epsilon_is_that_of_the_experiment() -> None:
    line = read(adafactor).explain([1.0], [1.0], 1, {}, {}, dtype="float32").lines[0]

    assert str(line) == "ε₁ = machine_epsilon(w) = 2^(−23) = 1.1921e-07"
    assert line.value == torch.finfo(torch.float32).eps


def test_fixed_arguments_are_read_as_decided() -> None:
    assert "if weight_decay: w = w − lr·weight_decay·w" in read(adamw).formulas()
    assert not any("decoupled" in line for line in read(adamw).formulas())
    assert any("decoupled" in line for line in read(adam).formulas())


@pytest.mark.parametrize(
    ("written", "unicode", "ascii_spelling"),
    [
        (adam, "v = β₂·v + (1 − β₂)·g²", "v = beta2*v + (1 - beta2)*g**2"),
        (adam, "w = w − lr·m_hat / (√v_hat + eps)", "w = w - lr*m_hat / (sqrt(v_hat) + eps)"),
        (adafactor, "u = g / √(max(v, ε₁²))", "u = g / sqrt(max(v, eps1**2))"),
        (
            asgd,
            "w_mean = w if μ = 1 else w_mean + μ·(w − w_mean)",
            "w_mean = w if mu == 1 else w_mean + mu*(w - w_mean)",
        ),
        (muon, "    gram = bfloat16(x @ xᵀ)", "    gram = bfloat16(x @ transpose(x))"),
        (rprop, "g = 0 if change < 0 else g", "g = 0 if change < 0 else g"),
    ],
)
def test_a_rule_is_written_as_mathematics(written: Any, unicode: str, ascii_spelling: str) -> None:
    assert unicode in read(written).formulas()
    assert ascii_spelling in read(written).formulas(ASCII)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_can_be_spelled_in_ascii(name: str) -> None:
    assert "\n".join(read(RULES[name]).formulas(ASCII)).isascii()


@pytest.mark.parametrize(("name", "mistake"), [(name, m) for name in RULES for m in MISTAKES[name]])
def test_damaged_rules_can_be_read_too(name: str, mistake: Mistake) -> None:
    assert read(damaged(RULES[name], mistake)).formulas() != read(RULES[name]).formulas()


def test_lines_print_what_they_hold_once() -> None:
    line = RuleLine("step", "b", "1.0000", "1.0000", 1.0, "step")

    assert str(line) == "step = b = 1.0000"


def test_a_coordinate_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no coordinate 3; the weights have 1 to 2\."):
        read(sgd).explain([1.0, 2.0], [1.0, 2.0], 1, {}, {}, coordinate=3)


def test_a_hyperparameter_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="sgd has no betas; its hyperparameters are lr, momentum"):
        read(sgd).explain(1.0, 1.0, 1, {}, {"betas": (0.9, 0.99)})


def test_reading_and_explaining_need_no_torch() -> None:
    code = (
        "import sys; from optitrace.rules.reader import read;"
        "from optitrace.rules.families.adaptive import adafactor;"
        "read(adafactor).explain([1.0, 2.0], [1.0, 2.0], 1, {}, {}); sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("header", "annotation", "expected"),
    [
        ("from __future__ import annotations\n", "Matrix", True),
        ("", "Matrix", True),
        ("from __future__ import annotations\n", "Number", False),
        ("from __future__ import annotations\nfrom torch import Tensor\n", "Tensor", False),
        ("from torch import Tensor\n", "Tensor", False),
        ("", "object", False),
    ],
)
def test_a_rule_whose_weights_are_annotated_as_a_matrix_is_given_one(
    header: str, annotation: str, expected: bool, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"{header}from optitrace.functions import Matrix, Number\nfrom optitrace.rules.rule import rule\n\n"
        f'@rule(source="none")\ndef mine(w: {annotation}, g, t, *, lr: float = 0.1):\n'
        "    return (w - lr * g,)\n"
    )
    written = runpy.run_path(str(path))["mine"]

    assert takes_matrices(written.function) is expected
    assert [parameter.annotation for parameter in written.parameters] == [float]
