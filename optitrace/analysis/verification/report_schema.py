"""The form of a verification as JSON: ``verification.schema.json``, which says it to other programs.

``python -m optitrace.analysis.verification.report_schema`` writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from optitrace.analysis.verification.check import (
    SCHEMA,
    Check,
    Conformance,
    Departure,
    Suspect,
    VerificationResult,
)
from optitrace.records.quantity import Number
from optitrace.records.schema import document, shape, version, write_schema

DESCRIPTION = (
    "What was found by checking optimizers against their rules, and custom classes against what every sound "
    "optimizer does."
)

_PASSED: Any = Annotated[bool, Field(description="Whether nothing departs from its rule and no claim fails.")]
_CAUSE_CODES: Any = Annotated[
    list[str],
    Field(description="A stable code for each cause: its words, or changed-line for one with a formula."),
]
_CLAIM_CODE: Any = Annotated[str, Field(description="A stable code of the claim: its words.")]


def verification_schema() -> dict[str, Any]:
    """Return what a verification is as JSON, as a JSON Schema."""
    exact: Any = Number
    suspect: Any = shape(Suspect, expected=exact, needed=exact)
    departure = shape(
        Departure, optional=set(), expected=exact, found=exact, error=exact, suspects=list[suspect]
    )
    check: Any = shape(
        Check,
        optional=set(),
        worst_step_error=exact | None,
        worst_run_error=exact | None,
        departure=departure | None,
        cause_codes=_CAUSE_CODES,
    )
    conformance: Any = shape(Conformance, code=_CLAIM_CODE)
    whole = shape(
        VerificationResult,
        optional=set(),
        schema=version(SCHEMA),
        passed=_PASSED,
        checks=list[check],
        conformances=list[conformance],
    )
    documented = {each.__name__: each for each in (Check, Conformance, Departure, Suspect)}
    title = f"verification, schema {SCHEMA}"
    return document(TypeAdapter(whole), title, VerificationResult, DESCRIPTION, documented)


if __name__ == "__main__":
    write_schema(Path(__file__).parent, "verification", verification_schema())
