"""The lines of a rule that can be what a class does otherwise, at a step where it departs.

Only weights and state can be seen. For each line it is found what it would have to give so that weights
and state are those of the class; a line for which there is such a value is suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.check import Suspect
from optitrace.analysis.verification.one_step import Recomputed
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS, compare
from optitrace.analysis.verification.recording import RecordedRun
from optitrace.rules.line_changes import OpenLine, open_lines
from optitrace.rules.rule import Rule

FACTORS = (*(-(2.0**k) for k in range(30, -31, -1)), 0.0, *(2.0**k for k in range(-30, 31)))
"""Where the value of a line is sought: these multiples of what the rule gives."""

HALVINGS = 80
"""How often an interval is halved, until it holds no other float64 number."""


def suspects(
    rule: Rule, recording: RecordedRun, step: Recomputed, quantity: str, place: int
) -> Iterator[Suspect]:
    """Yield the lines of a rule each of which, alone, can explain what departs at a step.

    Args:
        rule: the rule.
        recording: what the class did.
        step: the step, as the rule makes it.
        quantity: one that departs.
        place: the coordinate that it is told of, from 0.
    """
    if not all(bool(found.found.isfinite().all()) for found in step.found.values()):
        return
    for line in open_lines(rule):
        trial = _Trial(rule, line, recording, step)
        given = trial.given()
        if given is None or not given.isfinite().all():
            continue
        # of the values that give one quantity, as a square is one of two numbers, not all give another
        solutions = (_solve(trial, given, name) for name in (quantity, *step.departing))
        if (needed := next(filter(trial.explains, solutions), None)) is not None:
            told = place if given.dim() else 0
            yield Suspect(line.text, given.flatten()[told].item(), needed.flatten()[told].item())


class _Trial:
    """A step of a recording, taken with the result of one line replaced."""

    def __init__(self, rule: Rule, line: OpenLine, recording: RecordedRun, step: Recomputed) -> None:
        self.line = line
        self.recording = recording
        self.step = step
        self.keys = [WEIGHTS, *(entry.key for entry in rule.state)]
        state = [step.state_before.get(entry.key) for entry in rule.state]
        self.before = [step.weights_before, *state]
        self.arguments = (step.weights_before, step.gradient, step.number, *state)
        self.settings = recording.settings

    def given(self) -> Tensor | None:
        """Return what the rule's line gives; None if it does not act, acts again and again, or has a shape.

        Its value is one number, or one for each weight.
        """
        seen: list[Any] = []

        def look(value: Any) -> Any:
            seen.append(value)
            return value

        self._outputs(look)
        if len(seen) != 1 or isinstance(seen[0], bool):
            return None
        given = torch.as_tensor(seen[0], dtype=torch.float64)
        return given if given.dim() == 0 or given.shape == self.recording.start.shape else None

    def error(self, value: Tensor, quantity: str) -> Tensor:
        """Return by how much a quantity exceeds the class's with this value of the line."""
        found = self.step.found[quantity].found
        try:
            computed = dict(zip(self.keys, self._with(value), strict=True))[quantity]
        except ArithmeticError:  # a number by which a line divides is zero
            return torch.full_like(found, torch.nan)
        return torch.as_tensor(computed, dtype=torch.float64) - found

    def explains(self, value: Tensor | None) -> bool:
        """Return whether there is a value of the line with which weights and state are those of the class."""
        if value is None:
            return False
        outputs = zip(self.keys, self.before, self._with(value), strict=True)
        return COUNT not in self.step.departing and not any(
            compare(before, computed, found.found, found.dtype, found.allowed).departs
            for key, before, computed in outputs
            if (found := self.step.found.get(key))
        )

    def _with(self, value: Tensor) -> tuple[Any, ...]:
        return self._outputs(lambda _: value if value.dim() else value.item())

    def _outputs(self, put: Callable[[Any], Any]) -> tuple[Any, ...]:
        return self.line.step(put, *self.arguments, **self.settings)


def _solve(trial: _Trial, given: Tensor, quantity: str) -> Tensor | None:
    """Return the value of a line, for each coordinate by itself, that gives a quantity of the class.

    None if there is none among the multiples of what the rule gives. Of several, it is the nearest.
    """
    found = trial.step.found[quantity]
    wrong = ~(found.errors <= found.allowed)
    if given.dim() > wrong.dim():
        return None
    furthest = int(found.errors.flatten().argmax())  # one number must serve this coordinate first

    def error(value: Tensor) -> Tensor:
        errors = trial.error(value, quantity)
        return errors if errors.shape == given.shape else errors.flatten()[furthest]

    unit = torch.where(given == 0, 1.0, given)
    errors = torch.stack([error(factor * unit) for factor in FACTORS])
    crosses = (errors[:-1] * errors[1:] <= 0) & errors[:-1].isfinite() & errors[1:].isfinite()
    distance = (torch.arange(len(FACTORS) - 1) - FACTORS.index(1.0)).abs().double()
    distance = distance.reshape(-1, *[1] * given.dim()).expand_as(crosses)
    nearest, place = torch.where(crosses, distance, torch.inf).min(dim=0)
    wrong = wrong if wrong.shape == given.shape else torch.tensor(True)
    if not nearest[wrong].isfinite().all():
        return None
    factors = torch.tensor(FACTORS, dtype=torch.float64)
    low, high = factors[place] * unit, factors[place + 1] * unit
    first, last = (errors.gather(0, at.unsqueeze(0)).squeeze(0) for at in (place, place + 1))
    ends = torch.where(first == 0, low, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = error(middle).sign() == first.sign()
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    solved = torch.where((first == 0) | (last == 0), ends, high)
    return torch.where(wrong, solved, given)
