"""The learning rates of an optimizer: what schedulers, the program and a loaded state do to them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from operator import is_
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.monitoring.parameters import class_name
from optitrace.records.training import LearningRateEvent, LearningRateFault, Scheduling, one_more

Rates = list[float]
"""The lr of each parameter group."""

COURSES = ("T_max", "total_steps", "total_iters")
"""The attributes in which schedulers keep after how many of their steps their course is over."""

FAR = 1.5
"""From what ratio on an lr that was set by hand is another one than that of the schedule."""

NEAR = 0.1
"""How near to the schedule's lr one is that was put back, as a part of the way to the one set by hand."""


class LearningRateTracker:
    """Follows the learning rates of one optimizer over all its steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        """Begin when the optimizer becomes known."""
        self.scheduling: Scheduling | None = None
        self._events: dict[LearningRateFault, LearningRateEvent] = {}
        self._given = _rates(optimizer)
        self._schedulers: list[weakref.ref[LRScheduler]] = []
        self._loaded: Rates | None = None
        self._is_scheduler_loaded = self._has_stepped = False
        self._pending: tuple[LearningRateFault, Rates, Rates] | None = None
        self._scheduled: Rates | None = None  # as the last scheduler has left them
        self._by_hand: tuple[Rates, Rates] | None = None  # what the schedule had, and the program set instead
        self._lrs: list[Any] = []
        self._steps_before = 0

    @property
    def events(self) -> tuple[LearningRateEvent, ...]:
        """What happened to the learning rates, by the first steps."""
        return tuple(sorted(self._events.values(), key=lambda event: event.steps.first))

    def scheduler_made(self, scheduler: LRScheduler, optimizer: Optimizer) -> None:
        """Record a scheduler whose constructor has set the learning rates."""
        before = self.scheduling or Scheduling(())
        self._schedulers.append(weakref.ref(scheduler))
        self.scheduling = replace(
            before, schedulers=(*before.schedulers, class_name(scheduler)), course=self._course()
        )
        rates, self._scheduled = _rates(optimizer), _rates(optimizer)
        if rates is None or self._given is None:
            return
        first = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        if self._loaded is not None and rates != self._loaded and rates == first:
            self._pending = "undone by constructor", self._loaded, rates
        elif not self._has_stepped and len(set(self._given)) > 1 and len(set(first)) == 1:
            self._pending = "levelled", self._given, first

    def scheduler_stepped(self, scheduler: LRScheduler, optimizer: Optimizer) -> None:
        """Count the step of a scheduler, which may have been made before the optimizer was monitored."""
        before = self.scheduling or Scheduling((class_name(scheduler),))
        self.scheduling = replace(
            before,
            steps=before.steps + 1,
            early=before.early + (not self._has_stepped),
            reached=self._reached(),
            late=before.late + 1,
        )
        self._scheduled = _rates(optimizer)

    def scheduler_loaded(self) -> None:
        """Record that the state of a scheduler was loaded."""
        self._is_scheduler_loaded = True

    def loaded(self, optimizer: Optimizer) -> None:
        """Record that the optimizer's state was loaded, and its learning rates with it."""
        self._loaded = _rates(optimizer)

    def before_step(self, optimizer: Optimizer, step: int, *, saved_epoch: int = 0) -> None:
        """Compare the learning rates that a step is about to use with what the schedulers have set.

        Args:
            optimizer: the optimizer.
            step: the number of the step.
            saved_epoch: the step of a scheduler in a checkpoint that was read and not loaded; 0 if none.
        """
        is_first, self._has_stepped = not self._has_stepped, True
        self._lrs = _lrs(optimizer)
        if (self.scheduling is None and not is_first) or (used := _numbers(self._lrs)) is None:
            return
        if self.scheduling is None:
            self._look_whether_replaced(optimizer, used, step)
            return
        if self.scheduling.late:
            self.scheduling = replace(self.scheduling, late=0)
        if self._pending is not None:
            fault, before, after = self._pending
            self._note(fault, step, before, after)
        elif self._loaded is not None:
            self._look_whether_resumed(used, step, saved_epoch)
        self._pending = self._loaded = None
        self._look_at_hand(used, step)
        self._steps_before = self.scheduling.steps

    def after_step(self, optimizer: Optimizer, step: int) -> None:
        """Look whether the step itself has changed the learning rates."""
        before, after = self._lrs, _lrs(optimizer)
        if all(map(is_, before, after)):
            return
        is_scheduled = self.scheduling is not None and self.scheduling.steps != self._steps_before
        if not is_scheduled and (used := _numbers(before)) and (rates := _numbers(after)) and used != rates:
            self._note("changed inside step", step, used, rates)

    def _look_whether_replaced(self, optimizer: Optimizer, used: Rates, step: int) -> None:
        """Look whether loading has replaced the lr that the program gave, and the first step uses it.

        Where a scheduler had moved the loaded lr, it is one of a schedule, and no other was asked for.
        """
        if self._given is None or used != self._loaded or used == self._given:
            return
        if not any("initial_lr" in group for group in optimizer.param_groups):
            self._note("replaced by loading", step, self._given, used)

    def _look_whether_resumed(self, used: Rates, step: int, saved_epoch: int) -> None:
        """Look whether a scheduler begins anew though the optimizer goes on."""
        scheduler = self._only_scheduler()
        if scheduler is None or self._is_scheduler_loaded or scheduler.last_epoch > 0:
            return
        last = [float(rate) for rate in getattr(scheduler, "_last_lr", used)]
        if saved_epoch or (last != used and used == self._loaded):
            self._note("scheduler not resumed", step, last, used)

    def _look_at_hand(self, used: Rates, step: int) -> None:
        """Look whether the program has set the learning rates, and a scheduler has put them back."""
        scheduled, before = self._scheduled, self._by_hand
        if scheduled is None:
            return
        if used != scheduled:
            self._by_hand = scheduled, used
        elif before is not None:
            if any(map(_is_put_back, *before, used)):
                self._note("put back", step, before[1], used)
            self._by_hand = None

    def _only_scheduler(self) -> LRScheduler | None:
        alive = [scheduler for one in self._schedulers if (scheduler := one()) is not None]
        return alive[0] if len(alive) == 1 else None

    def _reached(self) -> int:
        epoch = getattr(self._only_scheduler(), "last_epoch", 0)
        return max(0, epoch) if isinstance(epoch, int) else 0

    def _course(self) -> int | None:
        scheduler = self._only_scheduler()
        found = [getattr(scheduler, name, None) for name in COURSES]
        return next((length for length in found if isinstance(length, int) and length > 0), None)

    def _note(self, fault: LearningRateFault, step: int, before: Rates, after: Rates) -> None:
        known = self._events.get(fault)
        if known is None:
            known = LearningRateEvent(fault, one_more(None, step), tuple(before), tuple(after))
        else:
            known = replace(known, steps=one_more(known.steps, step))
        self._events[fault] = known


def _lrs(optimizer: Optimizer) -> list[Any]:
    """Return what each parameter group has as its lr."""
    return [group.get("lr") for group in optimizer.param_groups]


def _rates(optimizer: Optimizer) -> Rates | None:
    """Return the learning rates; None if there are none, or an accelerator has them."""
    return _numbers(_lrs(optimizer))


def _numbers(lrs: Sequence[Any]) -> Rates | None:
    if any(isinstance(lr, Tensor) and not lr.is_cpu for lr in lrs):
        return None
    try:
        return [float(lr) for lr in lrs]
    except (TypeError, ValueError):
        return None


def _is_put_back(scheduled: float, by_hand: float, used: float) -> bool:
    """Return whether an lr is the schedule's once more, after the program had set quite another one."""
    smaller, larger = sorted((abs(scheduled), abs(by_hand)))
    return larger > FAR * smaller and abs(used - scheduled) < NEAR * abs(by_hand - scheduled)
