"""The memory of this machine, and the refusal of runs that cannot fit."""

from __future__ import annotations

import os
import re
from pathlib import Path

from optitrace.errors import DeviceError


def check_memory(what: str, needed: int, remedy: str) -> None:
    """Refuse an operation that needs more memory than the machine has.

    Args:
        what: the operation.
        needed: the minimum number of bytes.
        remedy: what to do instead.

    Raises:
        DeviceError: this process cannot have that much.
    """
    most = most_memory()
    if most is not None and needed > most:
        raise DeviceError(
            f"{what} takes at least {_size(needed)} of memory, and there is {_size(most)}; {remedy}."
        )


def most_memory() -> int | None:
    """Return the largest number of bytes of this process, including swap; None if unknown."""
    limits = [limit for limit in (_of_machine(), _of_process()) if limit is not None]
    return min(limits, default=None)


def _of_machine() -> int | None:
    try:
        content = Path("/proc/meminfo").read_text()
    except OSError:
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # not on every system
            return None
    return sum(1024 * int(kib) for kib in re.findall(r"^(?:MemTotal|SwapTotal): +(\d+) kB$", content, re.M))


def _of_process() -> int | None:
    """Return the limit of ``ulimit -v``."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit
    except ImportError:  # not on Windows
        return None
    limit = getrlimit(RLIMIT_AS)[0]
    return None if limit == RLIM_INFINITY else limit


def _size(count: int) -> str:
    """Return a number of bytes in gigabytes, of three digits or more."""
    gigabytes = count / 1e9
    return f"{gigabytes:,.0f} GB" if gigabytes >= 100 else f"{gigabytes:.3g} GB"
