"""The scene: the content of a picture, without colours, fonts and pixels; and the axes of its quantities."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from optitrace.analysis.loss_grid import RUNAWAY, Interval, rows_before_flight

Position = tuple[float, float]
"""A place in a panel: across and up, in the units of its axes."""


DECADES = 2.0
"""A quantity that spans more decades is drawn on a logarithmic axis."""

MOST_DECADES = 40.0
"""How many decades an axis has at most; of what spans more, the greatest are shown."""

SHARED_DECADES = 16.0
"""How many it has where several curves share it, as one that falls on would press the others flat."""

LEAST_EXTENT = 5e-7
"""What spans less, as a share of its size, is drawn as constant: in float32 it is little but rounding."""

GREATEST = 1e300
"""What is farther from zero is on no axis: whoever draws one must be able to compute with its ends."""

MARGIN = 0.05
"""What is left free above and below, as a share of the axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a panel.

    Attributes:
        label: what is along it.
        low: its left or lower end.
        high: its right or upper end.
        is_logarithmic: whether equal ratios are equally far; both ends are then positive.
        ticks: where its ticks are, and what stands at them; empty if the renderer is to choose.
    """

    label: str
    low: float
    high: float
    is_logarithmic: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    def share(self, value: float) -> float:
        """Return how far along the axis a number is: 0 at the low end, 1 at the high one.

        >>> Axis("loss", 0.01, 100.0, is_logarithmic=True).share(1.0)
        0.5
        """
        low, high = self.low, self.high
        if self.is_logarithmic:
            if value <= 0:
                return -math.inf
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low)

    def at(self, share: float) -> float:
        """Return the number that is so far along the axis."""
        if self.is_logarithmic:
            low, high = math.log10(self.low), math.log10(self.high)
            return math.pow(10.0, low + share * (high - low))
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line without a break.

    Attributes:
        steps: the step that each point belongs to.
        points: the points.
        begins_cut: whether the first point is no step, but where the line comes in over the edge.
        ends_cut: whether the last point is no step, but where the line goes out over the edge.
    """

    steps: tuple[int, ...]
    points: tuple[Position, ...]
    begins_cut: bool = False
    ends_cut: bool = False

    @property
    def dots(self) -> Sequence[Position]:
        """The points that are steps."""
        return self.points[self.begins_cut : len(self.points) - self.ends_cut]


@dataclass(frozen=True, slots=True)
class Line:
    """A path through the plane, or a curve over the steps or over a setting.

    Attributes:
        name: what the legend calls it; empty if it is the only one.
        strokes: the line itself, in pieces where it leaves the panel and comes back.
        has_dots: whether each step is to be seen as a dot.
    """

    name: str
    strokes: tuple[Stroke, ...]
    has_dots: bool = False

    @property
    def last_step(self) -> int:
        """The step at which it ends; -1 for one that is empty."""
        return max((stroke.steps[-1] for stroke in self.strokes), default=-1)

    def until(self, step: int) -> Line:
        """Return what of it is drawn after a step."""
        strokes = []
        for stroke in self.strokes:
            count = bisect_right(stroke.steps, step)
            if count == len(stroke.steps):
                strokes.append(stroke)
            elif count:
                strokes.append(Stroke(stroke.steps[:count], stroke.points[:count], stroke.begins_cut))
        return Line(self.name, tuple(strokes), self.has_dots)


class Kind(StrEnum):
    """What a mark stands for; the value is what a legend calls it."""

    START = "start"
    MINIMUM = "minimum"
    BEST = "best"
    LEAVES = "leaves the picture"
    NON_FINITE = "not finite"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that is marked.

    Attributes:
        kind: what it stands for.
        at: where it is; for what leaves the picture, on the edge.
        text: what is to be said of it in a few words; empty if its kind says all.
        line: which line of its panel it belongs to, from 0; None if it belongs to none.
    """

    kind: Kind
    at: Position
    text: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Contour:
    """A loss over a grid, to be drawn as contour lines.

    Attributes:
        across: the grid's numbers along the axis across, ascending.
        up: those along the axis up, ascending.
        losses: for each number of `up` the losses along `across`; some may not be finite.
        levels: the losses at which there is a contour line, ascending; equal areas lie between them near
            the minimum as far from it, so that the contour lines of a bowl are equally far apart.
    """

    across: tuple[float, ...]
    up: tuple[float, ...]
    losses: Sequence[Sequence[float]]
    levels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cells:
    """A heat map: a number in each cell of a grid whose cells are equally large in the picture.

    Attributes:
        label: what the numbers are.
        rows: from the lowest row up, the number in each cell, or its decimal logarithm; infinite where
            all runs diverged, NaN where there is none.
        low: the least finite one.
        high: the greatest finite one.
        is_logarithmic: whether they are logarithms.
        is_cut: whether `low` stands for lower ones too.
    """

    label: str
    rows: Sequence[Sequence[float]]
    low: float
    high: float
    is_logarithmic: bool = True
    is_cut: bool = False

    @property
    def has_diverged(self) -> bool:
        """Whether all runs of a cell diverged."""
        return any(x == math.inf for row in self.rows for x in row)

    def number(self, x: float) -> float:
        """Return the number that stands in the rows as `x`."""
        return math.pow(10.0, x) if self.is_logarithmic else x


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a scene: two axes, and what is between them, from back to front.

    Attributes:
        title: what stands above it; empty if the axes say all.
        across: the axis from left to right.
        up: the axis upwards.
        contour: the loss under paths of two coordinates.
        cells: a heat map.
        ground: the loss as a curve under the path of a single coordinate.
        lines: paths or curves.
        limits: dashed lines, each with the name that the legend has for it.
        marks: what is marked.
        is_square: whether it is as high as it is wide.
    """

    title: str
    across: Axis
    up: Axis
    contour: Contour | None = None
    cells: Cells | None = None
    ground: tuple[Stroke, ...] = ()
    lines: tuple[Line, ...] = ()
    limits: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    is_square: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture.

    Attributes:
        title: what was run, as the first line of a table has it.
        subtitle: on what, as its second line has it.
        panels: those that are square beside those that are not, the others one under another.
        notes: what is to be said of it, as the lines under a table.
    """

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What stands beside each step.

    Attributes:
        headings: for each number the section it is in, and its name.
        rows: for each step its numbers as text, empty where there is none.
    """

    headings: Sequence[tuple[str, str]]
    rows: Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A scene, and what there is to draw it step by step.

    Attributes:
        scene: what is drawn.
        steps: every step there is; none if it stands still.
        numbers: returns what stands beside some of the steps.
    """

    scene: Scene
    steps: Sequence[int] = ()
    numbers: Callable[[Sequence[int]], Numbers] = lambda steps: Numbers((), {})


def frame_steps(scene: Scene, steps: Sequence[int], most: int) -> list[int]:
    """Return the steps at which a moving picture stops, the first and the last among them.

    They are all steps, if those are few enough; else those at which something is seen to move, as the
    lines of a scene are thinned; and of those, if they are still too many, an even choice.

    >>> frame_steps(Scene("", "", ()), range(5), most=9)
    [0, 1, 2, 3, 4]

    Args:
        scene: the picture.
        steps: every step there is.
        most: how many frames there are at most.
    """
    if len(steps) <= most:
        return list(steps)
    moving = {
        step
        for panel in scene.panels
        for line in panel.lines
        for stroke in line.strokes
        for step in stroke.steps
    }
    there = [step for step in steps if step in moving]
    if len(there) > most:
        there = [there[k * (len(there) - 1) // (most - 1)] for k in range(most)]
    return sorted({steps[0], *there, steps[-1]})


def axis_of(label: str, columns: Sequence[Sequence[float]], most_decades: float = MOST_DECADES) -> Axis:
    """Return the axis upwards of some curves that share it.

    It is logarithmic where no number is negative and those above zero span more than `DECADES`. Curves
    that run away have no say in it, unless all do; on a linear axis, of those the beginnings have one.
    """
    columns = [column for column in columns if not _runs_away(column)] or columns
    finite = [x for column in columns for x in column if abs(x) <= GREATEST]
    positive = [x for x in finite if x > 0]
    if positive and min(finite) >= 0 and math.log10(max(positive)) - math.log10(min(positive)) > DECADES:
        return _logarithmic(label, positive, most_decades if len(columns) == 1 else SHARED_DECADES)
    return linear_axis(label, [x for column in columns for x in _before_flight(column)])


def linear_axis(label: str, numbers: Sequence[float]) -> Axis:
    """Return the linear axis that holds some numbers, of which those that are not finite do not count."""
    known = [x for x in numbers if abs(x) <= GREATEST]
    low, high = min(known, default=0.0), max(known, default=1.0)
    extent = high - low
    is_flat = extent <= LEAST_EXTENT * max(abs(low), abs(high))
    margin = (abs(low) / 10 or 1.0) if is_flat else MARGIN * extent
    return Axis(label, low - margin, high + margin)


def steps_axis(label: str, last: int) -> Axis:
    """Return the axis of the steps from 0 on."""
    return Axis(label, 0.0, float(max(last, 1)))


def interval_axis(label: str, interval: Interval) -> Axis:
    """Return the linear axis of an interval."""
    return Axis(label, interval.low, interval.high)


def _logarithmic(label: str, positive: Sequence[float], most_decades: float) -> Axis:
    high = math.log10(max(positive))
    low = max(math.log10(min(positive)), high - most_decades)
    margin = MARGIN * (high - low)
    return Axis(label, _power(low - margin), _power(high + margin), is_logarithmic=True)


def _runs_away(column: Sequence[float]) -> bool:
    """Return whether a curve ends far above where it began, or with no number."""
    return bool(column) and not column[-1] <= RUNAWAY * abs(column[0])


def _power(exponent: float) -> float:
    return float(10.0 ** max(-307.0, min(301.0, exponent)))


def _before_flight(column: Sequence[float]) -> Sequence[float]:
    """Return the numbers of a curve before it runs away, as far as they are finite."""
    finite = [x for x in column if math.isfinite(x)]
    return finite[: rows_before_flight([abs(x - finite[0]) for x in finite])] if finite else []
