"""All that is to be said of the difference of two traces."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.analysis.differences import Differences, diff
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.rule_difference import RuleDifference, first_rule_difference
from optitrace.analysis.settings_difference import SettingDifference, differing_settings
from optitrace.analysis.tolerance import Tolerance
from optitrace.rules.reader import UNICODE, Spelling


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The difference of two traces A and B.

    Attributes:
        a: the first trace.
        b: the second.
        settings: the settings that differ.
        differences: the numbers that differ.
        rule: the first line of the rule that differs; None where there is nothing to say of a rule.
    """

    a: NamedTrace
    b: NamedTrace
    settings: tuple[SettingDifference, ...]
    differences: Differences
    rule: RuleDifference | None


def report_differences(
    a: NamedTrace, b: NamedTrace, tolerance: Tolerance, spelling: Spelling = UNICODE
) -> DiffReport:
    """Return all that is to be said of the difference of two traces."""
    differences = diff(a.trace, b.trace, tolerance)
    first = differences.first
    rule = None if first is None else first_rule_difference(a.trace, b.trace, first, tolerance, spelling)
    return DiffReport(a, b, differing_settings(a.trace, b.trace), differences, rule)
