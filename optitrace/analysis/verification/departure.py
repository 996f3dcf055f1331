"""Where a class first departs from a rule: settings, step, coordinate, and the suspect lines of the rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optitrace.analysis.verification.check import Departure, Suspect
from optitrace.analysis.verification.recorded_run import RecordedRun, recompute
from optitrace.analysis.verification.step_check import COUNT, WEIGHTS, CheckedStep, compare
from optitrace.rules.open_lines import OpenLine, open_lines
from optitrace.rules.reader import RuleLine, read
from optitrace.rules.rule import Rule

DIGITS = 6
"""Decimals of the numbers in a line."""

FACTORS = (*(-(2.0**k) for k in range(30, -31, -1)), 0.0, *(2.0**k for k in range(-30, 31)))
"""Where the value of a suspect line is sought: these multiples of what the rule gives."""

HALVINGS = 80
"""How often an interval is halved, until it holds no other float64 number."""


class DepartingStep(NamedTuple):
    """The first step of a run that departs from a rule."""

    run: RecordedRun
    step: CheckedStep


def first_departing_steps(
    rule: Rule, runs: Sequence[RecordedRun], *, trusted: bool = True
) -> Iterator[DepartingStep]:
    """Yield the first departing step of each run that has one; for `trusted` see `recompute`."""
    for run in runs:
        departing = (step for step in recompute(rule, run, trusted=trusted) if step.departing)
        if step := next(departing, None):
            yield DepartingStep(run, step)


def first_departure(rule: Rule, runs: Sequence[RecordedRun]) -> Departure | None:
    """Return the first departure of the run that shows it most clearly; None if there is none.

    Only weights and state of a class can be observed, so the line shown is the first of the rule whose result
    is observed and is not the class's. The mistake is in one of the suspects: in it, or in a line above it
    whose result is not kept.
    """
    departures = [(_departure(rule, *first), first) for first in first_departing_steps(rule, runs)]
    departure, first = max(departures, key=lambda pair: _size(pair[0]), default=(None, None))
    if departure is None or first is None or not departure.line:
        return departure
    place = (departure.coordinate or 1) - 1
    return replace(departure, suspects=tuple(_suspects(rule, first, departure.quantity, place)))


def _size(departure: Departure) -> float:
    """Return how clearly a departure shows, from 0 to 1."""
    largest = max(abs(departure.expected), abs(departure.found))
    size = abs(departure.expected - departure.found) / largest if largest else 0.0
    return 1.0 if math.isnan(size) else min(size, 1.0)


def _departure(rule: Rule, run: RecordedRun, step: CheckedStep) -> Departure:
    quantity = _first_quantity(rule, step)
    compared = step.quantities[quantity]
    place = int(compared.is_wrong.flatten().nonzero()[0])
    coordinate = place + 1 if compared.found.dim() else None
    symbols = {entry.key: entry.symbol for entry in rule.state} | {WEIGHTS: "w"}
    # rows and columns are followed by no coordinate of the weights
    followed = coordinate or 1 if compared.found.shape in ((), run.start.shape) else None
    lines = [e for e in _lines(rule, step, followed) if e.name == symbols.get(quantity)]
    expected, found, error = (
        float(values.flatten()[place]) for values in (compared.expected, compared.found, compared.errors)
    )
    defaults = {parameter.name: parameter.default for parameter in rule.parameters}
    settings = run.configuration.settings
    return Departure(
        settings={name: value for name, value in settings.items() if value != defaults[name]},
        shape=run.configuration.shape,
        step=int(step.inputs.number),
        quantity=quantity,
        coordinate=coordinate,
        of=compared.found.numel() if compared.found.dim() else run.start.numel(),
        line=str(lines[-1]) if lines else "",
        expected=expected,
        found=found,
        error=error,
    )


def _first_quantity(rule: Rule, step: CheckedStep) -> str:
    """Return which of the departing quantities the rule computes first."""
    names = {entry.symbol: entry.key for entry in rule.state}
    last_lines = dict.fromkeys(names.get(line.name, WEIGHTS) for line in reversed(_lines(rule, step)))
    # the weights come last: they follow from the state, though some rules compute them first
    order = [*(name for name in reversed(last_lines) if name != WEIGHTS), WEIGHTS]
    return next((name for name in order if name in step.departing), step.departing[0])


def _lines(rule: Rule, step: CheckedStep, coordinate: int | None = None) -> Sequence[RuleLine]:
    """Return the lines of the rule as it computes a step."""
    inputs = step.inputs
    number, state = int(inputs.number), inputs.before(rule)
    explained = read(rule).explain(
        inputs.weights,
        inputs.gradient,
        number,
        state,
        inputs.settings,
        coordinate=coordinate,
        precision=DIGITS,
    )
    return explained.lines


def _suspects(rule: Rule, first: DepartingStep, quantity: str, place: int) -> Iterator[Suspect]:
    """Yield the lines of a rule each of which, alone, can explain a departing step.

    For each line the value is sought with which weights and state are those of the class.

    Args:
        rule: the rule.
        first: the step.
        quantity: one that departs.
        place: the coordinate that is reported, from 0.
    """
    step = first.step
    if not all(bool(compared.found.isfinite().all()) for compared in step.quantities.values()):
        return
    weights_first = sorted(step.departing, key=lambda name: name != WEIGHTS)
    for line in open_lines(rule):
        replaced = _ReplacedLine(rule, line, step)
        given = replaced.given()
        if given is None or not given.isfinite().all():
            continue
        # of the values that give one quantity, as a square is one of two numbers, not all give another
        solutions = (_solve(replaced, given, name) for name in (quantity, *weights_first))
        if (needed := next(filter(replaced.explains, solutions), None)) is not None:
            is_reported = given.shape == step.quantities[quantity].found.shape
            at = place if is_reported else int((needed != given).flatten().int().argmax())
            yield Suspect(line.text, given.flatten()[at].item(), needed.flatten()[at].item())


class _ReplacedLine:
    """A step, taken with the result of one line of the rule replaced."""

    def __init__(self, rule: Rule, line: OpenLine, step: CheckedStep) -> None:
        self.step = step
        self._line = line
        self._before = step.inputs.before(rule)
        self._names = [WEIGHTS, *(entry.key for entry in rule.state)]
        self._quantities = [each for name, each in step.quantities.items() if name != COUNT]

    def given(self) -> Tensor | None:
        """Return what the line gives in the rule: one number, or as many as the weights or a state entry has.

        None if it does not act, acts several times, or has another shape.
        """
        seen: list[Any] = []

        def look(value: Any) -> Any:
            seen.append(value)
            return value

        self._results(look)
        if len(seen) != 1 or isinstance(seen[0], bool):
            return None
        given = torch.as_tensor(seen[0], dtype=torch.float64)
        shapes = {self.step.inputs.weights.shape, *(each.found.shape for each in self._quantities)}
        if given.numel() == 1 and given.shape not in shapes:
            given = given.reshape(())
        return given if given.dim() == 0 or given.shape in shapes else None

    def error(self, value: Tensor, quantity: str) -> Tensor:
        """Return by how much a quantity exceeds the class's with this value of the line."""
        found = self.step.quantities[quantity].found
        try:
            computed = self._with(value)[quantity]
        except ArithmeticError:  # a number by which a line divides is zero
            return torch.full_like(found, torch.nan)
        return torch.as_tensor(computed, dtype=torch.float64) - found

    def explains(self, value: Tensor | None) -> bool:
        """Return whether, with this value of the line, weights and state are those of the class."""
        if value is None or COUNT in self.step.departing:
            return False
        computed = self._with(value)
        return not any(
            compare(self._before[name], computed[name], each.found, each.dtype, each.allowed).departs
            for name, each in self.step.quantities.items()
            if name != COUNT
        )

    def _with(self, value: Tensor) -> dict[str, Any]:
        results = self._results(lambda _: value if value.dim() else value.item())
        return dict(zip(self._names, results, strict=True))

    def _results(self, put: Callable[[Any], Any]) -> tuple[Any, ...]:
        inputs = self.step.inputs
        arguments = inputs.weights, inputs.gradient, inputs.number, *inputs.state
        return self._line.step(put, *arguments, **inputs.settings)


def _solve(replaced: _ReplacedLine, given: Tensor, quantity: str) -> Tensor | None:
    """Return the value of a line, for each coordinate by itself, that gives a quantity of the class.

    None if there is none among the multiples of what the rule gives. Of several, it is the nearest.
    """
    compared = replaced.step.quantities[quantity]
    wrong = compared.is_wrong
    if given.dim() and given.shape != wrong.shape:
        return None
    furthest = int(compared.errors.flatten().argmax())  # one number must serve this coordinate first

    def error(value: Tensor) -> Tensor:
        errors = replaced.error(value, quantity)
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
