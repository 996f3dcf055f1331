"""Assertions for the tests of a package that ships an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.rules.rule import Rule


def assert_follows_rule(
    optimizer: str | type[Optimizer],
    rule: str | Rule | Callable[..., Any] | None = None,
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    implementation: str = "",
    device: str = "cpu",
    **hyperparameters: Any,
) -> None:
    """Assert what `optitrace.verify` checks of an optimizer class; the message is its report.

    >>> import torch
    >>> assert_follows_rule(torch.optim.Adam, rule="adam", implementation="single")

    Args:
        optimizer: a class, or the name of one such as ``mine.py:Lion``, which is run in a separate process.
        rule: the rule that the class is to follow, as `optitrace.verify` takes it; if None, only what
            every optimizer does is checked.
        dtypes: ``float32``, ``float64``, or both.
        implementation: the only one of ``single``, ``foreach`` and ``fused`` to check; all if empty.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        **hyperparameters: arguments of the class that have these values throughout.

    Raises:
        AssertionError: a step differs from the rule, or a claim fails.
        UsageError: a name is not known, or the class cannot be verified.
        DeviceError: the device is not there.
    """
    from optitrace.python.verifying import verify

    __tracebackhide__ = True
    found = verify(
        optimizer, rule=rule, dtypes=dtypes, implementation=implementation, device=device, **hyperparameters
    )
    if not found.passed:
        raise AssertionError(f"\n{found}")
