"""The frames of a moving picture: at which steps it stops, and how much of each line is drawn there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from optitrace.views.pictures.scene import Line, Scene, Stroke


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


def until(line: Line, step: int) -> Line:
    """Return what of a line is drawn after a step."""
    strokes = []
    for stroke in line.strokes:
        count = bisect_right(stroke.steps, step)
        if count == len(stroke.steps):
            strokes.append(stroke)
        elif count:
            strokes.append(Stroke(stroke.steps[:count], stroke.points[:count], stroke.begins_cut))
    return Line(line.name, tuple(strokes), line.has_dots)


def last_step(line: Line) -> int:
    """Return the step at which a line ends; -1 for one that is empty."""
    return max((stroke.steps[-1] for stroke in line.strokes), default=-1)
