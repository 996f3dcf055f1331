from __future__ import annotations

import math
import re
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reading import rows_of_blocks
from support.samples import any_trace, made_up, printed, traced

from optitrace.records.trace import TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.display import Display
from optitrace.views.grid import Field, few_fields, make_grid
from optitrace.views.presenters.trace import TracePresenter


def shown_fields(trace: TraceRecord) -> list[Field]:
    recorded = {"loss": trace.loss, "gradient": trace.gradient, "weights": trace.weights}
    return [
        *(field for name, column in recorded.items() for field in few_fields(name, column)),
        *few_fields("update", trace.weights, is_change=True),
        *(f for name, column in trace.state.items() for f in few_fields(name, column, is_state=True)),
    ]


def test_of_many_coordinates_the_norm_and_the_first_few_are_shown() -> None:
    trace = made_up([0, 1], [3.0, 4.0, 0.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0, 0.0], coordinates=5)
    grid = make_grid(trace, Display(precision=0, update=True))

    # norms by hand: 5, 10, and of the update (3, 4, 0, 0, 0), 5
    assert [heading for heading in grid.headings if heading[0] == "weights"] == [
        ("weights", "norm"),
        ("weights", "w1"),
        ("weights", "w2"),
        ("weights", "w3"),
    ]
    assert grid.rows[1][-8:] == ("10", "6", "8", "0", "5", "3", "4", "0")


def is_rounded(cell: str, value: float, precision: int) -> bool:
    """Tell whether a cell says a value as exactly as its digits can, and as zero only what is zero."""
    number = Decimal(cell)
    if not number.is_finite() and math.isfinite(value):
        return False
    if not math.isfinite(value) or value == 0:
        return str(float(cell)) == str(abs(value) if value == 0 else value)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - 1)
    decimals = len(cell.partition("e")[0].partition(".")[2])
    return number != 0 and decimals in (precision, 0) and abs(number - Decimal(value)) <= half


@settings(deadline=None)
@given(trace=any_trace(), precision=st.integers(0, 17))
def test_every_cell_is_its_number_rounded(trace: TraceRecord, precision: int) -> None:
    grid = make_grid(trace, Display(precision=precision, state=True, update=True))
    columns = list(zip(*grid.rows, strict=True))

    assert list(columns[0]) == [str(step) for step in trace.steps]
    for field, cells in zip(shown_fields(trace), columns[1:], strict=True):
        for row, cell in enumerate(cells):
            value = field.value(row)
            assert cell == "" if value is None else is_rounded(cell, value, precision), (cell, value)


@pytest.mark.parametrize(
    ("cell", "value"), [("0.0000", 1e-9), ("1.2346e-07", 1.2345e-7), ("inf", 1e308), ("0.5000", 0.5001)]
)
def test_a_cell_that_says_another_number_is_noticed(cell: str, value: float) -> None:
    assert not is_rounded(cell, value, 4)


def test_the_update_is_the_change_since_the_row_before() -> None:
    trace = made_up([0, 1, 2], [1.0, 10.0, 3.0, 14.0, 8.0, 21.0])
    grid = make_grid(trace, Display(precision=0, update=True))

    updates = [row[-2:] for row in grid.rows]

    assert updates == [("", ""), ("2", "4"), ("5", "7")]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_state_entry_is_shown_under_torchs_name(optimizer: str) -> None:
    trace = traced(optimizer)
    headings = make_grid(trace, Display(state=True)).headings[6:]

    assert {quantity for quantity, _ in headings} == set(trace.state)


@pytest.mark.parametrize("count", [0, 1, 60, 16_777_216, 123_456_789_012])
def test_a_counter_is_a_whole_number_of_any_size(count: int) -> None:
    trace = made_up([0, 1], [float(count)], state={"step": (), "exp_avg": (2,)})
    grid = make_grid(trace, Display(state=True))

    assert grid.headings[6] == ("step", "state")
    assert [row[6] for row in grid.rows] == ["", str(count)]
    assert "." in grid.rows[1][7]


@pytest.mark.parametrize("value", [0.5, 1e300, math.inf, -(2.0**60)])
def test_a_scalar_of_the_state_that_counts_nothing_has_decimals(value: float) -> None:
    grid = make_grid(made_up([0, 1], [value], state={"prev_loss": ()}), Display(state=True))

    assert grid.rows[1][6] in ("0.5000", "1.0000e+300", "inf", "-1.1529e+18")


@pytest.mark.parametrize(("steps", "rows"), [(59, 60), (60, 40), (61, 40), (5000, 40)])
def test_a_trace_of_more_than_60_rows_shows_20_at_each_end(steps: int, rows: int) -> None:
    trace = made_up(range(steps + 1), [0.25])
    grid = make_grid(trace, Display())
    shown = [int(row[0]) for row in grid.rows]

    assert len(shown) == rows
    assert grid.hidden == steps + 1 - rows
    assert (grid.gap is None) is (grid.hidden == 0)
    gaps = [(before, after) for before, after in pairwise(shown) if after != before + 1]
    assert gaps == ([(19, steps - 19)] if grid.hidden else [])
    assert make_grid(trace, Display(all_rows=True)).hidden == 0
    assert len(make_grid(trace, Display(all_rows=True)).rows) == steps + 1


@pytest.mark.parametrize(("width", "dots"), [(80, "⋮"), (30, "⋮")])
def test_dots_stand_between_head_and_tail_and_the_hidden_rows_are_counted(width: int, dots: str) -> None:
    text = printed(TracePresenter(made_up(range(101), [0.25])).table(Display(width=width)), width)

    for rows in rows_of_blocks(text):
        assert rows == [*map(str, range(20)), dots, *map(str, range(81, 101))]
    assert "61 rows are hidden; --all" in text


def test_dots_stand_in_the_list_for_narrow_terminals_too() -> None:
    text = printed(TracePresenter(made_up(range(101), [0.25])).table(Display(width=12)), 12)

    assert re.search(r"\n\n⋮\n\nstep      81\n", text)
    assert "\n\n:\n\nstep" in printed(
        TracePresenter(made_up(range(101), [0.25])).table(Display(width=12, ascii=True)), 12
    )


@settings(deadline=None, max_examples=200)
@given(last=st.integers(60, 5000), every=st.integers(1, 80))
def test_the_hint_names_an_every_under_which_all_rows_are_shown(last: int, every: int) -> None:
    steps = sorted({*range(0, last + 1, every), last})
    text = printed(TracePresenter(made_up(steps, [0.25])).table(Display(width=200)), 200)
    hint = re.search(r"--every (\d+)", text)

    assert (hint is None) is (len(steps) <= 60)
    if hint:
        proposed = int(hint[1])
        assert len({*range(0, last + 1, proposed), last}) <= 60
        assert len({*range(0, last + 1, proposed - 1), last}) > 60 or proposed - 1 < -(-last // 60)
