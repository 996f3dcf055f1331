"""A rule that is read, and the explanation of one of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optitrace.errors import UsageError
from optitrace.rules.hyperparameter import has_no
from optitrace.rules.reader.assignments import Assignment
from optitrace.rules.reader.evaluation import Evaluation, RoundedEvaluation
from optitrace.rules.reader.lines import RuleLine, Style, Values, View, plain_values
from optitrace.rules.reader.notation import UNICODE, Spelling, write_names
from optitrace.rules.reader.parts import (
    DECAY,
    DECAY_RATES,
    GRADIENT,
    MEMORIES,
    WEIGHTS,
    Mixture,
    Part,
    change,
)
from optitrace.rules.reader.statements import Body, Guard, Loop, Statement, Unpacking, parse
from optitrace.rules.rule import Rule, StateEntry


@dataclass(frozen=True, slots=True)
class StepExplanation:
    """One step of a rule in numbers; all but the lines are whole, whichever coordinate is followed.

    Attributes:
        lines: the lines that acted, in the rule's order.
        weights: the weights after the step, in the form that they were given in.
        state: the state after the step, by torch's names.
        parts: what the weight change is the sum of, without parts that are zero.
    """

    lines: tuple[RuleLine, ...]
    weights: Values
    state: Mapping[str, Values]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A rule, read.

    Attributes:
        rule: the rule.
        body: its function, taken apart.
        defaults: the rule's hyperparameters where none are given.
    """

    rule: Rule
    body: Body
    defaults: Mapping[str, Any]

    def formulas(self, spelling: Spelling = UNICODE) -> tuple[str, ...]:
        r"""Return the rule as mathematics, a line for each of its lines.

        >>> from optitrace.rules.families.gradient_descent import sgd
        >>> print("\n".join(read(sgd).formulas()))
        if maximize: g = −g
        if weight_decay: g = g + weight_decay·w
        if momentum:
            b = g if t = 1 else momentum·b + (1 − dampening)·g
            g = g + momentum·b if nesterov else b
        w = w − lr·g
        """
        return tuple(_formulas(self.body.statements, spelling, self.body.hyperparameters))

    def explain(
        self,
        w: Any,
        g: Any,
        t: int,
        state: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        *,
        precision: int = 4,
        coordinate: int | None = None,
        spelling: Spelling = UNICODE,
        dtype: str = "float64",
    ) -> StepExplanation:
        """Evaluate one step line by line, in float64.

        Args:
            w: the weights before the step: a number, a sequence of them, or the rows of a matrix. Where
                the rule is about a matrix, a sequence is its only row; where it is not, rows are put
                one after the other.
            g: the gradient, in the same form.
            t: the step's number, from 1.
            state: the state before the step, by torch's names; what is not in it has its initial value.
            hyperparameters: the settings, by torch's names; what is not in them has the rule's default.
            precision: the number of decimals.
            coordinate: the coordinate, from 1, that the lines follow; None for all.
            spelling: the signs that formulas are written in.
            dtype: the dtype of the experiment, for rules that ask for its machine epsilon.

        Raises:
            UsageError: a coordinate or a hyperparameter that there is not.
        """
        weights, settings = self._given(w), self._settings(hyperparameters)
        evaluation = self._evaluation(weights, self._given(g), t, state, settings, dtype)
        evaluation.run(self.body.statements)
        symbol, kept = self.body.returned[0], self._kept(settings)
        view = self._view(Style(precision, spelling), coordinate, weights)
        lines = view.lines(evaluation.executed, [symbol, *kept.values()], symbol)
        return StepExplanation(
            tuple(lines),
            plain_values(evaluation.values[symbol]),
            {e.key: plain_values(_formed(evaluation.values[n], e, weights)) for e, n in kept.items()},
            tuple(_parts(weights, evaluation.mixtures[symbol])),
        )

    def results(
        self,
        w: Any,
        g: Any,
        t: int,
        state: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        *,
        dtype: str,
        nearest: Callable[[float], float],
    ) -> tuple[tuple[float, ...], Mapping[str, tuple[float, ...]]]:
        """Return the weights and the state after a step, each coordinate after the other.

        Args:
            w: this and the others, see `explain`.
            g: the gradient.
            t: the step's number.
            state: the state before the step.
            hyperparameters: the settings.
            dtype: the dtype of the experiment.
            nearest: rounds a number to it, as is done with what each line gives.
        """
        settings = self._settings(hyperparameters)
        exact = self._evaluation(self._given(w), self._given(g), t, state, settings, dtype)
        evaluation = RoundedEvaluation(
            exact.values, exact.mixtures, exact.typed, exact.specimen, nearest=nearest
        )
        evaluation.run(self.body.statements)

        def numbers(symbol: str) -> tuple[float, ...]:
            return tuple(_flat((plain_values(evaluation.values[symbol]),)))

        kept = {entry.key: numbers(symbol) for entry, symbol in self._kept(settings).items()}
        return numbers(self.body.returned[0]), kept

    def _kept(self, settings: Mapping[str, Any]) -> dict[StateEntry, str]:
        """Return the symbols of the state after a step, by the entries that there are."""
        entries = zip(self.rule.state, self.body.returned[1:], strict=True)
        return {entry: symbol for entry, symbol in entries if entry.exists(settings)}

    def _view(self, style: Style, coordinate: int | None, weights: Any) -> View:
        """Return how the lines are to be shown."""
        followed = None if coordinate is None else self._position(coordinate, weights)
        return View(style, followed, tuple(weights.shape) if self.body.is_of_matrices else ())

    def _settings(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        for name in hyperparameters:
            if name not in self.defaults and name not in self.rule.fixed:
                raise UsageError(has_no(self.rule.name, name, self.defaults))
        return {**self.defaults, **hyperparameters, **self.rule.fixed}

    def _evaluation(
        self, w: Any, g: Any, t: int, state: Mapping[str, Any], settings: Mapping[str, Any], dtype: str
    ) -> Evaluation:
        w_symbol, g_symbol, t_symbol, *_ = self.body.arguments
        values = {**settings, w_symbol: w, g_symbol: g, t_symbol: t}
        mixtures = {w_symbol: _mixed(WEIGHTS, w), g_symbol: _mixed(GRADIENT, g)}
        mixtures |= {n: _mixed(DECAY, settings[n]) for n in DECAY_RATES if n in settings}
        for entry in self.rule.state:
            if not entry.exists(settings):
                values[entry.symbol] = None
                continue
            given = state.get(entry.key, entry.initial_value(settings))
            values[entry.symbol] = float(given) if entry.scalar else _formed(self._given(given), entry, w)
            if entry.key in MEMORIES:
                mixtures[entry.symbol] = _mixed(MEMORIES[entry.key], values[entry.symbol])
        return Evaluation(values, mixtures, {*settings, t_symbol}, partial(self._specimen, w, dtype))

    def _given(self, value: Any) -> Any:
        """Return given numbers as the evaluation wants them."""
        numbers = value.tolist() if hasattr(value, "tolist") else value
        if not self.body.is_of_matrices:
            return float(numbers) if isinstance(numbers, float | int) else tuple(_flat(numbers))
        import torch

        matrix = torch.tensor(numbers, dtype=torch.float64)
        return matrix if matrix.dim() == 2 else matrix.reshape(1, -1)

    def _specimen(self, w: Any, dtype: str) -> Any:
        """Return something of the weights' shape and of a dtype."""
        if dtype == "float64":
            return w if self.body.is_of_matrices else 0.0
        import torch

        return torch.empty(w.shape if self.body.is_of_matrices else (), dtype=getattr(torch, dtype))

    def _position(self, coordinate: int, w: Any) -> int:
        size = w.numel() if self.body.is_of_matrices else len(w) if isinstance(w, tuple) else 1
        if not 1 <= coordinate <= size:
            raise UsageError(f"there is no coordinate {coordinate}; the weights have 1 to {size}.")
        return coordinate - 1


def read(rule: Rule) -> Reading:
    """Read a rule; its function is taken apart once.

    Raises:
        UsageError: it contains something that cannot be read, or keeps rows or columns of no matrix.
    """
    defaults = {parameter.name: parameter.default for parameter in rule.parameters}
    body = parse(rule.function, tuple(rule.fixed.items()))
    for entry in rule.state:
        if entry.is_of_matrices and not body.is_of_matrices:
            raise UsageError(
                f"{rule.name} keeps {entry.key} in the shape {entry.shape}, which only a matrix has; "
                f"annotate the weights, {body.arguments[0]}: Matrix, with optitrace.functions.Matrix."
            )
    return Reading(rule, body, defaults)


def _flat(values: Any) -> Iterator[float]:
    for value in values:
        if isinstance(value, float | int):
            yield float(value)
        else:
            yield from _flat(value)


def _formed(value: Any, entry: StateEntry, w: Any) -> Any:
    """Return a state entry in its own shape, where one number was given for all or all in a row."""
    if entry.scalar or isinstance(w, float):
        return value
    if isinstance(w, tuple):
        return value if isinstance(value, tuple) else (value,) * len(w)
    shape = entry.dimensions(w.shape)
    return value.expand(shape) if value.numel() == 1 else value.reshape(shape)


def _mixed(name: str, value: Any) -> Any:
    return tuple(Mixture.of(name, v) for v in value) if isinstance(value, tuple) else Mixture.of(name, value)


def _parts(before: Any, after: Any) -> Iterator[Part]:
    several = isinstance(before, tuple)
    named = change(before, after) if several else change((before,), (after,))
    for name, values in named.items():
        value = plain_values(values if several else values[0])
        if any(_flat((value,))):
            yield Part(name, value)


def _formulas(statements: Sequence[Statement], spelling: Spelling, kept: Iterable[str]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case Assignment(symbol, node):
                yield f"{spelling.symbol(symbol)} = {write_names(node, spelling, kept)}"
            case Unpacking(symbols, source, function):
                given = f"{function}({source})" if function else source
                yield f"{', '.join(map(spelling.symbol, symbols))} = {given}"
            case Guard(node, _, then, otherwise):
                condition = write_names(node, spelling, kept)
                yield from _block(f"if {condition}:", list(_formulas(then, spelling, kept)))
                if otherwise:
                    yield from _block("else:", list(_formulas(otherwise, spelling, kept)))
            case Loop(count, inner):
                yield from _block(f"repeat {count} times:", list(_formulas(inner, spelling, kept)))


def _block(head: str, lines: list[str]) -> Iterator[str]:
    if len(lines) == 1:
        yield f"{head} {lines[0]}"
        return
    yield head
    yield from (f"    {line}" for line in lines)
