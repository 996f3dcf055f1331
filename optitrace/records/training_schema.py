"""The shape of a training file as types that pydantic checks while it reads.

`training.schema.json` says the same to other programs; a test holds the two together. What one part of a
file asks of another, such as equal lengths, is checked in `training_reading`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from optitrace.records.file_fault import Form
from optitrace.records.findings_schema import DiagnosisShape, RanksShape, VerifiedShape
from optitrace.records.trace_schema import Count, Entry, Number, VersionsShape
from optitrace.records.trace_writer import SCHEMA
from optitrace.records.training import KINDS, ClippingKind

if TYPE_CHECKING:  # a literal type cannot be made of a tuple there
    Kind: TypeAlias = str
else:
    Kind = Literal[KINDS]
_Step: TypeAlias = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
_Name: TypeAlias = Annotated[str, Field(strict=True, min_length=1)]

_CLOSED = ConfigDict(extra="forbid")


class ParameterRow(TypedDict):
    """What a step did to one parameter."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    gradient_norm: Number
    update_norm: Number
    weight_norm: Number
    update_ratio: Number


class TrainingRow(TypedDict):
    """One step of an optimizer."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    step: _Step
    loss: Number | None
    lr: NotRequired[Entry | None]
    gradient: Kind
    gradient_norm: Number
    unclipped_gradient_norm: NotRequired[Number | None]
    update_norm: Number
    weight_norm: Number
    update_ratio: Number
    state: NotRequired[dict[_Name, Entry]]
    values: NotRequired[dict[_Name, Entry]]
    parameters: NotRequired[dict[_Name, ParameterRow]]


class NamedRow(TrainingRow):
    """One step of an optimizer that is named: a line of a JSONL file."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    optimizer: str


class ProgramShape(TypedDict):
    """What was run."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    arguments: list[str]
    is_module: Annotated[bool, Field(strict=True)]


class EndShape(TypedDict):
    """How it ended."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    status: Literal["completed", "interrupted", "failed"]
    step: NotRequired[Count]
    reason: NotRequired[str]


class ParameterShape(TypedDict):
    """A parameter of an optimizer."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    name: _Name
    shape: list[Count]
    dtype: _Name
    group: Count
    is_frozen: Annotated[bool, Field(strict=True)]
    had_gradient: Annotated[bool, Field(strict=True)]
    also_in: str


class UnownedShape(TypedDict):
    """A parameter of the model that gets gradients and that no optimizer has."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    name: _Name
    optimizer: _Name
    since: Count
    by: Count


class TallyShape(TypedDict):
    """How often something was seen."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    count: Count
    first: Count


class ClippingTallyShape(TypedDict):
    """The clippings of one kind."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    steps: TallyShape
    cut: TallyShape | None
    limits: Annotated[list[Number], Field(min_length=2, max_length=2)]
    scale: Number | None
    parameters: list[_Name]


class CaseShape(TypedDict):
    """A kind of gradient that not all parameters have, or that has a cause."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    kind: Kind
    cause: str
    steps: TallyShape
    last: Count
    parameters: list[_Name]


class NonFiniteShape(TypedDict):
    """The first number of a quantity that is not finite."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    quantity: str
    step: Count
    parameter: str | None
    cause: NotRequired[str]
    remedy: NotRequired[str]


class LostShape(TypedDict):
    """Weights that a step left as they were although they have a gradient."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    step: Count
    lost: Count
    coordinates: Count


class SchedulingShape(TypedDict):
    """What the learning rate schedulers over an optimizer did."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    schedulers: list[str]
    steps: Count
    early: Count


class OptimizerHead(TypedDict):
    """All of an optimizer but its rows."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    name: _Name
    class_path: str
    hyperparameters: Annotated[list[dict[str, Any]], Field(min_length=1)]
    parameters: list[ParameterShape]
    taken: Count
    gradients: dict[Kind, TallyShape]
    cases: NotRequired[list[CaseShape]]
    clippings: NotRequired[dict[ClippingKind, ClippingTallyShape]]
    scheduling: NotRequired[SchedulingShape]
    non_finite: list[NonFiniteShape]
    lost: list[LostShape]


class OptimizerShape(OptimizerHead):
    """What one optimizer did; a line that is all of a JSONL file has no steps."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    steps: NotRequired[list[TrainingRow]]


class _Above(TypedDict):
    """What stands before the optimizers."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    schema: Annotated[int, Field(strict=True, ge=SCHEMA, le=SCHEMA)]
    program: ProgramShape
    versions: VersionsShape
    outcome: EndShape
    rank: NotRequired[Count]
    world_size: NotRequired[_Step]
    idle: list[str]
    unowned: list[UnownedShape]
    unobserved: NotRequired[list[str]]
    diagnoses: NotRequired[list[DiagnosisShape]]
    verified: NotRequired[list[VerifiedShape]]
    ranks: NotRequired[RanksShape]


class TrainingHead(_Above):
    """The first line of a JSONL file: all but the rows."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    optimizers: list[OptimizerHead]


class TrainingFile(_Above):
    """A JSON file, or a JSONL file of one line."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    optimizers: list[OptimizerShape]


HEAD = TypeAdapter(TrainingHead)
ROW = TypeAdapter(NamedRow)
WHOLE = TypeAdapter(TrainingFile)

_SHAPES: tuple[type, ...] = (
    *(
        TrainingFile,
        OptimizerShape,
        NamedRow,
        ParameterRow,
        ProgramShape,
        VersionsShape,
        EndShape,
        ParameterShape,
    ),
    *(
        UnownedShape,
        TallyShape,
        ClippingTallyShape,
        CaseShape,
        NonFiniteShape,
        LostShape,
        SchedulingShape,
        DiagnosisShape,
        VerifiedShape,
        RanksShape,
    ),
)

FORM = Form(
    noun="training",
    fields=frozenset().union(*(shape.__annotations__ for shape in _SHAPES)),
    named_by_the_file=(
        "state",
        "values",
        "parameters",
        "hyperparameters",
        "versions",
        "gradients",
        "clippings",
    ),
)
"""What faults are told of."""
