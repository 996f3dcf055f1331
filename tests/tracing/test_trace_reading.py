"""Reading traces: what was written comes back to the bit, and what is no trace is told in one line."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optitrace
from optitrace.errors import InputFileError
from optitrace.experiment.experiment import Experiment, design
from optitrace.records.reader import parse_trace, read_trace
from optitrace.records.trace import Column, Outcome, Status, TraceRecord
from optitrace.records.writer import json_chunks, jsonl_chunks
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.tracing.tracer import trace

WRITERS = {"JSON": json_chunks, "JSONL": jsonl_chunks}

SCHEMA = json.loads((Path(optitrace.__file__).parent / "records/trace.schema.json").read_text())


def as_bytes(traced: TraceRecord, form: str = "JSON") -> bytes:
    return "".join(WRITERS[form](traced)).encode()


def with_columns(traced: TraceRecord, **columns: Column) -> TraceRecord:
    return replace(traced, columns={**traced.columns, **columns})


def stopped_after(experiment: Experiment, steps: int) -> TraceRecord:
    asked = iter(range(steps + 1))
    return trace(experiment, stop=lambda: next(asked) == steps)


def four_steps(name: str) -> TraceRecord:
    return trace(design(name, steps=4))


RUNS: dict[str, Callable[[], TraceRecord]] = {
    **{name: partial(four_steps, name) for name in OPTIMIZERS},
    "no step": lambda: trace(design("adam", steps=0)),
    "three weights": lambda: trace(design("adam", coefficients=[1, 2, 3], start=[1, -0.0, 1e-45])),
    "thinned": lambda: trace(design("rmsprop", {"centered": True}, steps=11), every=4),
    "NaN and infinity": lambda: trace(design("sgd", {"lr": 0.6}, steps=300)),
    "bfloat16": lambda: trace(design("adam", {"amsgrad": True}, dtype="bfloat16", gradient="stale")),
    "target reached": lambda: trace(
        design("adam", objective="booth", until="loss<73", schedule="StepLR:step_size=2")
    ),
    "target not reached": lambda: trace(design("sgd", steps=3, until="loss<1e-9")),
    "clipped noise": lambda: trace(design("sgd", noise=0.1, seed=3, clip_norm=0.5)),
    "interrupted": lambda: stopped_after(design("adam"), 3),
    "interrupted at once": lambda: stopped_after(design("adam"), 0),
    "out of memory": lambda: replace(
        stopped_after(design("adam"), 3), outcome=Outcome(Status.OUT_OF_MEMORY, 3), final_loss=math.nan
    ),
}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("run", RUNS)
def test_what_was_written_is_read_back_and_written_again_the_same(run: str, form: str) -> None:
    written = RUNS[run]()

    read = parse_trace(as_bytes(written, form))

    assert as_bytes(read, form) == as_bytes(written, form)
    assert read.experiment == written.experiment
    assert read.outcome == written.outcome
    assert read.steps == written.steps
    for name, column in {**written.columns, **written.state}.items():
        again = {**read.columns, **read.state}[name]
        assert (list(map(repr, again.values)), again.shape) == (list(map(repr, column.values)), column.shape)


@given(st.lists(st.floats(width=64), min_size=8, max_size=8), st.sampled_from(list(WRITERS)))
def test_every_number_survives_a_file(numbers: list[float], form: str) -> None:
    three_steps = trace(design("sgd", steps=3))
    written = with_columns(three_steps, weights=replace(three_steps.weights, values=array("d", numbers)))

    read = parse_trace(as_bytes(written, form))

    assert list(map(repr, read.weights.values)) == list(map(repr, numbers))


def test_a_file_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(as_bytes(GOOD, "JSONL"))

    assert read_trace(str(file)).experiment == GOOD.experiment


@pytest.mark.parametrize("form", WRITERS)
def test_pretty_printing_changes_nothing(form: str) -> None:
    objects = [json.loads(as_bytes(GOOD))]
    if form == "JSONL":
        objects = [json.loads(line) for line in as_bytes(GOOD, "JSONL").splitlines()]
    content = "\n".join(json.dumps(o, indent=1 if form == "JSON" else None) for o in objects).encode()

    assert as_bytes(parse_trace(content)) == as_bytes(GOOD)


@pytest.mark.parametrize("k", [1, 2, 3, 100])
def test_a_trace_thinned_afterwards_is_one_that_was_thinned_while_it_ran(k: int) -> None:
    experiment = design("adam", {"amsgrad": True}, steps=10)

    assert as_bytes(trace(experiment).every_kth(k)) == as_bytes(trace(experiment, every=k))


GOOD = trace(design("adam", steps=2))

TEXT = as_bytes(GOOD).decode()

LINES = as_bytes(GOOD, "JSONL").decode().splitlines()


def damaged(old: str, new: str) -> bytes:
    assert old in TEXT
    return TEXT.replace(old, new, 1).encode()


CUT = TEXT[:700]

FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n\n", "it is empty"),
    "CSV": (b"step,loss\n0,\n", r"line 1: it is not JSON; traces are read back from '-o FILE\.json'"),
    "BOM": (b"\xef\xbb\xbf" + TEXT.encode(), "byte order mark; save it as UTF-8 without one"),
    "UTF-16": (TEXT.encode("utf-16"), "byte order mark"),
    "not UTF-8": (
        damaged("adam", "ad\xff").replace(b"\xc3\xbf", b"\xff"),
        "line 1, column 46: it is not UTF-8",
    ),
    "truncated": (CUT.encode(), rf"line 3, column {len(CUT.splitlines()[-1])}: it ends in the middle"),
    "deep nesting": (damaged('"loss": 0.75', f'"loss": {"[" * 9999}'), "line 3, .*: it is nested too deeply"),
    "lone surrogate": (damaged("adam", r"\ud800"), "line 1, column .*: it is not JSON"),
    "a huge whole number": (
        damaged('"loss": 0.75', f'"loss": {"9" * 5000}'),
        "line 3, column .*: a number has too many digits",
    ),
    "a number beyond float64": (damaged('"loss": 0.75', '"loss": 1e999'), r"steps\[1\]\.loss is inf"),
    "a number of too many steps": (
        damaged('"steps": 2', f'"steps": {"9" * 4000}'),
        r"experiment\.steps is a num",
    ),
    "a list": (b"[1, 2]", "it is JSON, but not a trace: a list of 2, not an object"),
    "another object": (b"{}", "it is JSON, but not a trace of optitrace: it has no schema"),
    "another schema": (
        damaged('"schema": 1', '"schema": 2'),
        r"its schema is 2, and optitrace .* reads only schema 1;",
    ),
    "schema true": (damaged('"schema": 1', '"schema": true'), "its schema is true"),
    "no steps": (LINES[0].encode(), "steps is missing"),
    "unknown entry": (
        damaged('"step": 1,', '"step": 1, "x": 1,'),
        r"steps\[1\]\.x is not known; a trace has no such",
    ),
    "missing entry": (damaged('"loss": 0.75, ', ""), r"steps\[1\]\.loss is missing"),
    "text for a number": (
        damaged('"loss": 0.75', '"loss": "x"'),
        r"steps\[1\]\.loss is 'x'; it should be a number",
    ),
    "text in a vector": (
        damaged('"exp_avg": [', '"exp_avg": ["x", '),
        r"steps\[1\]\.state\.exp_avg\[0\] is 'x'; it should be a number",
    ),
    "null": (
        damaged('"loss": 0.75', '"loss": null'),
        r"steps\[1\]\.loss is null; only that of the start can be",
    ),
    "a loss at the start": (damaged('"loss": null', '"loss": 1.0'), r"steps\[0\]\.loss should be null"),
    "a state at the start": (
        damaged('"state": {}', '"state": {"a": 1.0}'),
        r"steps\[0\]\.state should be empty",
    ),
    "too many weights": (
        damaged('"weights": [', '"weights": [1.0, '),
        r"steps\[0\]\.weights has 3 coordinates, not 2",
    ),
    "unequal coordinates": (
        damaged('"gradient": [1.0, 2.0]', '"gradient": [1.0]'),
        r"steps\[1\]\.gradient has 1 coordinate, not 2",
    ),
    "unequal state": (
        TEXT.replace('"exp_avg": [', '"exp_avg": [1.0, ')
        .replace('"exp_avg": [1.0, ', '"exp_avg": [', 1)
        .encode(),
        r"steps\[2\]\.state\.exp_avg has 3 coordinates, not 2",
    ),
    "state that vanishes": (
        TEXT[: TEXT.rindex('"exp_avg_sq"')].encode() + b'"other": 1.0}}\n], "final_loss": 1.0}',
        r"steps\[2\]\.state\.exp_avg_sq is missing",
    ),
    "state of two kinds": (
        damaged('"exp_avg": [0.10000000149011612, 0.20000000298023224]', '"exp_avg": 1.0'),
        r"steps\[2\]\.state\.exp_avg is a list, and a number in the row before",
    ),
    "steps out of order": (damaged('"step": 1, ', '"step": 0, '), r"steps\[1\]\.step is 0, after step 0"),
    "no start": (damaged('"step": 0, ', '"step": 1, '), r"steps\[0\]\.step is 1; it should be 0, the start"),
    "rows missing": (
        "\n".join(LINES[:-1]).encode(),
        "line 3: step is 1 in the last row, but the run ended after step 2",
    ),
    "an unknown optimizer": (
        damaged('"adam"', '"adan"'),
        "experiment: unknown optimizer 'adan'; did you mean 'adam'",
    ),
    "an unknown hyperparameter": (damaged('"eps"', '"epsi"'), "experiment: adam has no epsi"),
    "an unknown device": (damaged('"cpu"', '"tpu"'), "experiment: unknown device 'tpu'"),
    "an unknown implementation": (damaged('"single"', '"auto"'), r"experiment\.implementation is 'auto'"),
    "an unknown outcome": (damaged("completed", "done"), r"outcome\.status is 'done'"),
    "an outcome without a step": (
        damaged("completed", "interrupted"),
        "outcome: a run that is interrupted has a step",
    ),
    "two objects on a line": (f"{LINES[0]}\n{LINES[1]} {LINES[2]}".encode(), "line 2, column .*: .*trailing"),
    "a bad line": ("\n".join([*LINES[:2], "{"]).encode(), "line 3, column 1: it ends in the middle"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_place_and_reason(fault: str, tmp_path: Path) -> None:
    content, reason = FAULTS[fault]
    file = tmp_path / "bad.json"
    file.write_bytes(content)

    with pytest.raises(InputFileError, match=reason) as caught:
        read_trace(str(file))

    assert str(caught.value).startswith(f"cannot read '{file}': ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path, reason in [
        (str(tmp_path / "none.json"), "there is no such file"),
        (str(tmp_path), "it is a folder"),
        ("\0", "this is not a valid file name"),
        ("x" * 5000, "."),
    ]:
        with pytest.raises(InputFileError, match=re.escape(reason)):
            read_trace(path)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in nested data."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, member in inside for deeper in nodes(member, (*path, key)))]


DATA = json.loads(TEXT)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["NaN", "adam", "cpu"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.sampled_from(nodes(DATA)[1:]), ANYTHING, st.sampled_from(["replace", "delete", "add"]))
def test_a_mutated_trace_is_read_as_the_schema_has_it_or_refused(
    path: tuple[Any, ...], value: Any, how: str
) -> None:
    data = json.loads(TEXT)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    if how == "delete":
        del parent[path[-1]]
    elif how == "replace" or isinstance(parent, list):
        parent[path[-1]] = value
    else:
        parent[str(value)] = value
    content = json.dumps(data).encode()

    try:
        parse_trace(content)
    except InputFileError:
        return
    jsonschema.validate(json.loads(content), SCHEMA)


@settings(max_examples=200)
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.binary(max_size=8), st.sampled_from(list(WRITERS)))
def test_mutated_bytes_are_read_or_refused(begin: int, length: int, put: bytes, form: str) -> None:
    content = as_bytes(GOOD, form)

    with suppress(InputFileError):
        parse_trace(content[:begin] + put + content[begin + length :])
