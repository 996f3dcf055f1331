"""Measuring ratios on a machine that has other work: alternate, repeat, take medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of a report.

    Attributes:
        what: what was measured.
        figures: the figures it comes from, with their units.
        measured: the figure that matters.
        wanted: the greatest that it may be.
        unit: the unit of both; empty for a ratio.
    """

    what: str
    figures: str
    measured: float
    wanted: float
    unit: str = ""


def alternating_medians(
    first: Callable[[], float], second: Callable[[], float], *, repetitions: int
) -> tuple[float, float]:
    """Return the medians of two measures that are taken in turns, after one of each that does not count."""
    first(), second()
    pairs = [(first(), second()) for _ in range(repetitions)]
    firsts, seconds = zip(*pairs, strict=True)
    return statistics.median(firsts), statistics.median(seconds)


def report(measurements: list[Measurement]) -> None:
    """Print what was measured beside what is wanted."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("what", "figures", "measured", "wanted", ""):
        table.add_column(heading, justify="left" if heading in ("what", "figures") else "right")
    for m in measurements:
        unit = f" {m.unit}" if m.unit else ""
        verdict = "yes" if m.measured <= m.wanted else "no"
        table.add_row(m.what, m.figures, f"{m.measured:.2f}{unit}", f"≤ {m.wanted:.2f}{unit}", verdict)
    Console().print(table)
