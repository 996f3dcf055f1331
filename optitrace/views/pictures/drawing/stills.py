"""Still pictures: PNG, SVG and PDF. The same scene gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from optitrace.views.pictures.drawing.figure import draw, house_style
from optitrace.views.pictures.scene import Scene

DOTS_PER_INCH = 160
"""Of a PNG."""

COLORS = 256
"""The colours of a PNG."""

NO_DATES: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write into a file that changes from day to day or with its version."""


_COORDINATES = re.compile(rb'(?<= (?:d|x|y)=")[^"]+')
_LONG = re.compile(rb"-?\d+\.\d{3,}")


def still(scene: Scene, format: str) -> bytes:
    """Return a scene as a file: ``png``, ``svg`` or ``pdf``."""
    with house_style():
        return saved(draw(scene).figure, format, Title=scene.title)


def saved(figure: Figure, format: str, **metadata: str) -> bytes:
    """Return a figure as a file; to be called in the style of the house."""
    file = io.BytesIO()
    figure.savefig(file, format=format, dpi=DOTS_PER_INCH, metadata={**NO_DATES[format], **metadata})
    content = file.getvalue()
    return {"png": _few_colors, "svg": _short_numbers}.get(format, bytes)(content)


def _few_colors(png: bytes) -> bytes:
    """Return a PNG in as many colours as a palette has: a third as large, and seen by nobody."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    return file.getvalue()


def _short_numbers(svg: bytes) -> bytes:
    """Return an SVG with its coordinates in hundredths of a point."""
    return _COORDINATES.sub(_rounded, svg)


def _rounded(coordinates: re.Match[bytes]) -> bytes:
    return _LONG.sub(lambda number: b"%g" % round(float(number[0]), 2), coordinates[0])
