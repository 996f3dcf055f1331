"""The difference of two traces, for a person and for a script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.diff_report import DiffReport
from optitrace.analysis.differences import Differences, Incomparable
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.number_pairs import Difference
from optitrace.analysis.rule_difference import RuleDifference
from optitrace.analysis.tolerance import Tolerance
from optitrace.experiment.text import text_of
from optitrace.rules.numerals import LARGEST_FIXED, counted
from optitrace.rules.reader import Line
from optitrace.tracing.trace_file import exact_all
from optitrace.views.headed_table import headed_table
from optitrace.views.spelling import to_ascii


def diff_view(
    report: DiffReport, *, precision: int = 4, width: int | None = None, ascii_only: bool = False
) -> RenderableType:
    """Return where two traces part, how that grows, and the greatest difference of each quantity.

    Args:
        report: what is to be shown.
        precision: significant digits of differences; the numbers themselves are shown with all theirs.
        width: how many characters a line may have; as many as needed if not given.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    differences = report.differences
    lines = [*_settings(report), *_incomparable(differences.incomparable), verdict(differences)]
    if differences.first is not None:
        lines += _numbers(differences.first, precision)
    lines += _rule(report.rule)
    parts: list[RenderableType] = [Text(spell(line), style="bold") for line in _names(report)]
    parts += [Text(), *(Text(spell(line)) for line in lines)]
    if differences.first is None:
        return Group(*parts)
    if len(differences.growth) > 1:
        followed = differences.growth[0].quantity
        headings, rows = _growth(differences.growth, precision)
        growth = headed_table(headings, rows, width=width, numbers=headings, ascii_only=ascii_only)
        parts += [Text(), Text(spell(f"how the difference of {followed} goes on:")), Text(), growth]
    headings, rows = _quantities(differences, precision)
    table = headed_table(headings, rows, width=width, numbers=headings[1:], ascii_only=ascii_only)
    return Group(*parts, Text(), Text("the greatest difference of each quantity:"), Text(), table)


def diff_json(report: DiffReport) -> str:
    """Return the difference of two traces as a JSON object; ``same`` is the answer."""
    differences, rule = report.differences, report.rule
    data: dict[str, Any] = {
        "same": differences.are_same,
        "a": _run(report.a),
        "b": _run(report.b),
        "settings": [asdict(setting) for setting in report.settings],
        "tolerance": asdict(differences.tolerance),
        "compared_to": differences.compared_to,
        "first": _number_data(differences.first),
        "rule": None if rule is None else _rule_data(rule),
        "growth": [_number_data(difference) for difference in differences.growth],
        "quantities": [
            {
                "quantity": quantity.quantity,
                "compared": quantity.compared,
                "differing": quantity.differing,
                "first": _number_data(quantity.first),
                "greatest": _number_data(quantity.greatest),
            }
            for quantity in differences.quantities
        ],
        "incomparable": [asdict(incomparable) for incomparable in differences.incomparable],
    }
    return json.dumps(exact_all(data), ensure_ascii=False, indent=2) + "\n"


def verdict(differences: Differences) -> str:
    """Return whether two traces are the same, or where they part."""
    first = differences.first
    if first is not None:
        return f"A and B differ first at step {first.step}, in {_place(first)}:"
    count = sum(quantity.compared for quantity in differences.quantities)
    same = f"the same {_within(differences.tolerance)}"
    shorter, longer = sorted(differences.last_steps)
    if shorter < longer:
        name = "AB"[differences.last_steps.index(longer)]
        return f"A and B are {same} up to step {shorter}, where one ends; {name} goes on to step {longer}"
    if differences.incomparable:
        return f"what both have is {same}: {count} numbers"
    return f"A and B are {same}: {count} numbers in {counted(longer, 'step')}"


def _within(tolerance: Tolerance) -> str:
    if tolerance.is_exact:
        return "bit for bit"
    allowed = (
        [f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"] if tolerance.rtol or tolerance.atol else []
    )
    allowed += [f"{_ulps(tolerance.ulps)} ulp"] if tolerance.ulps else []
    return f"within {' or '.join(allowed)}"


def _names(report: DiffReport) -> Iterator[str]:
    for letter, named in (("A", report.a), ("B", report.b)):
        yield f"{letter}: {named.name}"


def _settings(report: DiffReport) -> Iterator[str]:
    for setting in report.settings:
        yield f"{setting.name} is {setting.a} in A and {setting.b} in B"


def _incomparable(quantities: Sequence[Incomparable]) -> Iterator[str]:
    """Yield what only one of the traces has, and what both have in different forms."""
    for letter, other in (("A", "b"), ("B", "a")):
        if only := [quantity.quantity for quantity in quantities if not getattr(quantity, other)]:
            yield f"only {letter} has {', '.join(only)}"
    for quantity in quantities:
        if quantity.a and quantity.b:
            yield f"{quantity.quantity}: A has {quantity.a} and B {quantity.b}"


def _place(difference: Difference) -> str:
    if difference.coordinate is None:
        return difference.quantity
    weight = f"w{difference.coordinate}"
    return weight if difference.quantity == "weights" else f"{difference.quantity} of {weight}"


def _numbers(first: Difference, precision: int) -> Iterator[str]:
    yield f"  A  {first.a!r}"
    yield f"  B  {first.b!r}"
    if first.a == first.b:
        yield "  the same number but for the sign of zero"
    elif math.isfinite(first.ulps):
        count = _ulps(first.ulps)
        unit = f"ulp{'' if count == '1' else 's'} of {first.dtype}"
        yield f"  {_size(first, precision)} apart, {count} {unit}"


def _rule(rule: RuleDifference | None) -> Iterator[str]:
    """Yield the line of the rule that differs, of each trace that has it."""
    if rule is None:
        return
    coordinate = "" if rule.coordinate is None else f" for w{rule.coordinate}"
    if not rule.is_computed:
        yield f"the rule makes both the same; the runs compute this line differently{coordinate}:"
        yield f"  {rule.a}"
        return
    yield f"first line of the rule that differs{coordinate}:"
    yield from (f"  {letter}  {_line(line)}" for letter, line in (("A", rule.a), ("B", rule.b)))


def _line(line: Line | None) -> str:
    return "has no such line" if line is None else str(line)


def _growth(growth: Sequence[Difference], precision: int) -> tuple[list[str], list[list[str]]]:
    rows = [[str(d.step), _size(d, precision), _ulps(d.ulps)] for d in growth]
    return ["step", "difference", "ulps"], rows


def _quantities(differences: Differences, precision: int) -> tuple[list[str], list[list[str]]]:
    rows = []
    for quantity in differences.quantities:
        row = [quantity.quantity, f"{quantity.differing} of {quantity.compared}"]
        greatest = quantity.greatest
        if greatest is not None:
            weight = "" if greatest.coordinate is None else f"w{greatest.coordinate}"
            row += [_size(greatest, precision), _ulps(greatest.ulps), str(greatest.step), weight]
        rows.append(row + [""] * (6 - len(row)))
    return ["quantity", "differ", "greatest", "ulps", "step", "weight"], rows


def _size(difference: Difference, precision: int) -> str:
    return f"{difference.size:.{max(precision, 1)}g}"


def _ulps(count: float) -> str:
    """Return a number of units in the last place, a small part of one to two digits."""
    if not math.isfinite(count):
        return "–"
    return f"{count:.0f}" if 10 <= count < LARGEST_FIXED else f"{count:.2g}"


def _run(named: NamedTrace) -> dict[str, Any]:
    return {
        "name": named.name,
        "experiment": text_of(named.trace.experiment),
        "last_step": named.trace.steps[-1],
    }


def _number_data(difference: Difference | None) -> dict[str, Any] | None:
    return None if difference is None else {**asdict(difference), "difference": difference.size}


def _rule_data(rule: RuleDifference) -> dict[str, Any]:
    return {
        "step": rule.step,
        "coordinate": rule.coordinate,
        "a": None if rule.a is None else str(rule.a),
        "b": None if rule.b is None else str(rule.b),
        "is_computed": rule.is_computed,
    }
