"""Reading trainings: what was written comes back to the bit, and what is none is told in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from support.findings import AGREES, FINDINGS, NO_RULE
from support.made_trainings import any_training, optimizer, training, with_all, without_history

import optitrace
from optitrace.errors import InputFileError
from optitrace.records.findings import TrainingFindings
from optitrace.records.reader import SavedTraining, parse_trace, parse_training, read_saved
from optitrace.records.trace import TraceRecord
from optitrace.records.training import (
    KINDS,
    Scheduling,
    StalledCounter,
    StuckState,
    Tally,
    TermEffect,
    TrainingRecord,
    UnownedParameter,
)
from optitrace.records.writer import exact_all, fields_of, json_chunks, jsonl_chunks

WRITERS: dict[str, Callable[..., Iterator[str]]] = {"JSON": json_chunks, "JSONL": jsonl_chunks}

SCHEMA = json.loads(
    (Path(optitrace.__file__).parent / "records/training.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)

ABOVE: dict[str, Any] = {
    "diagnoses": [
        {
            "fault": "stale gradient",
            "optimizer": "AdamW",
            "step": 2,
            "parameter": None,
            "fact": "step 2 of AdamW used a stale gradient",
            "remedy": "call backward before it",
            "severity": "fault",
            "code": "",
            "count": None,
            "parameters": [],
            "numbers": {},
        }
    ],
    "verified": [
        {
            "optimizer": "AdamW",
            "rule": "adamw",
            "steps": 3,
            "coordinates": 64,
            "worst": 2.0,
            "allowed": 8.0,
            "departure": None,
            "quantity": "",
            "parameter": "",
            "note": "",
        }
    ],
    "ranks": {
        "world_size": 2,
        "agrees": False,
        "optimizer": "AdamW",
        "step": 3,
        "parameter": "fc1.bias",
        "ranks": [0, 1],
        "norms": [1.0, float("nan")],
        "note": "",
    },
}


def as_bytes(made: TrainingRecord, form: str = "JSON", **above: Any) -> bytes:
    return "".join(WRITERS[form](made, above)).encode()


def read_strictly(text: str) -> Any:
    """Read JSON as the standard has it, in which there is no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


TRAININGS = {
    "all that there is": with_all(),
    "one optimizer": training(),
    "no optimizer": training(optimizers=()),
    "no row": training(optimizer(())),
}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("made", TRAININGS.values(), ids=TRAININGS)
def test_what_was_written_is_read_back_the_same(made: TrainingRecord, form: str) -> None:
    read = parse_training(as_bytes(made, form))

    assert repr(read.training) == repr(made)
    assert as_bytes(read.training, form) == as_bytes(made, form)


@settings(deadline=None)
@given(any_training(), st.sampled_from(list(WRITERS)))
def test_every_number_survives_a_file(made: TrainingRecord, form: str) -> None:
    assert repr(parse_training(as_bytes(made, form)).training) == repr(made)


@pytest.mark.parametrize("form", WRITERS)
def test_what_was_found_out_is_read_back_with_it(form: str) -> None:
    read = parse_training(as_bytes(with_all(), form, **ABOVE))

    assert exact_all(read.findings) == exact_all(ABOVE)
    assert parse_training(as_bytes(with_all(), form)).findings == TrainingFindings()


@pytest.mark.parametrize("made", TRAININGS.values(), ids=TRAININGS)
def test_a_training_is_what_the_schema_says(made: TrainingRecord) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(read_strictly(as_bytes(made, **ABOVE).decode()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 3),
        (("outcome", "status"), "non-finite"),
        (("optimizers", 0, "steps", 0, "gradient"), "old"),
        (("optimizers", 0, "steps", 0, "step"), 0),
        (("optimizers", 0, "steps", 0, "lr"), []),
        (("optimizers", 0, "steps", 0, "weight_norm"), None),
        (("optimizers", 0, "parameters", 0, "shape"), [-1]),
        (("optimizers", 0, "hyperparameters"), []),
        (("diagnoses", 0, "fact"), None),
        (("diagnoses", 0, "severity"), "hint"),
        (("optimizers", 0, "clippings", "used", "limits"), [1.0]),
        (("optimizers", 0, "cases", 0, "kind"), "old"),
        (("unowned", 0), "head.weight"),
        (("ranks", "norms"), [1.0]),
    ],
    ids=str,
)
def test_what_is_no_training_is_not_what_the_schema_says(path: tuple[Any, ...], value: Any) -> None:
    whole = read_strictly(as_bytes(with_all(), **ABOVE).decode())
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value

    with pytest.raises(ValidationError, match=r"is not|was expected|non-empty|minimum|too short"):
        VALIDATOR.validate(whole)
    with pytest.raises(InputFileError, match=r"it should|at least|its schema|is missing"):
        parse_training(json.dumps(whole).encode())


def test_the_kinds_of_gradients_are_those_of_a_training() -> None:
    assert tuple(SCHEMA["$defs"]["Row"]["properties"]["gradient"]["enum"]) == KINDS


def test_a_row_stands_on_a_line_and_says_what_its_step_did() -> None:
    lines = as_bytes(training()).decode().splitlines()

    assert len(lines) == 3 + 3 + 1
    assert read_strictly(lines[3].rstrip(",")) == {
        "step": 2,
        "loss": 2.25,
        "lr": 0.001,
        "gradient": "fresh",
        "gradient_norm": 6.0,
        "update_norm": 2.0,
        "weight_norm": 8.0,
        "update_ratio": 0.25,
    }


def test_a_row_has_what_was_asked_for_by_name() -> None:
    row = read_strictly(as_bytes(with_all()).decode())["optimizers"][0]["steps"][2]

    assert row["loss"] == "NaN"
    assert row["unclipped_gradient_norm"] == 60.0
    assert row["state"] == {"step": 3.0, "exp_avg": "NaN"}
    assert row["values"] == {"fc1.weight[0,3]": -0.0, "fc1.bias": [1.0, 2.0]}
    assert row["parameters"]["fc1.bias"] == {
        "gradient_norm": 3.0,
        "update_norm": 0.03,
        "weight_norm": 30.0,
        "update_ratio": 0.003,
    }
    assert row["parameters"]["fc1.weight"]["update_norm"] == "Infinity"


def test_what_is_not_there_yet_is_null_or_left_out() -> None:
    rows = read_strictly(as_bytes(with_all()).decode())["optimizers"][0]["steps"]

    assert (rows[0]["unclipped_gradient_norm"], rows[1]["loss"]) == (None, None)
    assert rows[0]["state"] == {"step": 1.0}


@pytest.mark.parametrize("made", TRAININGS.values(), ids=TRAININGS)
def test_the_lines_of_jsonl_hold_what_json_does(made: TrainingRecord) -> None:
    head, *rows = map(read_strictly, as_bytes(made, "JSONL", **ABOVE).decode().splitlines())
    for own in head["optimizers"]:
        own["steps"] = [row for row in rows if row["optimizer"] == own["name"]]
    for row in rows:
        del row["optimizer"]

    assert head == read_strictly(as_bytes(made, **ABOVE).decode())


def test_the_lines_of_two_optimizers_may_come_in_turn() -> None:
    head, *rows = as_bytes(with_all(), "JSONL").splitlines()
    in_turn = [line for pair in zip(rows[:3], rows[3:], strict=True) for line in pair]

    assert repr(parse_training(b"\n".join([head, *in_turn])).training) == repr(with_all())


def test_a_hyperparameter_that_json_has_nothing_for_is_its_text() -> None:
    odd = training(optimizer(hyperparameters=({"lr": 0.1, "closure": len},)))

    assert parse_training(as_bytes(odd)).training.optimizers[0].hyperparameters[0]["closure"] == str(len)


def test_a_file_tells_which_of_the_two_it_holds(tmp_path: Path) -> None:
    own = optitrace.trace("sgd", steps=1)
    contents = {
        "trace.json": own.to_json().encode(),
        "pretty.json": json.dumps(json.loads(as_bytes(training())), indent=1, sort_keys=True).encode(),
        "training.jsonl": as_bytes(training(), "JSONL"),
    }
    read = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        read[name] = read_saved(str(tmp_path / name))

    assert isinstance(read["trace.json"], TraceRecord)
    assert isinstance(read["pretty.json"], SavedTraining)
    assert isinstance(read["training.jsonl"], SavedTraining)
    with pytest.raises(InputFileError, match=r"it is a training, not a trace; 'optitrace show' and"):
        parse_trace(as_bytes(training()))


SAVED = Path(__file__).parent / "saved"
"""Files of schema 1: what the first release wrote of a script, and what was written before schema 2."""


@pytest.mark.parametrize("name", ["released.json", "released.jsonl"])
def test_a_file_of_the_first_release_is_read_with_all_that_it_has(name: str) -> None:
    read = read_saved(str(SAVED / name))

    assert isinstance(read, SavedTraining)
    (own,) = read.training.optimizers
    assert (own.name, own.taken, list(own.steps)) == ("SGD", 5, [1, 2, 3, 4, 5])
    assert own.scheduling == Scheduling(("StepLR",), 4, 0)
    assert own.columns["loss"].values[0] == 1.6141585111618042
    assert own.by_parameter["update_norm"].row(1) == (0.0015539914732162535, 0.007706596662275212)
    assert own.gradients == {"fresh": Tally(4, 1), "stale": Tally(1, 5)}
    clipped = own.clippings["used"]
    assert (clipped.steps, clipped.cut, list(map(math.isnan, clipped.limits))) == (
        Tally(4, 1),
        Tally(4, 1),
        [True, True],
    )
    assert read.training.unowned == (UnownedParameter("2.weight", "SGD"), UnownedParameter("2.bias", "SGD"))
    assert [(d.fault, d.severity) for d in read.findings.diagnoses] == [
        ("stale gradient", "fault"),
        ("parameter without optimizer", "fault"),
    ]
    assert read.findings.verified[0].worst == 0.42336478711914155


@pytest.mark.parametrize("form", ["JSON", "JSONL"])
def test_what_terms_state_and_counters_do_is_read_back(form: str) -> None:
    effect = TermEffect(
        "weight_decay",
        0,
        "float32",
        0.01,
        0.001,
        Tally(2, 1),
        Tally(1, 2),
        99_000,
        True,
        7,
        0.5,
        ("fc1.bias",),
    )
    made = training(
        optimizer(
            effects=(effect, replace(effect, idle=None)),
            stuck=(StuckState("exp_avg_sq", "bfloat16", 0.001, Tally(1, 2), 2),),
            stalled=StalledCounter(256.0, "bfloat16", Tally(2, 2), ("fc1.weight",)),
        )
    )
    read = parse_training(as_bytes(made, form, **fields_of(FINDINGS)))

    assert repr(read.training) == repr(made)


def test_a_file_of_schema_1_is_read_as_the_same_of_schema_2() -> None:
    read = read_saved(str(SAVED / "schema_1.json"))

    assert isinstance(read, SavedTraining)
    assert repr(read.training) == repr(without_history(with_all()))
    # where nothing was verified, schema 1 said what would have been allowed
    assert read.findings == replace(FINDINGS, verified=(AGREES, replace(NO_RULE, allowed=8.0)))


@pytest.mark.parametrize("name", ["released.json", "released.jsonl", "schema_1.json"])
def test_a_file_of_schema_1_is_written_again_with_schema_2(name: str) -> None:
    read = read_saved(str(SAVED / name))
    assert isinstance(read, SavedTraining)
    written = as_bytes(read.training, **fields_of(read.findings))

    VALIDATOR.validate(read_strictly(written.decode()))
    assert repr(parse_training(written)) == repr(read)


@pytest.mark.parametrize("entry", ['"clipped": {"count": 1, "first": 1}', '"clipped": null'])
def test_what_schema_1_had_is_no_part_of_schema_2(entry: str) -> None:
    with pytest.raises(InputFileError, match=r"optimizers\[0\]\.clipped is not known"):
        parse_training(damaged('"taken": 3', f'"taken": 3, {entry}'))


TEXT = as_bytes(with_all(), **ABOVE).decode()

LINES = as_bytes(with_all(), "JSONL", **ABOVE).decode().splitlines()


def damaged(old: str, new: str) -> bytes:
    assert old in TEXT
    return TEXT.replace(old, new, 1).encode()


FAULTS: dict[str, tuple[bytes, str]] = {
    "truncated": (TEXT[:-90].encode(), r"line 10, column .*: it ends in the middle"),
    "another schema": (
        damaged('"schema": 2', '"schema": 3'),
        "its schema is 3, and optitrace .* reads schemas 1 to 2; a newer",
    ),
    "deep nesting": (damaged('"loss": 2.5', f'"loss": {"[" * 9999}'), "line 3, .*: it is nested too deeply"),
    "steps missing": (
        TEXT[: TEXT.rindex(', "steps"')].encode() + b"}]}",
        r"optimizers\[1\]\.steps is missing",
    ),
    "unknown entry": (
        damaged('"taken": 3', '"taken": 3, "x": 1'),
        r"optimizers\[0\]\.x is not known; a training has no such entry",
    ),
    "missing entry": (damaged('"loss": 2.5, ', ""), r"optimizers\[0\]\.steps\[0\]\.loss is missing"),
    "text for a number": (
        damaged('"weight_norm": 8.0', '"weight_norm": "x"'),
        r"optimizers\[0\]\.steps\[0\]\.weight_norm is 'x'; it should be a number",
    ),
    "text in a parameter": (
        damaged('"fc1.bias": {"gradient_norm": 2.0', '"fc1.bias": {"gradient_norm": "x"'),
        r"optimizers\[0\]\.steps\[0\]\.parameters\.fc1\.bias\.gradient_norm is 'x'; it should be",
    ),
    "a number for an object": (
        damaged('"fresh": {"count": 1, "first": 1}', '"fresh": 1'),
        r"optimizers\[0\]\.gradients\.fresh is 1; it should be an object",
    ),
    "a tally that lacks a number": (
        damaged('"fresh": {"count": 1, "first": 1}', '"fresh": {"count": 1}'),
        r"optimizers\[0\]\.gradients\.fresh\.first is missing",
    ),
    "a tally with another entry": (
        damaged('"fresh": {"count": 1, "first": 1}', '"fresh": {"count": 1, "first": 1, "x": 1}'),
        r"optimizers\[0\]\.gradients\.fresh\.x is not known; a training has no such entry",
    ),
    "a status of traces": (
        damaged('"status": "failed"', '"status": "non-finite"'),
        r"outcome\.status is 'non-finite'; it should be 'completed', 'interrupted', 'failed' or",
    ),
    "an unknown gradient": (damaged('"gradient": "fresh"', '"gradient": "old"'), r"gradient is 'old'; it sh"),
    "a loss missing": (
        damaged('"loss": 2.5', '"loss": null'),
        r"optimizers\[0\]\.steps\[0\]\.loss is null, and the gradient is 'fresh'",
    ),
    "a loss too many": (
        damaged('"loss": null', '"loss": 1.0'),
        r"optimizers\[0\]\.steps\[1\]\.loss should be null, and the gradient is 'by hand'",
    ),
    "an lr that vanishes": (
        damaged(
            '"lr": [0.1, 0.2], "gradient": "fresh", "gradient_norm": 12.0',
            '"lr": null, "gradient": "fresh", "gradient_norm": 12.0',
        ),
        r"optimizers\[1\]\.steps\[1\]\.lr is null, and the row before has it",
    ),
    "an lr of another length": (
        damaged('"lr": [0.05, 0.1]', '"lr": [0.05]'),
        r"optimizers\[1\]\.steps\[2\]\.lr has 1 coordinate, not 2",
    ),
    "an lr of another kind": (
        damaged('"lr": [0.05, 0.1]', '"lr": 0.05'),
        r"optimizers\[1\]\.steps\[2\]\.lr is a number, and a list in the row before",
    ),
    "state that vanishes": (
        damaged('"exp_avg": "NaN"', '"other": 1.0'),
        r"optimizers\[0\]\.steps\[2\]\.state\.exp_avg is missing, and the row before has it",
    ),
    "a value of no name": (damaged('"fc1.bias": [1.0, 2.0]', '"": 1.0'), r"\.values.* is ''; "),
    "a parameter missing in a row": (
        damaged('"fc1.bias": {"gradient_norm": 2.5', '"fc1.bass": {"gradient_norm": 2.5'),
        r"optimizers\[0\]\.steps\[1\]\.parameters\.fc1\.bass is not known; a row has each parameter",
    ),
    "steps out of order": (
        damaged('"step": 4, ', '"step": 2, '),
        r"optimizers\[1\]\.steps\[1\]\.step is 2, after step 2",
    ),
    "more steps than taken": (
        damaged('"step": 7, ', '"step": 8, '),
        r"optimizers\[1\]\.steps\[2\]\.step is 8, and 7 were taken",
    ),
    "two optimizers of one name": (
        damaged('"name": "SGD 2", "class', '"name": "AdamW", "class'),
        r"optimizers: two are named 'AdamW'",
    ),
    "two parameters of one name": (
        damaged('"name": "fc1.bias"', '"name": "fc1.weight"'),
        r"optimizers\[0\]\.parameters: two are named 'fc1.weight'",
    ),
    "names that are printed alike": (
        damaged('"values": {', r'"values": {"\u001b": 1.0, "\\x1b": 1.0, '),
        r"names of \\x1b, \\x1b, .* are the same once printed",
    ),
    "a rank too many": (damaged('"rank": 1', '"rank": 2'), "rank is 2, and world_size 2; ranks count from 0"),
    "a diagnosis without its fact": (
        damaged('"fact": "step 2 of AdamW used a stale gradient", ', ""),
        r"diagnoses\[0\]\.fact is missing",
    ),
    "a line of no optimizer": (
        "\n".join([*LINES, LINES[-1].replace("SGD 2", "SGD 3")]).encode(),
        "line 8: optimizer is 'SGD 3', which line 1 does not have",
    ),
    "lines out of order": (
        "\n".join([*LINES, LINES[-1]]).encode(),
        "line 8: step is 7, after step 7",
    ),
    "a bad line": ("\n".join([*LINES[:2], "{"]).encode(), "line 3, column 1: it ends in the middle"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_place_and_reason(fault: str, tmp_path: Path) -> None:
    content, reason = FAULTS[fault]
    file = tmp_path / "bad.json"
    file.write_bytes(content)

    with pytest.raises(InputFileError, match=reason) as caught:
        read_saved(str(file))

    assert str(caught.value).startswith(f"cannot read '{file}': ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in nested data."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, member in inside for deeper in nodes(member, (*path, key)))]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["NaN", "fresh", "AdamW"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(nodes(json.loads(TEXT))[1:]), ANYTHING, st.sampled_from(["replace", "delete", "add"]))
def test_a_mutated_training_is_read_as_the_schema_has_it_or_refused(
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
        parse_training(content)
    except InputFileError:
        return
    VALIDATOR.validate(json.loads(content))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.binary(max_size=8), st.sampled_from(list(WRITERS)))
def test_mutated_bytes_are_read_or_refused(begin: int, length: int, put: bytes, form: str) -> None:
    content = as_bytes(with_all(), form, **ABOVE)

    with suppress(InputFileError):
        parse_training(content[:begin] + put + content[begin + length :])
