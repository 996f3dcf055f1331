"""The difference of two traces, or of two trainings: for a person, and for a script."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.diff_report import (
    DiffReport,
    OptimizerDifferences,
    RuleDifference,
    SettingDifference,
    TrainingDifferences,
)
from optitrace.analysis.differences import BY_PARAMETER, Difference, Differences
from optitrace.analysis.tolerance import Tolerance
from optitrace.errors import printable
from optitrace.experiment.text import text_of
from optitrace.records.quantity import Per
from optitrace.records.writer import exact_all
from optitrace.text import LARGEST_FIXED, counted, first_of, tallied
from optitrace.views.display import Display
from optitrace.views.tables import headed_table
from optitrace.views.training_wording import MOST_OPTIMIZERS

MOST_NAMED = 3
"""The number of names that are listed of what only one training has."""


def diff_view(report: DiffReport, display: Display) -> RenderableType:
    """Return the first difference of two traces, its growth, and the largest difference of each quantity.

    Args:
        report: what is to be shown.
        display: how; its digits are those of differences, the numbers themselves are shown with all digits.
    """
    spell = display.spell
    lines = [*_settings(report.settings), *_said(report.differences, display.digits), *_rule(report.rule)]
    return Group(
        *_names(report.a.name, report.b.name, spell),
        Text(),
        *(Text(spell(line)) for line in lines),
        *_tables(report.differences, display),
    )


def training_diff_view(found: TrainingDifferences, display: Display) -> RenderableType:
    """Return, for each optimizer, the first difference of two trainings, its growth, and the largest ones.

    The arguments are those of `diff_view`.
    """
    spell = display.spell
    parts: list[RenderableType] = [*_names(found.a.name, found.b.name, spell)]
    if lines := [*_settings(found.settings), *_only("optimizer", found.only)]:
        parts += [Text(), *(Text(spell(line)) for line in lines)]
    shown = _shown(found.optimizers)
    for optimizer in shown:
        lines = [*_settings(optimizer.settings), *_only("parameter", optimizer.only)]
        lines += _said(optimizer.differences, display.digits)
        parts += [Text(), Text(spell(optimizer.name), style="bold")]
        parts += [Text(spell(line)) for line in lines]
        parts += _tables(optimizer.differences, display)
    if lines := list(_left_out(found.optimizers, shown)):
        parts += [Text(), *map(Text, lines)]
    if not found.optimizers:
        parts += [Text(), Text("A and B have no optimizer in common")]
    return Group(*parts)


def diff_json(report: DiffReport) -> str:
    """Return the difference of two traces as a JSON object; ``same`` is the answer."""
    rule = report.rule
    return _json(
        {
            "same": report.differences.are_same,
            **{
                letter: {
                    "name": named.name,
                    "experiment": text_of(named.trace.experiment),
                    "last_step": named.trace.last_step,
                }
                for letter, named in (("a", report.a), ("b", report.b))
            },
            "settings": report.settings,
            "rule": None
            if rule is None
            else {
                "step": rule.step,
                "coordinate": rule.coordinate,
                "a": None if rule.a is None else str(rule.a),
                "b": None if rule.b is None else str(rule.b),
                "is_computed": rule.is_computed,
            },
            **_data(report.differences),
        }
    )


def training_diff_json(found: TrainingDifferences) -> str:
    """Return the difference of two trainings as a JSON object; ``same`` is the answer."""
    return _json(
        {
            "same": found.are_same,
            **{
                letter: {
                    "name": named.name,
                    "program": named.training.program.arguments,
                    "taken": {own.name: own.taken for own in named.training.optimizers},
                }
                for letter, named in (("a", found.a), ("b", found.b))
            },
            "settings": found.settings,
            "only_a": found.only[0],
            "only_b": found.only[1],
            "optimizers": [
                {
                    "name": optimizer.name,
                    "same": optimizer.are_same,
                    "settings": optimizer.settings,
                    "only_a": optimizer.only[0],
                    "only_b": optimizer.only[1],
                    **_data(optimizer.differences),
                }
                for optimizer in found.optimizers
            ],
        }
    )


def within(tolerance: Tolerance) -> str:
    """Return how far apart numbers may be that count as the same."""
    if tolerance.is_exact:
        return "bit for bit"
    allowed = (
        [f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"] if tolerance.rtol or tolerance.atol else []
    )
    allowed += [f"{_ulps(tolerance.ulps)} ulp"] if tolerance.ulps else []
    return f"within {' or '.join(allowed)}"


def _names(a: str, b: str, spell: Callable[[str], str]) -> list[Text]:
    return [Text(spell(f"{letter}: {name}"), style="bold") for letter, name in (("A", a), ("B", b))]


def _settings(settings: Sequence[SettingDifference]) -> Iterator[str]:
    for setting in settings:
        a, b = (printable(value) or "none" for value in (setting.a, setting.b))
        yield f"{setting.name} is {a} in A and {b} in B"


def _only(noun: str, only: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    for letter, names in zip("AB", only, strict=True):
        if names:
            plural = "" if len(names) == 1 else "s"
            yield f"only {letter} has the {noun}{plural} {first_of(names, MOST_NAMED)}"


def _shown(optimizers: Sequence[OptimizerDifferences]) -> Sequence[OptimizerDifferences]:
    """Return all optimizers; of very many, the first that differ."""
    if len(optimizers) <= MOST_OPTIMIZERS:
        return optimizers
    return [optimizer for optimizer in optimizers if not optimizer.are_same][:MOST_OPTIMIZERS]


def _left_out(
    optimizers: Sequence[OptimizerDifferences], shown: Sequence[OptimizerDifferences]
) -> Iterator[str]:
    """Yield how many optimizers are not shown, and how to see them."""
    if len(shown) == len(optimizers):
        return
    same = sum(optimizer.are_same for optimizer in optimizers)
    if others := len(optimizers) - same - len(shown):
        verb = "differs" if others == 1 else "differ"
        yield f"{tallied(others, 'more optimizer')} {verb}; --format json has all"
    if same:
        verb, tolerance = "is" if same == 1 else "are", optimizers[0].differences.tolerance
        yield f"{tallied(same, 'optimizer')} {verb} the same {within(tolerance)}"


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
    for letter, line in (("A", rule.a), ("B", rule.b)):
        yield f"  {letter}  {'has no such line' if line is None else line}"


def _said(differences: Differences, digits: int) -> Iterator[str]:
    """Yield what the tables cannot be compared in, whether they are the same, and where they part."""
    yield from _incomparable(differences)
    yield _verdict(differences)
    if differences.first is not None:
        yield from _numbers(differences, differences.first, digits)


def _verdict(differences: Differences) -> str:
    first = differences.first
    if first is not None:
        return f"A and B first differ at step {first.step}, in {_place(differences, first)}:"
    count = sum(quantity.compared for quantity in differences.quantities)
    same = f"the same {within(differences.tolerance)}"
    shorter, longer = sorted(differences.last_steps)
    if longer and not count:
        return "A and B have no step in common"
    if shorter < longer:
        name = "AB"[differences.last_steps.index(longer)]
        return f"A and B are {same} up to step {shorter}, where one ends; {name} continues to step {longer}"
    if differences.incomparable or any(differences.only):
        return f"what both have is {same}: {count} numbers in {counted(differences.compared, 'step')}"
    return f"A and B are {same}: {count} numbers in {counted(differences.compared, 'step')}"


def _incomparable(differences: Differences) -> Iterator[str]:
    """Yield what only one of the tables has, and what both have in different forms."""
    quantities = differences.incomparable
    for letter, other, recorded in zip("AB", "ba", differences.only, strict=True):
        missing = [q.quantity for q in quantities if not getattr(q, other)]
        if only := [_label(differences, name) for name in (*missing, *recorded)]:
            yield f"only {letter} has {', '.join(only)}"
    if len(set(differences.recorded)) > 1 and len(set(differences.last_steps)) == 1:
        a, b = differences.recorded
        yield f"A has {counted(a, 'recorded step')} and B {b}; {differences.compared} are compared"
    for quantity in quantities:
        if quantity.a and quantity.b:
            yield f"{_label(differences, quantity.quantity)}: A has {quantity.a} and B {quantity.b}"


def _numbers(differences: Differences, first: Difference, digits: int) -> Iterator[str]:
    """Yield the two numbers of a difference, and how far apart they are."""
    words = _words(differences, first)
    for letter, number in (("A", first.a), ("B", first.b)):
        yield f"  {letter}  {words[int(number)] if words else repr(number)}"
    if words:
        return
    if first.a == first.b:
        yield "  the same number except for the sign of zero"
    elif math.isfinite(first.ulps):
        count = _ulps(first.ulps)
        unit = f"ulp{'' if count == '1' else 's'} of {first.dtype}"
        yield f"  {_size(first, digits)} apart, {count} {unit}"


def _is_of_weights(differences: Differences) -> bool:
    """Return whether the numbers are those of a trace, whose quantities are called as files have them."""
    return differences.entry is Per.COORDINATE


def _label(differences: Differences, name: str) -> str:
    """Return what a quantity is called; a state entry and single weights are called as torch does."""
    if name == BY_PARAMETER:
        return "norms of each parameter"
    quantity = differences.declared.get(name)
    return name if quantity is None or _is_of_weights(differences) else quantity.label


def _place(differences: Differences, difference: Difference) -> str:
    """Return where a number stands."""
    owner, label = differences.owner(difference), _label(differences, difference.quantity)
    if not _is_of_weights(differences):
        label = f"the {label}"
    elif difference.quantity == "weights":
        return owner
    return f"{label} of {owner}" if owner else label


def _words(differences: Differences, difference: Difference) -> Sequence[str]:
    """Return the words that the numbers of a difference stand for, if they do."""
    quantity = differences.declared.get(difference.quantity)
    return () if quantity is None else quantity.words


def _tables(differences: Differences, display: Display) -> Iterator[RenderableType]:
    """Yield how the difference goes on, and the greatest of each quantity; nothing if none differs."""
    if differences.first is None:
        return
    growth = differences.growth
    if len(growth) > 1 and not _words(differences, growth[0]):
        followed = _label(differences, growth[0].quantity)
        headings = ["step", "difference", "ulps"]
        rows = [[str(d.step), _size(d, display.digits), _ulps(d.ulps)] for d in growth]
        title = f"the difference of {followed} in later steps:"
        yield from (Text(), Text(display.spell(title)), Text())
        yield headed_table(headings, rows, display, numbers=headings)
    owners = "weight" if _is_of_weights(differences) else "parameter"
    headings = ["quantity", "differ", "largest", "ulps", "step", owners]
    rows = _greatest(differences, display.digits)
    yield from (Text(), Text("the largest difference of each quantity:"), Text())
    yield headed_table(headings, rows, display, numbers=headings[1:])


def _greatest(differences: Differences, digits: int) -> list[list[str]]:
    """Return a row for each quantity: how much of it differs, and the greatest difference."""
    rows = []
    for quantity in differences.quantities:
        greatest = quantity.greatest
        row = [_label(differences, quantity.quantity), f"{quantity.differing} of {quantity.compared}"]
        if greatest is not None and _words(differences, greatest):
            row += ["", "", str(greatest.step)]
        elif greatest is not None:
            row += [_size(greatest, digits), _ulps(greatest.ulps), str(greatest.step)]
            row.append(differences.owner(greatest))
        rows.append(row + [""] * (6 - len(row)))
    return rows


def _size(difference: Difference, digits: int) -> str:
    return f"{difference.size:.{digits}g}"


def _ulps(count: float) -> str:
    """Return a number of units in the last place, a small part of one to two digits."""
    if not math.isfinite(count):
        return "–"
    return f"{count:.0f}" if 10 <= count < LARGEST_FIXED else f"{count:.2g}"


def _json(data: Any) -> str:
    return json.dumps(exact_all(data), ensure_ascii=False, indent=2) + "\n"


def _data(differences: Differences) -> dict[str, Any]:
    """Return differences as data."""

    def number(difference: Difference | None) -> dict[str, Any] | None:
        if difference is None:
            return None
        data = asdict(difference)
        if not _is_of_weights(differences):
            is_parameter = difference.quantity in differences.by_parameter
            data["parameter"] = differences.owner(difference) if is_parameter else None
        data["difference"] = difference.size
        if words := _words(differences, difference):
            data |= {name: words[int(data[name])] for name in ("a", "b")}
            data |= {"ulps": None, "difference": None}
        return data

    return {
        "tolerance": differences.tolerance,
        "compared_to": differences.compared_to,
        "first": number(differences.first),
        "growth": list(map(number, differences.growth)),
        "quantities": [
            {
                "quantity": quantity.quantity,
                "compared": quantity.compared,
                "differing": quantity.differing,
                "first": number(quantity.first),
                "greatest": number(quantity.greatest),
            }
            for quantity in differences.quantities
        ],
        "incomparable": differences.incomparable,
        "only_recorded_a": differences.only[0],
        "only_recorded_b": differences.only[1],
    }
