"""Reading training files: JSON and JSONL, checked as they are read, and every fault told in one line."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge
from typing import TYPE_CHECKING, Any

from optitrace.records.column_reader import PlaceOf, begun, by_name
from optitrace.records.file_content import FaultError, check_text, numbered_lines
from optitrace.records.trace import Column, Outcome, Status, Versions
from optitrace.records.training import (
    COLUMNS,
    KINDS,
    OF_A_PARAMETER,
    WITHOUT_LOSS,
    ClippingTally,
    GradientCase,
    LostUpdate,
    NonFinite,
    OptimizerTrace,
    Program,
    Scheduling,
    Tally,
    Training,
    UnownedParameter,
    WatchedParameter,
)

if TYPE_CHECKING:
    from optitrace.records.training_schema import (
        OptimizerHead,
        OptimizerShape,
        ParameterShape,
        TrainingFile,
        TrainingHead,
        TrainingRow,
    )

ABOVE = ("diagnoses", "verified", "ranks")
"""What a file has beside the training: what was found out about it."""


@dataclass(frozen=True, slots=True)
class SavedTraining:
    """What a training file holds.

    Attributes:
        training: the training.
        above: what was found out about it, as far as the file has it: each of `ABOVE`, as
            `training_shape` has it.
    """

    training: Training
    above: Mapping[str, Any]


def parse_training(content: bytes) -> SavedTraining:
    """Return the training that the content of a file stands for.

    Raises:
        InputFileError: it is no training; says where and why, but names no file.
    """
    check_text(content)
    from optitrace.records.file_fault import validated
    from optitrace.records.training_schema import FORM, HEAD, ROW, WHOLE

    if lines := numbered_lines(content):
        head = validated(HEAD, lines[0][1], f"line {lines[0][0]}", FORM)
        rows = ((k, validated(ROW, line, f"line {k}", FORM)) for k, line in lines[1:])
        return _saved(head, _sorted_out(head, rows))
    whole = validated(WHOLE, content, "", FORM)
    return _saved(whole, [_whole_optimizer(k, whole["optimizers"]) for k in range(len(whole["optimizers"]))])


def _whole_optimizer(index: int, optimizers: Sequence[OptimizerShape]) -> OptimizerTrace:
    """Return an optimizer of a JSON file; where none has steps, it is a JSONL file without rows."""
    own = optimizers[index]
    if "steps" not in own and any("steps" in optimizer for optimizer in optimizers):
        raise FaultError(f"optimizers[{index}].steps is missing")
    return _optimizer(own, own.get("steps", ()), f"optimizers[{index}].", _in_list(index))


def _in_list(optimizer: int) -> PlaceOf:
    return lambda index: f"optimizers[{optimizer}].steps[{index}]."


def _sorted_out(head: TrainingHead, rows: Iterable[tuple[int, Any]]) -> list[OptimizerTrace]:
    """Return the optimizers of a JSONL file, whose lines may come in any order of optimizers."""
    own: dict[str, list[Any]] = {optimizer["name"]: [] for optimizer in head["optimizers"]}
    lines: dict[str, list[int]] = {name: [] for name in own}
    for number, row in rows:
        name = row["optimizer"]
        if name not in own:
            raise FaultError(f"line {number}: optimizer is {name!r}, which line 1 does not have")
        own[name].append(row)
        lines[name].append(number)
    return [
        _optimizer(optimizer, own[optimizer["name"]], "line 1: ", _on_line(lines[optimizer["name"]]))
        for optimizer in head["optimizers"]
    ]


def _on_line(numbers: Sequence[int]) -> PlaceOf:
    return lambda index: f"line {numbers[index]}: "


def _saved(head: TrainingHead | TrainingFile, optimizers: Sequence[OptimizerTrace]) -> SavedTraining:
    """Return the training of a file whose parts have the right shape, once they are seen to fit together."""
    _check_names("optimizers", [optimizer.name for optimizer in optimizers])
    program, versions, outcome = head["program"], head["versions"], head["outcome"]
    rank, world_size = head.get("rank", 0), head.get("world_size", 1)
    if rank >= world_size:
        raise FaultError(f"rank is {rank}, and world_size {world_size}; ranks count from 0")
    training = Training(
        program=Program(tuple(program["arguments"]), program["is_module"]),
        versions=Versions(versions["optitrace"], versions["torch"], versions["python"]),
        outcome=Outcome(Status(outcome["status"]), outcome.get("step"), reason=outcome.get("reason")),
        optimizers=tuple(optimizers),
        idle=tuple(head["idle"]),
        unowned=tuple(
            UnownedParameter(one["name"], one["optimizer"], one["since"], one["by"])
            for one in head["unowned"]
        ),
        unobserved=tuple(head.get("unobserved", ())),
        rank=rank,
        world_size=world_size,
    )
    return SavedTraining(training, {name: head[name] for name in ABOVE if name in head})  # type: ignore[literal-required]


def _optimizer(given: OptimizerHead, rows: Sequence[TrainingRow], at: str, place: PlaceOf) -> OptimizerTrace:
    """Return one optimizer; `at` is what the file calls the place of its head."""
    parameters = tuple(map(_parameter, given["parameters"]))
    _check_names(f"{at}parameters", [parameter.name for parameter in parameters])
    facts: Mapping[str, Any] = {**given}
    scheduling = facts.get("scheduling")
    return OptimizerTrace(
        name=given["name"],
        class_path=given["class_path"],
        hyperparameters=tuple(_as_values(group) for group in given["hyperparameters"]),
        parameters=parameters,
        taken=given["taken"],
        steps=_steps(rows, given["taken"], place),
        columns=_columns(rows, place),
        by_parameter=_by_parameter(rows, [parameter.name for parameter in parameters], place),
        state=_named("state", rows, place),
        values=_named("values", rows, place),
        gradients={kind: Tally(**tally) for kind, tally in facts["gradients"].items()},
        cases=tuple(map(_case, facts.get("cases", ()))),
        clippings={kind: _clipping(tally) for kind, tally in facts.get("clippings", {}).items()},
        non_finite=tuple(NonFinite(**first) for first in facts["non_finite"]),
        lost=tuple(LostUpdate(**inspected) for inspected in facts["lost"]),
        scheduling=Scheduling(tuple(scheduling["schedulers"]), scheduling["steps"], scheduling["early"])
        if scheduling
        else None,
    )


def _clipping(given: Mapping[str, Any]) -> ClippingTally:
    least, greatest = given["limits"]
    return ClippingTally(
        steps=Tally(**given["steps"]),
        cut=Tally(**given["cut"]) if given["cut"] else None,
        limits=(least, greatest),
        scale=given["scale"],
        parameters=tuple(given["parameters"]),
    )


def _case(given: Mapping[str, Any]) -> GradientCase:
    return GradientCase(
        given["kind"], given["cause"], Tally(**given["steps"]), given["last"], tuple(given["parameters"])
    )


def _parameter(given: ParameterShape) -> WatchedParameter:
    return WatchedParameter(
        name=given["name"],
        shape=tuple(given["shape"]),
        dtype=given["dtype"],
        group=given["group"],
        is_frozen=given["is_frozen"],
        had_gradient=given["had_gradient"],
        also_in=given["also_in"],
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


def _steps(rows: Sequence[TrainingRow], taken: int, place: PlaceOf) -> array[int]:
    steps = array("q", [row["step"] for row in rows])
    for index, is_wrong in enumerate(map(ge, steps, steps[1:]), start=1):
        if is_wrong:
            raise FaultError(f"{place(index)}step is {steps[index]}, after step {steps[index - 1]}")
    if steps and steps[-1] > taken:
        raise FaultError(f"{place(len(steps) - 1)}step is {steps[-1]}, and {taken} were taken")
    return steps


def _columns(rows: Sequence[TrainingRow], place: PlaceOf) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name in COLUMNS if rows else ():
        if name in ("lr", "unclipped_gradient_norm") and not any(name in row for row in rows):
            continue
        values: list[Any] = [row.get(name) for row in rows]
        if name == "loss":
            values = _losses(rows, place)
        elif name == "gradient":
            values = [KINDS.index(kind) for kind in values]
        columns[name] = begun(name, values, place)
    return columns


def _losses(rows: Sequence[TrainingRow], place: PlaceOf) -> list[float]:
    """Return the loss of each row, NaN where its gradient has none."""
    losses = []
    for index, row in enumerate(rows):
        loss, kind = row["loss"], row["gradient"]
        if (loss is None) is not (kind in WITHOUT_LOSS):
            raise FaultError(
                f"{place(index)}loss {'is' if loss is None else 'should be'} null, "
                f"and the gradient is '{kind}'"
            )
        losses.append(float("nan") if loss is None else loss)
    return losses


def _named(what: str, rows: Sequence[TrainingRow], place: PlaceOf) -> dict[str, Column]:
    found: list[Mapping[str, Any]] = [row.get(what, {}) for row in rows]  # type: ignore[misc]
    return by_name(what, found, place) if any(found) else {}


def _by_parameter(rows: Sequence[TrainingRow], names: Sequence[str], place: PlaceOf) -> dict[str, Column]:
    """Return the columns of each parameter that was there in the first row; every row must have them."""
    if not any("parameters" in row for row in rows):
        return {}
    names = names[: len(rows[0].get("parameters", names))]
    columns = {name: array("d") for name in OF_A_PARAMETER}
    for index, row in enumerate(rows):
        given = row.get("parameters", {})
        if given.keys() != set(names):
            wrong = sorted(given.keys() ^ set(names))[0]
            raise FaultError(
                f"{place(index)}parameters.{wrong} is {'not known' if wrong in given else 'missing'}; "
                "a row has each parameter of its optimizer"
            )
        for name, values in columns.items():
            values.extend(given[parameter][name] for parameter in names)  # type: ignore[literal-required]
    return {name: Column(values, (len(names),)) for name, values in columns.items()}
