from __future__ import annotations

import csv
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from support.samples import any_trace, made_up, traced, written

from optitrace.records.trace import TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.display import Display
from optitrace.views.presenters.trace import TracePresenter

DELIMITERS = {"csv": ",", "tsv": "\t"}


def rows(trace: TraceRecord, format: str = "csv") -> list[dict[str, str]]:
    text = written(TracePresenter(trace), format)
    return list(csv.DictReader(text.splitlines(), delimiter=DELIMITERS[format], strict=True))


def test_the_header_names_every_column() -> None:
    text = written(TracePresenter(traced("sgd", momentum=0.1)), "csv")

    assert text.splitlines()[0] == (
        "step,loss,gradient_1,gradient_2,weights_1,weights_2,lr,momentum_buffer_1,momentum_buffer_2"
    )


def test_a_state_entry_whose_name_is_taken_says_that_it_is_state() -> None:
    header = written(TracePresenter(traced("adam")), "csv").splitlines()[0].split(",")

    assert header[:8] == [
        *("step", "loss", "gradient_1", "gradient_2", "weights_1", "weights_2", "lr", "state_step"),
    ]
    assert len(set(header)) == len(header)


def test_there_is_nothing_where_there_is_no_value() -> None:
    first, second, *_ = written(TracePresenter(traced("sgd", momentum=0.1)), "csv").splitlines()[1:]

    assert first == "0,,,,0.5,0.5,,,"
    assert "" not in second.split(",")


def cells_of(step: dict[str, Any]) -> dict[str, str]:
    """Return a step of a JSON trace as the cells of its row in CSV, by heading."""
    numbers: dict[str, Any] = {name: step[name] for name in ("step", "loss", "gradient", "weights", "lr")}
    numbers |= {f"state_{name}" if name in numbers else name: x for name, x in step["state"].items()}
    cells: dict[str, str] = {}
    for name, value in numbers.items():
        if isinstance(value, list):
            cells |= {f"{name}_{k}": repr(number) for k, number in enumerate(value, start=1)}
        elif value is not None:
            cells[name] = value if isinstance(value, str) else repr(value)  # NaN is a text in JSON
    return cells


@pytest.mark.parametrize("format", DELIMITERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_numbers_are_those_of_json_digit_for_digit(optimizer: str, format: str) -> None:
    trace = traced(optimizer)
    steps = json.loads(written(TracePresenter(trace), "json"))["steps"]

    read = [{name: cell for name, cell in row.items() if cell} for row in rows(trace, format)]

    assert read == [cells_of(step) for step in steps]


@settings(deadline=None)
@given(trace=any_trace())
def test_any_number_is_read_back_as_it_was(trace: TraceRecord) -> None:
    read = [float(row["weights_1"]) for row in rows(trace)]

    written = [trace.weights.values[row * trace.weights.size] for row in range(len(trace.steps))]

    assert [number.hex() for number in read] == [number.hex() for number in written]


def test_numbers_that_are_not_finite_have_the_names_that_json_gives_them() -> None:
    trace = made_up([0, 1], [math.nan, math.inf, -math.inf])

    assert rows(trace)[1]["weights_1"] == "-Infinity"
    assert rows(trace)[0]["weights_1"] == "NaN"
    assert rows(trace)[0]["weights_2"] == "Infinity"
    assert all(math.isfinite(float(x)) is False for x in rows(trace)[1].values() if x != "1")


def test_precision_changes_no_number_of_a_script() -> None:
    trace = traced("adam")
    for format in ("csv", "tsv", "json", "jsonl"):
        plain = written(TracePresenter(trace), format)

        assert plain == written(TracePresenter(trace), format, Display(precision=0, state=True, update=True))
