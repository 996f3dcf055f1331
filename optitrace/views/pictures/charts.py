"""Charts: quantities over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from optitrace.analysis.comparison import losses_after
from optitrace.records.trace import NamedTrace, Trace
from optitrace.views.fields import NORM, Field
from optitrace.views.pictures.lines import Course, curves
from optitrace.views.pictures.scales import axis_of, steps_axis
from optitrace.views.pictures.scene import Panel


def chart(label: str, courses: Sequence[Course], across: str = "step") -> Panel:
    """Return a quantity of some runs over the steps, logarithmic where it spans decades.

    Args:
        label: the quantity.
        courses: for each run, its steps and the points (step, number); numbers may not be finite.
        across: what the steps are called.
    """
    steps = steps_axis(across, max((course.steps[-1] for course in courses if course.steps), default=1))
    up = axis_of(label, [[y for _, y in course.points] for course in courses])
    lines, marks = curves(courses, steps, up)
    return Panel("", steps, up, lines=lines, marks=marks)


def course(name: str, steps: Sequence[int], numbers: Sequence[float]) -> Course:
    """Return the course of a quantity over the steps."""
    return Course(name, steps, [(float(s), number) for s, number in zip(steps, numbers, strict=True)])


def loss_chart(runs: Sequence[NamedTrace]) -> Panel:
    """Return the loss of the weights after each step, as far as it is known.

    That is the loss which the next step used: beside row k of a table stands that of k − 1 steps taken.
    """
    return chart("loss", [_losses(run) for run in runs], "steps taken")


def lr_chart(runs: Sequence[NamedTrace]) -> Panel:
    """Return the lr that each step used."""
    return chart("lr", [_of_field(run.name, run.trace, Field("lr", None, run.trace.lr)) for run in runs])


def norm_charts(runs: Sequence[NamedTrace]) -> list[Panel]:
    """Return the norm of the gradient that each step used, and that of the change of the weights."""
    gradients = [_of_field(r.name, r.trace, Field("gradient", NORM, r.trace.gradient)) for r in runs]
    updates = [_of_field(r.name, r.trace, Field("update", NORM, r.trace.weights, True)) for r in runs]
    return [chart("gradient norm", gradients), chart("update norm", updates)]


def _losses(run: NamedTrace) -> Course:
    known = list(losses_after(run.trace))
    return course(run.name, [step for step, _ in known], [loss for _, loss in known])


def _of_field(name: str, trace: Trace, field: Field) -> Course:
    values = [(step, field.value(row)) for row, step in enumerate(trace.steps)]
    known = [(step, value) for step, value in values if value is not None]
    return course(name, [step for step, _ in known], [value for _, value in known])
