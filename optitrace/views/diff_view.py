"""The difference of two traces, for a person and for a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.diff_report import DiffReport
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.number_pairs import Difference
from optitrace.analysis.rule_difference import RuleDifference
from optitrace.experiment.text import text_of
from optitrace.records.trace_writer import exact_all
from optitrace.rules.reader import RuleLine
from optitrace.views.differences_view import (
    Naming,
    difference_tables,
    differences_data,
    incomparable_lines,
    number_lines,
    verdict,
)
from optitrace.views.display import Display


def diff_view(report: DiffReport, display: Display) -> RenderableType:
    """Return where two traces part, how that grows, and the greatest difference of each quantity.

    Args:
        report: what is to be shown.
        display: how; its precision is of differences, the numbers themselves are shown with all digits.
    """
    spell = display.spell
    differences = report.differences
    lines = [
        *_settings(report),
        *incomparable_lines(differences, OF_WEIGHTS),
        verdict(differences, OF_WEIGHTS),
    ]
    if differences.first is not None:
        lines += number_lines(differences.first, display.precision, OF_WEIGHTS)
    lines += _rule(report.rule)
    return Group(
        *(Text(spell(line), style="bold") for line in _names(report)),
        Text(),
        *(Text(spell(line)) for line in lines),
        *difference_tables(differences, OF_WEIGHTS, display),
    )


def diff_json(report: DiffReport) -> str:
    """Return the difference of two traces as a JSON object; ``same`` is the answer."""
    data: dict[str, Any] = {
        "same": report.differences.are_same,
        "a": _run(report.a),
        "b": _run(report.b),
        "settings": [asdict(setting) for setting in report.settings],
        "rule": None if report.rule is None else _rule_data(report.rule),
        **differences_data(report.differences, number_data),
    }
    return json.dumps(exact_all(data), ensure_ascii=False, indent=2) + "\n"


def number_data(difference: Difference) -> dict[str, Any]:
    """Return a difference as data."""
    return {**asdict(difference), "difference": difference.size}


def _owner(difference: Difference) -> str:
    return "" if difference.coordinate is None else f"w{difference.coordinate}"


def _place(difference: Difference) -> str:
    weight = _owner(difference)
    if not weight:
        return difference.quantity
    return weight if difference.quantity == "weights" else f"{difference.quantity} of {weight}"


OF_WEIGHTS = Naming(quantity=str, owner=_owner, place=_place, heading="weight")
"""What the numbers of a trace are called."""


def _names(report: DiffReport) -> Iterator[str]:
    for letter, named in (("A", report.a), ("B", report.b)):
        yield f"{letter}: {named.name}"


def _settings(report: DiffReport) -> Iterator[str]:
    for setting in report.settings:
        yield f"{setting.name} is {setting.a} in A and {setting.b} in B"


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


def _line(line: RuleLine | None) -> str:
    return "has no such line" if line is None else str(line)


def _run(named: NamedTrace) -> dict[str, Any]:
    return {
        "name": named.name,
        "experiment": text_of(named.trace.experiment),
        "last_step": named.trace.steps[-1],
    }


def _rule_data(rule: RuleDifference) -> dict[str, Any]:
    return {
        "step": rule.step,
        "coordinate": rule.coordinate,
        "a": None if rule.a is None else str(rule.a),
        "b": None if rule.b is None else str(rule.b),
        "is_computed": rule.is_computed,
    }
