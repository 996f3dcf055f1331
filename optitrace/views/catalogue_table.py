"""The catalogue for a person and for a script: optimizers, hyperparameters, defaults, state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optitrace.rules.catalogue import Optimizer
from optitrace.rules.hyperparameter import show
from optitrace.rules.reader import ASCII, UNICODE, Spelling, read


def catalogue_table(optimizers: Iterable[Optimizer]) -> RenderableType:
    """Return every optimizer with its hyperparameters and their defaults, and its state."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("optimizer", no_wrap=True)
    table.add_column("hyperparameters and their defaults")
    table.add_column("state")
    for optimizer in optimizers:
        settings = ", ".join(f"{h.name}={show(h.default)}" for h in optimizer.hyperparameters)
        table.add_row(optimizer.name, settings, ", ".join(optimizer.state))
    return Group(table, Text(), Text("'optitrace list NAME' tells more of one, 'optitrace NAME' runs it"))


def catalogue_json(optimizers: Iterable[Optimizer]) -> str:
    """Return the catalogue as a JSON array, an object for each optimizer."""
    return json.dumps([_as_data(optimizer) for optimizer in optimizers], indent=2) + "\n"


def optimizer_table(optimizer: Optimizer, spelling: Spelling = UNICODE) -> RenderableType:
    """Return all that the catalogue knows of one optimizer."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("hyperparameter", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("meaning")
    for hyperparameter in optimizer.hyperparameters:
        table.add_row(hyperparameter.name, show(hyperparameter.default), hyperparameter.summary)
    state = ", ".join(
        f"{entry.key} ({entry.symbol}{f', with {entry.when}' if entry.when else ''})"
        for entry in (optimizer.rule.state if optimizer.rule else ())
    )
    departures = optimizer.rule.departures if optimizer.rule else ()
    formulas = read(optimizer.rule).formulas(spelling) if optimizer.rule else ("no rule: see the source",)
    return Group(
        Text(f"{optimizer.name}: {optimizer.summary}", style="bold"),
        Text(f"{optimizer.class_path}, {' or '.join(optimizer.implementations)}"),
        Text(),
        *(Text(f"  {line}") for line in formulas),
        Text(),
        Text(f"source: {optimizer.source}"),
        *(Text(f"departs: {departure}") for departure in departures),
        Text(f"state: {state or ', '.join(optimizer.state)}"),
        Text(),
        table,
    )


def _as_data(optimizer: Optimizer) -> dict[str, Any]:
    return {
        "name": optimizer.name,
        "class": optimizer.class_path,
        "summary": optimizer.summary,
        "source": optimizer.source,
        "hyperparameters": {h.name: h.default for h in optimizer.hyperparameters},
        "state": list(optimizer.state),
        "implementations": list(optimizer.implementations),
        "rule": list(read(optimizer.rule).formulas(ASCII)) if optimizer.rule else None,
        "departures": list(optimizer.rule.departures) if optimizer.rule else [],
    }
