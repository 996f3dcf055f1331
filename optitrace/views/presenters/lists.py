"""Presenters of `optitrace list`: the catalogue, one optimizer, a loss, and the faults of trainings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.experiment.landscapes import Landscape
from optitrace.experiment.objective import Objective
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer
from optitrace.rules.reader import ASCII, UNICODE, read
from optitrace.rules.rule import StateEntry
from optitrace.text import listed
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, Presenter
from optitrace.views.tables import as_text, headed_table
from optitrace.views.wording import setting, vector

if TYPE_CHECKING:
    from optitrace.analysis.training.diagnoses.registry import DiagnosisCheck


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
        """Return a row for each optimizer, those of torch.optim first."""
        hint = "'optitrace list NAME' shows details of one, 'optitrace NAME' runs it"
        of_torch = [optimizer for optimizer in self.optimizers if optimizer.class_path]
        beyond = [optimizer for optimizer in self.optimizers if not optimizer.class_path]
        tables = [
            part
            for title, optimizers in (("of torch.optim", of_torch), ("beyond torch.optim", beyond))
            for part in (Text(title, style="bold"), _rows_of(optimizers, display), Text())
            if optimizers
        ]
        return Group(*tables, *map(Text, self.notes), Text(hint))

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


def _rows_of(optimizers: Sequence[Optimizer], display: Display) -> RenderableType:
    return headed_table(
        ("optimizer", "hyperparameters and their defaults", "state"),
        [
            (
                optimizer.name,
                ", ".join(setting(h.name, h.default) for h in optimizer.hyperparameters),
                ", ".join(optimizer.state),
            )
            for optimizer in optimizers
        ],
        display,
    )


def _implemented_by(optimizer: Optimizer) -> str:
    if not optimizer.class_path:
        classes = optimizer.rule.classes if optimizer.rule else ()
        implemented = f"; implemented by {listed(classes)}" if classes else ""
        return f"torch has no class for it: the rule itself is traced{implemented}"
    return f"{optimizer.class_path}, {' or '.join(optimizer.implementations)}"


def _state(key: str, entry: StateEntry | None) -> str:
    """Return torch's name of a state entry, with the rule's symbol for it and when it is kept."""
    if entry is None:
        return key
    when = f", with {entry.when}" if entry.when else ""
    of = f", one for the {entry.shape}" if entry.scalar else f", {entry.shape}"
    return f"{key} ({entry.symbol}{'' if entry.shape == 'weights' else of}{when})"


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
        checks: what finds each fault, in the order of the list.
    """

    called: ClassVar[str] = "the list of diagnoses"

    checks: Sequence[DiagnosisCheck[Any]]

    def table(self, display: Display) -> RenderableType:
        """Return a row for each fault, by its code."""
        rows = [(check.code, check.summary) for check in self.checks]
        return headed_table(("code", "what is looked for"), rows, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array with an object for each fault."""
        faults = [{"fault": c.fault, "code": c.code, "summary": c.summary} for c in self.checks]
        yield json.dumps(faults, indent=2) + "\n"
