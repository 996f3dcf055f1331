"""Reading trace files: JSON and JSONL, checked as they are read, and every fault told in one line."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import ge
from typing import TYPE_CHECKING, Any

from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.objectives import objective_of
from optitrace.experiment.own_class import is_own, recorded_entry
from optitrace.records.column_reader import PlaceOf, by_name, vectors
from optitrace.records.file_content import FaultError, check_text, is_training, numbered_lines, read_file
from optitrace.records.trace import Column, Outcome, Status, Trace, Versions

if TYPE_CHECKING:
    from optitrace.records.trace_schema import OutcomeShape, TraceHead, TraceRow


def read_trace(path: str) -> Trace:
    """Read a trace that was saved as JSON or JSONL, whatever its suffix; ``-`` is standard input.

    Raises:
        InputFileError: the file cannot be read, or is no trace; says where and why.
    """
    return read_file(path, parse_trace)


def parse_trace(content: bytes) -> Trace:
    """Return the trace that the content of a file stands for.

    Raises:
        InputFileError: it is no trace; says where and why, but names no file.
    """
    check_text(content)
    if is_training(content):
        raise FaultError("it is a training, and no trace; 'optitrace show' and 'optitrace diff' take it")
    from optitrace.records.file_fault import validated
    from optitrace.records.trace_schema import FORM, HEAD, ROW, WHOLE

    if lines := numbered_lines(content):
        head = validated(HEAD, lines[0][1], f"line {lines[0][0]}", FORM)
        rows = [validated(ROW, line, f"line {k}", FORM) for k, line in lines[1:]]
        return _trace(head, rows, lambda index: f"line {lines[index + 1][0]}: ")
    whole = validated(WHOLE, content, "", FORM)
    return _trace(whole, whole["steps"], lambda index: f"steps[{index}].")


_OPTIONAL = ("noise", "seed", "clip_norm", "clip_value", "schedule", "until")
"""The settings of an experiment that stand in a file only where they are used."""


def _trace(head: TraceHead, rows: Sequence[TraceRow], place: PlaceOf) -> Trace:
    """Return the trace of a file whose parts have the right shape, once they are seen to fit together."""
    experiment = _experiment(head)
    steps = _steps(rows, place)
    size = len(experiment.start)
    versions = head["versions"]
    loss, gradient, lr = (_of_steps(rows, name, place) for name in ("loss", "gradient", "lr"))
    trace = Trace(
        experiment=experiment,
        versions=Versions(versions["optitrace"], versions["torch"], versions["python"]),
        outcome=_outcome(head["outcome"]),
        steps=steps,
        loss=Column(array("d", loss), (), first=1),
        gradient=vectors("gradient", gradient, 1, size, place),
        weights=vectors("weights", [row["weights"] for row in rows], 0, size, place),
        lr=Column(array("d", lr), (), first=1),
        state=_state(rows, place),
        final_loss=head["final_loss"],
        beside=_beside(rows, size, place),
    )
    _check_ending(trace, place)
    return trace


def _outcome(given: OutcomeShape) -> Outcome:
    return Outcome(given["status"], given.get("step"), given.get("quantity"), given.get("reason"))


def _experiment(head: TraceHead) -> Experiment:
    given = head["experiment"]
    hyperparameters = {n: tuple(v) if isinstance(v, list) else v for n, v in given["hyperparameters"].items()}
    name = given["optimizer"]
    try:
        return design(
            recorded_entry(name, hyperparameters, given["implementation"]) if is_own(name) else name,
            hyperparameters,
            objective=objective_of(given["objective"]),
            start=given["start"],
            steps=given["steps"],
            gradient=given["gradient"],
            dtype=given["dtype"],
            device=given["device"],
            implementation=given["implementation"],
            **{name: given[name] for name in _OPTIONAL if name in given},  # type: ignore[literal-required]
        )
    except UsageError as error:
        raise FaultError(f"experiment: {str(error).rstrip('.')}") from None


def _steps(rows: Sequence[TraceRow], place: PlaceOf) -> array[int]:
    steps = array("q", [row["step"] for row in rows])
    if steps[0] != 0:
        raise FaultError(f"{place(0)}step is {steps[0]}; it should be 0, the start")
    for index, is_wrong in enumerate(map(ge, steps, steps[1:]), start=1):
        if is_wrong:
            raise FaultError(f"{place(index)}step is {steps[index]}, after step {steps[index - 1]}")
    return steps


def _of_steps(rows: Sequence[TraceRow], name: str, place: PlaceOf) -> list[Any]:
    """Return a quantity that every row has but the start."""
    values: list[Any] = [row.get(name) for row in rows]
    if values[0] is not None:
        raise FaultError(f"{place(0)}{name} should be null: row 0 is the start")
    if None in values[1:]:
        raise FaultError(f"{place(values.index(None, 1))}{name} is null; only that of the start can be")
    return values[1:]


def _beside(rows: Sequence[TraceRow], size: int, place: PlaceOf) -> dict[str, Column]:
    """Return the columns that a trace has only where gradients are clipped or the momentum is moved."""
    beside = {}
    if any("unclipped_gradient" in row for row in rows):
        values = _of_steps(rows, "unclipped_gradient", place)
        beside["unclipped_gradient"] = vectors("unclipped_gradient", values, 1, size, place)
    if any("momentum" in row for row in rows):
        beside["momentum"] = Column(array("d", _of_steps(rows, "momentum", place)), (), first=1)
    return beside


def _state(rows: Sequence[TraceRow], place: PlaceOf) -> dict[str, Column]:
    if rows[0]["state"]:
        raise FaultError(f"{place(0)}state should be empty: row 0 is the start")
    return by_name("state", [row["state"] for row in rows], place)


def _check_ending(trace: Trace, place: PlaceOf) -> None:
    """See whether the rows end where the outcome says that the run did."""
    outcome, last = trace.outcome, trace.steps[-1]
    if (outcome.step is None) is not (outcome.status is Status.COMPLETED):
        raise FaultError(
            f"outcome: a run that is {outcome.status} has {'a' if outcome.step is None else 'no'} step"
        )
    named = outcome.status in (Status.NON_FINITE, Status.TARGET_REACHED, Status.TARGET_NOT_REACHED)
    if (outcome.quantity is None) is named:
        raise FaultError(f"outcome: a run that is {outcome.status} has {'a' if named else 'no'} quantity")
    if outcome.status is Status.NON_FINITE and outcome.quantity not in {
        *trace.columns,
        *trace.state,
        "final_loss",
    }:
        raise FaultError(f"outcome.quantity is {outcome.quantity!r}, which is no quantity of this trace")
    planned = trace.experiment.steps
    if outcome.step is not None and outcome.step > planned:
        raise FaultError(f"outcome.step is {outcome.step}, and the run has {planned} steps")
    stopped = outcome.status not in (Status.COMPLETED, Status.NON_FINITE)
    end = outcome.step if stopped and outcome.step is not None else planned
    if last != end:
        index = len(trace.steps) - 1
        raise FaultError(f"{place(index)}step is {last} in the last row, but the run ended after step {end}")
