"""What comes of an optimizer's steps, gathered while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from optitrace.analysis.training.rule_watch.batch import ParameterBatch
from optitrace.analysis.training.rule_watch.recomputation import RecomputedSample, recompute, worst_of_all
from optitrace.analysis.training.rule_watch.rule_inputs import RuleInputs, parts
from optitrace.analysis.training.rule_watch.step_capture import Taken
from optitrace.analysis.verification.check import ALLOWED
from optitrace.analysis.verification.quantities import Found
from optitrace.experiment.own_module import reason
from optitrace.records.findings import RuleAgreement
from optitrace.rules.rule import Rule
from optitrace.text.number_format import counted

BLOCK = 256
"""How many steps are kept until they are recomputed: together it is faster, and a device waits once."""


class AgreementAccumulator:
    """Recomputes the steps of one optimizer, and remembers the worst and the first that departs."""

    def __init__(
        self, name: str, rule: Rule, parameters: Sequence[str], batches: Sequence[ParameterBatch], note: str
    ) -> None:
        """Begin.

        Args:
            name: of the optimizer.
            rule: that it is held against.
            parameters: the names of its parameters.
            batches: where it is looked.
            note: what is to be said anyway.
        """
        self.rule = rule
        self._name = name
        self._parameters = parameters
        self._coordinates = sum(batch.coordinates for batch in batches)
        self._note = note
        self._failure = ""
        self._pending: list[Sequence[Taken]] = []
        self._steps = 0
        self._worst = (0.0, ALLOWED)
        self._departure: tuple[int, int, str] | None = None
        self._roundings: Counter[str] = Counter()
        self._hooked = 0

    def attempt(self, look: Callable[[], None]) -> None:
        """Do something that looks at a program, which must not fail for that; once it does, do no more."""
        if not self._failure:
            try:
                look()
            except Exception as error:  # what a program does with an optimizer can be anything
                self._failure = reason(error)

    def add(self, step: Sequence[Taken]) -> None:
        """Keep what was taken from a step, batch after batch, until a block of steps is full."""
        self._pending.append(step)
        if len(self._pending) >= BLOCK:
            self._read()

    def agreement(self) -> RuleAgreement:
        """Return what came of the steps so far."""
        self.attempt(self._read)
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

    def _read(self) -> None:
        """Recompute the steps that are pending: all at once, and each by itself where one departs."""
        pending, self._pending = self._pending, []
        steps = [
            [(taken, part) for taken in step if not taken.is_left_out for part in parts(self.rule, taken)]
            for step in pending
        ]
        worst = worst_of_all(self.rule, [part for step in steps for _, part in step])
        if worst is None:
            for step in steps:
                self._judge(step)
        else:
            self._worst = max(self._worst, worst, key=lambda each: _excess(*each))
            self._steps += sum(map(bool, steps))

    def _judge(self, step: Sequence[tuple[Taken, RuleInputs]]) -> None:
        """Recompute one step by itself."""
        judged = [(taken, part, recompute(self.rule, part)) for taken, part in step]
        if any(recomputed.departing and taken.has_hooks for taken, _, recomputed in judged):
            self._hooked += 1
            return
        for taken, part, recomputed in judged:
            self._weigh(taken.step, part, recomputed)
        self._steps += bool(judged)
        notes = (r.rounding.note for _, _, r in judged if r.rounding is not None and not r.departing)
        self._roundings.update({note for note in notes if note})

    def _weigh(self, step: int, part: RuleInputs, recomputed: RecomputedSample) -> None:
        for quantity, found in recomputed.found.items():
            self._worst = max(self._worst, (found.worst, found.allowed), key=lambda each: _excess(*each))
            if found.departs:
                parameter = int(part.parameters[_first(found)])
                if self._departure is None or (step, parameter) < self._departure[:2]:
                    self._departure = step, parameter, quantity

    def _notes(self) -> list[str]:
        notes = [self._note] if self._note else []
        notes += [f"{counted(count, 'step')} only to {note}" for note, count in self._roundings.items()]
        if self._hooked:
            notes.append(
                f"{counted(self._hooked, 'step')} left out: the program has hooks around them, "
                "which may change weights or gradients"
            )
        if self._failure:
            notes.append(f"verifying has ended, as it failed: {self._failure}")
        if not self._steps and not notes:
            notes.append("none had a gradient that is finite where it was looked")
        return notes


def _excess(error: float, allowed: float) -> float:
    """Return how much of what is allowed an error takes up."""
    return error / allowed if allowed else error and float("inf")


def _first(found: Found) -> int:
    """Return the first coordinate that departs."""
    return int((~(found.errors <= found.allowed)).nonzero()[0])
