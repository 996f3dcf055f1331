"""A trace as it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.comparison import losses_after
from optitrace.analysis.explanation import ExplainedStep, explain
from optitrace.analysis.theory import Theory
from optitrace.errors import quoted
from optitrace.experiment.objectives import recorded_function
from optitrace.records.trace import TraceRecord
from optitrace.records.writer import json_chunks, jsonl_chunks
from optitrace.rules.reader import ASCII, UNICODE
from optitrace.views.delimited import record_rows
from optitrace.views.display import Display
from optitrace.views.explanation import explained_fields, explained_lines, theory_fields, theory_lines
from optitrace.views.formats import (
    HasJson,
    HasJsonLines,
    HasMovingPicture,
    HasPage,
    HasRows,
    Presenter,
)
from optitrace.views.grid import make_grid, visible_rows
from optitrace.views.page import Heading, Paragraph, Section
from optitrace.views.sparkline import sparkline
from optitrace.views.tables import as_text, grid_tables, hidden_rows
from optitrace.views.wording import closing, subtitle, title

if TYPE_CHECKING:
    from optitrace.views.pictures.scene import Picture


@dataclass(frozen=True, slots=True)
class TracePresenter(Presenter, HasJson, HasJsonLines, HasRows, HasPage, HasMovingPicture):
    """A trace, and what is told beside it in a table and in JSON.

    Attributes:
        trace: the trace.
        explains: whether its steps are explained.
        coordinate: the only coordinate that is explained, from 1; all if None.
        theory: what theory says of it; None if that is not told.
    """

    called: ClassVar[str] = "a trace"
    needs_torch: ClassVar[bool] = True

    trace: TraceRecord
    explains: bool = False
    coordinate: int | None = None
    theory: Theory | None = None

    def table(self, display: Display) -> RenderableType:
        """Return the table with its title above and what is to be said of it below."""
        trace = self.trace
        grid = make_grid(trace, display)
        loss, *rest = closing(trace, display.precision)
        course = sparkline([loss for _, loss in losses_after(trace)], display)
        lines = [*hidden_rows(grid), f"{loss}  {course}".rstrip(), *rest, *theory_lines(self.theory)]
        explained = self._explained(display, rows=visible_rows(len(trace.steps), display))
        return Group(
            Text(display.spell(title(trace.experiment)), style="bold"),
            Text(display.spell(subtitle(trace.experiment)), style="dim"),
            *(part for block in grid_tables(grid, display) for part in (Text(), block)),
            *self._plot(display),
            Text(),
            *as_text(explained_lines(explained.values(), display), display),
            *as_text(lines, display),
        )

    def json(self, display: Display) -> Iterator[str]:
        """Return the trace as a JSON object, in which each step may have its explanation."""
        more = partial(explained_fields, self._explained(display))
        return json_chunks(self.trace, theory_fields(self.theory), more)

    def json_lines(self, display: Display) -> Iterator[str]:
        """Return the same as lines of JSON: what was run and how it ended first, then each step."""
        more = partial(explained_fields, self._explained(display))
        return jsonl_chunks(self.trace, theory_fields(self.theory), more)

    def rows(self) -> Iterator[Sequence[object]]:
        """Return a row for each step, with a cell for each coordinate of everything recorded."""
        return record_rows(self.trace)

    def page(self, display: Display) -> Iterator[Section]:
        """Yield the title, the table, and how the run ended."""
        yield Heading(title(self.trace.experiment), subtitle(self.trace.experiment))
        yield make_grid(self.trace, display)
        yield Paragraph(closing(self.trace, display.precision))

    def picture(self, display: Display) -> Picture:
        """Return the path of the weights over the loss, if that can be drawn, and the loss at each step."""
        from optitrace.analysis.loss_grid import terrain
        from optitrace.views.pictures.run_scenes import trace_numbers, trace_scene
        from optitrace.views.pictures.scene import Picture

        scene = trace_scene(self.trace, terrain([self.trace]), display.precision)
        return Picture(
            scene, self.trace.steps, partial(trace_numbers, self.trace, precision=display.precision)
        )

    def not_drawn(self) -> str:
        """Return that the loss is not drawn, where that takes code that a saved trace alone names."""
        return loss_not_drawn([self.trace])

    def _plot(self, display: Display) -> Sequence[RenderableType]:
        if not display.plot:
            return ()

        from optitrace.views.pictures.plot import plot

        return Text(), plot(self.picture(display).scene, display)

    def _explained(self, display: Display, rows: Sequence[int] | None = None) -> Mapping[int, ExplainedStep]:
        """Return the explanation of some rows as a table has it, or of all as a script reads it."""
        if not self.explains:
            return {}
        spelling = ASCII if rows is None or display.ascii else UNICODE
        return explain(
            self.trace, rows=rows, precision=display.precision, coordinate=self.coordinate, spelling=spelling
        )


def loss_not_drawn(traces: Sequence[TraceRecord]) -> str:
    """Return the sentence that says that the loss of runs is not drawn; empty if it is."""
    functions = [recorded_function(trace.experiment.objective) for trace in traces]
    if not all(functions):
        return ""
    return (
        f"the loss around the weights is not drawn: it takes the code of {quoted(functions[0])}; "
        "'optitrace show FILE --rerun' runs it."
    )
