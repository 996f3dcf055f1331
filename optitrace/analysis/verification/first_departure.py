"""Where a class first departs from a rule: the settings, the step, the line and the coordinate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from optitrace.analysis.verification.check import Departure
from optitrace.analysis.verification.one_step import Recomputed, recompute
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS, Found
from optitrace.analysis.verification.recording import RecordedRun
from optitrace.analysis.verification.suspects import suspects
from optitrace.rules.reader import RuleLine, read
from optitrace.rules.rule import Rule

DIGITS = 6
"""Decimals of the numbers in a line."""


def first_departure(rule: Rule, recordings: Sequence[RecordedRun]) -> Departure | None:
    """Return the first departure under the settings that show it best; None if there is none.

    What can be seen of a class is its weights and its state, so the line shown is the first one of the
    rule whose result is seen and is not the class's. The fault is in one of the suspects: it, or a line
    above it whose result is not kept.
    """
    first = (_first(rule, recording) for recording in recordings)
    found = max(filter(None, first), key=lambda pair: _size(pair[0]), default=None)
    if found is None:
        return None
    departure, (recording, step) = found
    place = (departure.coordinate or 1) - 1
    lines = suspects(rule, recording, step, departure.quantity, place) if departure.line else ()
    return replace(departure, suspects=tuple(lines))


def _first(rule: Rule, recording: RecordedRun) -> tuple[Departure, tuple[RecordedRun, Recomputed]] | None:
    departing = (step for step in recompute(rule, recording) if step.departing)
    step = next(departing, None)
    return None if step is None else (_departure(rule, recording, step), (recording, step))


def _size(departure: Departure) -> float:
    """Return how plainly a departure is seen, from 0 to 1."""
    largest = max(abs(departure.expected), abs(departure.found))
    size = abs(departure.expected - departure.found) / largest if largest else 0.0
    return 1.0 if math.isnan(size) else min(size, 1.0)


def _departure(rule: Rule, recording: RecordedRun, step: Recomputed) -> Departure:
    quantity = _first_quantity(rule, recording, step)
    found = step.found[quantity]
    coordinate = _first_coordinate(found) if found.found.dim() else None
    defaults = {parameter.name: parameter.default for parameter in rule.parameters}
    settings = recording.configuration.settings
    lines = _lines(rule, recording, step, quantity, coordinate or 1)
    return Departure(
        settings={name: value for name, value in settings.items() if value != defaults[name]},
        shape=recording.configuration.shape,
        step=step.number,
        quantity=quantity,
        coordinate=coordinate,
        of=recording.start.numel(),
        line=str(lines[-1]) if lines else "",
        expected=_number(found.expected, coordinate),
        found=_number(found.found, coordinate),
        error=_number(found.errors, coordinate),
    )


def _first_quantity(rule: Rule, recording: RecordedRun, step: Recomputed) -> str:
    """Return which of the departing quantities the rule computes first."""
    if step.departing == [COUNT]:
        return COUNT
    names = {entry.symbol: entry.key for entry in rule.state}
    explained = read(rule).explain(
        step.weights_before, step.gradient, step.number, step.state_before, recording.settings
    )
    order = list(dict.fromkeys(names.get(line.name, WEIGHTS) for line in reversed(explained.lines)))[::-1]
    ranked = [quantity for quantity in order if quantity in step.departing and quantity != WEIGHTS]
    # the weights come last: they are the state's consequence, though some rules compute them first
    return (ranked or [quantity for quantity in step.departing if quantity != COUNT])[0]


def _lines(
    rule: Rule, recording: RecordedRun, step: Recomputed, quantity: str, coordinate: int
) -> list[RuleLine]:
    """Return the lines of the rule that gave a quantity of a coordinate, the last one last."""
    symbols = {entry.key: entry.symbol for entry in rule.state} | {WEIGHTS: "w"}
    explained = read(rule).explain(
        step.weights_before,
        step.gradient,
        step.number,
        step.state_before,
        recording.settings,
        coordinate=coordinate,
        precision=DIGITS,
    )
    return [line for line in explained.lines if line.name == symbols.get(quantity)]


def _first_coordinate(found: Found) -> int:
    """Return the first coordinate, from 1, that is further off than allowed."""
    return next(i for i, error in enumerate(_flat(found.errors), start=1) if not error <= found.allowed)


def _number(values: Tensor, coordinate: int | None) -> float:
    return list(_flat(values))[(coordinate or 1) - 1]


def _flat(values: Tensor) -> Iterator[float]:
    yield from values.flatten().tolist()
