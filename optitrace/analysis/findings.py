"""Findings: what was learned of a trace and is shown beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optitrace.analysis.explanation import ExplainedStep
from optitrace.analysis.theory import Theory


@dataclass(frozen=True, slots=True)
class Findings:
    """What was learned of a trace.

    Attributes:
        explained: the explanation of some of its rows, by row.
        theory: what theory says of it; None if that was not asked for.
    """

    explained: Mapping[int, ExplainedStep] = field(default_factory=dict)
    theory: Theory | None = None


NO_FINDINGS = Findings()
"""Nothing but the trace."""
