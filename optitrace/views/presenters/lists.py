"""Presenters of `optitrace list`: the catalogue, one optimizer, a loss, and the faults of trainings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.experiment.landscapes import Landscape
from optitrace.experiment.objective import Objective
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer
from optitrace.rules.reader import ASCII, UNICODE, read
from optitrace.rules.rule import StateEntry
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, Presenter
from optitrace.views.tables import as_text, headed_table
from optitrace.views.wording import setting, vector


@dataclass(frozen=True, slots=True)
class CataloguePresenter(Presenter, HasJson):
    """Some optimizers: their hyperparameters, defaults and state.

    Attributes:
        optimizers: the optimizers.
        notes: lines below them.
    """

    called: ClassVar[str] = "the catalogue"

    optimizers: Sequence[Optimizer]
    notes: Sequence[str] = ()

    def table(self, display: Display) -> RenderableType:
        """Return a row for each optimizer."""
        table = headed_table(
            ("optimizer", "hyperparameters and their defaults", "state"),
            [
                (
                    optimizer.name,
                    ", ".join(setting(h.name, h.default) for h in optimizer.hyperparameters),
                    ", ".join(optimizer.state),
                )
                for optimizer in self.optimizers
            ],
            display,
        )
        hint = "'optitrace list NAME' shows details of one, 'optitrace NAME' runs it"
        return Group(table, Text(), *map(Text, self.notes), Text(hint))

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array with an object for each optimizer."""
        yield json.dumps([_as_data(optimizer) for optimizer in self.optimizers], indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class OptimizerPresenter(Presenter, HasJson):
    """All that the catalogue knows of one optimizer.

    Attributes:
        optimizer: the optimizer.
        notes: lines before its hyperparameters.
    """

    called: ClassVar[str] = "the catalogue"

    optimizer: Optimizer
    notes: Sequence[str] = ()

    def table(self, display: Display) -> RenderableType:
        """Return its rule, source and state, and a row for each hyperparameter."""
        optimizer, rule = self.optimizer, self.optimizer.rule
        entries = {entry.key: entry for entry in (rule.state if rule else ())}
        state = ", ".join(_state(key, entries.get(key)) for key in optimizer.state)
        spelling = ASCII if display.ascii else UNICODE
        formulas = read(rule).formulas(spelling) if rule else ("no rule: see the source",)
        departures = [f"departs: {departure}" for departure in (rule.departures if rule else ())]
        return Group(
            *as_text([f"{optimizer.name}: {optimizer.summary}"], display, "bold"),
            *as_text([_implemented_by(optimizer)], display),
            Text(),
            *(Text(f"  {line}") for line in formulas),
            Text(),
            *as_text([f"source: {optimizer.source}", *departures, f"state: {state}"], display),
            *map(Text, self.notes),
            Text(),
            headed_table(
                ("hyperparameter", "default", "meaning"),
                [(h.name, show(h.default), h.summary) for h in optimizer.hyperparameters],
                display,
            ),
        )

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array with one object."""
        return CataloguePresenter([self.optimizer]).json(display)


@dataclass(frozen=True, slots=True)
class ObjectivePresenter(Presenter, HasJson):
    """What is known of a loss."""

    called: ClassVar[str] = "a loss"

    objective: Objective

    def table(self, display: Display) -> RenderableType:
        """Return its formula, its usual start, its minima, its bounds and its source."""
        objective = self.objective
        lines = [f"loss = {objective.formula}"]
        if objective.usual_start is not None:
            lines.append(f"usual start: {vector(objective.usual_start)}")
        lines.append(f"minima: {', '.join(map(vector, objective.minima)) or 'none known'}")
        if isinstance(objective, Landscape):
            bounds = " by ".join(f"{low:g} to {high:g}" for low, high in objective.bounds)
            lines += [f"usual bounds: {bounds}", f"source: {objective.source}"]
        lines += ["", f"'optitrace adam --objective {objective.name}' runs on it"]
        return Group(Text(objective.name, style="bold"), *as_text(lines, display))

    def json(self, display: Display) -> Iterator[str]:
        """Yield the same as an object."""
        objective = self.objective
        landscape = objective if isinstance(objective, Landscape) else None
        data = {
            "name": objective.name,
            "formula": objective.formula,
            "usual_start": objective.usual_start,
            "minima": objective.minima,
            "bounds": landscape.bounds if landscape else None,
            "source": landscape.source if landscape else None,
        }
        yield json.dumps(data, indent=2) + "\n"


def _implemented_by(optimizer: Optimizer) -> str:
    if not optimizer.class_path:
        return "torch has no class for it: the rule itself is traced"
    return f"{optimizer.class_path}, {' or '.join(optimizer.implementations)}"


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


@dataclass(frozen=True, slots=True)
class DiagnosesPresenter(Presenter, HasJson):
    """What is looked for in a training.

    Attributes:
        summaries: what each fault is, in one sentence, by its name.
    """

    called: ClassVar[str] = "the list of diagnoses"

    summaries: Mapping[str, str]

    def table(self, display: Display) -> RenderableType:
        """Return a row for each fault, by its code."""
        rows = [(fault.replace(" ", "-"), summary) for fault, summary in self.summaries.items()]
        return headed_table(("code", "what is looked for"), rows, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array with an object for each fault."""
        faults = [
            {"fault": fault, "code": fault.replace(" ", "-"), "summary": summary}
            for fault, summary in self.summaries.items()
        ]
        yield json.dumps(faults, indent=2) + "\n"
