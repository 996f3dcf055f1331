"""Files that matplotlib draws: PNG, SVG and PDF, and a GIF that is drawn step by step."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from optitrace.views.pictures.figure import Drawn, draw, house_style
from optitrace.views.pictures.panels import PAPER, draw_line, draw_mark, line_color
from optitrace.views.pictures.scene import Panel, Picture, Scene, frame_steps

PNG_DOTS_PER_INCH = 160
"""Of a PNG."""

PNG_COLORS = 256
"""The colours of a PNG."""

NO_DATES: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write into a file that changes from day to day or with its version."""

_COORDINATES = re.compile(rb'(?<= (?:d|x|y)=")[^"]+')

_LONG = re.compile(rb"-?\d+\.\d{3,}")

DOTS_PER_INCH = 90

MOST_FRAMES = 90
"""How many frames a GIF has at most."""

PLAYING = 9000
"""Milliseconds that it plays, about."""

SLOWEST, FASTEST = 700, 60
"""Milliseconds of a frame, at most and at least."""

HELD = 2500
"""Milliseconds that the last frame is shown."""

COLORS = 255
"""The colours of a GIF; one more stands for what does not change."""

HEAD: Mapping[str, Any] = {
    "marker": "o",
    "markersize": 9,
    "markeredgecolor": PAPER,
    "markeredgewidth": 1.4,
}
"""The sign of where a line has come to."""


def still(scene: Scene, format: str) -> bytes:
    """Return a scene as a file: ``png``, ``svg`` or ``pdf``."""
    with house_style():
        return saved(draw(scene).figure, format, Title=scene.title)


def saved(figure: Figure, format: str, **metadata: str) -> bytes:
    """Return a figure as a file; to be called in the style of the house."""
    file = io.BytesIO()
    figure.savefig(file, format=format, dpi=PNG_DOTS_PER_INCH, metadata={**NO_DATES[format], **metadata})
    content = file.getvalue()
    return {"png": _few_colors, "svg": _short_numbers}.get(format, bytes)(content)


def moving(picture: Picture) -> bytes:
    """Return a picture as a GIF with a frame for each of at most `MOST_FRAMES` steps, over and over."""
    scene = picture.scene
    with house_style():
        drawn = draw(scene, with_lines=False)
        frames = _frames(scene, drawn, frame_steps(scene, picture.steps, MOST_FRAMES))
    palette = frames[-1].quantize(COLORS)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    each = max(FASTEST, min(SLOWEST, PLAYING // len(frames)))
    file = io.BytesIO()
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[each] * len(others) + [HELD],
        loop=0,
        optimize=True,  # leaves out what does not change from frame to frame
    )
    return file.getvalue()


def _few_colors(png: bytes) -> bytes:
    """Return a PNG in as many colours as a palette has: a third as large, and seen by nobody."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(PNG_COLORS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True, dpi=(PNG_DOTS_PER_INCH, PNG_DOTS_PER_INCH))
    return file.getvalue()


def _short_numbers(svg: bytes) -> bytes:
    """Return an SVG with its coordinates in hundredths of a point."""
    return _COORDINATES.sub(_rounded, svg)


def _rounded(coordinates: re.Match[bytes]) -> bytes:
    return _LONG.sub(lambda number: b"%g" % round(float(number[0]), 2), coordinates[0])


def _frames(scene: Scene, drawn: Drawn, steps: Sequence[int]) -> list[Image.Image]:
    """Return the picture after each step; only what moves is drawn anew."""
    figure = drawn.figure
    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    for text in drawn.notes:
        text.set_visible(False)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    counter = drawn.notes[0] if drawn.notes else None
    frames = []
    for step in steps:
        canvas.restore_region(ground)
        for panel, ax in zip(scene.panels, drawn.axes, strict=True):
            for artist in _moved(panel, ax, step):
                ax.draw_artist(artist)
                artist.remove()
        if counter is not None:
            is_last = step == steps[-1]
            counter.set_visible(True)
            counter.set_text(scene.notes[0] if is_last else f"step {step:,} of {steps[-1]:,}")
            for text in drawn.notes if is_last else [counter]:
                text.set_visible(True)
                figure.draw_artist(text)
        size = canvas.get_width_height()
        frames.append(Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba())).convert("RGB"))
    return frames


def _moved(panel: Panel, ax: Axes, step: int) -> list[Any]:
    """Draw what a panel shows after a step, and return it: lines, their heads, and marks of their ends."""
    artists = []
    for number, line in enumerate(panel.lines):
        drawn = line.until(step)
        artists += draw_line(ax, drawn, number)
        if drawn.strokes:
            x, y = drawn.strokes[-1].points[-1]
            head = ax.plot([x], [y], color=line_color(number), clip_on=False, zorder=5, **HEAD)
            artists += head
    for mark in panel.marks:
        if mark.line is not None and panel.lines[mark.line].last_step <= step:
            artists += draw_mark(ax, mark, panel)
    return artists
