from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optitrace.errors import UsageError
from optitrace.experiment.expression import DEEPEST, FUNCTIONS, LONGEST, parse_expression

GOOD = [
    ("w1**2 + 2*w2**2", (0.5, -0.25), 0.375),
    ("(1 - w1)**2 + 100*(w2 - w1**2)**2", (-1.2, 1.0), 24.2),
    ("sin(3*w1) + cos(w2)", (0.2, 0.3), math.sin(0.6) + math.cos(0.3)),
    ("exp(-w1/2)*e + pi", (1.0,), math.exp(0.5) + math.pi),
    ("abs(-w1) + sqrt(w2) + log(w3)", (-2.0, 9.0, math.e), 6.0),
    ("-w1**2", (3.0,), -9.0),
    ("2**w1", (3.0,), 8.0),
    ("w1**0.5", (4.0,), 2.0),
    ("2**-1*w1", (4.0,), 2.0),
    ("relu(w1) + sigmoid(0*w1) + tanh(0*w1) + atan(0*w1) + tan(0*w1)", (2.0,), 2.5),
    ("w3", (1.0, 2.0, 3.0), 3.0),
]


@pytest.mark.parametrize(("text", "weights", "expected"), GOOD)
def test_an_expression_is_worth_what_it_says(text: str, weights: tuple[float, ...], expected: float) -> None:
    expression = parse_expression(text)

    assert expression.dimension == len(weights)
    assert expression.evaluate(torch.tensor(weights, dtype=torch.float64)).item() == pytest.approx(expected)
    assert expression.evaluate(torch.tensor([weights], dtype=torch.float64)).item() == pytest.approx(expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_the_gradient_of_a_central_difference(function: str) -> None:
    expression = parse_expression(f"{function}(w1)")
    w = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    expression.evaluate(w).backward()  # type: ignore[no-untyped-call]

    def value(at: float) -> float:
        return expression.evaluate(torch.tensor([at], dtype=torch.float64)).item()

    assert w.grad is not None
    assert w.grad.item() == pytest.approx((value(0.7 + 1e-6) - value(0.7 - 1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_numbers_take_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    assert parse_expression("0.1*w1 + pi").evaluate(torch.ones(1, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("w1**2 + 2*w2**2", "w1² + 2·w2²"),
        ("sqrt(w1)/(1 + w2)", "√w1 / (1 + w2)"),
        ("abs(w1)**3", "abs(w1)³"),
    ],
)
def test_the_formula_is_mathematics(text: str, formula: str) -> None:
    assert parse_expression(text).formula == formula


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(-1)**0.5*w1", math.nan),
        ("9**9**9*w1", math.inf),
        ("(-1e10)**63*w1", -math.inf),
        ("w1/0", math.inf),
        ("1/0*w1", math.inf),
        ("1/-0.0*w1", -math.inf),
    ],
)
def test_numbers_without_a_value_are_those_of_torch(text: str, expected: float) -> None:
    value = parse_expression(text).evaluate(torch.ones(1)).item()

    assert str(value) == str(expected)


CANNOT = "cannot be used in an expression; it may have w1, w2, …, numbers"
ATTACKS = [
    ("__import__('os').system('id')", "there is no function|cannot be used"),
    ("().__class__.__bases__[0].__subclasses__()", CANNOT),
    ("w1.__class__", CANNOT),
    ("w1.backward", CANNOT),
    ("(lambda: 1)()", CANNOT),
    ("[x for x in (1,)]", CANNOT),
    ("{w1: 1}", CANNOT),
    ("w1[0]", CANNOT),
    ("f'{w1}'", CANNOT),
    ("'a'*10**9", CANNOT),
    ("b'x'", CANNOT),
    ("w1 if w1 else w2", CANNOT),
    ("w1 and w2", CANNOT),
    ("w1 < 2", CANNOT),
    ("not w1", CANNOT),
    ("~w1", CANNOT),
    ("w1 // 2", CANNOT),
    ("w1 % 2", CANNOT),
    ("w1 @ w2", CANNOT),
    ("w1 << 2", CANNOT),
    ("1j*w1", CANNOT),
    ("True*w1", CANNOT),
    ("None", CANNOT),
    ("...", CANNOT),
    ("*w1", "cannot read the expression|cannot be used"),
    ("(yield w1)", "cannot be used"),
    ("await w1", "cannot read the expression|cannot be used"),
    ("sin(*w1)", "cannot be used"),
    ("sin(x=w1)", "cannot be used"),
    ("sin(w1, w2)", "cannot be used"),
    ("sin()", "cannot be used"),
    ("sin(w1)(w2)", "cannot be used"),
    ("eval(w1)", "there is no function 'eval' in expressions; choose from: sin"),
    ("open(w1)", "there is no function 'open' in expressions"),
    ("sinn(w1)", r"there is no function 'sinn' in expressions; did you mean 'sin'\?"),
    ("sin", r"the function sin of an expression has no argument; write sin\(w1\), say"),
    ("_power(w1, 2)", "there is no function '_power'"),
    ("__builtins__", "'__builtins__' is unknown in an expression"),
    ("x1", "'x1' is unknown in an expression"),
    ("w0", "'w0' is unknown in an expression; weights are called w1, w2 and so on"),
    ("w01", "'w01' is unknown"),
    ("w99999", "there is no weight w99999; they end at w10000"),
    ("w1; w2", "cannot read the expression"),
    ("w1 = 2", "cannot read the expression"),
    ("w1 := 2", "cannot read the expression"),
    ("import os", "cannot read the expression"),
    ("w1 +", "cannot read the expression"),
    ("", "cannot read the expression ''"),
    ("w1\0", "cannot read the expression"),
    ("\ud800*w1", "cannot read the expression"),
    ("1 + 2", "has no weight in it; they are called w1, w2 and so on"),
    ("w1**65", "the exponent 65.0 is too large; it may be at most 64"),
    ("w1**-1000", "the exponent 1000.0 is too large"),
    ("w1**1e400", "the exponent inf is too large"),
    ("1" * 1500 + "*w1", "has a number that is too large for every dtype; write a smaller one"),
    ("w1*" + "1" * 7000, f"the expression has 7003 characters; it may have at most {LONGEST}"),
    ("(" * 150 + "w1" + ")" * 150, "w1|too many nested|cannot read"),
    ("-" * (DEEPEST + 1) + "w1", "is nested more than|cannot read"),
    ("sin(" * 90 + "w1" + ")" * 89, "cannot read the expression"),
]


@pytest.mark.parametrize(("text", "message"), ATTACKS, ids=range(len(ATTACKS)))
def test_what_is_not_allowed_is_refused_in_a_sentence(text: str, message: str) -> None:
    if text.startswith("((("):
        assert parse_expression(text).dimension == 1
        return
    with pytest.raises(UsageError, match=message) as caught:
        parse_expression(text)

    assert "\n" not in str(caught.value)


@given(st.text(alphabet="w12+-*/().eE_ sincoexpqrt,:'\"[]{}=<>\\lambda\n\t%@!~^&|", max_size=80))
def test_any_text_is_an_expression_or_a_sentence(text: str) -> None:
    expression = None
    said = "read."
    try:
        expression = parse_expression(text)
    except UsageError as error:
        said = str(error)

    assert said.endswith((".", "?"))
    assert "\n" not in said
    assert expression is None or expression.evaluate(torch.ones(expression.dimension)).numel() == 1


def test_a_sum_of_many_terms_is_not_nested() -> None:
    total = parse_expression(" + ".join(["w1**2"] * 300))

    assert total.evaluate(torch.tensor([2.0], dtype=torch.float64)).item() == 300 * 4
