"""The shape of a trace file as types that pydantic checks while it reads.

`trace.schema.json` says the same to other programs; a test holds the two together. What one part of a
file asks of another, such as equal lengths, is checked in `trace_reading`. Explanations and theory, which
can be made again, are let pass unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from optitrace.records.file_fault import Form
from optitrace.records.trace import Status
from optitrace.records.trace_writer import SCHEMA

_Finite: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
if TYPE_CHECKING:  # what they are once they are read
    Number: TypeAlias = float
    Entry: TypeAlias = float | list[float]
else:
    _NonFinite = Annotated[Literal["NaN", "Infinity", "-Infinity"], AfterValidator(float)]
    Number = Annotated[_Finite | _NonFinite, Field(union_mode="left_to_right")]
    Entry = Annotated[
        Number | Annotated[list[Number], Field(min_length=1)], Field(union_mode="left_to_right")
    ]
_Vector: TypeAlias = Annotated[list[Number], Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
_Setting: TypeAlias = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True, gt=-(2**63), lt=2**63)]
    | _Finite
    | Annotated[str, Field(strict=True)]
    | list[_Finite | None]
    | None
)

_CLOSED = ConfigDict(extra="forbid")


class TraceRow(TypedDict):
    """One step."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    step: Count
    loss: Number | None
    gradient: _Vector | None
    weights: _Vector
    lr: Number | None
    unclipped_gradient: NotRequired[_Vector | None]
    momentum: NotRequired[Number | None]
    state: dict[str, Entry]
    explanation: NotRequired[Any]
    parts: NotRequired[Any]
    ulps: NotRequired[Any]
    not_finite: NotRequired[Any]
    search: NotRequired[Any]


class ObjectiveShape(TypedDict):
    """The loss."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    name: str
    coefficients: NotRequired[Annotated[list[_Finite], Field(min_length=1)]]
    rotation: NotRequired[Count]
    expression: NotRequired[str]
    function: NotRequired[str]
    dimension: NotRequired[Annotated[int, Field(strict=True, ge=1, lt=2**31)]]


class ExperimentShape(TypedDict):
    """What was run."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    optimizer: str
    hyperparameters: dict[str, _Setting]
    objective: ObjectiveShape
    start: Annotated[list[_Finite], Field(min_length=1)]
    steps: Count
    gradient: str
    dtype: str
    device: str
    implementation: Literal["single", "foreach", "fused"]
    noise: NotRequired[_Finite]
    seed: NotRequired[Count]
    clip_norm: NotRequired[_Finite]
    clip_value: NotRequired[_Finite]
    schedule: NotRequired[str]
    until: NotRequired[str]


class VersionsShape(TypedDict):
    """What it was run with."""

    optitrace: str
    torch: str
    python: str


class OutcomeShape(TypedDict):
    """How it ended."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    status: Status
    step: NotRequired[Count]
    quantity: NotRequired[str]
    reason: NotRequired[str]


class TraceHead(TypedDict):
    """All but the steps: the first line of a JSONL file."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    schema: Annotated[int, Field(strict=True, ge=SCHEMA, le=SCHEMA)]
    experiment: ExperimentShape
    versions: VersionsShape
    outcome: OutcomeShape
    theory: NotRequired[Any]
    final_loss: Number


class TraceFile(TraceHead):
    """A JSON file."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    steps: Annotated[list[TraceRow], Field(min_length=1)]


HEAD = TypeAdapter(TraceHead)
ROW = TypeAdapter(TraceRow)
WHOLE = TypeAdapter(TraceFile)

FORM = Form(
    noun="trace",
    fields=frozenset().union(
        *(
            shape.__annotations__
            for shape in (TraceFile, TraceRow, ExperimentShape, ObjectiveShape, VersionsShape, OutcomeShape)
        )
    ),
    named_by_the_file=("state", "hyperparameters", "versions"),
)
"""What faults are told of."""
