"""The picture of a training: what each optimizer's loss, lr and steps were, over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optitrace.records.findings import TrainingFindings
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.text import format_significant
from optitrace.views.pictures.polylines import Course
from optitrace.views.pictures.run_scenes import chart, course
from optitrace.views.pictures.scene import Numbers, Scene
from optitrace.views.training_wording import (
    Extent,
    ending_lines,
    extent,
    findings_lines,
    optimizer_title,
    program_line,
    told,
)

DRAWN = {"loss": "loss", "lr": "lr", "update_ratio": "update / weight"}
"""The columns that are drawn, by what they are called there."""

TOLD = {
    "used by the step": ("loss", "lr", "gradient_norm", "unclipped_gradient_norm"),
    "after the step": ("update_norm", "weight_norm", "update_ratio"),
}
"""The columns whose numbers stand beside a step, by the section they stand in."""

MOST_FAULTS = 3
"""How many faults are told below the picture; the table has all."""


def training_scene(training: TrainingRecord, findings: TrainingFindings) -> Scene:
    """Return the picture of a training: loss, lr and update/weight ratio, a line for each optimizer.

    Of very many optimizers, those are drawn that a table shows.

    Args:
        training: what was seen; at least one optimizer took a step.
        findings: what was found out about it.
    """
    drawn = _drawn(training)
    optimizers = drawn.optimizers
    titles = [optimizer_title(optimizer) for optimizer in optimizers]
    program = program_line(training)
    facts = [diagnosis.fact for diagnosis in told(findings.diagnoses)[:MOST_FAULTS]]
    return Scene(
        titles[0] if len(titles) == 1 else program or " · ".join(o.name for o in optimizers),
        program if len(titles) == 1 else " · ".join(titles),
        tuple(
            chart(label, [_course(o, name, len(optimizers)) for o in optimizers if name in o.columns])
            for name, label in DRAWN.items()
            if any(name in o.columns for o in optimizers)
        ),
        (*_undrawn(drawn), *ending_lines(training), *facts, *findings_lines(findings)),
    )


def _drawn(training: TrainingRecord) -> Extent:
    return extent([optimizer for optimizer in training.optimizers if optimizer.steps])


def _undrawn(drawn: Extent) -> list[str]:
    return [f"{len(drawn.hidden):,} more optimizers are not drawn"] if drawn.hidden else []


def training_numbers(training: TrainingRecord, steps: Sequence[int], digits: int) -> Numbers:
    """Return the norms of each optimizer that is drawn at some steps, as the table has them.

    Args:
        training: what was seen.
        steps: the steps to be shown.
        digits: significant digits of each number.
    """
    headings: list[tuple[str, str]] = []
    rows: dict[int, list[str]] = {step: [] for step in steps}
    for optimizer in _drawn(training).optimizers:
        place = {step: row for row, step in enumerate(optimizer.steps)}
        for section, names in TOLD.items():
            known = [name for name in names if name in optimizer.columns]
            prefix = f"{optimizer.name}, " if len(training.optimizers) > 1 else ""
            headings += [(f"{prefix}{section}", name.replace("_", " ")) for name in known]
            for step, cells in rows.items():
                cells += [_cell(optimizer, name, place.get(step), digits) for name in known]
    return Numbers(headings, rows)


def all_recorded_steps(training: TrainingRecord) -> list[int]:
    """Return the steps that any optimizer has a row of, in order."""
    return sorted({step for optimizer in training.optimizers for step in optimizer.steps})


def _course(optimizer: OptimizerTrace, name: str, optimizers: int) -> Course:
    """Return a column over the steps; of several groups' lr the first."""
    column = optimizer.columns[name]
    numbers = [math.nan] * column.first + list(column.values[:: max(column.size, 1)])
    return course(optimizer.name if optimizers > 1 else "", optimizer.steps, numbers)


def _cell(optimizer: OptimizerTrace, name: str, row: int | None, digits: int) -> str:
    values = None if row is None else optimizer.columns[name].row(row)
    return "" if values is None else " / ".join(format_significant(v, digits) for v in values)
