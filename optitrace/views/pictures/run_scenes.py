"""The pictures of one run and of several, and the numbers beside them step by step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from optitrace.analysis.comparison import Comparison, losses_after
from optitrace.analysis.loss_grid import LossGrid
from optitrace.analysis.named_trace import NamedTrace
from optitrace.records.selection import at_steps
from optitrace.records.trace import Trace
from optitrace.text.number_format import counted, format_number
from optitrace.views.comparison_wording import BEST, closing_lines, learning_rates
from optitrace.views.display import Display
from optitrace.views.fields import few_fields
from optitrace.views.grid import make_grid
from optitrace.views.pictures.run_panels import loss_chart, lr_chart, norm_charts, plane
from optitrace.views.pictures.scene import Numbers, Scene
from optitrace.views.wording import ending, subtitle, title


def trace_scene(trace: Trace, terrain: LossGrid | None, precision: int = 4) -> Scene:
    """Return the picture of a run: its path over the loss, if that can be drawn, and its loss.

    Args:
        trace: the run.
        terrain: the loss around it; None if it has more than two coordinates.
        precision: decimals of the numbers that are told below.
    """
    runs = [NamedTrace("", trace)]
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    if trace.experiment.schedule is not None:
        panels.append(lr_chart(runs))
    notes = tuple(ending(trace, precision))
    return Scene(title(trace.experiment), subtitle(trace.experiment), tuple(panels), notes)


def compare_scene(comparison: Comparison, terrain: LossGrid | None) -> Scene:
    """Return the picture of a comparison: all paths over one loss, if that can be drawn, and the losses.

    Args:
        comparison: the runs; line k of each panel is run k of the ranking.
        terrain: the loss around them; None if they have more than two coordinates, or not one loss.
    """
    runs = comparison.traces
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    rates, said = learning_rates(comparison), subtitle(runs[0].trace.experiment)
    # several rates are too long for a title
    is_short = len({repr(s.experiment.hyperparameters.get("lr")) for s in comparison.summaries}) == 1
    return Scene(
        f"{counted(len(runs), 'run')}, {rates}" if is_short else counted(len(runs), "run"),
        said if is_short else f"{said}, {rates}",
        tuple(panels),
        tuple(line for line in closing_lines(comparison) if not line.startswith(BEST)),
    )


def trace_numbers(trace: Trace, steps: Sequence[int], precision: int) -> Numbers:
    """Return the numbers of a run, as its table has them: what a step used, and what it led to.

    Args:
        trace: the run.
        steps: the steps to be shown.
        precision: decimals of each number.
    """
    grid = make_grid(at_steps(trace, steps), Display(precision=precision, state=True, all_rows=True))
    led_to = {"weights": "after the step", **dict.fromkeys(trace.state, "state after the step")}
    headings = [
        (led_to.get(quantity, "used by the step"), f"{quantity} {weight.replace('state', '')}".strip())
        for quantity, weight in islice(grid.headings, 1, None)
    ]
    at = next(k for k, (section, _) in enumerate(headings) if section == "after the step")
    losses = dict(losses_after(trace))
    rows = {}
    for step, *cells in grid.rows:
        loss = losses.get(int(step))
        after = "" if loss is None else format_number(loss, precision)
        rows[int(step)] = [*cells[:at], after, *cells[at:]]
    return Numbers([*headings[:at], ("after the step", "loss"), *headings[at:]], rows)


def compare_numbers(runs: Sequence[NamedTrace], steps: Sequence[int], precision: int) -> Numbers:
    """Return the loss and the weights of several runs after each step.

    Args:
        runs: the runs.
        steps: the steps to be shown.
        precision: decimals of each number.
    """
    headings: list[tuple[str, str]] = []
    rows: dict[int, list[str]] = {step: [] for step in steps}
    for run in runs:
        weights = few_fields("weights", run.trace.weights)
        headings += [(run.name, "loss"), *((run.name, " ".join(field.heading)) for field in weights)]
        losses = dict(losses_after(run.trace))
        place = {step: row for row, step in enumerate(run.trace.steps)}
        for step, cells in rows.items():
            row = place.get(step)
            values = [losses.get(step), *(None if row is None else f.value(row) for f in weights)]
            cells += ["" if value is None else format_number(value, precision) for value in values]
    return Numbers(headings, rows)
