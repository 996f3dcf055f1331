"""The explanation of a trace: each step recomputed by the rule, line by line, beside torch's result."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from optitrace.analysis.tolerance import rounded, ulps_between
from optitrace.errors import UsageError, integer
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import TraceRecord
from optitrace.rules.reader import UNICODE, Part, Reading, RuleLine, Spelling, StepExplanation, read
from optitrace.rules.rule import Rule, without
from optitrace.rules.source_patching import extent

if TYPE_CHECKING:
    from optitrace.rules.breakdown import Breakdown


@dataclass(frozen=True, slots=True)
class RuleStep:
    """One step, explained by its rule.

    It begins at torch's own weights and state of the step before, in float64, so no error adds up.

    Attributes:
        step: the step's number.
        lines: the rule's lines that acted, in order.
        parts: the summands of the weight change, for the coordinates that are followed.
        weights: those after the step as they were traced, of the coordinates that are followed.
        ulps: the distance of each from the rule's, in units in the last place of the run's dtype.
        traced: what computed these weights: ``torch``, or the dtype in which the rule itself did.
        breakdown: why torch's weights or state are not finite, if this is the first such step.
        idle: the terms, such as ``eps``, without which the rule gives the same weights and the same state,
            each line rounded to the run's dtype.
    """

    step: int
    lines: tuple[RuleLine, ...]
    parts: tuple[Part, ...]
    weights: tuple[float, ...]
    ulps: tuple[float, ...]
    traced: str = "torch"
    breakdown: Breakdown | None = None
    idle: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchStep:
    """One step of LBFGS, which has no rule that could be shown: its control flow depends on the data.

    Attributes:
        step: the step's number.
        evaluations: the number of evaluations of the loss and its gradient.
        iterations: the number of search directions.
        step_length: the length of its last one, as a multiple of the direction; None if it took none.
        history: the number of past updates that it stores.
        weights: torch's weights after the step.
    """

    step: int
    evaluations: int
    iterations: int
    step_length: float | None
    history: int
    weights: tuple[float, ...]


ExplainedStep: TypeAlias = RuleStep | SearchStep


def explain(
    trace: TraceRecord,
    *,
    rows: Collection[int] | None = None,
    precision: int = 4,
    coordinate: int | None = None,
    spelling: Spelling = UNICODE,
) -> dict[int, ExplainedStep]:
    """Return the explanation of the steps of a trace, by row.

    Args:
        trace: a trace with every step.
        rows: the rows to explain; all if not given. Row 0, the start, has nothing to explain.
        precision: decimals of the numbers.
        coordinate: the coordinate, from 1, to follow as plain numbers; all, as vectors, if not given.
        spelling: the signs that formulas are written in.

    Raises:
        UsageError: the trace left steps out, there is no such coordinate, or it is asked for where
            there is no rule.
    """
    if any(step != row for row, step in enumerate(trace.steps)):
        raise UsageError("an explanation needs every step, and some were left out; trace without --every.")
    check_explainable(trace.experiment, coordinate)
    wanted = sorted(set(rows if rows is not None else range(len(trace.steps))) - {0})
    rule = trace.experiment.entry.rule
    if rule is None:
        return {row: _search_step(trace, row) for row in wanted}
    reading = read(rule)
    return {row: _rule_step(trace, row, reading, precision, coordinate, spelling) for row in wanted}


def check_explainable(experiment: Experiment, coordinate: int | None) -> None:
    """Check that the steps of an experiment can be explained, for a coordinate from 1 if one is given.

    Raises:
        UsageError: a custom class has no rule; or there is no coordinate that could be followed.
    """
    if experiment.custom is not None and experiment.custom.rule is None:
        raise UsageError(f"{experiment.optimizer} has no rule to explain its steps by; leave out --explain.")
    if coordinate is None:
        return
    if experiment.entry.rule is None:
        raise UsageError(f"{experiment.optimizer} has no rule, so no coordinate can be followed.")
    if integer("coordinate", coordinate, least=1) > len(experiment.start):
        raise UsageError(
            f"there is no coordinate {coordinate}; the weights have 1 to {len(experiment.start)}."
        )


def explain_row(
    trace: TraceRecord, row: int, reading: Reading, precision: int, coordinate: int | None, spelling: Spelling
) -> StepExplanation:
    """Return the step of a row by its rule, from what torch had before it, which the row before holds."""
    experiment = trace.experiment
    return reading.explain(
        trace.weights.row(row - 1),
        trace.gradient.row(row),
        trace.steps[row],
        _state_at(trace, row - 1),
        {**experiment.hyperparameters, **_scheduled(trace, row)},
        precision=precision,
        coordinate=coordinate,
        spelling=spelling,
        dtype=experiment.dtype,
    )


def _rule_step(
    trace: TraceRecord, row: int, reading: Reading, precision: int, coordinate: int | None, spelling: Spelling
) -> RuleStep:
    explained = explain_row(trace, row, reading, precision, coordinate, spelling)
    traced, rules = trace.weights.row(row) or (), _as_tuple(explained.weights)
    followed = slice(None) if coordinate is None else slice(coordinate - 1, coordinate)
    return RuleStep(
        step=trace.steps[row],
        lines=explained.lines,
        parts=tuple(Part(part.name, _as_tuple(part.value)[followed]) for part in explained.parts),
        weights=traced[followed],
        ulps=tuple(
            ulps_between(a, b, trace.experiment.dtype)
            for a, b in zip(traced[followed], rules[followed], strict=True)
        ),
        traced="torch" if trace.experiment.entry.class_path else trace.experiment.dtype,
        breakdown=_breakdown(trace, row, reading.rule),
        idle=_idle_terms(trace, row, reading),
    )


def _idle_terms(trace: TraceRecord, row: int, reading: Reading) -> tuple[str, ...]:
    """Return the terms of a rule that change nothing in the step of a row, in the run's dtype."""
    dtype = trace.experiment.dtype
    settings = {**trace.experiment.hyperparameters, **_scheduled(trace, row)}

    def results(settings: Mapping[str, object]) -> Mapping[str, tuple[float, ...]]:
        weights, state = reading.results(
            trace.weights.row(row - 1),
            trace.gradient.row(row),
            trace.steps[row],
            _state_at(trace, row - 1),
            settings,
            dtype=dtype,
            nearest=partial(rounded, dtype=dtype),
        )
        return {"": weights, **state}

    def is_idle(term: str) -> bool:
        own = {entry.key for entry in reading.rule.state if entry.when == term}
        found = results(without(settings, term))
        return all(found[name] == each for name, each in made.items() if name not in own)

    terms = [term for term in reading.rule.terms if settings.get(term)]
    made = results(settings) if terms else {}
    return tuple(filter(is_idle, terms))


def _breakdown(trace: TraceRecord, row: int, rule: Rule) -> Breakdown | None:
    """Return why a step is the first to leave weights or state that are not finite; None if it is not."""
    from optitrace.rules.breakdown import TakenStep, break_down

    weights, state = trace.weights.row(row) or (), _state_at(trace, row)
    place = _not_finite((weights, *state.values()), len(weights))
    before = trace.weights.row(row - 1) or (), *_state_at(trace, row - 1).values()
    if place is None or _not_finite(before, len(weights)) is not None:
        return None
    import torch

    dtype = getattr(torch, trace.experiment.dtype)

    def tensor(values: object) -> torch.Tensor:
        whole = torch.tensor(values, dtype=dtype)
        return whole.reshape(1, -1) if extent(rule) == "matrix" else whole

    def tensors(state: Mapping[str, object]) -> Mapping[str, object]:
        return {key: tensor(v) if isinstance(v, tuple) else v for key, v in state.items()}

    step = TakenStep(
        rule=rule,
        number=trace.steps[row],
        weights=tensor(trace.weights.row(row - 1)),
        gradient=tensor(trace.gradient.row(row)),
        before=tensors(_state_at(trace, row - 1)),
        after=tensors(state),
        settings={**trace.experiment.hyperparameters, **_scheduled(trace, row)},
    )
    return break_down(step, place, weights[place])


def _not_finite(each: Iterable[object], size: int) -> int | None:
    """Return the first coordinate at which one of some vectors, or a number, is not finite."""
    for values in each:
        numbers = values if isinstance(values, tuple) and len(values) == size else ()
        for place, number in enumerate(numbers):
            if not math.isfinite(number):
                return place
    return None


def _state_at(trace: TraceRecord, row: int) -> Mapping[str, object]:
    """Return the state after the step of a row, without entries that did not exist yet."""
    state = {}
    for name, column in trace.state.items():
        values = column.row(row)
        if values is not None:
            state[name] = values if column.shape else values[0]
    return state


def _scheduled(trace: TraceRecord, row: int) -> Mapping[str, object]:
    """Return the hyperparameters as the step used them, where a schedule moves them."""
    moved: dict[str, object] = {"lr": _scalar(trace, "lr", row)}
    if "momentum" in trace.columns:
        momentum = _scalar(trace, "momentum", row)
        betas = trace.experiment.hyperparameters.get("betas")
        moved |= {"betas": (momentum, *betas[1:])} if isinstance(betas, tuple) else {"momentum": momentum}
    return moved


def _search_step(trace: TraceRecord, row: int) -> SearchStep:
    evaluations, iterations = _state(trace, "func_evals", row), _state(trace, "n_iter", row)
    lengths = trace.state["t"].row(row) if "t" in trace.state else None
    return SearchStep(
        step=trace.steps[row],
        evaluations=int(evaluations - _state(trace, "func_evals", row - 1)),
        iterations=int(iterations - _state(trace, "n_iter", row - 1)),
        step_length=lengths[0] if lengths else None,
        history=int(_state(trace, "old_dirs", row)),
        weights=trace.weights.row(row) or (),
    )


def _state(trace: TraceRecord, name: str, row: int) -> float:
    """Return a number of the state, 0 if it does not exist."""
    values = trace.state[name].row(row) if name in trace.state else None
    return values[0] if values else 0.0


def _scalar(trace: TraceRecord, name: str, row: int) -> float:
    values = trace.columns[name].row(row)
    assert values is not None
    return values[0]


def _as_tuple(values: object) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (float(values),)  # type: ignore[arg-type]
