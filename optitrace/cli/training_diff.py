"""The difference of two saved trainings on standard output."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from optitrace.analysis.diff_report import diff_trainings
from optitrace.analysis.tolerance import ToleranceOf
from optitrace.cli import terminal
from optitrace.cli.operands import called
from optitrace.errors import UsageError
from optitrace.records.reader import SavedTraining
from optitrace.records.training import NamedTraining


@dataclass(frozen=True, slots=True)
class DiffLook:
    """How a difference is to be shown.

    Attributes:
        format: ``table`` or ``json``.
        precision: significant digits of differences.
        color: when to use colour.
    """

    format: str
    precision: int
    color: str


def diff_saved_trainings(
    operands: Sequence[str],
    saved: Sequence[SavedTraining],
    settings: Collection[str],
    tolerance: ToleranceOf,
    how: DiffLook,
) -> bool:
    """Compare two trainings and show how they differ; return whether they are the same.

    Args:
        operands: the files.
        saved: what they hold.
        settings: the names of options of an experiment that are given.
        tolerance: up to where numbers count as the same.
        how: how to show it.

    Raises:
        UsageError: an option of an experiment is given.
    """
    if settings:
        option = next(iter(settings)).replace("_", "-")
        raise UsageError(f"trainings are not run again, so --{option} changes nothing; leave it out.")
    a, b = (NamedTraining(called(o), s.training) for o, s in zip(operands, saved, strict=True))
    found = diff_trainings(a, b, tolerance)
    from optitrace.views.diff_view import training_diff_json, training_diff_view

    if how.format == "json":
        terminal.print_text([training_diff_json(found)])
    else:
        view = training_diff_view(
            found, precision=how.precision, width=terminal.width(), ascii_only=terminal.ascii_only()
        )
        terminal.print_rich(view, how.color)
    return found.are_same
