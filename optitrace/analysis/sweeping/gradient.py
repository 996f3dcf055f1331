"""The gradient that a step uses, by the protocol of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def used_gradient(protocol: str, step: int, used: Any, gradient: Callable[[Any], Any], w: Any) -> Any:
    """Return the gradient that a step uses.

    Args:
        protocol: ``fresh``, ``stale`` or ``accumulated``.
        step: its number, from 1.
        used: what the step before used; zeros before step 1.
        gradient: the gradient of weights; asked for only where it is needed.
        w: the weights before the step.
    """
    if protocol == "fresh":
        return gradient(w)
    if protocol == "accumulated" or step == 1:
        return used + gradient(w)
    return used
