"""The picture of a sweep: a curve over one varied number, or a heat map over two."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from optitrace.analysis.sweeping.axis import Range
from optitrace.analysis.sweeping.loss_map import LossMap, Scale
from optitrace.analysis.sweeping.sweep import SweepResult
from optitrace.rules.hyperparameter import show
from optitrace.views.pictures.polylines import Course, curves, cut
from optitrace.views.pictures.scene import (
    Axis,
    Cells,
    Kind,
    Line,
    Mark,
    Panel,
    Scene,
    Stroke,
    axis_of,
    linear_axis,
)
from optitrace.views.sweep_wording import closing_lines, heading

LOSS = "final loss"
LIMIT = "stability limit"

DECADES = 16
"""Decades below the highest loss beyond which losses are drawn alike: the digits of float64."""


def sweep_scene(sweeps: Sequence[SweepResult]) -> Scene | None:
    """Return the picture of some sweeps; None if nothing was finished, or no picture of them is due."""
    drawn = [(s, s.landscape) for s in sweeps if s.landscape is not None and s.best]
    if not drawn:
        return None
    if all(landscape.up is None for _, landscape in drawn):
        panels = [_curve_panel(drawn)]
    else:
        panels = [_map_panel(sweep, landscape, is_titled=len(drawn) > 1) for sweep, landscape in drawn]
    first, *others = (sweep for sweep, _ in drawn)
    title, *rest = heading([first])
    if others:
        names = [sweep.space.base.optimizer for sweep, _ in drawn]
        title = f"{', '.join(names)}: {title.partition(': ')[2]}"
    notes = [line for sweep, _ in drawn[:1] for line in closing_lines(sweep)] if not others else []
    return Scene(title, ", ".join(rest), tuple(panels), tuple(notes))


def _curve_panel(drawn: Sequence[tuple[SweepResult, LossMap]]) -> Panel:
    """Return the final loss over one setting, a curve for each optimizer."""
    scale = drawn[0][1].across
    across = _axis(scale)
    rows = [landscape.losses[0] for _, landscape in drawn]
    up = _loss_axis(rows)
    positions = [_position(scale, place) for place in range(scale.bins)]
    several = len(drawn) > 1
    courses = [
        Course(
            sweep.space.base.optimizer if several else "",
            range(scale.bins),
            [(x, _held(up, y) if y < math.inf else math.nan) for x, y in zip(positions, row, strict=True)],
        )
        for (sweep, _), row in zip(drawn, rows, strict=True)
    ]
    lines = [curves([course], across, up)[0][0] for course in courses]
    marks = []
    limits: dict[float, None] = {}
    for number, ((_, landscape), row) in enumerate(zip(drawn, rows, strict=True)):
        gone = [x for x, y in zip(positions, row, strict=True) if y == math.inf]
        marks += [Mark(Kind.DIVERGED, (x, up.high), line=number) for x in gone]
        if landscape.best is not None:
            best = landscape.best[0]
            marks.append(Mark(Kind.BEST, (positions[best], _held(up, row[best])), line=number))
        limits |= dict.fromkeys(x for x in landscape.limits if across.low <= x <= across.high)
    return Panel(
        "",
        across,
        up,
        lines=tuple(lines),
        limits=tuple(Line(LIMIT, (Stroke((0, 1), ((x, up.low), (x, up.high))),)) for x in limits),
        marks=tuple(marks),
    )


def _map_panel(sweep: SweepResult, landscape: LossMap, *, is_titled: bool) -> Panel:
    """Return the final loss over two settings."""
    assert landscape.up is not None
    across, up = _axis(landscape.across), _axis(landscape.up)
    limit = [(x, _position(landscape.up, row)) for row, x in enumerate(landscape.limits)]
    strokes = cut(range(len(limit)), limit, across, up) if not across.ticks else ()
    best = landscape.best
    at = best and (_position(landscape.across, best[0]), _position(landscape.up, best[1]))
    return Panel(
        sweep.space.base.optimizer if is_titled else "",
        across,
        up,
        cells=_cells(landscape.losses),
        limits=(Line(LIMIT, strokes),) if strokes else (),
        marks=(Mark(Kind.BEST, at),) if at else (),
    )


def _loss_axis(rows: Sequence[Sequence[float]]) -> Axis:
    """Return the axis upwards of curves; its label says where lower losses are drawn at its low end."""
    finite = [x for row in rows for x in row if math.isfinite(x)]
    if min(finite, default=0.0) < 0:
        return linear_axis(LOSS, finite)
    axis = axis_of(LOSS, rows, DECADES)
    is_cut = axis.is_logarithmic and min(finite) < axis.low
    return replace(axis, label=f"{LOSS}, cut at {axis.low:.0e}") if is_cut else axis


def _cells(losses: Sequence[Sequence[float]]) -> Cells:
    """Return a heat map of losses, or of their logarithms if none is negative."""
    finite = [x for row in losses for x in row if math.isfinite(x)] or [1.0]
    if min(finite) < 0:
        return Cells(LOSS, losses, min(finite), max(finite), is_logarithmic=False)
    floor = max(max(finite) * 10.0**-DECADES, sys.float_info.min)
    rows = [[math.log10(max(x, floor)) if math.isfinite(x) else x for x in row] for row in losses]
    low, high = (math.log10(max(x, floor)) for x in (min(finite), max(finite)))
    return Cells(LOSS, rows, low, high, is_cut=min(finite) < floor)


def _axis(scale: Scale) -> Axis:
    """Return the axis of a setting, with half a bin before the first number and after the last."""
    name = scale.axis.name
    if not isinstance(scale.axis.values, Range):
        ticks = tuple((k + 0.5, show(scale.middle(k))) for k in range(scale.bins))
        return Axis(name, 0.0, float(scale.bins), ticks=ticks)
    first, last = sorted(scale.ends)
    whole = Axis(name, first, last, scale.is_logarithmic)
    half = 0.5 / (scale.bins - 1)
    return Axis(name, whole.at(-half), whole.at(1 + half), scale.is_logarithmic)


def _position(scale: Scale, place: int) -> float:
    """Return where the middle of a bin is on its axis."""
    if not isinstance(scale.axis.values, Range):
        return place + 0.5
    return scale.middle(place)


def _held(axis: Axis, value: float) -> float:
    """Return a loss, or the end of the axis beyond which losses are drawn alike."""
    return min(max(value, axis.low), axis.high)
