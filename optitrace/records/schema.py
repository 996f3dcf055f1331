"""The forms of trace and training files, made from the declarations of records and their quantities.

pydantic checks a file against its form while it reads. `trace.schema.json` and `training.schema.json` say the
same to other programs; ``python -m optitrace.records.schema`` writes them. What one part of a file asks of
another, such as equal lengths, is checked in `reader`. Explanations and theory, which can be made again, are
let pass unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

from pydantic import Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from optitrace.experiment.experiment import GRADIENTS, Experiment
from optitrace.experiment.landscapes import EXPRESSION
from optitrace.experiment.objectives import NAMES, UserLoss
from optitrace.experiment.settings import DTYPES
from optitrace.records import findings, trace, training
from optitrace.records.findings import TrainingFindings
from optitrace.records.quantity import Count, Name, Number, Per, Quantity, StepNumber
from optitrace.records.trace import Outcome, Status, Table, TraceRecord, Versions
from optitrace.records.training import OptimizerTrace, Tally, TrainingRecord, UnownedParameter
from optitrace.records.writer import TRACE_SCHEMA, TRAINING_SCHEMA

FINITE_VECTOR: Any = Annotated[list[float], Field(min_length=1)]
VECTOR: Any = Annotated[list[Number], Field(min_length=1)]
ENTRY: Any = Annotated[Number | VECTOR, Field(union_mode="left_to_right")]
WHOLE_NUMBER: Any = Annotated[int, Field(gt=-(2**63), lt=2**63)]

DESCRIPTIONS: Mapping[type, str] = {
    TraceRecord: "One run of an optimizer, step by step. Row 0 is the start and has only weights. The row of "
    "step k has the loss, gradient and lr that step k used, and the weights and state after it.",
    TrainingRecord: "The steps of the optimizers of a program. The row of a step has the loss, lr and "
    "gradient that the step used, and the weights and state after it, as Euclidean norms. Since schema "
    "2 an optimizer has clippings instead of clipped, and the members of unowned are objects.",
}


@dataclass(frozen=True, slots=True)
class Form:
    """The form that a file must have.

    Attributes:
        noun: the kind of record, such as ``trace``.
        schema: the version of the form.
        head: the check of the first line of a JSONL file.
        row: that of its other lines.
        whole: that of a JSON file.
    """

    noun: str
    schema: int
    head: TypeAdapter[Any]
    row: TypeAdapter[Any]
    whole: TypeAdapter[Any]

    def names(self) -> tuple[set[str], set[str]]:
        """Return the names that the form gives, and those of objects whose entries the file names."""
        given, free = set(), set()
        for adapter in (self.whole, self.row):
            for name, schema in _properties(adapter.json_schema()):
                given.add(name)
                if "additionalProperties" in schema and "properties" not in schema:
                    free.add(name)
        return given, free


def trace_form() -> Form:
    """Return the form of trace files."""
    return _trace_form(TraceRecord.QUANTITIES)


def training_form(schema: int = TRAINING_SCHEMA) -> Form:
    """Return the form of training files; that of schema 1 for files of that schema."""
    return _training_form(OptimizerTrace.QUANTITIES, schema)


def json_schema(record: type[TraceRecord | TrainingRecord]) -> dict[str, Any]:
    """Return the JSON Schema of the files of a record."""
    form = _form_of(record)
    title = f"{form.noun}, schema {form.schema}"
    return document(form.whole, title, record, DESCRIPTIONS[record], _DOCUMENTED)


def document(
    whole: TypeAdapter[Any], title: str, record: type, description: str, documented: Mapping[str, type]
) -> dict[str, Any]:
    """Return the JSON Schema of a file, with what the docstrings of its values say.

    Args:
        whole: the check of the file.
        title: what the file is, and the version of its form.
        record: the value that is in it.
        description: of the file, in sentences.
        documented: the dataclasses that stand for its objects, by name.
    """
    schema = _without(("title", "default"), whole.json_schema())
    definitions = schema.pop("$defs")
    for name, definition in {record.__name__: schema, **definitions}.items():
        if name in documented:
            _describe(definition, documented[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"optitrace {title}",
        **schema,
        "description": f"{description} Numbers are exact; those that are not finite are strings.",
        "$defs": definitions,
    }


def write_schemas(folder: Path) -> None:
    """Write the JSON Schemas of both kinds of files into a folder."""
    for record in (TraceRecord, TrainingRecord):
        write_schema(folder, _form_of(record).noun, json_schema(record))


def write_schema(folder: Path, name: str, schema: Mapping[str, Any]) -> None:
    """Write a JSON Schema into a folder."""
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    (folder / f"{name}.schema.json").write_text(f"{text}\n", encoding="utf-8")


def _form_of(record: type[TraceRecord | TrainingRecord]) -> Form:
    return trace_form() if record is TraceRecord else training_form()


def _free(schema: Mapping[str, Any], type: Any = Any) -> Any:
    """Return a type whose JSON Schema says more than is checked here."""
    return Annotated[type, WithJsonSchema({**schema})]


def _object(description: str, **properties: Any) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


_TEXT, _ANY_INTEGER, _RATE = {"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}
_FINITE_OR_TEXT = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_NUMBERS = {"type": "array", "items": _FINITE_OR_TEXT, "minItems": 1}

_THEORY = _object(
    "With --theory: the theory of sgd on a quadratic, and the rate of this run. A rate is the factor by "
    "which the distance from the minimum changes in each step, asymptotically.",
    stability_limit=_RATE,
    predicted_rate={"type": "number"},
    slowest_coordinate=_ANY_INTEGER,
    observed_rate=_RATE,
    optimal_lr=_RATE,
    optimal_momentum=_RATE,
)

_EXPLAINED: Mapping[str, Any] = {
    "explanation": {
        "description": "With --explain: the lines of the rule that acted, in order; filled is the formula "
        "with numbers put in, which evaluates to value.",
        "type": "array",
        "items": _object("A line.", symbol=_TEXT, formula=_TEXT, filled=_TEXT, value={}),
    },
    "parts": {
        "description": "With --explain: the summands of the weight change.",
        "type": "object",
        "additionalProperties": _NUMBERS,
    },
    "ulps": {
        "description": "With --explain: how far each weight is from the rule's, in units in the last place "
        "of the dtype.",
        **_NUMBERS,
    },
    "no_effect": {
        "description": "With --explain: the hyperparameters without which the rule gives the same weights "
        "and the same state, each line rounded to the dtype; absent if there is none.",
        "type": "array",
        "items": _TEXT,
    },
    "not_finite": _object(
        "With --explain, for the first step that leaves weights or state that are not finite: the line of "
        "the rule that gives such a number, and what keeps the step finite; empty if nothing that was tried "
        "does.",
        cause=_TEXT,
        remedy=_TEXT,
    ),
    "search": _object(
        "With --explain, for lbfgs, which has no rule: what the step did.",
        evaluations=_ANY_INTEGER,
        iterations=_ANY_INTEGER,
        step_length=_RATE,
        history=_ANY_INTEGER,
    ),
}
"""What `optitrace --explain` puts beside the columns of a row."""


@cache
def _trace_form(quantities: tuple[Quantity, ...]) -> Form:
    above: dict[str, Any] = {
        "schema": version(TRACE_SCHEMA),
        "experiment": _experiment(),
        "versions": shape(Versions, optional=set()),
        "outcome": shape(
            Outcome,
            optional={"step", "quantity", "reason"},
            status=_free({"enum": [status for status in Status if status is not Status.RUNNING]}, Status),
        ),
        "theory": NotRequired[_free(_THEORY)],
    }
    explained = {name: NotRequired[_free(schema)] for name, schema in _EXPLAINED.items()}
    row = _row(TraceRecord, quantities, step=Count, **explained)
    rows = Annotated[list[row], Field(min_length=1)]  # type: ignore[valid-type]
    shapes = shape(TraceRecord, **above), row, shape(TraceRecord, **above, steps=rows)
    return Form("trace", TRACE_SCHEMA, *map(TypeAdapter, shapes))


@cache
def _training_form(quantities: tuple[Quantity, ...], schema: int) -> Form:
    was = {"unowned": tuple[UnownedParameter | Name, ...]} if schema == 1 else {}
    old: dict[str, Any] = {"clipped": NotRequired[Tally]} if schema == 1 else {}
    docs = _attribute_docs(TrainingFindings)
    found = {
        name: NotRequired[Annotated[type, Field(description=docs.get(name))]]
        for name, type in get_type_hints(TrainingFindings, include_extras=True).items()
    }
    above: dict[str, Any] = {
        "schema": version(schema),
        "versions": shape(Versions, optional=set()),
        "outcome": shape(
            Outcome,
            optional={"step", "reason"},
            without={"quantity"},
            status=Literal["completed", "interrupted", "failed", "running"],
        ),
        **found,
        **was,
    }
    row = _row(OptimizerTrace, quantities, step=StepNumber)
    optimizer: Any = shape(OptimizerTrace, **old)
    with_rows: Any = shape(OptimizerTrace, **old, steps=NotRequired[list[row]])  # type: ignore[valid-type]
    shapes = (
        shape(TrainingRecord, **above, optimizers=list[optimizer]),
        _typed("NamedRow", {"optimizer": str, **get_type_hints(row, include_extras=True)}),
        shape(TrainingRecord, **above, optimizers=list[with_rows]),
    )
    return Form("training", schema, *map(TypeAdapter, shapes))


def version(schema: int) -> Any:
    """Return the version of a form as the type that only it has."""
    return Annotated[int, Field(ge=schema, le=schema), WithJsonSchema({"const": schema})]


def _experiment() -> Any:
    """Return what a file has of an experiment: all that it takes to make it again."""
    objective = {
        "name": _free({"enum": [*NAMES, EXPRESSION, UserLoss.name]}, str),
        "coefficients": NotRequired[Annotated[FINITE_VECTOR, Field(description="The c of the quadratic.")]],
        "rotation": NotRequired[
            Annotated[Count, Field(description="The seed of the rotation from w to u; none, and u is w.")]
        ],
        "expression": NotRequired[str],
        "function": NotRequired[
            Annotated[str, Field(description="path/file.py:function or package.module:function")]
        ],
        "dimension": NotRequired[
            Annotated[int, Field(ge=1, lt=2**31, description="The number of weights of a function.")]
        ],
    }
    return shape(
        Experiment,
        optional={"noise", "seed", "clip_norm", "clip_value", "schedule", "until"},
        without={"custom"},
        hyperparameters=dict[str, bool | WHOLE_NUMBER | float | str | list[float | None] | None],
        objective=_typed("Objective", objective),
        start=FINITE_VECTOR,
        steps=Count,
        gradient=_free({"enum": [*GRADIENTS]}, str),
        dtype=_free({"enum": [*DTYPES]}, str),
        device=_free({"type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$"}, str),
        implementation=Literal["single", "foreach", "fused"],
        seed=Count,
        clip_norm=float,
        clip_value=float,
        schedule=str,
        until=str,
    )


def shape(
    of: type, *, optional: Set[str] | None = None, without: Set[str] = frozenset(), **changes: Any
) -> Any:
    """Return a dataclass as the object that stands for it in a file; columns stand in rows.

    Args:
        of: the dataclass.
        optional: the fields that a file may lack; those with a default if not given.
        without: the fields that a file has not.
        changes: what stands in the file in place of a field, or beside the fields.
    """
    hints = get_type_hints(of, include_extras=True)
    left_out = {*without, *(field.name for field in fields(Table) if issubclass(of, Table))}
    types: dict[str, Any] = {}
    for field in fields(of):
        if field.name in left_out:
            continue
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        type = changes.get(field.name, hints[field.name])
        is_optional = has_default if optional is None else field.name in optional
        types[field.name] = NotRequired[type] if is_optional else type
    return _typed(of.__name__, {**changes, **types})


def _row(of: type[Table], quantities: tuple[Quantity, ...], step: Any, **more: Any) -> Any:
    """Return what a row of a table is in a file."""
    docs = _attribute_docs(Table)
    each = {quantity.name: Number for quantity in quantities if quantity.each_parameter}
    groups = {
        "state": dict[Name, ENTRY],
        "values": dict[Name, ENTRY],
        "parameters": dict[Name, _typed("ParameterRow", each)],  # type: ignore[misc]
    }
    described = {
        name: Annotated[type, Field(description=docs.get("by_parameter" if name == "parameters" else name))]
        for name, type in groups.items()
    }
    types = {"step": step, **{quantity.name: _type(quantity) for quantity in quantities}}
    types |= {name: described[name] for name in of.ALWAYS}
    types |= {name: NotRequired[described[name]] for name in of.ASKED_FOR}
    return _typed("Row", {**types, **more})


def _type(quantity: Quantity) -> Any:
    """Return what a row of a file has of a quantity."""
    several = {Per.STEP: Number, Per.COORDINATE: VECTOR, Per.GROUP: ENTRY}
    type: Any = Literal[quantity.words] if quantity.words else several[quantity.per]
    if quantity.first != 0 or quantity.may_lack:
        type = type | None
    type = Annotated[type, Field(description=quantity.doc)]
    return NotRequired[type] if quantity.is_optional else type


def _typed(name: str, types: Mapping[str, Any]) -> Any:
    shape = TypedDict(name, {**types})  # type: ignore[misc]
    shape.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
    return shape


_CONFIG = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

_DOCUMENTED: Mapping[str, type] = {
    value.__name__: value
    for value in (*vars(trace).values(), *vars(training).values(), *vars(findings).values())
    if isinstance(value, type) and is_dataclass(value)
}
"""The dataclasses whose docstrings describe the objects of a file, by name."""


def _describe(schema: dict[str, Any], of: type) -> None:
    """Put what a docstring says of a value and its attributes into the schema of its object."""
    docs = _attribute_docs(of)
    schema["description"] = cleandoc(of.__doc__ or "").partition("\n")[0]
    for name, own in schema["properties"].items():
        if name in docs:
            own.setdefault("description", docs[name])


def _attribute_docs(of: type) -> dict[str, str]:
    """Return what a docstring says of each attribute, as sentences."""
    _, _, section = cleandoc(of.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    sentences = ((name, " ".join(text.replace("`", "").split())) for name, text in found)
    return {name: re.sub(r"\bNone\b", "null", text[0].upper() + text[1:]) for name, text in sentences}


def _properties(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every property of a JSON Schema, wherever it stands, with its own schema."""
    members = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
    for member in members:
        yield from _properties(member)


def _without(keywords: Collection[str], schema: Any) -> Any:
    """Return a JSON Schema without some keywords, such as the titles that pydantic makes of names."""
    if isinstance(schema, list):
        return [_without(keywords, member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _without(keywords, own) for key, own in member.items()}
        if name in ("properties", "$defs")
        else _without(keywords, member)
        for name, member in schema.items()
        if name not in keywords
    }


if __name__ == "__main__":
    write_schemas(Path(__file__).parent)
