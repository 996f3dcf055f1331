"""A moving picture: the lines of a scene drawn step by step, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from optitrace.views.pictures.drawing.figure import Drawn, draw, house_style
from optitrace.views.pictures.drawing.panels import draw_line, draw_mark
from optitrace.views.pictures.drawing.theme import PAPER, line_color
from optitrace.views.pictures.frames import last_step, until
from optitrace.views.pictures.scene import Panel, Scene

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


def moving(scene: Scene, steps: Sequence[int]) -> bytes:
    """Return a scene as a GIF with a frame for each of some steps, over and over.

    Args:
        scene: what to draw.
        steps: the steps, ascending.
    """
    with house_style():
        drawn = draw(scene, with_lines=False)
        frames = _frames(scene, drawn, steps)
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
        drawn = until(line, step)
        artists += draw_line(ax, drawn, number)
        if drawn.strokes:
            x, y = drawn.strokes[-1].points[-1]
            head = ax.plot([x], [y], color=line_color(number), clip_on=False, zorder=5, **HEAD)
            artists += head
    for mark in panel.marks:
        if mark.line is not None and last_step(panel.lines[mark.line]) <= step:
            artists += draw_mark(ax, mark, panel)
    return artists
