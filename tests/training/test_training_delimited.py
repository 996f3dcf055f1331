from __future__ import annotations

import csv
import json
import mmap
import tempfile
from array import array
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from support.findings import FINDINGS
from support.made_trainings import any_training, optimizer, scalar, training, with_all
from support.samples import written

from optitrace.records.findings import TrainingFindings
from optitrace.records.trace import Column
from optitrace.records.training import TrainingRecord
from optitrace.views.display import Display
from optitrace.views.formats import find_writer, is_picture, writers_of
from optitrace.views.presenters.training import TrainingPresenter
from optitrace.views.training_grids import training_grids

TEXT_FORMATS = tuple(name for name, writer in writers_of(TrainingPresenter).items() if not is_picture(writer))

DELIMITERS = {"csv": ",", "tsv": "\t"}


def text(made: TrainingRecord, format: str = "csv", look: Display = Display()) -> str:  # noqa: B008 (it is frozen)
    return written(TrainingPresenter(made, TrainingFindings()), format, look)


def rows(made: TrainingRecord, format: str = "csv") -> list[dict[str, str]]:
    return list(csv.DictReader(text(made, format).splitlines(), delimiter=DELIMITERS[format], strict=True))


def test_one_header_names_the_columns_of_all_optimizers() -> None:
    header = text(with_all()).splitlines()[0]

    assert next(csv.reader([header])) == [
        *("optimizer", "step", "parameter", "loss", "lr", "lr_1", "lr_2", "gradient", "gradient_norm"),
        *("unclipped_gradient_norm", "backwards", "evaluations", "largest_loss", "last_loss"),
        *("update_norm", "weight_norm", "update_ratio"),
        *("state_step", "exp_avg", "fc1.weight[0,3]", "fc1.bias_1", "fc1.bias_2"),
    ]


def test_a_training_of_norms_alone_has_no_column_for_parameters() -> None:
    assert text(training()).splitlines()[:2] == [
        "optimizer,step,loss,lr,gradient,gradient_norm,update_norm,weight_norm,update_ratio",
        "AdamW,1,2.5,0.001,fresh,3.0,4.0,8.0,0.5",
    ]


def test_the_rows_of_a_steps_parameters_follow_its_own() -> None:
    read = rows(with_all())

    assert [(row["step"], row["parameter"]) for row in read[:6]] == [
        *(("1", ""), ("1", "fc1.weight"), ("1", "fc1.bias"), ("1", "fc2.weight"), ("1", "fc2.bias")),
        ("2", ""),
    ]
    norms = {name: cell for name, cell in read[2].items() if cell}
    assert norms == {
        "optimizer": "AdamW",
        "step": "1",
        "parameter": "fc1.bias",
        "gradient_norm": "2.0",
        "update_norm": "0.02",
        "weight_norm": "20.0",
        "update_ratio": "0.002",
    }


def cells_of(row: dict[str, Any], name: str) -> dict[str, str]:
    """Return a row of a JSON training as the cells of its row in CSV, by heading."""
    numbers = {k: v for k, v in row.items() if k not in ("state", "values", "parameters")}
    taken = {*numbers, "optimizer", "parameter", "loss", "lr", "unclipped_gradient_norm"}
    for what, key in (("state", "state"), ("value", "values")):
        own = {f"{what}_{k}" if k in taken else k: v for k, v in row.get(key, {}).items()}
        numbers |= own
        taken |= own.keys()
    cells: dict[str, str] = {"optimizer": name}
    for key, value in numbers.items():
        if isinstance(value, list):
            cells |= {f"{key}_{k}": str(number) for k, number in enumerate(value, start=1)}
        elif value is not None:
            cells[key] = str(value)
    return cells


@pytest.mark.parametrize("format", DELIMITERS)
@settings(deadline=None)
@given(made=any_training())
def test_the_numbers_are_those_of_json_digit_for_digit(format: str, made: TrainingRecord) -> None:
    optimizers = json.loads(text(made, "json"))["optimizers"]

    read = [{k: cell for k, cell in row.items() if cell} for row in rows(made, format)]

    assert [row for row in read if "parameter" not in row] == [
        cells_of(row, own["name"]) for own in optimizers for row in own["steps"]
    ]


def test_names_that_are_taken_say_what_they_are_of() -> None:
    own = optimizer((1.0,), state={"lr": scalar([2.0])}, values={"lr": scalar([3.0]), "step": scalar([4.0])})
    header, row = text(training(own)).splitlines()

    assert header.split(",")[-3:] == ["state_lr", "value_lr", "value_step"]
    assert row.split(",")[-3:] == ["2.0", "3.0", "4.0"]


@pytest.mark.parametrize("made", [with_all(), training(), training(optimizer(())), training(optimizers=())])
@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_every_training_can_be_written_in_every_format(format: str, made: TrainingRecord) -> None:
    text = written(TrainingPresenter(made, FINDINGS), format, Display(state=True))

    assert text.endswith("\n")


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl"])
def test_precision_changes_no_number_of_a_script(format: str) -> None:
    assert text(with_all(), format) == text(with_all(), format, Display(precision=0, state=True))


def test_markdown_has_each_row_of_the_grid() -> None:
    look = Display(state=True, by_parameter=True, all_rows=True)
    lines = text(with_all(), "markdown", look).splitlines()
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    grids = [grid for own in with_all().optimizers for grid in training_grids(own, look)]

    assert [row for row in tables if row[0].isdigit()] == [list(row) for grid in grids for row in grid.rows]
    assert "| ---: | :--- | ---: | ---: | ---: | ---: |" in lines


def mapped(column: Column) -> Column:
    """Return a column whose numbers lie in a file that is mapped into memory."""
    with tempfile.TemporaryFile() as file:
        file.write(array("d", column.values).tobytes())
        file.flush()
        return replace(column, values=memoryview(mmap.mmap(file.fileno(), 0)).cast("d"))


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_numbers_in_a_mapped_file_are_written_as_those_in_memory(format: str) -> None:
    def in_files(columns: Mapping[str, Column]) -> dict[str, Column]:
        return {name: mapped(column) for name, column in columns.items()}

    optimizers = [
        replace(
            own,
            columns=in_files(own.columns),
            by_parameter=in_files(own.by_parameter),
            state=in_files(own.state),
            values=in_files(own.values),
        )
        for own in with_all().optimizers
    ]
    look = Display(state=True)

    written = text(replace(with_all(), optimizers=tuple(optimizers)), format, look)

    assert written == text(with_all(), format, look)


class Told(list[int]):
    """Steps that are made as they are asked for, and that can tell how far one has come."""

    seen = 0

    def __iter__(self) -> Any:
        for step in range(1, len(self) + 1):
            self.seen = step
            yield step


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl"])
def test_rows_are_written_as_they_are_read(format: str) -> None:
    steps = Told(range(1000))
    own = replace(optimizer([0.5] * 1000), steps=steps)

    presenter = TrainingPresenter(training(own), TrainingFindings())
    list(islice(find_writer(format, TrainingPresenter).write(presenter, Display()), 10))

    assert 1 <= steps.seen <= 20
