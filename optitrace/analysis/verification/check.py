"""The scope and the results of a verification, as values that do not need torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from optitrace.errors import UsageError, did_you_mean
from optitrace.text import listed

if TYPE_CHECKING:
    from optitrace.rules.rule import Implementation

SCHEMA = 1
"""The version of the form of a verification as JSON."""

ALLOWED = 8.0
"""The tolerance of the weights after one step, in units.

The unit is the machine epsilon of the dtype times the greater of the weight before and after the step.
A step in torch rounds some ten times; the largest error seen in torch is 2.7 units.
"""

STATE_ALLOWED = 16.0
"""The same for an entry of the state, which may be a difference of larger numbers: the largest error
seen in torch is 8.4 units, of the first average of asgd."""

RUN_ALLOWED = 1e-12
"""The relative error that a whole run in float64 may have, in weights and state."""

DTYPES = ("float32", "float64")
"""The dtypes in which an optimizer can be verified.

In float16 and bfloat16 the units are so large that hardly any mistake would show.
"""

_IMPLEMENTATIONS = ("single", "foreach", "fused")


def code_of(clause: str) -> str:
    """Return the code of a claim or of a cause, by which programs know it: its words, or ``changed-line``.

    >>> code_of("eps is inside the square root"), code_of("w = w − lr·g is replaced by w = w + lr·g")
    ('eps-is-inside-the-square-root', 'changed-line')
    """
    spelled = "".join(f" {_SIGNS[sign]} " if sign in _SIGNS else sign for sign in clause.lower())
    return "changed-line" if "=" in clause else "-".join(re.findall(r"\w+", spelled))


_SIGNS = {"+": "plus", "−": "minus", "<": "below", ">": "above", "≤": "at-most", "≥": "at-least"}
"""The words for the signs by which causes differ."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The dtypes, implementations and device that optimizers are verified in.

    Attributes:
        dtypes: some of `DTYPES`.
        implementation: the only implementation to verify; each that there is if empty.
        device: where it is computed; ``auto`` for CUDA where there is one.

    Raises:
        UsageError: a dtype or an implementation that there is not.
    """

    dtypes: tuple[str, ...] = DTYPES
    implementation: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UsageError(f"verify has no dtype '{dtype}'; it has {listed(DTYPES)}.")
        if self.implementation not in ("", *_IMPLEMENTATIONS):
            guess = did_you_mean(self.implementation, _IMPLEMENTATIONS) or ";"
            known = ", ".join(_IMPLEMENTATIONS)
            raise UsageError(f"unknown implementation '{self.implementation}'{guess} choose from: {known}.")

    def of(self, implementations: Collection[Implementation]) -> list[Implementation]:
        """Return those of a class's implementations that are to be verified."""
        return [i for i in implementations if self.implementation in ("", i)]


class Verdict(StrEnum):
    """The result of comparing a class with a rule."""

    AGREES = "agrees"
    DEPARTS = "departs"
    NO_RULE = "has no rule"
    NO_CLASS = "missing"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A line of a rule that, alone, can explain a departure.

    Attributes:
        line: the line, in symbols.
        expected: what the rule gives.
        needed: what the class would have to have computed.
    """

    line: str
    expected: float
    needed: float


@dataclass(frozen=True, slots=True)
class Departure:
    """The first place where a class does not do what the rule says.

    Attributes:
        settings: the hyperparameters, where they differ from the rule's defaults.
        shape: the shape of the weights.
        step: the step, from 1.
        quantity: ``weights``, or the state's entry by torch's name.
        coordinate: which of the weights, from 1; None for an entry that is one number.
        of: how many weights there are.
        line: the line of the rule in formula, numbers and result; empty where the rule has none.
        expected: what the rule gives.
        found: what the class gives.
        error: how far they are apart, in units of the dtype.
        suspects: the lines that can be the cause, in the rule's order; as only weights and state can be
            observed, there may be several, and none where more than one line must differ.
    """

    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    step: int
    quantity: str
    coordinate: int | None
    of: int
    line: str
    expected: float
    found: float
    error: float
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """An optimizer checked against its rule, in one implementation and one dtype.

    Attributes:
        optimizer: its name, or the name of a custom class.
        rule: the rule's name; empty where there is none.
        implementation: how the step was computed.
        dtype: of the weights.
        device: where it was computed.
        configurations: how many pairs of settings and a shape were run.
        worst_step_error: of the weights after one step, in units of eps(dtype) × max(|before|, |after|);
            None if not computed.
        worst_run_error: relative, of a whole run; None if not computed, as in float32, which drifts.
        verdict: whether they agree.
        departure: where it departs; None if it does not.
        causes: mistakes that, made in the rule, would make the two agree.
        notes: what else there is to know.
    """

    optimizer: str
    rule: str
    implementation: str
    dtype: str
    device: str
    configurations: int
    worst_step_error: float | None
    worst_run_error: float | None
    verdict: Verdict
    departure: Departure | None = None
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ClaimOutcome(StrEnum):
    """The result of a check that needs no rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Conformance:
    """A claim that holds for every sound optimizer, checked on a class.

    Attributes:
        optimizer: the class's name.
        claim: what every sound optimizer does.
        outcome: whether this one does.
        finding: the same in a sentence.
    """

    optimizer: str
    claim: str
    outcome: ClaimOutcome
    finding: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The result of a verification.

    Attributes:
        checks: classes against rules.
        conformances: custom classes against claims that need no rule.
    """

    checks: tuple[Check, ...] = ()
    conformances: tuple[Conformance, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[VerificationResult]) -> VerificationResult:
        """Return several verifications as one."""
        parts = list(parts)
        return cls(
            tuple(check for part in parts for check in part.checks),
            tuple(conformance for part in parts for conformance in part.conformances),
        )

    @property
    def passed(self) -> bool:
        """Whether nothing departs and nothing fails."""
        return all(check.verdict is not Verdict.DEPARTS for check in self.checks) and all(
            conformance.outcome is not ClaimOutcome.FAILED for conformance in self.conformances
        )
