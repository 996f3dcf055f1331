from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table
from support.reading import expected_cells, faults, is_in_blocks, read_blocks, rows_of_blocks
from support.samples import any_trace, made_up, printed, traced

from optitrace.records.trace import TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.display import Display
from optitrace.views.grid import make_grid
from optitrace.views.presenters.trace import TracePresenter
from optitrace.views.tables import plain_text

WIDTHS = (30, 40, 61, 80, 100, 132, 200, 300)

LOOKS = [Display(), Display(state=True), Display(update=True), Display(precision=17, state=True, update=True)]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_number_of_every_optimizer_is_whole_at_any_width(optimizer: str, ascii_only: bool) -> None:
    trace = traced(optimizer, coefficients=(1.0, 2.0, 1e-9, 1e9, 3.0), start=(0.5, -0.5, 1e-9, 1e4, 0.0))
    for look in LOOKS:
        for width in WIDTHS:
            text = printed(TracePresenter(trace).table(replace(look, width=width, ascii=ascii_only)), width)

            assert faults(text, make_grid(trace, look), width) == []


@settings(deadline=None)
@given(
    trace=any_trace(),
    look=st.builds(Display, precision=st.integers(0, 17), state=st.booleans(), update=st.booleans()),
    width=st.integers(30, 300),
    ascii_only=st.booleans(),
)
def test_any_number_is_whole_at_any_width(
    trace: TraceRecord, look: Display, width: int, ascii_only: bool
) -> None:
    text = printed(TracePresenter(trace).table(replace(look, width=width, ascii=ascii_only)), width)

    assert faults(text, make_grid(trace, look), width) == []


@pytest.mark.parametrize("width", [30, 40, 80])
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda text: text.replace("0.4584", "0.458…"), "'0.458…', not '0.4584'"),
        (lambda text: text.replace("0.4584", "0.4583"), "'0.4583', not '0.4584'"),
        (lambda text: text.replace("0.4584", "      "), "None, not '0.4584'"),
        (lambda text: text.replace("weights", "gradient", 1), "not '0.4900'"),
        (lambda text: text.replace("\n   2 ", "\n   3 "), "('2', 'loss', '')"),
        (lambda text: text + "x" * 81, "wider than"),
    ],
)
def test_a_damaged_table_is_noticed(damage: Callable[[str], str], fault: str, width: int) -> None:
    trace = traced("sgd", steps=2, momentum=0.12)
    text = printed(TracePresenter(trace).table(Display(width=width)), width)

    assert faults(text, make_grid(trace, Display()), width) == []
    assert fault in " ".join(faults(damage(text), make_grid(trace, Display()), width))


def test_a_damaged_list_is_noticed() -> None:
    trace = made_up([0, 10**12], [-1.234e-100])
    look = Display(precision=17)
    text = printed(TracePresenter(trace).table(replace(look, width=30)), 30)

    assert not is_in_blocks(text)
    assert faults(text, make_grid(trace, look), 30) == []
    assert faults(text.replace("e-100", "e-10…"), make_grid(trace, look), 30) != []
    assert faults(text.replace("weights w2", "weights w1"), make_grid(trace, look), 30) != []


def test_every_block_has_the_step_column_with_all_its_rows() -> None:
    text = printed(TracePresenter(traced("adam")).table(Display(state=True, width=40)), 40)

    assert rows_of_blocks(text) == [["0", "1", "2", "3"]] * 4


def test_a_block_whose_columns_have_no_second_heading_has_one_line_of_heading() -> None:
    text = printed(TracePresenter(traced("sgd")).table(Display(width=30)), 30)

    assert "step    loss\n────────────\n" in text


def test_quantities_stay_together_where_they_fit() -> None:
    text = printed(TracePresenter(traced("sgd")).table(Display(width=40)), 40)

    headings = [line.split() for line in text.splitlines() if line.startswith("step")]

    assert headings == [["step", "loss", "gradient", "gradient"], ["step", "weights", "weights"]]


def test_without_a_width_all_columns_stand_in_one_table() -> None:
    trace = traced("sgd", steps=1, coefficients=(1.0,) * 1500)
    text = plain_text(TracePresenter(trace).table(Display()))

    assert len(rows_of_blocks(text)) == 1
    assert read_blocks(text) == expected_cells(make_grid(trace, Display()))


def test_where_no_two_columns_fit_each_row_is_a_list() -> None:
    text = printed(TracePresenter(traced("sgd", steps=1)).table(Display(width=12)), 12)

    assert text.partition("\n\n")[2].startswith(
        "step       0\nweights w1\n      0.5000\nweights w2\n      0.5000\n\nstep       1\nloss  0.7500\n"
    )


def test_a_number_that_is_not_finite_is_red() -> None:
    shown = TracePresenter(made_up([0, 1], [float("nan"), 1.0, float("-inf")])).table(Display(width=80))
    assert isinstance(shown, Group)
    table = shown.renderables[3]
    assert isinstance(table, Table)

    styles = {str(cell): str(getattr(cell, "style", "")) for column in table.columns for cell in column.cells}

    assert styles == {"0": "", "1": "", "": "", "nan": "red", "1.0000": "", "-inf": "red"}
