"""Following a training that another process records: its steps are reported until it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

from optitrace.cli import terminal
from optitrace.errors import quoted
from optitrace.records.part_file import SUFFIX, is_in_use, part_of

INTERVAL = 0.5
"""The seconds between two looks at the file."""

TAIL = 1 << 16
"""How many bytes at the end of the file are looked at."""


def find_saved(path: str) -> str:
    """Return the path of the training that a path names: that of its part if there is no other yet."""
    part = part_of(path)
    if not os.path.exists(part):
        return path
    if os.path.exists(path):
        terminal.say(
            f"{quoted(part)} is from another run, which has not written {quoted(path)}; show it by its name."
        )
        return path
    terminal.say(f"there is no {quoted(path)} yet; {quoted(part)} is shown, up to its last complete line.")
    return part


def follow(path: str, is_interrupted: Callable[[], bool]) -> str:
    """Report the latest steps of a training on standard error until it ends; return the path of its file.

    Args:
        path: of the training, or of its part.
        is_interrupted: whether to stop.
    """
    whole = path.removesuffix(SUFFIX)
    part = Path(part_of(whole))
    reported: dict[str, int] = {}
    while not is_interrupted():
        try:
            with part.open("rb") as stream:
                is_running = is_in_use(stream.fileno())
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
                lines = stream.read().split(b"\n")[:-1]
        except OSError:  # it is written whole
            return whole
        latest = {row["optimizer"]: row for row in _rows(lines)}
        for optimizer, row in latest.items():
            if reported.get(optimizer) != row["step"]:
                reported[optimizer] = row["step"]
                terminal.say(_described(row))
        if not is_running:
            return str(part)
        sleep(INTERVAL)
    return str(part)


def _rows(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rows among some lines, the first of which may lack its beginning."""
    for line in lines:
        if line.startswith(b'{"optimizer"'):
            yield json.loads(line)


def _described(row: dict[str, Any]) -> str:
    """Return a step in a few words."""
    loss, lr = row["loss"], row.get("lr")
    parts = [f"{row['optimizer']}: step {row['step']:,}"]
    if loss is not None:
        parts.append(f"loss {float(loss):.4g}")
    if isinstance(lr, float):
        parts.append(f"lr {lr:.4g}")
    return ", ".join(parts)
