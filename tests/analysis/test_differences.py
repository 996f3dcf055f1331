"""Differences: one bit in any quantity is found where it is, and nothing is found where there is nothing."""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optitrace.analysis.diff_report import differing_settings, first_rule_difference
from optitrace.analysis.differences import Difference, diff
from optitrace.analysis.tolerance import CLOSE, EXACT, Tolerance, tolerance
from optitrace.experiment.experiment import design
from optitrace.experiment.text import design_text, parse_text
from optitrace.records.trace import Column, TraceRecord
from optitrace.tracing.tracer import trace


def traced(text: str) -> TraceRecord:
    return trace(design_text(parse_text(text)))


ADAM = traced("adam:lr=0.1,amsgrad=true,steps=6")

QUANTITIES = ("loss", "gradient", "lr", "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "weights")


def with_column(original: TraceRecord, quantity: str, column: Column) -> TraceRecord:
    if quantity in original.state:
        return replace(original, state={**original.state, quantity: column})
    return replace(original, columns={**original.columns, quantity: column})


def with_number(original: TraceRecord, quantity: str, position: int, number: float) -> TraceRecord:
    column = {**original.columns, **original.state}[quantity]
    values = array("d", column.values)
    values[position] = number
    return with_column(original, quantity, replace(column, values=values))


def number(original: TraceRecord, quantity: str, position: int) -> float:
    return {**original.columns, **original.state}[quantity].values[position]


def one_bit_off(value: float, form: str) -> float:
    """Return a number with its lowest bit turned, as a C type of this form: f or d."""
    integer = {"f": "I", "d": "Q"}[form]
    (bits,) = struct.unpack(integer, struct.pack(form, value))
    (turned,) = struct.unpack(form, struct.pack(integer, bits ^ 1))
    assert isinstance(turned, float)
    return turned


@pytest.mark.parametrize("position", [0, 3, -1])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_one_bit_of_one_number_is_found_where_it_is(quantity: str, position: int) -> None:
    column = {**ADAM.columns, **ADAM.state}[quantity]
    position %= len(column.values)
    before = column.values[position]
    after = one_bit_off(before, "d" if quantity == "lr" else "f")

    found = diff(ADAM, with_number(ADAM, quantity, position, after))

    row, coordinate = divmod(position, column.size)
    step = ADAM.steps[row + column.first]
    dtype = "float64" if quantity == "lr" else "float32"
    where = coordinate + 1 if column.shape else None
    assert found.first == Difference(quantity, step, where, before, after, 1.0, dtype)
    assert [q.quantity for q in found.quantities if q.differing] == [quantity]
    assert not found.are_same


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_lowest_bit_of_float64_is_found_in_a_float32_run(quantity: str) -> None:
    before = number(ADAM, quantity, 2)

    found = diff(ADAM, with_number(ADAM, quantity, 2, one_bit_off(before, "d")))

    assert found.first is not None
    assert (found.first.quantity, found.first.ulps, found.first.dtype) == (quantity, 1.0, "float64")


def test_one_bit_of_the_final_loss_is_found() -> None:
    found = diff(ADAM, replace(ADAM, final_loss=one_bit_off(ADAM.final_loss, "f")))

    assert found.first is not None
    assert (found.first.quantity, found.first.step, found.first.ulps) == ("final_loss", 6, 1.0)


@given(st.sampled_from(QUANTITIES), st.data())
def test_any_other_number_anywhere_is_the_first_difference(quantity: str, data: st.DataObject) -> None:
    values = {**ADAM.columns, **ADAM.state}[quantity].values
    position = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(st.floats().filter(lambda x: repr(x) != repr(values[position])))

    found = diff(ADAM, with_number(ADAM, quantity, position, other))

    assert found.first is not None
    assert found.first.quantity == quantity
    assert (repr(found.first.a), repr(found.first.b)) == (repr(values[position]), repr(other))
    assert [q.differing for q in found.quantities if q.differing] == [1]


@pytest.mark.parametrize("text", ["sgd", "adam", "sgd:lr=0.6,steps=300", "lbfgs", "sgd:steps=0", "muon"])
def test_the_same_run_is_the_same(text: str) -> None:
    found = diff(traced(text), traced(text))

    assert found.are_same
    assert found.first is None
    assert found.growth == ()


def test_the_earliest_step_comes_first_and_in_a_step_the_order_in_which_it_has_its_quantities() -> None:
    later = with_number(ADAM, "weights", 5, 1.0)  # coordinate 2 after step 2
    same_step = with_number(later, "exp_avg", 3, 1.0)  # coordinate 2 after step 2
    earlier = with_number(same_step, "exp_avg_sq", 1, 1.0)  # coordinate 2 after step 1

    assert [d.quantity for d in map(first_difference, (later, same_step, earlier))] == [
        "weights",
        "exp_avg",
        "exp_avg_sq",
    ]


def first_difference(other: TraceRecord) -> Difference:
    first = diff(ADAM, other).first
    assert first is not None
    return first


def test_nan_is_the_same_as_nan_whatever_its_bits() -> None:
    (negative,) = struct.unpack("d", struct.pack("Q", 0xFFF8000000000001))

    assert diff(with_number(ADAM, "loss", 1, math.nan), with_number(ADAM, "loss", 1, negative)).are_same
    assert not diff(ADAM, with_number(ADAM, "loss", 1, math.nan)).are_same


def test_zero_and_minus_zero_differ_by_a_bit_and_by_no_more() -> None:
    plus, minus = with_number(ADAM, "weights", 2, 0.0), with_number(ADAM, "weights", 2, -0.0)

    found = diff(plus, minus)

    assert found.first is not None
    assert (found.first.ulps, found.first.size) == (0.0, 0.0)
    assert diff(plus, minus, tolerance(close=True)(("float32", "float32"))).are_same
    assert diff(plus, minus, Tolerance(ulps=1)).are_same


def test_the_same_infinity_is_no_difference_in_how_others_grow() -> None:
    a, b = (with_number(ADAM, "weights", 5, math.inf) for _ in range(2))

    found = diff(a, with_number(b, "weights", 2, 0.25))

    assert [(d.step, d.size) for d in found.growth if d.step == 2] == [(2, 0.0)]


def test_a_number_and_one_that_is_not_finite_are_infinitely_apart() -> None:
    found = diff(ADAM, with_number(ADAM, "weights", 2, math.inf))

    assert found.first is not None
    assert (found.first.size, found.first.ulps) == (math.inf, math.inf)


def test_a_thinned_trace_is_compared_at_the_steps_that_both_have() -> None:
    assert diff(ADAM, ADAM.every_kth(4)).are_same
    assert diff(ADAM.every_kth(2), ADAM.every_kth(3)).are_same

    off = with_number(ADAM, "weights", 8, 1.0)  # after step 4
    assert not diff(off, ADAM.every_kth(4)).are_same
    assert diff(off, ADAM.every_kth(5)).are_same


def test_a_shorter_trace_is_compared_as_far_as_it_goes_and_is_not_the_same() -> None:
    found = diff(ADAM, ADAM.at_rows(range(4)))

    assert found.first is None
    assert (found.last_steps, found.compared_to) == ((6, 3), 3)
    assert not found.are_same


def test_what_only_one_trace_has_is_told_and_makes_them_different() -> None:
    lacking = replace(ADAM, state={"step": ADAM.state["step"]})

    found = diff(ADAM, lacking)

    assert {only.quantity: (only.a, only.b) for only in found.incomparable} == {
        "exp_avg": ("2 coordinates", ""),
        "exp_avg_sq": ("2 coordinates", ""),
        "max_exp_avg_sq": ("2 coordinates", ""),
    }
    assert not found.are_same


def test_runs_of_unequal_dimension_are_compared_where_they_can_be() -> None:
    found = diff(traced("sgd"), traced("sgd:coefficients=1;2;3"))

    assert [(i.quantity, i.a, i.b) for i in found.incomparable] == [
        ("gradient", "2 coordinates", "3 coordinates"),
        ("weights", "2 coordinates", "3 coordinates"),
    ]
    assert found.first is not None
    assert (found.first.quantity, found.first.a, found.first.b) == ("loss", 0.75, 1.5)


def test_growth_is_told_at_1_2_5_10_20_50_from_the_first_difference_to_the_end() -> None:
    found = diff(traced("sgd:steps=130"), traced("sgd:steps=130,dtype=float64"))

    assert [difference.step for difference in found.growth] == [1, 2, 5, 10, 20, 50, 100, 130]
    assert {difference.quantity for difference in found.growth} == {"weights"}


def test_the_greatest_difference_is_that_of_the_largest_size() -> None:
    off = with_number(with_number(ADAM, "gradient", 2, 50.0), "gradient", 7, -100.0)

    gradient = next(q for q in diff(ADAM, off).quantities if q.quantity == "gradient")

    assert gradient.greatest is not None
    assert (gradient.differing, gradient.compared) == (2, 12)
    assert (gradient.greatest.step, gradient.greatest.coordinate, gradient.greatest.b) == (4, 2, -100.0)


@pytest.mark.parametrize("dtype", CLOSE)
@settings(deadline=None)
@given(
    b=st.floats(-1e4, 1e4, width=16),
    share=st.sampled_from([0.0, 0.5, 0.9, 1.1, 2.0, -0.9, -1.1]),
)
def test_close_is_what_torch_testing_calls_close(dtype: str, b: float, share: float) -> None:
    rtol, atol = CLOSE[dtype]
    kind = getattr(torch, dtype)
    expected = torch.tensor(b, dtype=kind)
    actual = torch.tensor(expected.item() + share * (atol + rtol * abs(expected.item())), dtype=kind)
    try:
        torch.testing.assert_close(actual, expected, equal_nan=True)
        is_close = True
    except AssertionError:
        is_close = False

    assert (
        tolerance(close=True)((dtype, dtype)).allows(actual.item(), expected.item(), (dtype, dtype))
        is is_close
    )


@pytest.mark.parametrize(
    ("tolerance", "a", "b", "same"),
    [
        (Tolerance(ulps=1), 1.0, 1.0 + 2**-23, True),
        (Tolerance(ulps=1), 1.0, 1.0 + 2**-22, False),
        (Tolerance(ulps=2), 1.0, 1.0 + 2**-22, True),
        (Tolerance(atol=0.1), 1.0, 1.05, True),
        (Tolerance(atol=0.1), 1.0, 1.15, False),
        (Tolerance(rtol=0.1), 11.0, 10.0, True),
        (Tolerance(rtol=0.1), 10.0, 9.0, False),
        (Tolerance(rtol=0.1), math.inf, math.inf, True),
        (Tolerance(rtol=0.1), 1.0, math.inf, False),
        (Tolerance(rtol=0.1), math.nan, 1.0, False),
        (Tolerance(rtol=0.1), math.nan, math.nan, True),
        (EXACT, 0.0, -0.0, False),
    ],
)
def test_two_numbers_are_the_same_up_to_the_tolerance_and_no_further(
    tolerance: Tolerance, a: float, b: float, same: bool
) -> None:
    assert tolerance.allows(a, b, ("float32", "float32")) is same


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ("sgd", "sgd", []),
        ("adam", "adam:implementation=fused", [("implementation", "single", "fused")]),
        ("sgd", "sgd:lr=0.1,steps=3", [("lr", "0.01", "0.1"), ("steps", "10", "3")]),
        ("adam", "adamw", [("optimizer", "adam", "adamw"), ("weight_decay", "0", "0.01")]),
        ("sgd", "sgd:coefficients=1;3", [("loss", "w1² + 2·w2²", "w1² + 3·w2²")]),
        ("sgd:dtype=float32", "sgd:dtype=float64", [("dtype", "float32", "float64")]),
    ],
)
def test_settings_that_differ_are_named(a: str, b: str, named: list[tuple[str, str, str]]) -> None:
    found = differing_settings(traced(a), traced(b))

    assert [(setting.name, setting.a, setting.b) for setting in found] == named


@pytest.mark.parametrize(
    ("a", "b", "lines"),
    [
        ("sgd", "sgd:lr=0.1", ("w", "w")),
        ("sgd", "sgd:weight_decay=0.1", (None, "g")),
        ("sgd:weight_decay=0.1", "sgd", ("g", None)),
        ("sgd:momentum=0.9", "sgd:momentum=0.9,nesterov=true", ("g", "g")),
        ("sgd:momentum=0.9", "sgd:momentum=0.5", ("b", "b")),
        ("adam", "adam:betas=0.8;0.999", ("m", "m")),
        ("adam", "adam:betas=0.9;0.99", ("v", "v")),
        ("adam", "adam:eps=0.1", ("w", "w")),
        ("adam", "adamw", (None, "w")),
        ("sgd", "adam", (None, "m")),
        ("muon", "muon:momentum=0.5", ("m", "m")),
    ],
)
def test_the_first_line_of_the_rule_that_differs_is_named(
    a: str, b: str, lines: tuple[str | None, str | None]
) -> None:
    first_trace, second_trace = traced(a), traced(b)
    first = diff(first_trace, second_trace).first
    assert first is not None

    found = first_rule_difference(first_trace, second_trace, first)

    assert found is not None
    assert (found.a and found.a.name, found.b and found.b.name) == lines
    assert found.is_computed
    assert str(found.a) != str(found.b)


@pytest.mark.parametrize(
    ("quantity", "position", "name"),
    [("exp_avg", 3, "m"), ("exp_avg_sq", 3, "v"), ("weights", 5, "w")],
)
def test_where_the_rule_is_the_same_it_is_the_line_of_what_differs(
    quantity: str, position: int, name: str
) -> None:
    other = with_number(ADAM, quantity, position, 0.123)
    first = first_difference(other)

    found = first_rule_difference(ADAM, other, first)

    assert found is not None
    assert found.a is not None
    assert (found.a.name, found.coordinate, found.is_computed) == (name, 2, False)


def test_the_line_has_the_momentum_that_a_schedule_gave_the_step() -> None:
    """The cycles differ from step 2 on, where the momentum has fallen from 0.9 half the way to its base."""
    cycle = "CyclicLR:base_lr=0.01,max_lr=0.1,step_size_up=2,base_momentum"
    a, b = (
        trace(design("sgd", {"momentum": 0.9}, steps=2, schedule=f"{cycle}={base}")) for base in (0.5, 0.1)
    )
    first = diff(a, b).first
    assert first is not None

    found = first_rule_difference(a, b, first)

    assert found is not None
    assert found.a is not None
    assert found.b is not None
    assert found.a.filled.startswith("0.7·")
    assert found.b.filled.startswith("0.5·")


@pytest.mark.parametrize("quantity", ["loss", "gradient"])
def test_no_line_is_named_for_what_no_rule_computes(quantity: str) -> None:
    other = with_number(ADAM, quantity, 2, 0.123)

    assert first_rule_difference(ADAM, other, first_difference(other)) is None


def test_no_line_is_named_where_the_step_before_was_not_kept() -> None:
    a, b = (traced(text).every_kth(4) for text in ("sgd", "sgd:weight_decay=0.1"))
    first = diff(a, b).first
    assert first is not None

    assert first_rule_difference(a, b, first) is None
