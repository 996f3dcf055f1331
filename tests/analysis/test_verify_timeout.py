"""A class whose calls take too long: other settings are tried, and the report says which never returned."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torch
from support.descents import Descent

from optitrace.analysis.verification.check import ClaimOutcome
from optitrace.analysis.verification.conformance import conform
from optitrace.analysis.verification.guard import CallTimeoutError, ProcessGuard
from optitrace.analysis.verification.separate_process import RETURNS, NeverReturnsError
from optitrace.experiment.user_class import UserClass

LIMIT = 10**6
"""Seconds: the alarm is never waited for here, but rung by the class itself."""


class Slow(Descent):
    """Would not return with momentum."""

    calls = 0

    def step(self, closure: Any = None) -> Any:
        if self.param_groups[0]["momentum"]:
            Slow.calls += 1
            signal.raise_signal(signal.SIGALRM)
        return super().step(closure)


class Stuck(Descent):
    """Would never return."""

    def step(self, closure: Any = None) -> Any:
        signal.raise_signal(signal.SIGALRM)


class Asks(Descent):
    """Sees how long it may take."""

    left: list[float]

    def step(self, closure: Any = None) -> Any:
        self.left = [signal.getitimer(signal.ITIMER_REAL)[0]]


def test_a_call_that_takes_too_long_is_an_error_and_its_settings_are_tried_once() -> None:
    guard = ProcessGuard(timeout=LIMIT)
    found = list(conform(guard.guarded(UserClass.of(Slow)), {}))
    [late] = guard.conformances("Slow")

    assert Slow.calls == len(guard.late) >= 1
    assert not [each for each in found if each.outcome is ClaimOutcome.FAILED]
    assert (late.claim, late.outcome) == (RETURNS, ClaimOutcome.FAILED)
    assert late.finding.startswith("with momentum=")
    assert late.finding.endswith(f" a call takes more than {LIMIT} seconds; --timeout allows more")


def test_a_class_that_never_returns_is_told_at_once() -> None:
    guard = ProcessGuard(timeout=LIMIT)

    with pytest.raises(NeverReturnsError, match=f"^a call takes more than {LIMIT} seconds; --timeout"):
        list(conform(guard.guarded(UserClass.of(Stuck)), {}))


def test_the_alarm_is_set_for_a_call_and_for_nothing_else() -> None:
    guard, weights = ProcessGuard(timeout=LIMIT), torch.ones(2, requires_grad=True)
    weights.grad = torch.ones(2)
    handler = signal.getsignal(signal.SIGALRM)
    made: Any = guard.guarded(UserClass.of(Asks)).optimizer_class
    optimizer = made([weights])
    optimizer.step()

    assert 0 < optimizer.left[0] <= LIMIT
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is handler


def test_the_error_is_one_that_a_class_may_catch() -> None:
    assert issubclass(CallTimeoutError, Exception)
