"""The explanation and the theory of a trace, as text and as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from optitrace.analysis.explanation import ExplainedStep, RuleStep, SearchStep
from optitrace.analysis.theory import Theory
from optitrace.rules.reader import Part, RuleLine
from optitrace.text import format_number
from optitrace.views.display import Display

INDENT = "  "
"""Before each line of a step."""

MOST_INDENTED = 20
"""Characters of a formula that fit behind its symbol even in the narrowest terminal."""

MOST = 4
"""How many numbers of a vector are shown; an ellipsis stands for the others."""


def explained_lines(steps: Iterable[ExplainedStep], display: Display) -> Iterator[str]:
    """Yield the text of explained steps, a heading and some lines for each.

    A line too wide for the width is broken before its equals signs, which then stand below each other.
    """
    for step in steps:
        yield f"step {step.step}"
        lines = _rule_lines(step, display) if isinstance(step, RuleStep) else _search_lines(step)
        yield from (INDENT + line for line in lines)
        yield ""


def explained_fields(explained: Mapping[int, ExplainedStep], row: int) -> dict[str, Any]:
    """Return what an explanation adds to a row of a JSON trace: nothing where there is none."""
    if row not in explained:
        return {}
    step = explained[row]
    if isinstance(step, SearchStep):
        return {
            "search": {
                "evaluations": step.evaluations,
                "iterations": step.iterations,
                "step_length": step.step_length,
                "history": step.history,
            }
        }
    return {
        "explanation": [
            {"symbol": line.name, "formula": line.formula, "filled": line.filled, "value": line.value}
            for line in step.lines
        ],
        "parts": {part.name: part.value for part in step.parts},
        "ulps": step.ulps,
        **({"no_effect": step.idle} if step.idle else {}),
        **({} if step.breakdown is None else {"not_finite": asdict(step.breakdown)}),
    }


def theory_lines(theory: Theory | None) -> list[str]:
    """Return the line that says what theory predicts and what was observed; none if not asked for."""
    if theory is None:
        return []
    parts = []
    if theory.limit is not None and theory.limit.lr > 0:
        parts.append(f"converges for lr < {theory.limit.lr:.4g} (= {theory.limit.reason})")
    elif theory.limit is not None:
        parts.append(f"converges for no lr: {theory.limit.reason}")
    rate = f"{theory.observed_rate:.6g} observed" if theory.observed_rate else "too few rows to observe one"
    parts.append(f"rate a step {theory.predicted_rate:.6g} predicted (w{theory.slowest}), {rate}")
    if theory.optimum is not None:
        parts.append(f"best lr {theory.optimum.lr:.4g} with momentum {theory.optimum.momentum:.4g}")
    return [f"theory: {'; '.join(parts)}"]


def theory_fields(theory: Theory | None) -> dict[str, Any]:
    """Return what theory adds to a JSON trace: nothing if it was not asked for."""
    if theory is None:
        return {}
    return {
        "theory": {
            "stability_limit": theory.limit.lr if theory.limit else None,
            "predicted_rate": theory.predicted_rate,
            "slowest_coordinate": theory.slowest,
            "observed_rate": theory.observed_rate,
            "optimal_lr": theory.optimum.lr if theory.optimum else None,
            "optimal_momentum": theory.optimum.momentum if theory.optimum else None,
        }
    }


def _rule_lines(step: RuleStep, display: Display) -> Iterator[str]:
    precision, width = display.precision, display.width
    for line in step.lines:
        yield from _broken(_equation(line), _aside(line, step.idle), width)
    ulps = _as_vector([f"{ulp:.1f}" for ulp in step.ulps])
    numbers = _numbers(step.weights, precision)
    traced = f"{step.traced}: "
    yield from _folded(f"{traced}w = {numbers}, {ulps} ulp from the rule", width, indent=len(traced))
    if step.breakdown is not None:
        yield from _folded(f"not finite: {step.breakdown}", width, indent=12)
    if len(step.parts) > 1:
        parts = " + ".join(f"{_numbers(_flat(part), precision)} {part.name}" for part in step.parts)
        yield from _folded(f"change: {parts}", width, indent=8)


def _broken(parts: list[str], aside: str, width: int | None) -> Iterator[str]:
    whole = " = ".join(parts) + aside
    if width is None or len(INDENT) + len(whole) <= width:
        yield whole
        return
    symbol, first, *others = parts
    under = " " * len(symbol)
    for text in (f"{symbol} = {first}{aside}", *(f"{under} = {other}" for other in others)):
        yield from _folded(text, width, indent=len(symbol) + 5)


def _folded(text: str, width: int | None, *, indent: int) -> Iterator[str]:
    """Yield a line in as many as it needs, the others indented; numbers are never broken."""
    if width is None:
        yield text
        return
    room = max(width - len(INDENT), indent + MOST_INDENTED)
    begin = text[: len(text) - len(text.lstrip())]
    yield from wrap(
        text.lstrip(), room, initial_indent=begin, subsequent_indent=" " * indent, break_long_words=False
    )


def _equation(line: RuleLine) -> list[str]:
    """Return a line's parts between its equals signs; a round of a loop is told by its number."""
    return str(line).split(" = ")


def _aside(line: RuleLine, idle: Sequence[str]) -> str:
    """Return why a line is the one that acted, in which round of a loop, and what of it has no effect."""
    asides = [f"since {line.when}"] if line.when else []
    if line.iteration:
        asides.append(f"iteration {line.iteration}")
    asides += [f"{term} has no effect here" for term in idle if term in line.names]
    return f"   ({', '.join(asides)})" if asides else ""


def _as_vector(texts: Sequence[str]) -> str:
    """Return numbers in parentheses; a single one as it is.

    >>> _as_vector(["1", "2"]), _as_vector(["1"])
    ('(1, 2)', '1')
    """
    if len(texts) == 1:
        return texts[0]
    shown = [*texts[:MOST], "…"] if len(texts) > MOST else texts
    return f"({', '.join(shown)})"


def _numbers(values: tuple[float, ...], precision: int) -> str:
    return _as_vector([format_number(value, precision) for value in values])


def _flat(part: Part) -> tuple[float, ...]:
    value = part.value
    assert isinstance(value, tuple)
    return tuple(number for number in value if isinstance(number, float | int))


def _search_lines(step: SearchStep) -> Iterator[str]:
    yield "LBFGS has no rule to show, since its search depends on the loss; what it did:"
    yield f"{step.evaluations} evaluations of the loss and its gradient, along {step.iterations} directions"
    if step.step_length is not None:
        yield f"last step length {step.step_length:g}, {step.history} past updates stored"
