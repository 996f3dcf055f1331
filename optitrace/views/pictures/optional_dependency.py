"""What draws pictures, which is an extra: whether it is there."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

from optitrace.errors import UsageError
from optitrace.views.formats import PICTURES


def check_pictures(formats: Collection[str]) -> None:
    """See that what draws pictures is there, if one of some formats is a picture.

    Raises:
        UsageError: it is not installed.
    """
    asked = [format for format in formats if format in PICTURES]
    if asked and find_spec("matplotlib") is None:
        raise UsageError(
            f"{asked[0]} is drawn by matplotlib, which is not installed; "
            "pip install 'optitrace[plot]' installs it."
        )
