"""The first line of the rule in which two traces differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from optitrace.analysis.differences import Difference
from optitrace.analysis.explanation import explain_row
from optitrace.analysis.tolerance import EXACT, Tolerance
from optitrace.records.trace import TraceRecord
from optitrace.rules.reader import UNICODE, RuleLine, Spelling, read

PRECISIONS = (4, 6, 8, 10, 12, 14, 16)
"""The numbers of decimals that are tried until two different numbers look different."""

BEFORE_THE_RULE = ("loss", "gradient", "final_loss")
"""The quantities that no rule computes."""


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """The first line of the rule, at the first step that differs, whose value is not the same.

    Attributes:
        step: the step.
        coordinate: the coordinate that the lines are about, from 1; None for all.
        a: the line of the first trace; None if it has no such line.
        b: that of the second.
        is_computed: whether the lines, computed in float64 from what each trace had before the step,
            differ. If not, the settings are the same and torch's own arithmetic differs: then it is the
            line that computes the first number that differs.
    """

    step: int
    coordinate: int | None
    a: RuleLine | None
    b: RuleLine | None
    is_computed: bool


def first_rule_difference(
    a: TraceRecord,
    b: TraceRecord,
    first: Difference,
    tolerance: Tolerance = EXACT,
    spelling: Spelling = UNICODE,
) -> RuleDifference | None:
    """Return the first line of the rule that differs at the first difference of two traces.

    None where there is nothing to say: an optimizer has no rule, the step before was not recorded, or
    the difference comes from the loss and not from the rule.
    """
    if first.quantity in BEFORE_THE_RULE or first.step == 0 or a.weights.shape != b.weights.shape:
        return None
    if any(trace.experiment.entry.rule is None or _row(trace, first.step) is None for trace in (a, b)):
        return None
    dtypes = a.experiment.dtype, b.experiment.dtype
    are_same = partial(tolerance.allows, dtypes=dtypes)
    for precision in PRECISIONS:
        lines = _lines(a, first, precision, spelling)
        others = _lines(b, first, precision, spelling)
        mine, theirs = _first_pair(lines, others, are_same)
        if mine is None or theirs is None or mine.result != theirs.result:
            break
    if mine is not None or theirs is not None:
        return RuleDifference(first.step, first.coordinate, mine, theirs, is_computed=True)
    mine, theirs = _computing(a, lines, first.quantity), _computing(b, others, first.quantity)
    if mine is None or theirs is None:
        return None
    return RuleDifference(first.step, first.coordinate, mine, theirs, is_computed=False)


def _lines(trace: TraceRecord, first: Difference, precision: int, spelling: Spelling) -> Sequence[RuleLine]:
    """Return the lines of the step that differs, computed from what the trace had before it."""
    row, rule = _row(trace, first.step), trace.experiment.entry.rule
    assert row is not None
    assert rule is not None
    return explain_row(trace, row, read(rule), precision, first.coordinate, spelling).lines


def _row(trace: TraceRecord, step: int) -> int | None:
    """Return the row of a step if the row before it is that of the step before."""
    row = trace.steps.index(step)
    return row if trace.steps[row - 1] == step - 1 else None


def _first_pair(
    a: Sequence[RuleLine], b: Sequence[RuleLine], are_same: Callable[[float, float], bool]
) -> tuple[RuleLine | None, RuleLine | None]:
    """Return the first two lines that differ; None in place of a line that only the other has."""
    names = [line.name for line in a], [line.name for line in b]
    for what, begin, end, others_begin, others_end in SequenceMatcher(
        None, *names, autojunk=False
    ).get_opcodes():
        if what != "equal":
            mine, theirs = a[begin:end], b[others_begin:others_end]
            return (mine[0] if mine else None), (theirs[0] if theirs else None)
        for line, other in zip(a[begin:end], b[others_begin:others_end], strict=True):
            values, others = list(_flat(line.value)), list(_flat(other.value))
            if len(values) != len(others) or not all(map(are_same, values, others)):
                return line, other
    return None, None


def _flat(values: Any) -> Iterator[float]:
    if isinstance(values, float | int):
        yield values
    else:
        for value in values:
            yield from _flat(value)


def _computing(trace: TraceRecord, lines: Sequence[RuleLine], quantity: str) -> RuleLine | None:
    """Return the line that computes a state entry, or the weights, last."""
    rule = trace.experiment.entry.rule
    assert rule is not None
    symbols = [entry.symbol for entry in rule.state if entry.key == quantity]
    wanted = "w" if quantity == "weights" else symbols[0] if symbols else None
    return next((line for line in reversed(lines) if line.name == wanted), None)
