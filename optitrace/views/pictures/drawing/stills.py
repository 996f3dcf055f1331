"""Still pictures: PNG, SVG and PDF. The same scene gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from optitrace.views.pictures.drawing.figure import draw, house_style
from optitrace.views.pictures.scene import Scene

DOTS_PER_INCH = 160
"""Of a PNG."""

NO_DATES: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write into a file that changes from day to day or with its version."""


def still(scene: Scene, format: str) -> bytes:
    """Return a scene as a file: ``png``, ``svg`` or ``pdf``."""
    file = io.BytesIO()
    with house_style():
        draw(scene).figure.savefig(
            file, format=format, dpi=DOTS_PER_INCH, metadata={**NO_DATES[format], "Title": scene.title}
        )
    return file.getvalue()
