"""Devices: their availability, and the number of CPU threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from optitrace.errors import DeviceError


def choose_device() -> str:
    """Return the device of ``auto``: CUDA if available, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def open_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Raises:
        DeviceError: this machine, or this build of torch, does not have it.
    """
    kind, _, number = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError(
                f"there is no CUDA device for '{name}' (torch {torch.__version__} finds none); "
                "use the device cpu."
            )
        if int(number or 0) >= count:
            raise DeviceError(f"there is no device '{name}'; the last of the {count} is cuda:{count - 1}.")
    return torch.device(name)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread while entered: waking a second one costs more than a few numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
