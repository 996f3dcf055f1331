"""The page of a player: the ground of a scene as matplotlib draws it, and over it what moves, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from optitrace.views.pictures.figure import Drawn, draw, house_style
from optitrace.views.pictures.image_files import saved
from optitrace.views.pictures.panels import MANY, dot_size, line_color, turn
from optitrace.views.pictures.scene import Kind, Line, Mark, Panel, Picture, Position, frame_steps

MOST_FRAMES = 1000
"""At how many steps a player stops at most."""

POINTS_PER_INCH = 72


def player(picture: Picture) -> str:
    """Return a picture as the text of an HTML file that stops at `MOST_FRAMES` steps at most."""
    scene = picture.scene
    with house_style():
        drawn = draw(scene, with_lines=False)
        ground = _svg(drawn)
    template = files(__package__).joinpath("player.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": escape(scene.title),
        "SAID": escape(scene.subtitle),
        "PICTURE": ground,
        "DATA": json.dumps(_data(picture, drawn), ensure_ascii=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    }
    for name, part in parts.items():
        template = template.replace(f"<!--{name}-->", part)
    return template


def _svg(drawn: Drawn) -> str:
    """Return a figure as an SVG element, without what stands before it in a file."""
    text = saved(drawn.figure, "svg").decode()
    return text[text.index("<svg") :]


def _data(picture: Picture, drawn: Drawn) -> dict[str, Any]:
    scene = picture.scene
    steps = frame_steps(scene, picture.steps, MOST_FRAMES)
    numbers = picture.numbers(steps)
    lines, ends = [], []
    for panel, frame in zip(scene.panels, _frames(drawn), strict=True):
        lines += [_line(line, number, panel, frame) for number, line in enumerate(panel.lines)]
        ends += [_end(mark, panel, frame) for mark in panel.marks if mark.line is not None]
    count = len(picture.steps)
    few = f"{len(steps):,} of {count:,} steps are shown" if len(steps) < count else ""
    return {
        "steps": steps,
        "lines": lines,
        "ends": ends,
        "headings": [list(heading) for heading in numbers.headings],
        "rows": [numbers.rows[step] for step in steps],
        "notes": [few] if few else [],
    }


@dataclass(frozen=True, slots=True)
class _Frame:
    """The rectangle of a panel in the units of the SVG, y downwards."""

    left: float
    bottom: float
    width: float
    height: float

    def at(self, panel: Panel, position: Position) -> list[float]:
        """Return where a position of the panel is."""
        x, y = panel.across.share(position[0]), panel.up.share(position[1])
        return [round(self.left + x * self.width, 2), round(self.bottom - y * self.height, 2)]


def _frames(drawn: Drawn) -> list[_Frame]:
    width, height = (inches * POINTS_PER_INCH for inches in drawn.figure.get_size_inches())
    frames = []
    for ax in drawn.axes:
        box = ax.get_position()
        frames.append(_Frame(box.x0 * width, (1 - box.y0) * height, box.width * width, box.height * height))
    return frames


def _line(line: Line, number: int, panel: Panel, frame: _Frame) -> dict[str, Any]:
    """Return a line; a point has its step, its place, whether it begins a stroke, and if it is a step."""
    points: list[list[float]] = []
    for stroke in line.strokes:
        dots = range(stroke.begins_cut, len(stroke.points) - stroke.ends_cut)
        for k, (step, at) in enumerate(zip(stroke.steps, stroke.points, strict=True)):
            points.append([step, *frame.at(panel, at), int(k == 0), int(k in dots)])
    count = sum(len(stroke.dots) for stroke in line.strokes)
    return {
        "color": line_color(number),
        "width": 1.8 if len(points) <= MANY else 0.6,
        "dots": dot_size(count) if line.has_dots else 0,
        "points": points,
    }


def _end(mark: Mark, panel: Panel, frame: _Frame) -> dict[str, Any]:
    assert mark.line is not None
    return {
        "step": panel.lines[mark.line].last_step,
        "at": frame.at(panel, mark.at),
        "color": line_color(mark.line),
        "turn": -turn(panel.across.share(mark.at[0]), panel.up.share(mark.at[1])),
        "leaves": mark.kind is Kind.LEAVES,
        "text": mark.text,
        "isRight": panel.across.share(mark.at[0]) >= 0.5,
    }
