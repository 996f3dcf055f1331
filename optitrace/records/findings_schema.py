"""The shape of what a training file has beside the training: what was found out about it."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from optitrace.records.trace_schema import Count, Number

_CLOSED = ConfigDict(extra="forbid")


class DiagnosisShape(TypedDict):
    """A fault of the training, or a remark on it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    fault: str
    optimizer: str
    step: Count | None
    parameter: str | None
    fact: str
    remedy: str
    severity: NotRequired[Literal["fault", "remark"]]


class VerifiedShape(TypedDict):
    """How an optimizer stands to its rule."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    optimizer: str
    rule: str | None
    steps: Count
    coordinates: Count
    worst: Number
    allowed: Number
    departure: Count | None
    quantity: str
    parameter: str
    note: str


class RanksShape(TypedDict):
    """How the processes that train together stand to each other."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    world_size: Count
    agrees: Annotated[bool, Field(strict=True)] | None
    optimizer: str
    step: Count | None
    parameter: str
    ranks: Annotated[list[Count], Field(min_length=2, max_length=2)]
    norms: Annotated[list[Number], Field(min_length=2, max_length=2)]
    note: str
