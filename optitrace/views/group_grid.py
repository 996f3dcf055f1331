"""The parameter groups of a training as a grid: who moves what, at which lr, in which dtypes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from optitrace.errors import printable
from optitrace.records.training import OptimizerTrace, WatchedParameter
from optitrace.text import first_of
from optitrace.views.display import Display
from optitrace.views.grid import Grid
from optitrace.views.statistics import greatest, least

MOST_PATTERNS = 3
"""How many patterns of names a group is given."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

HEADINGS = (
    ("optimizer", ""),
    ("group", ""),
    ("names", ""),
    ("parameters", ""),
    ("weights", ""),
    ("lr", ""),
    ("weight", "decay"),
    ("dtype of", "weights"),
    ("dtype of", "gradient"),
    ("dtype of", "state"),
    ("state", "memory"),
)

WORDS = (0, 2, 7, 8, 9)
"""The columns of words."""


def group_grid(optimizers: Iterable[OptimizerTrace], display: Display) -> Grid:
    """Return a grid with a row for each parameter group of each optimizer."""
    rows = [
        _row(optimizer, group, display)
        for optimizer in optimizers
        for group in range(len(optimizer.hyperparameters))
    ]
    return Grid(HEADINGS, range(len(HEADINGS)), rows, labels=2, words=WORDS)


def patterns(names: Sequence[str]) -> list[str]:
    """Return names with the same last part as one pattern each, with their number; the most frequent first.

    >>> patterns(["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "head.scale"])
    ['encoder.*.weight (2)', 'encoder.0.bias', 'head.scale']
    """
    alike: dict[str, list[list[str]]] = {}
    for name in names:
        parts = name.split(".")
        alike.setdefault(parts[-1], []).append(parts)
    most_first = sorted(alike.values(), key=len, reverse=True)
    return [_pattern(members) for members in most_first]


def _pattern(members: Sequence[Sequence[str]]) -> str:
    first, *others = members
    if not others:
        return ".".join(first)
    common = 0
    while all(len(parts) > common + 1 and parts[common] == first[common] for parts in members):
        common += 1
    return f"{'.'.join([*first[:common], '*', first[-1]])} ({len(members)})"


def _row(optimizer: OptimizerTrace, group: int, display: Display) -> tuple[str, ...]:
    own = [parameter for parameter in optimizer.parameters if parameter.group == group]
    storage = optimizer.storage[group] if group < len(optimizer.storage) else None
    decay = optimizer.hyperparameters[group].get("weight_decay")
    return (
        printable(optimizer.name),
        str(group),
        first_of(patterns([parameter.name for parameter in own]), MOST_PATTERNS),
        f"{len(own):,}",
        f"{sum(_size(parameter) for parameter in own):,}",
        _rates(optimizer, group, display),
        f"{decay:g}" if isinstance(decay, int | float) else "",
        ", ".join(dict.fromkeys(parameter.dtype for parameter in own)),
        ", ".join(storage.gradient) if storage else "",
        ", ".join(storage.state) if storage else "",
        _memory(storage.state_bytes) if storage else "",
    )


def _size(parameter: WatchedParameter) -> int:
    return math.prod(parameter.shape)


def _rates(optimizer: OptimizerTrace, group: int, display: Display) -> str:
    """Return the lr that the recorded steps used, or its least and greatest; else that of the first step."""
    digits = display.digits
    column, given = optimizer.columns.get("lr"), optimizer.hyperparameters[group].get("lr")
    if column is not None and column.values and column.size in (1, len(optimizer.hyperparameters)):
        rates = column.values[group % column.size :: column.size]
        low, high = least(rates), greatest(rates)
        return f"{low:.{digits}g}" if low == high else f"{low:.{digits}g} to {high:.{digits}g}"
    return f"{given:.{digits}g}" if isinstance(given, int | float) else ""


def _memory(count: float) -> str:
    """Return a number of bytes.

    >>> _memory(0), _memory(1000), _memory(1536), _memory(3 * 2**30)
    ('0 B', '1000 B', '1.50 KiB', '3.00 GiB')
    """
    unit = min(int(math.log(count, 1024)) if count else 0, len(UNITS) - 1)
    return f"{count:.0f} B" if unit == 0 else f"{count / 1024**unit:.2f} {UNITS[unit]}"
