"""The difference of two trainings, for a person and for a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.number_pairs import Difference
from optitrace.analysis.settings_difference import SettingDifference
from optitrace.analysis.training.differences import (
    BY_PARAMETER,
    NamedTraining,
    OptimizerDifferences,
    TrainingDifferences,
)
from optitrace.errors import printable
from optitrace.records.trace_writer import exact_all
from optitrace.records.training import COLUMNS, KINDS
from optitrace.text.number_format import first_of, tallied
from optitrace.views.differences_view import (
    Naming,
    difference_tables,
    differences_data,
    incomparable_lines,
    number_lines,
    verdict,
    within,
)
from optitrace.views.display import Display
from optitrace.views.training_wording import MOST_OPTIMIZERS

MOST_NAMED = 3
"""How many names of what only one training has are said."""


def training_diff_view(found: TrainingDifferences, display: Display) -> RenderableType:
    """Return, for each optimizer, where two trainings part, how that grows, and the greatest differences.

    Args:
        found: what is to be shown.
        display: how; its precision is of differences, the numbers themselves are shown with all digits.
    """
    spell = display.spell
    parts: list[RenderableType] = [
        Text(spell(f"{letter}: {named.name}"), style="bold")
        for letter, named in (("A", found.a), ("B", found.b))
    ]
    if lines := [*_settings(found.settings), *_only("optimizer", found.only)]:
        parts += [Text(), *(Text(spell(line)) for line in lines)]
    shown = _shown(found.optimizers)
    for optimizer in shown:
        parts += [Text(), Text(spell(optimizer.name), style="bold")]
        parts += [Text(spell(line)) for line in _lines(optimizer, display.precision)]
        parts += difference_tables(optimizer.differences, _naming(optimizer), display)
    if lines := list(_left_out(found.optimizers, shown)):
        parts += [Text(), *map(Text, lines)]
    if not found.optimizers:
        parts += [Text(), Text("A and B have no optimizer in common")]
    return Group(*parts)


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


def training_diff_json(found: TrainingDifferences) -> str:
    """Return the difference of two trainings as a JSON object; ``same`` is the answer."""
    data: dict[str, Any] = {
        "same": found.are_same,
        "a": _run(found.a),
        "b": _run(found.b),
        "settings": [asdict(setting) for setting in found.settings],
        **_only_data(found.only),
        "optimizers": [_optimizer_data(optimizer) for optimizer in found.optimizers],
    }
    return json.dumps(exact_all(data), ensure_ascii=False, indent=2) + "\n"


def _lines(optimizer: OptimizerDifferences, precision: int) -> Iterator[str]:
    differences, naming = optimizer.differences, _naming(optimizer)
    yield from _settings(optimizer.settings)
    yield from _only("parameter", optimizer.only)
    yield from incomparable_lines(differences, naming)
    yield verdict(differences, naming)
    if differences.first is not None:
        yield from number_lines(differences.first, precision, naming)


def _settings(settings: Sequence[SettingDifference]) -> Iterator[str]:
    for setting in settings:
        a, b = (printable(value) or "none" for value in (setting.a, setting.b))
        yield f"{setting.name} is {a} in A and {b} in B"


def _only(noun: str, only: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    for letter, names in zip("AB", only, strict=True):
        if names:
            plural = "" if len(names) == 1 else "s"
            yield f"only {letter} has the {noun}{plural} {first_of(names, MOST_NAMED)}"


def _naming(optimizer: OptimizerDifferences) -> Naming:
    """Return what the numbers of an optimizer are called: by the parameters that they are of."""

    def owner(difference: Difference) -> str:
        if difference.coordinate is None:
            return ""
        place = difference.coordinate - 1
        if difference.quantity in optimizer.by_parameter:
            return optimizer.parameters[place]
        return f"group {place}" if difference.quantity == "lr" else f"[{place}]"

    def place(difference: Difference) -> str:
        whose = owner(difference)
        name = _quantity(difference.quantity)
        return f"the {name} of {whose}" if whose else f"the {name}"

    return Naming(_quantity, owner, place, "parameter", ("gradient", KINDS))


def _quantity(name: str) -> str:
    """Return the name of a quantity in words; that of a state entry or of weights is torch's."""
    if name == "gradient":
        return "kind of gradient"
    if name == BY_PARAMETER:
        return "norms of each parameter"
    return name.replace("_", " ") if name in COLUMNS else name


def _run(named: NamedTraining) -> dict[str, Any]:
    training = named.training
    return {
        "name": named.name,
        "program": list(training.program.arguments),
        "taken": {optimizer.name: optimizer.taken for optimizer in training.optimizers},
    }


def _only_data(only: tuple[Sequence[str], Sequence[str]]) -> dict[str, list[str]]:
    return {"only_a": list(only[0]), "only_b": list(only[1])}


def _optimizer_data(optimizer: OptimizerDifferences) -> dict[str, Any]:
    naming = _naming(optimizer)

    def number(difference: Difference) -> dict[str, Any]:
        is_parameter = difference.quantity in optimizer.by_parameter
        data = {
            **asdict(difference),
            "parameter": naming.owner(difference) if is_parameter else None,
            "difference": difference.size,
        }
        if naming.is_word(difference):
            data |= {name: naming.number(difference, data[name]) for name in ("a", "b")}
            data |= {"ulps": None, "difference": None}
        return data

    return {
        "name": optimizer.name,
        "same": optimizer.are_same,
        "settings": [asdict(setting) for setting in optimizer.settings],
        **_only_data(optimizer.only),
        **differences_data(optimizer.differences, number),
    }
