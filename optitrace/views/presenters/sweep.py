"""The sweeps of one or several optimizers as they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.errors import OutputError
from optitrace.records.writer import exact
from optitrace.views.display import Display
from optitrace.views.formats import (
    HasJson,
    HasJsonLines,
    HasPage,
    HasPicture,
    HasRows,
    Presenter,
)
from optitrace.views.page import Paragraph, Section, grid_of_words
from optitrace.views.tables import as_text, headed_table

if TYPE_CHECKING:
    from optitrace.analysis.sweeping.axis import SweptAxis
    from optitrace.analysis.sweeping.blocks import Block
    from optitrace.analysis.sweeping.ranking import Candidate
    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import SweepResult
    from optitrace.rules.hyperparameter import Value
    from optitrace.views.pictures.scene import Picture

SCHEMA = 1
"""The version of the shape of a sweep file."""

Columns: TypeAlias = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""The names of some columns, and their values."""


@dataclass(frozen=True, slots=True)
class SweepPresenter(Presenter, HasJson, HasJsonLines, HasRows, HasPage, HasPicture):
    """What the sweeps of one or several optimizers found.

    Attributes:
        sweeps: one for each optimizer.
        commands: for each, the command that traces its best configuration; empty if there is none.
        blocks: returns all configurations, in blocks that `columns_of` makes.
    """

    called: ClassVar[str] = "a sweep"

    sweeps: Sequence[SweepResult]
    commands: Sequence[str]
    blocks: Callable[[], Iterable[Columns]] = tuple

    def table(self, display: Display) -> RenderableType:
        """Return the picture in characters, the best configurations, and what torch says of them."""
        from optitrace.views.pictures.plot import plot
        from optitrace.views.pictures.sweep_scene import sweep_scene
        from optitrace.views.sweep_wording import NOTHING, cells, closing, heading

        parts: list[RenderableType] = [*as_text(heading(self.sweeps), display)]
        if len(self.sweeps) == 1 and (scene := sweep_scene(self.sweeps)) is not None:
            parts += [Text(), plot(scene, display)]
        found = cells(self.sweeps, display.precision)
        table: RenderableType = Text(NOTHING)
        if found.rows:
            table = headed_table(found.headings, found.rows, display, numbers=found.numbers)
        parts += [Text(), table, Text()]
        for line, may_fold in closing(self.sweeps, self.commands):
            parts += map(Text, _folded(display.spell(line), display.width if may_fold else None))
        return Group(*parts)

    def json(self, display: Display) -> Iterator[str]:
        """Yield what was swept and found, and every configuration."""
        yield self._head().removesuffix("}") + ', "configurations": ['
        separator = "\n"
        for row in self._json_rows():
            yield separator + row
            separator = ",\n"
        yield "\n]}\n"

    def json_lines(self, display: Display) -> Iterator[str]:
        """Yield what was swept and found, and each configuration in a line."""
        yield self._head() + "\n"
        yield from (f"{row}\n" for row in self._json_rows())

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the names of what was varied and measured, and every configuration."""
        for number, (names, columns) in enumerate(self.blocks()):
            if number == 0:
                yield names
            # where a cell is None there is no value, which is not the value none
            told = (["none" if v is None else v for v in c] if None in c else c for c in columns)
            yield from zip(*told, strict=True)

    def page(self, display: Display) -> Iterator[Section]:
        """Yield what was swept, the best, and what came of the others."""
        from optitrace.views.sweep_wording import NOTHING, cells, closing, heading

        found = cells(self.sweeps, display.precision)
        yield Paragraph(heading(self.sweeps))
        yield grid_of_words(found.headings, found.rows) if found.rows else Paragraph([NOTHING])
        yield Paragraph([line for line, _ in closing(self.sweeps, self.commands)])

    def picture(self, display: Display) -> Picture:
        """Return a curve over one setting, or a heat map over two.

        Raises:
            OutputError: no configuration was finished.
        """
        from optitrace.views.pictures.scene import Picture
        from optitrace.views.pictures.sweep_scene import sweep_scene

        scene = sweep_scene(self.sweeps)
        if scene is None:
            raise OutputError("cannot draw the sweep: no configuration was finished; run it for longer.")
        return Picture(scene)

    def _head(self) -> str:
        found = [_found(sweep, command) for sweep, command in zip(self.sweeps, self.commands, strict=True)]
        return json.dumps({"schema": SCHEMA, "sweeps": found})

    def _json_rows(self) -> Iterator[str]:
        for names, columns in self.blocks():
            heads = [json.dumps(name) + ": " for name in names]
            for row in zip(*columns, strict=True):
                yield "{" + ", ".join(h + _json(value) for h, value in zip(heads, row, strict=True)) + "}"


def columns_of(space: Space, block: Block) -> Columns:
    """Return a block of configurations as columns: the optimizer, what is varied, measures and weights."""
    from optitrace.analysis.sweeping.ranking import OUTCOMES
    from optitrace.analysis.sweeping.space import listed

    measures = {name: measure.tolist() for name, measure in block.measures.items()}
    if "outcome" in measures:
        measures["outcome"] = [OUTCOMES[int(value)] for value in measures["outcome"]]
    weights = block.weights.double().T.tolist()
    names = [axis.name for axis in space.axes]
    return (
        ["optimizer", *names, *measures, *(f"w{k}" for k in range(1, len(weights) + 1))],
        [
            [space.base.optimizer] * len(block),
            *(listed(axis, column) for axis, column in zip(space.axes, block.columns, strict=True)),
            *measures.values(),
            *weights,
        ],
    )


def _folded(line: str, width: int | None) -> list[str]:
    return [line] if width is None else wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _found(sweep: SweepResult, command: str) -> dict[str, Any]:
    base = sweep.space.base
    checks = sweep.checks
    return {
        "optimizer": base.optimizer,
        "hyperparameters": dict(base.hyperparameters),
        "objective": dict(base.objective.settings),
        "start": base.start,
        "steps": base.steps,
        "gradient": base.gradient,
        "dtype": base.dtype,
        "device": base.device,
        "varied": [_axis(axis) for axis in sweep.space.axes],
        "samples": sweep.space.samples,
        "seed": sweep.space.seed if sweep.space.samples is not None else None,
        "size": sweep.space.size,
        "finished": sweep.finished,
        "outcome": "completed" if sweep.is_complete else "interrupted",
        "rank": sweep.goal.rank,
        "tolerance": sweep.goal.tolerance,
        "counts": dict(sweep.counts),
        "tied": sweep.tied,
        "best": [_candidate(candidate) for candidate in sweep.best],
        "command": command or None,
        "spot_check": None
        if checks is None
        else {
            "agree": sum(check.agrees for check in checks),
            "of": len(checks),
            "worst_ulps": exact(max(check.ulps for check in checks)),
        },
    }


def _axis(axis: SweptAxis) -> dict[str, Any]:
    from optitrace.analysis.sweeping.axis import Range

    if isinstance(axis.values, Range):
        between = axis.values
        return {
            "name": axis.name,
            "first": between.first,
            "last": between.last,
            "count": between.count,
            "spacing": "logarithmic" if between.logarithmic else "linear",
        }
    return {"name": axis.name, "values": list(axis.values)}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "number": candidate.number,
        **candidate.configuration,
        **{name: exact(value) for name, value in candidate.measures.items()},
        "weights": [exact(weight) for weight in candidate.weights],
    }


def _json(value: Value) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'"{exact(value)}"'
    return json.dumps(value)


#####
