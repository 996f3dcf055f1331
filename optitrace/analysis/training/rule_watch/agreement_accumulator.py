"""The agreement of an optimizer's steps with its rule, accumulated while a training runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from optitrace.analysis.training.rule_watch.rule_inputs import SampledStep, sampled_steps
from optitrace.analysis.training.rule_watch.step_capture import CapturedStep
from optitrace.analysis.verification.check import ALLOWED
from optitrace.analysis.verification.step_check import CheckedStep, allow_rounding, check_step, worst_error
from optitrace.experiment.user_module import reason
from optitrace.monitoring.weight_sample import ParameterBatch
from optitrace.records.findings import RuleAgreement
from optitrace.rules.rule import Rule
from optitrace.text import counted

BLOCK = 256
"""The number of steps recomputed together, which is faster and synchronizes with the device only once."""


class AgreementAccumulator:
    """Recomputes the steps of one optimizer, and keeps the worst error and the first departure."""

    def __init__(
        self,
        name: str,
        rule: Rule,
        parameters: Sequence[str],
        batches: Sequence[ParameterBatch],
        note: str,
        *,
        doubt: str = "",
    ) -> None:
        """Begin.

        Args:
            name: of the optimizer.
            rule: of the optimizer.
            parameters: the names of its parameters.
            batches: the weights that are captured.
            note: goes before all other notes.
            doubt: a clause: why a departure would not be one of the optimizer; empty if it would be.
        """
        self.rule = rule
        self._name = name
        self._parameters = parameters
        self._coordinates = sum(batch.coordinates for batch in batches)
        self._note = note
        self._doubt = doubt
        self._ended = ""
        self._pending: list[Sequence[CapturedStep]] = []
        self._steps = 0
        self._worst = (0.0, ALLOWED)
        self._departure: tuple[int, int, str] | None = None
        self._roundings: Counter[str] = Counter()
        self._hooked = 0

    def attempt(self, look: Callable[[], None]) -> None:
        """Run code whose failure must not affect the program; after a failure, run no more."""
        if not self._ended:
            try:
                look()
            except Exception as error:  # a program can do anything with an optimizer
                self._ended = f"verification stopped: {reason(error)}"

    def add(self, step: Sequence[CapturedStep]) -> None:
        """Keep all batches of a step until a block of steps is full."""
        self._pending.append(step)
        if len(self._pending) >= BLOCK:
            self._check_pending()

    def end(self, why: str) -> None:
        """Take no more steps, for a reason that a clause gives."""
        self._ended = why

    def agreement(self) -> RuleAgreement:
        """Return the agreement of the steps so far."""
        self.attempt(self._check_pending)
        if self._departure and self._doubt:
            departing, _, what = self._departure
            why = f"step {departing} gives other {what} than {self.rule.name}, but {self._doubt}"
            return RuleAgreement(self._name, self.rule.name, note=why)
        error, allowed = self._worst
        step, parameter, quantity = self._departure or (None, None, "")
        return RuleAgreement(
            self._name,
            self.rule.name,
            steps=self._steps,
            coordinates=self._coordinates,
            worst=error,
            allowed=allowed,
            departure=step,
            quantity=quantity,
            parameter="" if parameter is None else self._parameters[parameter],
            note="; ".join(self._notes()),
        )

    def _check_pending(self) -> None:
        """Check the pending steps: all at once, and each by itself if one departs."""
        pending, self._pending = self._pending, []
        steps = [[each for batch in step for each in sampled_steps(self.rule, batch)] for step in pending]
        worst = worst_error(self.rule, [each.inputs for step in steps for each in step])
        if worst is None:
            for step in steps:
                self._check(step)
        else:
            self._keep_worst(worst)
            self._steps += sum(map(bool, steps))

    def _check(self, step: Sequence[SampledStep]) -> None:
        """Check one step by itself."""
        checked = [(each, allow_rounding(self.rule, check_step(self.rule, each.inputs))) for each in step]
        if any(found.departing and each.has_hooks for each, found in checked):
            self._hooked += 1
            return
        for each, found in checked:
            self._keep(each, found)
        self._steps += bool(checked)
        self._roundings.update({found.note for _, found in checked if found.note and not found.departing})

    def _keep(self, sampled: SampledStep, checked: CheckedStep) -> None:
        for name, quantity in checked.quantities.items():
            self._keep_worst((quantity.worst, quantity.allowed))
            if quantity.departs:
                place = int(quantity.is_wrong.flatten().nonzero()[0])
                parameter = int(sampled.parameters[place])
                if self._departure is None or (sampled.step, parameter) < self._departure[:2]:
                    self._departure = sampled.step, parameter, name

    def _keep_worst(self, found: tuple[float, float]) -> None:
        self._worst = max(self._worst, found, key=lambda each: _excess(*each))

    def _notes(self) -> list[str]:
        notes = [self._note] if self._note else []
        notes += [f"{counted(count, 'step')} only to {note}" for note, count in self._roundings.items()]
        if self._hooked:
            notes.append(
                f"{counted(self._hooked, 'step')} skipped: hooks around them may change weights or gradients"
            )
        if self._ended:
            notes.append(self._ended)
        if not self._steps and not notes:
            notes.append("no step had finite gradients in the sampled weights")
        return notes


def _excess(error: float, allowed: float) -> float:
    """Return an error as a fraction of its tolerance."""
    return error / allowed if allowed else error and float("inf")
