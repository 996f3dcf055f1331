"""A comparison as it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.comparison import RankedRuns, Summary, losses_after
from optitrace.experiment.text import text_of
from optitrace.records.writer import exact_all
from optitrace.text import format_number
from optitrace.views.comparison_view import (
    BEST,
    COLUMNS,
    RANKED,
    all_steps,
    closing_lines,
    learning_rates,
    quantity_columns,
    side_by_side,
)
from optitrace.views.display import Display
from optitrace.views.formats import (
    HasJson,
    HasMovingPicture,
    HasPage,
    HasRows,
    Presenter,
)
from optitrace.views.page import Paragraph, Section, grid_of_words
from optitrace.views.presenters.trace import loss_not_drawn
from optitrace.views.sparkline import sparklines
from optitrace.views.tables import as_text, grid_tables, headed_table

if TYPE_CHECKING:
    from optitrace.views.pictures.scene import Picture


@dataclass(frozen=True, slots=True)
class ComparisonPresenter(Presenter, HasJson, HasRows, HasPage, HasMovingPicture):
    """A comparison of runs.

    Attributes:
        comparison: the runs.
        quantity: what of every step is shown as well, one of `QUANTITIES`; nothing if empty.
    """

    called: ClassVar[str] = "a comparison"
    needs_torch: ClassVar[bool] = True

    comparison: RankedRuns
    quantity: str = ""

    def table(self, display: Display) -> RenderableType:
        """Return a summary of each run, the best of each column marked, and what is to be said of them."""
        comparison = self.comparison
        headings, rows = _summary_cells(comparison, display.precision)
        parts: list[RenderableType] = [
            *as_text([learning_rates(comparison)], display, "dim"),
            Text(),
            headed_table(headings, rows, display, numbers=headings[1:]),
        ]
        if self.quantity:
            grid = side_by_side(comparison.traces, self.quantity, display)
            parts += [Text(), *as_text([f"{self.quantity} at each step"], display, "bold")]
            parts += [part for block in grid_tables(grid, display) for part in (Text(), block)]
            if grid.hidden:
                parts += [Text(f"{grid.hidden} rows are hidden; --all shows them")]
        lines = list(closing_lines(comparison))
        if display.plot:
            from optitrace.views.pictures.plot import plot

            parts += [Text(), plot(self.picture(display).scene, display)]
        else:
            lines = [*_courses(comparison, display), *lines]
        return Group(*parts, Text(), *as_text(lines, display))

    def json(self, display: Display) -> Iterator[str]:
        """Yield the summary of each run, with the quantity at each step if there is one."""
        runs = [_summary(summary) for summary in self.comparison.summaries]
        if self.quantity:
            for run, named in zip(runs, self.comparison.traces, strict=True):
                column = named.trace.columns[self.quantity]
                rows = [column.row(row) for row in range(len(named.trace.steps))]
                run["step"] = list(named.trace.steps)
                run[self.quantity] = [row if row is None or column.shape else row[0] for row in rows]
        data = {"tolerance": self.comparison.tolerance, "runs": exact_all(runs)}
        yield json.dumps(data, ensure_ascii=False, indent=2) + "\n"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the summary of each run, or the quantity of all step by step if there is one."""
        if self.quantity:
            yield from self._step_rows()
            return
        summaries = [_summary(summary) for summary in self.comparison.summaries]
        yield list(summaries[0])
        for summary in summaries:
            yield list(summary.values())

    def page(self, display: Display) -> Iterator[Section]:
        """Yield at which lr the runs are, their summary, the quantity at each step, and how they compare."""
        headings, rows = _summary_cells(self.comparison, display.precision)
        yield Paragraph([learning_rates(self.comparison)])
        yield grid_of_words(headings, rows)
        if self.quantity:
            yield Paragraph([f"{self.quantity} at each step"])
            yield side_by_side(self.comparison.traces, self.quantity, display)
        yield Paragraph(list(closing_lines(self.comparison)))

    def picture(self, display: Display) -> Picture:
        """Return the paths of the weights over one loss, if that can be drawn, and the losses."""
        from optitrace.analysis.loss_grid import terrain
        from optitrace.views.pictures.run_scenes import compare_numbers, compare_scene
        from optitrace.views.pictures.scene import Picture

        runs = self.comparison.traces
        scene = compare_scene(self.comparison, terrain([run.trace for run in runs]))
        return Picture(scene, all_steps(runs), partial(compare_numbers, runs, precision=display.precision))

    def not_drawn(self) -> str:
        """Return that the loss is not drawn, where that takes code that saved traces alone name."""
        return loss_not_drawn([run.trace for run in self.comparison.traces])

    def _step_rows(self) -> Iterator[Sequence[object]]:
        """Yield a header, and a row for each step with the numbers of every run."""
        traces = self.comparison.traces
        steps = all_steps(traces)
        header, columns = ["step"], []
        for named, members in quantity_columns(traces, self.quantity, steps):
            for field, numbers in members:
                name = named.name if field.coordinate is None else f"{named.name} w{field.coordinate}"
                header.append(name)
                columns.append(numbers)
        yield header
        yield from zip(steps, *columns, strict=True)


def _summary(summary: Summary) -> dict[str, Any]:
    data = {field.name: getattr(summary, field.name) for field in dataclass_fields(summary)}
    data["experiment"] = text_of(summary.experiment)
    data["lr"] = summary.experiment.hyperparameters.get("lr")
    return data


def _summary_cells(comparison: RankedRuns, precision: int) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the summary; a column that is empty throughout is left out."""
    summaries = comparison.summaries
    shown = [c for c in COLUMNS if any(getattr(summary, c) is not None for summary in summaries)]
    columns = [_column_cells(comparison, column, precision) for column in shown]
    names = [summary.name for summary in summaries]
    return ["run", *(COLUMNS[c] for c in shown)], [list(row) for row in zip(names, *columns, strict=True)]


def _column_cells(comparison: RankedRuns, column: str, precision: int) -> list[str]:
    best = comparison.best(column) if column in RANKED else None
    cells = []
    for summary in comparison.summaries:
        value = getattr(summary, column)
        text = "" if value is None else str(value) if type(value) is int else format_number(value, precision)
        if column == "diverged_at" and value is not None:
            text = f"step {value}"
        cells.append(f"{BEST}{text}" if value is not None and value == best else text)
    return cells


def _courses(comparison: RankedRuns, display: Display) -> Iterator[str]:
    """Yield the course of the loss of each run, all of one height and length."""
    names = [named.name for named in comparison.traces]
    losses = [[loss for _, loss in losses_after(named.trace)] for named in comparison.traces]
    for name, course in zip(names, sparklines(losses, display), strict=True):
        if course:
            yield f"loss of {name:<{max(map(len, names))}}  {course}"
