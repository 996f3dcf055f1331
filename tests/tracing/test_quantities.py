"""Quantities: one that is declared is in files, tables, CSV, schemas and diffs by that alone."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from support.made_trainings import optimizer, scalar, training
from support.samples import printed, traced

import optitrace
from optitrace.analysis.diff_report import diff_trainings, report_differences
from optitrace.analysis.tolerance import EXACT
from optitrace.python.training import Training as WatchedTraining
from optitrace.records.quantity import Per, Quantity
from optitrace.records.reader import parse_trace, parse_training
from optitrace.records.schema import json_schema, write_schemas
from optitrace.records.trace import Column, NamedTrace, TraceRecord
from optitrace.records.training import NamedTraining, OptimizerTrace, TrainingRecord
from optitrace.records.writer import json_chunks, jsonl_chunks
from optitrace.views.delimited import record_rows
from optitrace.views.diff_view import diff_view, training_diff_view
from optitrace.views.display import Display
from optitrace.views.grid import make_grid
from optitrace.views.pictures.run_scenes import trace_numbers
from optitrace.views.training_grids import training_grid

CURVATURE = Quantity(
    "curvature", "The second derivative along the step.", heading=("curvature", "of loss"), first=1
)

NOISE = Quantity("gradient_noise", "The noise of the gradient.", Per.GROUP, first=None, is_optional=True)


@pytest.fixture
def with_curvature(monkeypatch: pytest.MonkeyPatch) -> TraceRecord:
    """Return a trace that has a quantity more, declared in one place."""
    monkeypatch.setattr(TraceRecord, "QUANTITIES", (*TraceRecord.QUANTITIES, CURVATURE))
    made = traced("adam", steps=2)
    return replace(made, columns={**made.columns, "curvature": Column(array("d", [1.5, 2.5]), (), first=1)})


@pytest.fixture
def with_noise(monkeypatch: pytest.MonkeyPatch) -> TrainingRecord:
    """Return a training that has a quantity more of an optimizer, declared in one place."""
    monkeypatch.setattr(OptimizerTrace, "QUANTITIES", (*OptimizerTrace.QUANTITIES, NOISE))
    own = optimizer()
    return training(replace(own, columns={**own.columns, "gradient_noise": scalar([0.5, 0.25], first=1)}))


def test_a_quantity_of_a_trace_is_declared_once(with_curvature: TraceRecord) -> None:
    text = "".join(json_chunks(with_curvature))
    rows = json.loads(text)["steps"]

    assert [row["curvature"] for row in rows] == [None, 1.5, 2.5]
    assert repr(parse_trace(text.encode())) == repr(with_curvature)
    assert repr(parse_trace("".join(jsonl_chunks(with_curvature)).encode())) == repr(with_curvature)
    header, *lines = record_rows(with_curvature)
    assert [line[header.index("curvature")] for line in lines] == [None, 1.5, 2.5]
    grid = make_grid(with_curvature, Display(precision=2))
    assert [row[grid.headings.index(("curvature", "of loss"))] for row in grid.rows] == ["", "1.50", "2.50"]
    assert ("used by the step", "curvature of loss") in trace_numbers(with_curvature, [0, 1, 2], 4).headings


def test_a_quantity_of_a_trace_is_compared(with_curvature: TraceRecord) -> None:
    other = {**with_curvature.columns, "curvature": Column(array("d", [1.5, 3.0]), (), first=1)}
    report = report_differences(
        NamedTrace("a", with_curvature), NamedTrace("b", replace(with_curvature, columns=other)), EXACT
    )

    assert "A and B first differ at step 2, in curvature:\n  A  2.5\n  B  3.0\n" in printed(
        diff_view(report, Display()), 80
    )


def test_a_quantity_of_a_training_is_declared_once(with_noise: TrainingRecord) -> None:
    text = "".join(json_chunks(with_noise))
    rows = json.loads(text)["optimizers"][0]["steps"]

    assert [row["gradient_noise"] for row in rows] == [None, 0.5, 0.25]
    assert repr(parse_training(text.encode()).training) == repr(with_noise)
    header, *lines = record_rows(with_noise)
    assert [line[header.index("gradient_noise")] for line in lines] == [None, 0.5, 0.25]
    grid = training_grid(with_noise.optimizers[0], Display())
    assert [row[grid.headings.index(("gradient_noise", ""))] for row in grid.rows] == ["", "0.5000", "0.2500"]
    own = with_noise.optimizers[0]
    other = replace(own, columns={**own.columns, "gradient_noise": scalar([0.5, 0.75], first=1)})
    found = diff_trainings(
        NamedTraining("a", with_noise), NamedTraining("b", training(other)), lambda dtypes: EXACT
    )
    assert "A and B first differ at step 3, in the gradient noise:" in printed(
        training_diff_view(found, Display()), 80
    )


@pytest.mark.parametrize("value", ["x", [1.0], None])
def test_the_schema_has_a_new_quantity(with_curvature: TraceRecord, value: Any) -> None:
    data = json.loads("".join(json_chunks(with_curvature)))
    validator = Draft202012Validator(json_schema(TraceRecord))
    validator.validate(data)
    assert json_schema(TraceRecord)["$defs"]["Row"]["properties"]["curvature"]["description"] == CURVATURE.doc
    data["steps"][0]["curvature"] = value

    if value is None:
        validator.validate(data)
    else:
        with pytest.raises(ValidationError, match="is not valid"):
            validator.validate(data)


def test_a_quantity_that_is_not_declared_is_refused() -> None:
    text = "".join(json_chunks(traced("sgd", steps=1))).replace('"lr": 0.01', '"curvature": 1.0, "lr": 0.01')

    with pytest.raises(optitrace.errors.InputFileError, match=r"curvature is not known; a trace has no such"):
        parse_trace(text.encode())


@pytest.mark.parametrize("name", ["trace.schema.json", "training.schema.json"])
def test_the_schemas_are_what_the_declarations_say(name: str, tmp_path: Any) -> None:
    """Those of the package are written by ``python -m optitrace.records.schema``."""
    write_schemas(tmp_path)

    written = (tmp_path / name).read_text("utf-8")
    assert files("optitrace.records").joinpath(name).read_text("utf-8") == written


def test_python_documents_every_quantity() -> None:
    lines = [line.strip() for line in (WatchedTraining.column.__doc__ or "").splitlines()]

    assert {f"``{quantity.name}``: {quantity.doc}" for quantity in OptimizerTrace.QUANTITIES} <= {*lines}
