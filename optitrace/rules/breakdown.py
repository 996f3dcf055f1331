"""The breakdown of a step: the first line of the rule that gives a number that is not finite.

The lines are evaluated once more, operation by operation, at the weight concerned. What the optimizer keeps
after the step takes the place of what a line gives, so that a line is only blamed for what was seen. A
remedy is only named if the same step with it is finite.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from optitrace.functions import FUNCTIONS
from optitrace.rules.hyperparameter import show
from optitrace.rules.reader.assignments import Assignment, names_in
from optitrace.rules.reader.calculation import Leaf, Value, compile_expression, leaf_of
from optitrace.rules.reader.evaluation import Case, Evaluation
from optitrace.rules.reader.notation import UNICODE, write, write_names
from optitrace.rules.reader.statements import parse
from optitrace.rules.rule import Rule, StateEntry
from optitrace.rules.source_patching import called, extent
from optitrace.text import listed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_WHOLE = 1 << 20
"""The largest number of weights of a parameter that a rule needs whole."""

USUAL_LRS = (1e-12, 0.1)
"""The range of the lower lr that are tried."""


@dataclass(frozen=True, slots=True)
class TakenStep:
    """What a step used and what it made of one parameter.

    Attributes:
        rule: the rule of the optimizer.
        number: of the step, from 1.
        weights: before the step, of any shape.
        gradient: what the step used, of the same shape.
        before: the state before the step, by torch's names, as far as it is known: of the weights' shape, or
            a number for all of them. Before step 1 it is known anyway.
        after: the state after the step.
        settings: the hyperparameters, by torch's names.
    """

    rule: Rule
    number: int
    weights: Tensor
    gradient: Tensor
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Why a step gives a number that is not finite.

    Attributes:
        cause: a clause that names the line of the rule and its operand.
        remedy: a clause; empty if nothing that was tried keeps the step finite.
    """

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}" if self.remedy else self.cause


def break_down(step: TakenStep, place: int, made: float) -> Breakdown | None:
    """Return why a step gives a number that is not finite; None if its numbers do not tell.

    Args:
        step: the step.
        place: the weight at which something is not finite, as a flat index.
        made: that weight after the step; finite if only its state is not.
    """
    known = _at(step, place)
    if known is None or not (_is_finite(known.weights) and _is_finite(known.gradient)):
        return None
    evaluation = _evaluated(known, known.after)
    if not math.isfinite(made) and (evaluation.weights_unknown or _is_finite(evaluation.weights)):
        return None
    found = evaluation.first_broken(of_state=math.isfinite(made))
    if found is None:
        return None
    dtype = str(step.weights.dtype).removeprefix("torch.")
    definitions = {
        line.assignment.symbol: _ActedLine(line.assignment, line.cases[0]) for line in evaluation.executed
    }
    cause = _cause(*found, definitions, dtype, is_nan=math.isnan(made))
    return Breakdown(cause, ", or ".join(_remedies(known)))


def _at(step: TakenStep, place: int) -> TakenStep | None:
    """Return the part of a step that the rule needs for one weight; None if that is not available."""
    rule, shape = step.rule, step.weights.shape
    whole = extent(rule)
    entries = [entry for entry in rule.state if entry.exists(_all_settings(step))]
    if any(entry.key not in step.after for entry in entries):
        return None
    if whole != "weight" and (
        step.weights.numel() > LARGEST_WHOLE or len(shape) > 2 or (len(shape) == 2) != (whole == "matrix")
    ):
        return None

    def part(value: Any, entry: StateEntry | None = None) -> Any:
        if entry is not None and entry.scalar:
            return float(value)
        if not hasattr(value, "expand"):
            value = step.weights.new_tensor(value)
        value = value.detach().to(device="cpu").expand(shape)
        return value if whole != "weight" else value.reshape(-1)[place : place + 1]

    keyed = {entry.key: entry for entry in entries}
    return replace(
        step,
        weights=part(step.weights),
        gradient=part(step.gradient),
        before={k: part(v, keyed[k]) for k, v in step.before.items() if k in keyed},
        after={k: part(v, keyed[k]) for k, v in step.after.items() if k in keyed},
    )


def _all_settings(step: TakenStep) -> dict[str, Any]:
    defaults = {parameter.name: parameter.default for parameter in step.rule.parameters}
    given = {name: value for name, value in step.settings.items() if name in defaults}
    return {**defaults, **given, **step.rule.fixed}


@dataclass
class _Observation(Evaluation):
    """An evaluation that takes what was seen in the place of what a line gives.

    Attributes:
        observed: the last value of some symbols, as it was seen.
        assignments: how often each symbol is assigned.
        unknown: the symbols whose values rest on something that is not known.
        results: each line that acted, with its value; None where that is not known.
    """

    observed: Mapping[str, Value] = field(default_factory=dict)
    assignments: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    results: list[Value | None] = field(default_factory=list)
    unknown_before: list[frozenset[str]] = field(default_factory=list)
    weights_symbol: str = ""

    def _assign(self, assignment: Assignment, iteration: int) -> None:
        self.unknown_before.append(frozenset(self.unknown))
        super()._assign(assignment, iteration)
        symbol = assignment.symbol
        made = sum(line.assignment.symbol == symbol for line in self.executed)
        if symbol in self.observed and made == self.assignments[symbol]:
            self.values[symbol] = self.mixtures[symbol] = self.observed[symbol]
            self.unknown.discard(symbol)
        elif any(case.branch.names & self.unknown for case in self.executed[-1].cases):
            self.unknown.add(symbol)
        else:
            self.unknown.discard(symbol)
        self.results.append(None if symbol in self.unknown else self.values[symbol])

    @property
    def weights(self) -> Value:
        """The weights after the step."""
        return self.values[self.weights_symbol]

    @property
    def weights_unknown(self) -> bool:
        """Whether they rest on something that is not known."""
        return self.weights_symbol in self.unknown

    def first_broken(self, *, of_state: bool) -> tuple[_ActedLine, ast.expr] | None:
        """Return the first line whose value is not finite, and the innermost part of it that is not.

        Args:
            of_state: whether only the state is not finite, so that no other line is to blame.
        """
        for line, result, unknown in zip(self.executed, self.results, self.unknown_before, strict=True):
            if result is None or _is_finite(result):
                continue
            if of_state and line.assignment.symbol not in self.observed:
                continue
            (case,) = line.cases
            acted = _ActedLine(line.assignment, case)
            part = acted.innermost(unknown)
            return None if part is None else (acted, part)
        return None


def _evaluated(step: TakenStep, observed: Mapping[str, Any], *, starts_anew: bool = False) -> _Observation:
    """Return the evaluation of a step at one weight, with state after it as it was observed.

    With `starts_anew`, state that is not known is as before step 1.
    """
    rule, settings = step.rule, _all_settings(step)
    body = parse(rule.function, tuple(rule.fixed.items()))
    w, g, t, *symbols = body.arguments
    weights = step.weights
    if weights.dtype.itemsize == 2 and "bfloat16" in called(rule):
        weights = weights.float()  # it computes in bfloat16, whose range is that of float32
    values = {**settings, w: weights, g: step.gradient.to(weights.dtype), t: step.number}
    unknown = set()
    for entry, symbol in zip(rule.state, symbols, strict=True):
        if not entry.exists(settings):
            values[symbol] = None
        elif entry.key in step.before:
            values[symbol] = _cast(step.before[entry.key], weights.dtype)
        elif step.number == 1 or starts_anew:
            initial = float(entry.initial_value(settings))
            values[symbol] = initial if entry.scalar else weights.new_full(weights.shape, initial)
        elif entry.scalar and (replayed := _replayed(step, entry)) is not None:
            values[symbol] = replayed
        else:
            values[symbol] = math.nan if entry.scalar else weights.new_full(weights.shape, math.nan)
            unknown.add(symbol)
    returned, *after = body.returned
    kept = {entry.key: symbol for entry, symbol in zip(rule.state, after, strict=True)}
    seen = {kept[key]: _cast(value, weights.dtype) for key, value in observed.items()}

    def evaluation(assignments: Counter[str], observed: Mapping[str, Value]) -> _Observation:
        made = _Observation(
            dict(values),
            {},
            set(),
            lambda: weights,
            observed=observed,
            assignments=assignments,
            unknown=set(unknown),
            weights_symbol=returned,
        )
        made.run(body.statements)
        return made

    counted = Counter(line.assignment.symbol for line in evaluation(Counter(), {}).executed)
    return evaluation(counted, seen)


def _replayed(step: TakenStep, entry: StateEntry) -> float | None:
    """Return a number that a rule keeps and that follows from the step's number alone, as before a step."""
    rule, settings = step.rule, _all_settings(step)
    state = rule.initial_state(settings)
    _, *made = rule(0.0, 0.0, step.number - 1, *state, **settings)
    value = made[rule.state.index(entry)]
    return value if isinstance(value, float) else None


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if hasattr(value, "to") else value


def _is_finite(value: Value) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return value is None or math.isfinite(value)
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return bool(value.isfinite().all())


@dataclass(frozen=True, slots=True)
class _ActedLine:
    """A line of a rule, and what it did in one step."""

    assignment: Assignment
    case: Case

    def value_of(self, node: ast.expr) -> Value:
        """Return what a part of the line gives."""
        calculation = compile_expression(node)
        return calculation.evaluate([self.operand(leaf) for leaf in calculation.leaves])

    def operand(self, wanted: Leaf) -> Value:
        leaves = self.case.branch.calculation.leaves
        return next(
            value
            for leaf, value in zip(leaves, self.case.operands, strict=True)
            if (leaf.name, leaf.fact) == (wanted.name, wanted.fact)
        )

    def formula(self, node: ast.expr) -> str:
        return write_names(node, UNICODE, self.assignment.hyperparameters)

    def filled(self, node: ast.expr, place: int) -> str:
        """Return a part of the line with the numbers of one weight put in."""
        texts: list[str] = []

        def leaf(inner: ast.expr, whole: bool) -> int | None:
            if (found := leaf_of(inner, whole)) is None:
                return None
            value = self.operand(found)
            is_given = found.name in self.assignment.hyperparameters or found.fact
            texts.append(show(value) if is_given else UNICODE.number(f"{_at_place(value, place):.3g}"))
            return len(texts) - 1

        return write(node, UNICODE, leaf).fill(texts)

    def innermost(self, unknown: frozenset[str]) -> ast.expr | None:
        """Return the part that is not finite though its own parts are; None if there is none.

        Args:
            unknown: the symbols whose values are not known.
        """

        def search(node: ast.expr) -> ast.expr | None:
            if leaf_of(node, False) is not None or isinstance(node, ast.Constant):
                return None
            for part in _parts(node):
                if (found := search(part)) is not None:
                    return found
            return None if names_in(node) & unknown or _is_finite(self.value_of(node)) else node

        return search(self.case.branch.node)


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.expr) and not (isinstance(node, ast.Call) and part is node.func):
            yield part


def _cause(
    line: _ActedLine, part: ast.expr, definitions: Mapping[str, _ActedLine], dtype: str, *, is_nan: bool
) -> str:
    """Return the clause that names a line and the operation in it that gives no finite number."""
    named = f"the line {UNICODE.symbol(line.assignment.symbol)} = {line.case.branch.formula(UNICODE)}"
    value = line.value_of(part)
    place = _broken_place(value)
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div):
        numerator, denominator = (_at_place(line.value_of(each), place) for each in (part.left, part.right))
        if denominator == 0:
            # a numerator may be 0 here and not in torch, which rounds less often: what it made decides
            divided = "0 by 0" if is_nan and numerator == 0 else "by 0"
            zeros = listed(list(_zeros(part.right, line, definitions, dtype)))
            return f"{named} divides {divided} in {dtype}: {zeros}"
    equation = f"{line.formula(part)} = {line.filled(part, place)}"
    if math.isnan(_at_place(value, place)):
        return f"in {named}, {equation} is not a number"
    return f"in {named}, {equation} is beyond {_largest(dtype)}, the largest number of {dtype}"


def _zeros(
    node: ast.expr, line: _ActedLine, definitions: Mapping[str, _ActedLine], dtype: str
) -> Iterator[str]:
    """Yield why an expression that is never negative is zero: which of its terms are, in this dtype."""
    hyperparameters = line.assignment.hyperparameters
    match node:
        case ast.BinOp(left, ast.Add(), right):
            yield from _zeros(left, line, definitions, dtype)
            yield from _zeros(right, line, definitions, dtype)
        case ast.Call(ast.Name(name), parts) if FUNCTIONS[name].vanishes and not _is_one_symbol(parts):
            for part in parts:
                yield from _zeros(part, line, definitions, dtype)
        case ast.Name(name) if name in hyperparameters and line.value_of(node) != 0:
            yield f"{name} = {show(line.value_of(node))} is 0 in {dtype}"
        case ast.Name(name) if name in definitions and "eps" in names_in(definitions[name].case.branch.node):
            defined = definitions[name]
            others = {symbol: each for symbol, each in definitions.items() if symbol != name}
            yield from _zeros(defined.case.branch.node, defined, others, dtype)
        case _:
            yield f"{line.formula(node)} is 0"


def _is_one_symbol(arguments: list[ast.expr]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], ast.Name)


def _broken_place(value: Value) -> int:
    """Return the flat index of the first number of a value that is not finite."""
    return int((~value.isfinite()).reshape(-1).int().argmax()) if hasattr(value, "isfinite") else 0


def _at_place(value: Value, place: int) -> float:
    """Return the number of a value at a flat index; that of one number for all, whatever the index."""
    if isinstance(value, bool | int | float):
        return float(value)
    return float(value.reshape(-1)[place if value.numel() > 1 else 0])


def _largest(dtype: str) -> str:
    import torch

    return f"{torch.finfo(getattr(torch, dtype)).max:.6g}"


def _remedies(step: TakenStep) -> Iterator[str]:
    """Yield the usual remedies with which a step at one weight is finite."""
    import torch

    settings, dtype = _all_settings(step), step.weights.dtype
    tiniest = torch.finfo(dtype).tiny
    defaults = {parameter.name: parameter.default for parameter in step.rule.parameters}
    eps = settings.get("eps")
    if isinstance(eps, float):
        usual = defaults["eps"] if defaults["eps"] >= tiniest else 10.0 ** math.ceil(math.log10(tiniest))
        if usual > eps and _stays_finite(_with(step, eps=usual)):
            yield f"raise eps to {usual:g}"
    lr = settings.get("lr")
    if isinstance(lr, float) and (lower := _lower_lr(step, lr)) is not None:
        yield f"lower the lr ({lr:g}; at {lower:g} this step is finite)"
    largest = float(step.gradient.abs().max())
    if largest > 1 and _stays_finite(replace(step, gradient=step.gradient / largest), 1.0):
        yield "clip the gradient"
    if dtype.itemsize == 2:
        wide = replace(step, weights=step.weights.float(), gradient=step.gradient.float())
        if _stays_finite(wide):
            yield "keep weights and state in float32"


def _with(step: TakenStep, **settings: Any) -> TakenStep:
    return replace(step, settings={**step.settings, **settings})


def _lower_lr(step: TakenStep, lr: float) -> float | None:
    """Return the largest lr, of those tried, at which a step moves a weight by its size, or 1, at most."""
    least, lower = USUAL_LRS
    farthest = max(1.0, float(step.weights.abs().max()))
    while lower >= least:
        if lower < lr and _stays_finite(_with(step, lr=lower), farthest):
            return lower
        lower = float(f"{lower / 10:.0e}")
    return None


def _stays_finite(step: TakenStep, farthest: float = math.inf) -> bool:
    """Return whether a step at one weight gives finite numbers, and moves the weight by so much at most.

    State that is not finite is not what the changed step would have left: it is computed from the start.
    """
    for observed, starts_anew in ((step.after, False), ({}, True)):
        made = _evaluated(step, observed, starts_anew=starts_anew)
        state = parse(step.rule.function, tuple(step.rule.fixed.items())).returned[1:]
        if made.weights_unknown or not all(_is_finite(made.values[symbol]) for symbol in state):
            continue
        if _is_finite(made.weights):
            return float((made.weights - step.weights).abs().max()) <= farthest
    return False
