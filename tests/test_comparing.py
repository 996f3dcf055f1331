"""Traces side by side from Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import optitrace


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "trace.json"
    path.write_text(optitrace.trace("adam", steps=3).to_json())
    return path


def test_a_saved_trace_is_read_as_it_was(saved: Path) -> None:
    traced = optitrace.trace("adam", steps=3)

    assert optitrace.read(saved).to_json() == traced.to_json()
    assert optitrace.diff(optitrace.read(str(saved)), traced).same


def test_a_bad_file_is_an_error_of_the_package(tmp_path: Path) -> None:
    with pytest.raises(optitrace.OptitraceError, match="there is no such file"):
        optitrace.read(tmp_path / "none.json")


def test_a_difference_says_where_and_prints_the_words_of_the_command() -> None:
    found = optitrace.diff(optitrace.trace("sgd", steps=2), optitrace.trace("sgd", lr=0.1, steps=2))

    assert not found.same
    assert found.first is not None
    assert (found.first.quantity, found.first.step) == ("lr", 1)
    assert "A and B first differ at step 1, in lr:" in str(found)
    assert json.loads(found.to_json())["first"]["b"] == 0.1


def test_tolerances_are_taken() -> None:
    single, double = (optitrace.trace("sgd", dtype=dtype) for dtype in ("float32", "float64"))

    assert not optitrace.diff(single, double).same
    assert optitrace.diff(single, double, close=True).same
    assert optitrace.diff(single, double, ulps=100).same
    assert not optitrace.diff(single, double, rtol=1e-12).same


def test_a_comparison_is_ranked_and_prints_the_words_of_the_command() -> None:
    compared = optitrace.compare(optitrace.trace("adam", lr=0.1), optitrace.trace("sgd", lr=0.1))

    assert [summary.name for summary in compared.summaries] == ["sgd(lr=0.1)", "adam(lr=0.1)"]
    assert math.isclose(compared.summaries[0].final_loss, 0.0029, rel_tol=0.01)
    assert str(compared).startswith("all at lr 0.1\n")
    assert len(json.loads(compared.to_json())["runs"]) == 2


def test_a_tolerance_that_is_given_is_instead_of_torchs() -> None:
    single, double = (optitrace.trace("sgd", dtype=dtype) for dtype in ("float32", "float64"))

    assert not optitrace.diff(single, double, close=True, rtol=1e-12, atol=0).same
    assert not optitrace.diff(single, double, close=True, rtol=1e-12, atol=1e-12).same
    assert optitrace.diff(single, double, close=True, rtol=1e-12).same


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, t: o.diff(t, t, rtol=-1), "rtol is -1; it must be a non-negative number"),
        (lambda o, t: o.diff(t, t, atol=math.nan), "atol is nan; it must be a non-negative number"),
        (lambda o, t: o.diff(t, t, ulps="1"), "ulps is '1'; it must be a non-negative number"),
        (lambda o, t: o.compare(t, tolerance=5), "tolerance is 5; it must be a share between 0 and 1"),
        (lambda o, t: o.compare(t, tolerance=-1.0), r"tolerance is -1\.0; it must be a share between"),
        (lambda o, t: o.compare(t, tolerance=None), "tolerance is None; it must be a share between"),
    ],
)
def test_a_tolerance_that_is_none_is_refused(
    call: Callable[[Any, optitrace.Trace], object], message: str
) -> None:
    with pytest.raises(optitrace.OptitraceError, match=message):
        call(optitrace, optitrace.trace("sgd", steps=1))
