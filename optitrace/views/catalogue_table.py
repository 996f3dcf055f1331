"""The catalogue for a person and for a script: optimizers, hyperparameters, defaults, state."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer
from optitrace.rules.reader import ASCII, UNICODE, read
from optitrace.rules.rule import StateEntry
from optitrace.text.ascii import to_ascii
from optitrace.views.headed_table import headed_table
from optitrace.views.wording import setting


def catalogue_table(
    optimizers: Iterable[Optimizer],
    *,
    width: int | None = None,
    notes: Sequence[str] = (),
    ascii_only: bool = False,
) -> RenderableType:
    """Return every optimizer with its hyperparameters, their defaults, and its state; notes stand below."""
    table = headed_table(
        ("optimizer", "hyperparameters and their defaults", "state"),
        [
            (
                optimizer.name,
                ", ".join(setting(h.name, h.default) for h in optimizer.hyperparameters),
                ", ".join(optimizer.state),
            )
            for optimizer in optimizers
        ],
        width=width,
        ascii_only=ascii_only,
    )
    return Group(
        table,
        Text(),
        *map(Text, notes),
        Text("'optitrace list NAME' tells more of one, 'optitrace NAME' runs it"),
    )


def catalogue_json(optimizers: Iterable[Optimizer]) -> str:
    """Return the catalogue as a JSON array, an object for each optimizer."""
    return json.dumps([_as_data(optimizer) for optimizer in optimizers], indent=2) + "\n"


def optimizer_table(
    optimizer: Optimizer, *, width: int | None = None, notes: Sequence[str] = (), ascii_only: bool = False
) -> RenderableType:
    """Return all that the catalogue knows of one optimizer; notes stand before its hyperparameters."""
    spell = to_ascii if ascii_only else str
    table = headed_table(
        ("hyperparameter", "default", "meaning"),
        [(h.name, show(h.default), h.summary) for h in optimizer.hyperparameters],
        width=width,
        ascii_only=ascii_only,
    )
    entries = {entry.key: entry for entry in (optimizer.rule.state if optimizer.rule else ())}
    state = ", ".join(_state(key, entries.get(key)) for key in optimizer.state)
    departures = optimizer.rule.departures if optimizer.rule else ()
    spelling = ASCII if ascii_only else UNICODE
    formulas = read(optimizer.rule).formulas(spelling) if optimizer.rule else ("no rule: see the source",)
    return Group(
        Text(spell(f"{optimizer.name}: {optimizer.summary}"), style="bold"),
        Text(spell(f"{optimizer.class_path}, {' or '.join(optimizer.implementations)}"))
        if optimizer.class_path
        else Text("torch has no class of it: the rule itself is traced"),
        Text(),
        *(Text(f"  {line}") for line in formulas),
        Text(),
        Text(spell(f"source: {optimizer.source}")),
        *(Text(spell(f"departs: {departure}")) for departure in departures),
        Text(spell(f"state: {state}")),
        *map(Text, notes),
        Text(),
        table,
    )


def _state(key: str, entry: StateEntry | None) -> str:
    """Return torch's name of a state entry, with the rule's symbol for it and when it is kept."""
    if entry is None:
        return key
    return f"{key} ({entry.symbol}{f', with {entry.when}' if entry.when else ''})"


def _as_data(optimizer: Optimizer) -> dict[str, Any]:
    return {
        "name": optimizer.name,
        "class": optimizer.class_path or None,
        "summary": optimizer.summary,
        "source": optimizer.source,
        "hyperparameters": {h.name: h.default for h in optimizer.hyperparameters},
        "state": list(optimizer.state),
        "implementations": list(optimizer.implementations),
        "rule": list(read(optimizer.rule).formulas(ASCII)) if optimizer.rule else None,
        "departures": list(optimizer.rule.departures) if optimizer.rule else [],
    }
