"""A training as it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from optitrace.errors import OutputError, printable
from optitrace.records.findings import TrainingFindings
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.records.writer import fields_of, json_chunks, jsonl_chunks
from optitrace.views.delimited import record_rows
from optitrace.views.display import Display
from optitrace.views.formats import (
    HasJson,
    HasJsonLines,
    HasMovingPicture,
    HasPage,
    HasRows,
    Presenter,
)
from optitrace.views.group_grid import group_grid
from optitrace.views.page import Heading, Paragraph, Section
from optitrace.views.sparkline import sparkline
from optitrace.views.tables import as_text, grid_tables
from optitrace.views.training_grids import hidden_values, training_grids
from optitrace.views.training_wording import (
    NO_STEP,
    closing_lines,
    ending_lines,
    extent,
    findings_lines,
    optimizer_subtitle,
    optimizer_title,
    program_line,
    soundness,
    told,
)

if TYPE_CHECKING:
    from optitrace.views.grid import Grid
    from optitrace.views.pictures.scene import Picture


@dataclass(frozen=True, slots=True)
class TrainingPresenter(Presenter, HasJson, HasJsonLines, HasRows, HasPage, HasMovingPicture):
    """A training.

    Attributes:
        training: what was recorded.
        findings: what was found out about it.
        whole: the training with all of its recorded steps, where only some of them are shown.
    """

    called: ClassVar[str] = "a training"

    training: TrainingRecord
    findings: TrainingFindings
    whole: TrainingRecord | None = None

    def table(self, display: Display) -> RenderableType:
        """Return a table for each optimizer, with how it ended and what was found out below."""
        training = self.training
        parts: list[RenderableType] = []
        if program := program_line(training):
            parts += [*as_text([program], display, "dim"), Text()]
        shown = extent(training.optimizers, shows_all=display.all_rows)
        if display.groups:
            parts += [*_tables(group_grid(shown.optimizers, display), display), Text()]
        for place, optimizer in enumerate(shown.optimizers):
            if place == shown.gap:
                parts += [*as_text([shown.line], display), Text()]
            parts += [*_optimizer(optimizer, display), Text()]
        if display.plot and self._has_steps():
            from optitrace.views.pictures.plot import plot

            parts += [plot(self.picture(display).scene, display), Text()]
        parts += as_text(ending_lines(training), display)
        parts += self._faults(display)
        parts += as_text(findings_lines(self.findings, tells_all=display.all_rows), display)
        return Group(*parts)

    def json(self, display: Display) -> Iterator[str]:
        """Return the training as a JSON object, what was found out before the steps."""
        return json_chunks(self.training, fields_of(self.findings))

    def json_lines(self, display: Display) -> Iterator[str]:
        """Return the same as lines of JSON: what was run and found out first, then each step."""
        return jsonl_chunks(self.training, fields_of(self.findings))

    def rows(self) -> Iterator[Sequence[object]]:
        """Return a row for each step of each optimizer, and for each of its parameters if recorded."""
        return record_rows(self.training)

    def page(self, display: Display) -> Iterator[Section]:
        """Yield what was run, each optimizer with its tables, and all that is said of them."""
        if program := program_line(self.training):
            yield Paragraph([program])
        shown = extent(self.training.optimizers, shows_all=display.all_rows)
        if display.groups:
            yield group_grid(shown.optimizers, display)
        for place, optimizer in enumerate(shown.optimizers):
            if place == shown.gap:
                yield Paragraph([shown.line])
            yield Heading(optimizer_title(optimizer), optimizer_subtitle(optimizer))
            if optimizer.steps:
                for grid in training_grids(optimizer, display):
                    yield grid
                    if grid.notes:
                        yield Paragraph(grid.notes)
            else:
                yield Paragraph([NO_STEP])
        whole = self.whole or self.training
        yield Paragraph(list(closing_lines(whole, self.findings, tells_all=display.all_rows)))

    def picture(self, display: Display) -> Picture:
        """Return the loss, the lr and the steps' size of each optimizer.

        Raises:
            OutputError: no step was recorded.
        """
        if not self._has_steps():
            raise OutputError("cannot draw the training: no step was recorded; record more of it.")
        from optitrace.views.pictures.scene import Picture
        from optitrace.views.pictures.training_scene import (
            all_recorded_steps,
            training_numbers,
            training_scene,
        )

        scene = training_scene(self.training, self.findings)
        numbers = partial(training_numbers, self.training, digits=display.digits)
        return Picture(scene, all_recorded_steps(self.training), numbers)

    def _has_steps(self) -> bool:
        return any(optimizer.steps for optimizer in self.training.optimizers)

    def _faults(self, display: Display) -> Iterator[RenderableType]:
        """Yield each fault and remark with its remedy indented below it; where there is no fault, that."""
        if sentence := soundness(self.whole or self.training, self.findings):
            yield Text(display.spell(sentence))
        if not self.findings.diagnoses:
            return
        yield Text()
        for diagnosis in told(self.findings.diagnoses, tells_all=display.all_rows):
            fact, remedy = (display.spell(printable(text)) for text in (diagnosis.fact, diagnosis.remedy))
            yield Text(fact, style="red" if diagnosis.is_fault else "yellow")
            yield Padding(Text(remedy), (0, 0, 0, 2), expand=False)
        yield Text()


def _optimizer(optimizer: OptimizerTrace, display: Display) -> Iterator[RenderableType]:
    yield from as_text([optimizer_title(optimizer)], display, "bold")
    yield from as_text([optimizer_subtitle(optimizer)], display, "dim")
    if not optimizer.steps:
        yield Text(NO_STEP)
        return
    lines: list[str] = []
    for grid in training_grids(optimizer, display):
        yield from _below(lines, display)
        yield Text()
        yield from _tables(grid, display)
        lines = list(grid.notes)
    losses = [x for x in optimizer.columns["loss"].values if not math.isnan(x)]  # NaN: none is known
    course = sparkline(losses, display)
    lines += [*hidden_values(optimizer, display), *([f"loss  {course}"] if course else [])]
    yield from _below(lines, display)


def _tables(grid: Grid, display: Display) -> Iterator[RenderableType]:
    """Yield the tables of a grid, with an empty line between two."""
    for place, table in enumerate(grid_tables(grid, display)):
        if place:
            yield Text()
        yield table


def _below(lines: Sequence[str], display: Display) -> Iterator[RenderableType]:
    if lines:
        yield from (Text(), *as_text(lines, display))
