"""Reading traces and trainings from JSON and JSONL: checked while read, every fault told in one line."""

from __future__ import annotations

import codecs
import os
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import nan
from operator import ge
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from optitrace.errors import InputFileError, UsageError, printable, quoted
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.objectives import objective_of
from optitrace.experiment.user_class import is_user_class, recorded_entry
from optitrace.records.fault import FaultError, validated
from optitrace.records.findings import TrainingFindings
from optitrace.records.part_file import is_in_use, part_of
from optitrace.records.quantity import Per, Quantity
from optitrace.records.trace import Column, Outcome, Status, Table, TraceRecord, Versions
from optitrace.records.training import (
    WITHOUT_LOSS,
    ClippingTally,
    OptimizerTrace,
    TrainingRecord,
    UnownedParameter,
)
from optitrace.records.writer import TRAINING_SCHEMA
from optitrace.text import counted

if TYPE_CHECKING:
    from optitrace.records.schema import Form

Content = TypeVar("Content")

Place = Callable[[int], str]
"""What the file calls the row of an index."""

Row: TypeAlias = Mapping[str, Any]
"""A row as it stands in a file."""

Line: TypeAlias = tuple[int, bytes]
"""A line of a file and its number, from 1."""

STDIN = "-"
"""The path that stands for standard input."""


@dataclass(frozen=True, slots=True)
class SavedTraining:
    """What a training file holds.

    Attributes:
        training: the training.
        findings: what was found out about it.
        is_part: whether it was written before the training had ended, and not diagnosed then.
    """

    training: TrainingRecord
    findings: TrainingFindings
    is_part: bool = False


Saved: TypeAlias = TraceRecord | SavedTraining


def read_saved(path: str) -> Saved:
    """Read what was saved as JSON or JSONL, whatever its suffix; ``-`` is standard input.

    Raises:
        InputFileError: the file cannot be read, or is neither a trace nor a training; says where and why.
    """
    return _read(path, lambda content: (parse_training if _is_training(content) else parse_trace)(content))


def read_trace(path: str) -> TraceRecord:
    """Read a trace that was saved as JSON or JSONL, whatever its suffix; ``-`` is standard input.

    Raises:
        InputFileError: the file cannot be read, or is no trace; says where and why.
    """
    return _read(path, parse_trace)


def parse_trace(content: bytes) -> TraceRecord:
    """Return the trace that the content of a file stands for.

    Raises:
        InputFileError: it is no trace; says where and why, but names no file.
    """
    _check_text(content)
    if _is_training(content):
        raise FaultError("it is a training, not a trace; 'optitrace show' and 'optitrace diff' accept it")
    from optitrace.records.schema import trace_form

    head, rows, numbers = _parts(content, trace_form())
    if rows is None:
        return _trace(head, head["steps"], lambda index: f"steps[{index}].")
    return _trace(head, rows, _on_lines(numbers))


def parse_training(content: bytes) -> SavedTraining:
    """Return the training that the content of a file stands for.

    Raises:
        InputFileError: it is no training; says where and why, but names no file.
    """
    _check_text(content)
    from optitrace.records.schema import training_form

    schema = _SCHEMA.search(content)
    head, rows, numbers = _parts(content, training_form(int(schema[1]) if schema else TRAINING_SCHEMA))
    if rows is None:
        return _training(head, _whole_optimizers(head["optimizers"]))
    return _training(head, _sorted_out(head, rows, numbers))


_HEAD = b'{"schema"'
_KIND = re.compile(rb'"(experiment|program)"\s*:')
_SCHEMA = re.compile(rb'"schema"\s*:\s*(1|2)\b')


def _read(path: str, parse: Callable[[bytes], Content]) -> Content:
    """Return what the content of a file stands for, with the name of the file in what is wrong with it."""
    name = "standard input" if path == STDIN else quoted(path)
    try:
        content, is_written = _content(path)
        parsed = parse(content)
        return parsed if is_written else _ended(parsed)
    except FaultError as fault:
        raise InputFileError(f"cannot read {name}: {printable(str(fault))}.") from None


def _content(path: str) -> tuple[bytes, bool]:
    """Return the content of a file, and whether a training that goes on was writing it."""
    try:
        if path == STDIN:
            if sys.stdin is None:
                raise FaultError("it is closed")
            return sys.stdin.buffer.read(), False
        with open(path, "rb") as stream:
            is_written = is_in_use(stream.fileno())  # first, as it may end meanwhile
            return stream.read(), is_written
    except FileNotFoundError:
        raise FaultError(_missing(path)) from None
    except IsADirectoryError:
        raise FaultError("it is a folder") from None
    except OSError as error:
        raise FaultError(error.strerror or str(error)) from None
    except ValueError:
        raise FaultError("this is not a valid file name") from None


def _missing(path: str) -> str:
    """Return that there is no such file, and where the training is that was to be written there."""
    part = part_of(path)
    if os.path.exists(part):
        return f"there is no such file; what was recorded before the training ended is in {quoted(part)}"
    return "there is no such file"


def _ended(content: Content) -> Content:
    """Return what a file holds that nobody writes any more: if it is a training, it has ended."""
    if not isinstance(content, SavedTraining) or content.training.outcome.status is not Status.RUNNING:
        return content
    outcome = replace(content.training.outcome, status=Status.INTERRUPTED)
    return replace(content, training=replace(content.training, outcome=outcome))


def _check_text(content: bytes) -> None:
    """Refuse, with a remedy, what is not JSON at the first look."""
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FaultError("it begins with a byte order mark; save it as UTF-8 without one")
    begin = content[:1000].lstrip()
    if not begin:
        raise FaultError("it is empty")
    if not begin.startswith((b"{", b"[")):
        raise FaultError(
            "line 1: it is not JSON; traces are read back from '-o FILE.json' or '-o FILE.jsonl'"
        )


def _is_training(content: bytes) -> bool:
    """Return whether a file holds a training, which has a program instead of an experiment."""
    key = _KIND.search(content)
    return key is not None and key[1] == b"program"


def _numbered_lines(content: bytes) -> list[Line]:
    """Return the lines of JSONL with their numbers, from 1; none of a content that is one JSON object."""
    first, _, rest = content.partition(b"\n")
    if not rest.strip() or not _is_whole_object(first):
        return []
    return [(k, line) for k, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _is_whole_object(line: bytes) -> bool:
    """Return whether a line is a JSON object by itself, as the first of a JSONL file is."""
    if not line.rstrip().endswith(b"}"):
        return False
    from pydantic_core import from_json

    try:
        return isinstance(from_json(line), dict)
    except ValueError:
        return False


def _parts(content: bytes, form: Form) -> tuple[Row, list[Row] | None, list[int]]:
    """Return the first line of JSONL, the other lines and their numbers; the whole of JSON, and no lines."""
    lines = _numbered_lines(content)
    if not lines:
        return validated(form.whole, content, "", form), None, []
    (first, head), *rest = lines
    checked = validated(form.head, head, f"line {first}", form)
    if checked["outcome"]["status"] == Status.RUNNING:
        checked, rest = _blocks(content, checked, rest, form)
    rows = [validated(form.row, line, f"line {number}", form) for number, line in rest]
    return checked, rows, [number for number, _ in rest]


def _blocks(content: bytes, head: Row, lines: Sequence[Line], form: Form) -> tuple[Row, list[Line]]:
    """Return the last head of a training that had not ended, and the rows of all its blocks."""
    if not content.endswith(b"\n"):  # the program was killed while it wrote the last line
        lines = lines[:-1]
    heads = [(number, line) for number, line in lines if line.startswith(_HEAD)]
    for number, line in heads[-1:]:
        head = validated(form.head, line, f"line {number}", form)
    return head, [(number, line) for number, line in lines if not line.startswith(_HEAD)]


def _on_lines(numbers: Sequence[int]) -> Place:
    return lambda index: f"line {numbers[index]}: "


def _trace(head: Row, rows: Sequence[Row], place: Place) -> TraceRecord:
    """Return the trace of a file whose parts have the right form, once they are seen to fit together."""
    experiment = _experiment(head["experiment"])
    if (first := rows[0]["step"]) != 0:
        raise FaultError(f"{place(0)}step is {first}; it should be 0, the start")
    if rows[0]["state"]:
        raise FaultError(f"{place(0)}state should be empty: row 0 is the start")
    trace = TraceRecord(
        experiment=experiment,
        versions=Versions(**head["versions"]),
        outcome=Outcome(**head["outcome"]),
        final_loss=head["final_loss"],
        steps=_steps(rows, place),
        columns=_columns(TraceRecord, rows, place, len(experiment.start)),
        state=_by_name("state", rows, place),
    )
    _check_ending(trace, place)
    return trace


def _experiment(given: Row) -> Experiment:
    name = given["optimizer"]
    settings = {key: value for key, value in given.items() if key not in ("optimizer", "hyperparameters")}
    hyperparameters = _as_values(given["hyperparameters"])
    try:
        return design(
            recorded_entry(name, hyperparameters, given["implementation"]) if is_user_class(name) else name,
            hyperparameters,
            **{**settings, "objective": objective_of(given["objective"])},
        )
    except UsageError as error:
        raise FaultError(f"experiment: {str(error).rstrip('.')}") from None


def _check_ending(trace: TraceRecord, place: Place) -> None:
    """See whether the rows end where the outcome says that the run did."""
    outcome, last = trace.outcome, trace.steps[-1]
    if outcome.status is Status.RUNNING:
        raise FaultError("outcome.status is 'running', which only a training can be")
    if (outcome.step is None) is not (outcome.status is Status.COMPLETED):
        raise FaultError(
            f"outcome: a run that is {outcome.status} has {'a' if outcome.step is None else 'no'} step"
        )
    named = outcome.status in (Status.NON_FINITE, Status.TARGET_REACHED, Status.TARGET_NOT_REACHED)
    if (outcome.quantity is None) is named:
        raise FaultError(f"outcome: a run that is {outcome.status} has {'a' if named else 'no'} quantity")
    known = {*trace.columns, *trace.state, *trace.at_the_end}
    if outcome.status is Status.NON_FINITE and outcome.quantity not in known:
        raise FaultError(f"outcome.quantity is {outcome.quantity!r}, which is not a quantity of this trace")
    planned = trace.experiment.steps
    if outcome.step is not None and outcome.step > planned:
        raise FaultError(f"outcome.step is {outcome.step}, and the run has {planned} steps")
    stopped = outcome.status not in (Status.COMPLETED, Status.NON_FINITE)
    end = outcome.step if stopped and outcome.step is not None else planned
    if last != end:
        index = len(trace.steps) - 1
        raise FaultError(f"{place(index)}step is {last} in the last row, but the run ended after step {end}")


def _training(head: Row, optimizers: Sequence[OptimizerTrace]) -> SavedTraining:
    """Return the training of a file whose parts have the right form, once they are seen to fit together."""
    _check_names("optimizers", [optimizer.name for optimizer in optimizers])
    own = {name: value for name, value in head.items() if name in TrainingRecord.__dataclass_fields__}
    first = optimizers[0].name if optimizers else ""
    own |= {
        "versions": Versions(**head["versions"]),
        "outcome": Outcome(**{**head["outcome"], "status": Status(head["outcome"]["status"])}),
        "optimizers": tuple(optimizers),
        "unowned": tuple(
            UnownedParameter(one, first) if isinstance(one, str) else one for one in head.get("unowned", ())
        ),
    }
    training = TrainingRecord(**own)
    if training.rank >= training.world_size:
        raise FaultError(f"rank is {training.rank}, and world_size {training.world_size}; ranks count from 0")
    found = {name: head[name] for name in TrainingFindings.__dataclass_fields__ if name in head}
    is_part = training.outcome.status is Status.RUNNING
    return SavedTraining(training, TrainingFindings(**found), is_part)


def _whole_optimizers(given: Sequence[Row]) -> list[OptimizerTrace]:
    """Return the optimizers of a JSON file; where none has steps, it is a JSONL file without rows."""
    optimizers = []
    for index, own in enumerate(given):
        at = f"optimizers[{index}]."
        if "steps" not in own and any("steps" in optimizer for optimizer in given):
            raise FaultError(f"{at}steps is missing")
        optimizers.append(_optimizer(own, own.get("steps", ()), at, partial("{}steps[{}].".format, at)))
    return optimizers


def _sorted_out(head: Row, rows: Iterable[Row], numbers: Iterable[int]) -> list[OptimizerTrace]:
    """Return the optimizers of a JSONL file, whose lines may come in any order of optimizers."""
    own: dict[str, list[Row]] = {optimizer["name"]: [] for optimizer in head["optimizers"]}
    lines: dict[str, list[int]] = {name: [] for name in own}
    for number, row in zip(numbers, rows, strict=True):
        name = row["optimizer"]
        if name not in own:
            raise FaultError(f"line {number}: optimizer is {name!r}, which line 1 does not have")
        own[name].append(row)
        lines[name].append(number)
    return [
        _optimizer(optimizer, own[optimizer["name"]], "line 1: ", _on_lines(lines[optimizer["name"]]))
        for optimizer in head["optimizers"]
    ]


def _optimizer(given: Row, rows: Sequence[Row], at: str, place: Place) -> OptimizerTrace:
    """Return one optimizer; `at` is what the file calls the place of its head."""
    names = [parameter.name for parameter in given["parameters"]]
    _check_names(f"{at}parameters", names)
    own = {name: value for name, value in given.items() if name not in ("steps", "clipped")}
    own["hyperparameters"] = tuple(map(_as_values, given["hyperparameters"]))
    if "clipped" in given:  # of schema 1, which does not say at which limits
        own["clippings"] = {"used": ClippingTally(given["clipped"], given["clipped"], (nan, nan))}
    steps = _steps(rows, place)
    if steps and steps[-1] > given["taken"]:
        raise FaultError(f"{place(len(steps) - 1)}step is {steps[-1]}, and {given['taken']} were taken")
    return OptimizerTrace(
        **own,
        steps=steps,
        columns=_columns(OptimizerTrace, rows, place) if rows else {},
        state=_by_name("state", rows, place),
        values=_by_name("values", rows, place),
        by_parameter=_by_parameter(rows, names, place),
    )


def _check_names(where: str, names: Sequence[str]) -> None:
    """See that no two have one name."""
    for index, name in enumerate(names):
        if len(set(names)) < len(names) and name in names[:index]:
            raise FaultError(f"{where}: two are named {name!r}")


def _as_values(given: Any) -> Any:
    """Return hyperparameters as torch has them: tuples for lists, and numbers that are not finite."""
    if isinstance(given, dict):
        return {name: _as_values(value) for name, value in given.items()}
    if isinstance(given, list):
        return tuple(map(_as_values, given))
    return float(given) if given in ("NaN", "Infinity", "-Infinity") else given


def _steps(rows: Sequence[Row], place: Place) -> array[int]:
    steps = array("q", [row["step"] for row in rows])
    for index, is_wrong in enumerate(map(ge, steps, steps[1:]), start=1):
        if is_wrong:
            raise FaultError(f"{place(index)}step is {steps[index]}, after step {steps[index - 1]}")
    return steps


def _columns(of: type[Table], rows: Sequence[Row], place: Place, size: int = 0) -> dict[str, Column]:
    """Return the columns of the quantities of a table; of each coordinate there are `size` numbers."""
    columns = {}
    for quantity in of.QUANTITIES:
        name = quantity.name
        if quantity.is_optional and not any(name in row for row in rows):
            continue
        values: list[Any] = [row.get(name) for row in rows]
        if quantity.words:
            values = list(map(quantity.words.index, values))
        elif quantity.may_lack:
            values = _losses(name, rows, place)
        first = _first_value(quantity, values, place)
        if quantity.per is Per.COORDINATE:
            columns[name] = _vectors(name, values[first:], first, size, place)
        else:
            columns[name] = _entry(name, values[first:], first, place)
    return columns


def _losses(name: str, rows: Sequence[Row], place: Place) -> list[float]:
    """Return the loss of each row, NaN where its gradient has none."""
    for index, row in enumerate(rows):
        is_null, kind = row[name] is None, row["gradient"]
        if is_null is not (kind in WITHOUT_LOSS):
            raise FaultError(
                f"{place(index)}{name} {'is' if is_null else 'should be'} null, and the gradient is '{kind}'"
            )
    return [nan if row[name] is None else row[name] for row in rows]


def _first_value(quantity: Quantity, values: Sequence[Any], place: Place) -> int:
    """Return the first row that has a value; all that follow must have one."""
    name, first = quantity.name, quantity.first
    found = next((k for k, value in enumerate(values) if value is not None), len(values))
    if first is not None and found < first:
        raise FaultError(f"{place(0)}{name} should be null: row 0 is the start")
    first = found if first is None else first
    if None in values[first:]:
        reason = "only that of the start can be" if quantity.first == 1 else "and the row before has it"
        raise FaultError(
            f"{place(values.index(None, first))}{name} is null{',;'[quantity.first == 1]} {reason}"
        )
    return first


def _vectors(name: str, values: Sequence[list[float]], first: int, size: int, place: Place) -> Column:
    """Return a column of vectors that must have `size` coordinates each."""
    if set(map(len, values)) - {size}:
        wrong = next(k for k, value in enumerate(values) if len(value) != size)
        raise FaultError(
            f"{place(wrong + first)}{name} has {counted(len(values[wrong]), 'coordinate')}, not {size}"
        )
    return Column(array("d", chain.from_iterable(values)), (size,), first)


def _entry(name: str, values: Sequence[Any], first: int, place: Place) -> Column:
    """Return a column of numbers, or of lists of equal lengths."""
    if values and isinstance(values[0], list):
        if all(type(value) is list for value in values):
            return _vectors(name, values, first, len(values[0]), place)
    elif list not in set(map(type, values)):
        return Column(array("d", values), (), first)
    wrong = next(k for k, value in enumerate(values) if type(value) is not type(values[0]))
    kinds = ("a list", "a number") if isinstance(values[wrong], list) else ("a number", "a list")
    raise FaultError(f"{place(wrong + first)}{name} is {kinds[0]}, and {kinds[1]} in the row before")


def _by_name(group: str, rows: Sequence[Row], place: Place) -> dict[str, Column]:
    """Return the columns of what stands in each row as an object; what is there once must be ever after."""
    objects: list[Row] = [row.get(group, {}) for row in rows]
    columns = {}
    for name in dict.fromkeys(chain.from_iterable([*objects[-1:], *objects])):
        first = next(k for k, own in enumerate(objects) if name in own)
        try:
            values = [own[name] for own in objects[first:]]
        except KeyError:
            missing = next(k for k in range(first, len(objects)) if name not in objects[k])
            raise FaultError(
                f"{place(missing)}{group}.{name} is missing, and the row before has it"
            ) from None
        columns[name] = _entry(f"{group}.{name}", values, first, place)
    return columns


def _by_parameter(rows: Sequence[Row], names: Sequence[str], place: Place) -> dict[str, Column]:
    """Return the columns of each parameter that was there in the first row; every row must have them."""
    if not any("parameters" in row for row in rows):
        return {}
    names = names[: len(rows[0].get("parameters", names))]
    columns = {q.name: array("d") for q in OptimizerTrace.QUANTITIES if q.each_parameter}
    for index, row in enumerate(rows):
        given = row.get("parameters", {})
        if given.keys() != set(names):
            wrong = sorted(given.keys() ^ set(names))[0]
            raise FaultError(
                f"{place(index)}parameters.{wrong} is {'not known' if wrong in given else 'missing'}; "
                "a row has each parameter of its optimizer"
            )
        for name, values in columns.items():
            values.extend(given[parameter][name] for parameter in names)
    return {name: Column(values, (len(names),)) for name, values in columns.items()}
