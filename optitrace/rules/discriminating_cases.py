"""The settings, weights and gradients under which a wrong rule cannot pass for a right one.

At default hyperparameters most mistakes change nothing that can be seen: a weight decay that is zero
may stand anywhere, an eps of 1e-8 may stand inside the root or outside. So settings are taken from what the
rule's signature allows, each boolean both ways and each number at its default and at others, and of these
the few that together show every mistake that can be derived from the rule.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin

from optitrace.functions import Extent
from optitrace.rules.mistake_derivation import mistakes_of
from optitrace.rules.mistakes import Mistake, damaged_function
from optitrace.rules.rule import Rule, RuleFunction, takes_matrices
from optitrace.rules.rule_anatomy import conjuncts, names_in
from optitrace.rules.source_patching import definition, extent

STEPS = 50
"""How many steps are taken: enough to pass RAdam's warm-up and every t0 and clamp of the cases."""

VECTOR = (4,)
"""The shape of the weights where a rule takes a vector."""

MATRICES = ((1, 4), (4, 1), (2, 3), (3, 2))
"""The shapes of the weights where a rule takes a matrix: a row, a column, a wide one and a tall one."""

LR = 0.1
"""The learning rate of most cases; a default of 1 would hide what it multiplies."""

VISIBLE: Mapping[str, float] = {"float32": 1e-5, "float64": 1e-9}
"""The relative error of one step that shows a mistake in a dtype."""

MOST_PAIRS = 60
"""How many settings are tried in which two hyperparameters differ from the telling ones."""

PATIENCE: Mapping[Extent, int] = {"weight": 64, "vector": 24, "matrix": 24}
"""After how many settings in a row that show no further mistake none is looked for, by what a rule takes."""

Settings: TypeAlias = Mapping[str, Any]

Inputs: TypeAlias = tuple[Any, ...]
"""The positional arguments of a rule in one step."""

_COORDINATES = (0, 2)
"""Which of four weights are looked at, where each moves by itself: a slow gradient, and a quick one."""

_STEPS_OF_NUMBERS = (*range(1, 17), 20, 25, 33, 50)
_STEPS_OF_TENSORS = (1, 2, 5)
"""The steps that are looked at."""

_MATRICES = MATRICES[2:]
"""The shapes of the matrices that are looked at."""


def cases_of(rule: Rule, accepts: Callable[[Settings], bool] | None = None) -> tuple[Settings, ...]:
    """Return hyperparameters that tell a rule from a wrong one; what is not named has the default.

    The first are the defaults with another lr.

    Args:
        rule: the rule.
        accepts: tells whether a class takes hyperparameters; that of torch is asked if none is given.
    """
    return _cases_of_torch(rule) if accepts is None else _choose(rule, accepts)


def shapes_of(rule: Rule) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the weights that a rule is tried on."""
    return MATRICES if takes_matrices(rule.function) else (VECTOR,)


def start(size: int) -> list[float]:
    """Return `size` weights of both signs and of different sizes."""
    return [2.0 * math.cos(2.4 * i) for i in range(size)]


def gradient(step: int, size: int) -> list[float]:
    """Return the gradient of a step, the same for every rule.

    It belongs to a loss that is linear in the weights, with coefficients that change from step to
    step: in sign, slowly for one weight and quickly for another; in scale, by a factor of a hundred;
    and one weight in five has none. As it does not depend on the weights, no error feeds on itself.
    """
    scale = 10.0 ** math.sin(0.3 * step)
    return [0.0 if (step + i) % 5 == 0 else scale * math.cos((0.1 + 0.7 * i) * step + i) for i in range(size)]


@cache
def damaged_functions(rule: Rule) -> tuple[tuple[Mistake, RuleFunction], ...]:
    """Return the mistakes of a rule, each with the function that makes it."""
    return tuple((mistake, damaged_function(rule, mistake)) for mistake in mistakes_of(rule))


@cache
def distinct_mistakes(rule: Rule) -> tuple[Mistake, ...]:
    """Return the mistakes of a rule that have an effect in its cases, and no two the same."""
    seen = {effect_of(rule, rule.function)}
    distinct = []
    for mistake, function in damaged_functions(rule):
        if (effect := effect_of(rule, function)) not in seen:
            seen.add(effect)
            distinct.append(mistake)
    return tuple(distinct)


def effect_of(rule: Rule, function: RuleFunction) -> str:
    """Return what a function makes of the inputs of a rule in its cases, to nine digits."""
    results = []
    for trial in _trials(rule):
        for inputs, _ in trial.steps:
            try:
                results.append(_digits(function(*inputs, **trial.hyperparameters)))
            except Exception as error:  # a damaged rule can fail in any way
                results.append(type(error).__name__)
    return " ".join(results)


@cache
def _trials(rule: Rule) -> tuple[_Trial, ...]:
    return tuple(filter(None, (_trial(rule, settings) for settings in cases_of(rule))))


@cache
def _cases_of_torch(rule: Rule) -> tuple[Settings, ...]:
    return _choose(rule, lambda settings: _torch_accepts(rule, settings))


def _torch_accepts(rule: Rule, settings: Settings) -> bool:
    """Return whether the class of torch, where there is one, can be made with hyperparameters."""
    if rule.torch is None:
        return True
    import torch

    optimizer_class = getattr(torch.optim, rule.torch.name, None)
    if optimizer_class is None:
        return True
    try:
        optimizer_class([torch.zeros(2, 2, requires_grad=True)], **settings)
    except Exception:
        return False
    return True


def _choose(rule: Rule, accepts: Callable[[Settings], bool]) -> tuple[Settings, ...]:
    pool = list(_pool(rule, accepts))
    unseen = {dtype: dict(damaged_functions(rule)) for dtype in VISIBLE}
    not_taken = frozenset().union(*(_branches_taken(rule, settings) for settings in pool))
    useful: list[_Trial] = []
    idle, patience = 0, PATIENCE[extent(rule)]
    for settings in pool:
        taken = not_taken & _branches_taken(rule, settings)
        hidden = {m: f for each in unseen.values() for m, f in each.items() if idle < patience}
        if not (hidden or taken) or (trial := _trial(rule, settings)) is None:
            continue
        shown = {mistake: trial.dtypes_showing(function) for mistake, function in hidden.items()}
        news = [(m, dtype) for m, dtypes in shown.items() for dtype in dtypes if m in unseen[dtype]]
        for mistake, dtype in news:
            del unseen[dtype][mistake]
        if taken or news or not useful:
            useful.append(trial)
        idle = 0 if news else idle + 1
        not_taken -= taken
    return tuple(trial.settings for trial in _fewest(rule, useful))


def _fewest(rule: Rule, trials: Sequence[_Trial]) -> Iterator[_Trial]:
    """Yield the first trial, and of the others as few as show all that all of them show."""
    shown: dict[_Trial, set[object]] = {}
    for trial in trials:
        shown[trial] = {*_branches_taken(rule, trial.settings)}
        for mistake, function in damaged_functions(rule):
            shown[trial] |= {(mistake, dtype) for dtype in trial.dtypes_showing(function)}
    missing = set().union(*shown.values())
    while missing:
        best = max(shown, key=lambda trial: (trial is trials[0], len(shown[trial] & missing)))
        yield best
        missing -= shown.pop(best)


@cache
def _conditions(rule: Rule) -> tuple[ast.expr, ...]:
    """Return the conditions in a rule that its hyperparameters decide."""
    names = {parameter.name for parameter in rule.parameters}
    nodes = ast.walk(definition(rule.function))
    tests = [node.test for node in nodes if isinstance(node, ast.If | ast.IfExp)]
    parts = [part for test in tests for part in conjuncts(test)]
    return tuple(part for part in parts if names_in(part) and names_in(part) <= names)


def _branches_taken(rule: Rule, settings: Settings) -> frozenset[tuple[str, bool]]:
    """Return how the conditions turn out that hyperparameters decide."""
    values = {**{parameter.name: parameter.default for parameter in rule.parameters}, **settings}
    sources = map(ast.unparse, _conditions(rule))
    return frozenset((source, bool(eval(source, {}, values))) for source in sources)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A rule under some settings, and what it makes of the inputs that it then has.

    Attributes:
        settings: the hyperparameters that are not the rule's defaults.
        hyperparameters: all of them.
        steps: the inputs of each step that is looked at, and the weights and state after it.
    """

    settings: Settings
    hyperparameters: Settings
    steps: tuple[tuple[Inputs, Inputs], ...]

    def dtypes_showing(self, function: RuleFunction) -> list[str]:
        """Return the dtypes in which an error of another function in one step can be seen."""
        worst = 0.0
        try:
            for inputs, expected in self.steps:
                worst = max(worst, _error(inputs, expected, function(*inputs, **self.hyperparameters)))
                if worst > max(VISIBLE.values()):
                    break
        except Exception:  # a damaged rule can fail in any way
            worst = math.inf
        return [dtype for dtype, least in VISIBLE.items() if worst > least]


def _trial(rule: Rule, settings: Settings) -> _Trial | None:
    """Return the trial of settings; None if the rule's numbers do not stay finite."""
    offered = {parameter.name: parameter.default for parameter in rule.parameters}
    hyperparameters = {**offered, **settings, **rule.fixed}
    steps: list[tuple[Inputs, Inputs]] = []
    is_of_numbers = extent(rule) == "weight"
    looked_at = _STEPS_OF_NUMBERS if is_of_numbers else _STEPS_OF_TENSORS
    for first, gradients in _courses_of_numbers() if is_of_numbers else _courses_of_tensors(rule):
        after: Inputs = (first, *rule.initial_state(hyperparameters))
        try:
            for t in range(1, looked_at[-1] + 1):
                inputs = (after[0], gradients(t), t, *after[1:])
                after = rule.function(*inputs, **hyperparameters)
                if t in looked_at:
                    steps.append((inputs, after))
        except ArithmeticError:
            return None
        if not all(value is None or _is_finite(value) for value in after):
            return None
    return _Trial(settings, hyperparameters, tuple(steps))


def _courses_of_numbers() -> Iterator[tuple[float, Callable[[int], float]]]:
    [size] = VECTOR
    for coordinate in _COORDINATES:
        yield start(size)[coordinate], lambda t, coordinate=coordinate: gradient(t, size)[coordinate]  # type: ignore[misc]


def _courses_of_tensors(rule: Rule) -> Iterator[tuple[Any, Callable[[int], Any]]]:
    import torch

    def tensor(numbers: Sequence[float], shape: tuple[int, ...]) -> Any:
        return torch.tensor(numbers, dtype=torch.float64).reshape(shape)

    for shape in _MATRICES if takes_matrices(rule.function) else (VECTOR,):
        size = math.prod(shape)
        yield tensor(start(size), shape), lambda t, s=shape, n=size: tensor(gradient(t, n), s)  # type: ignore[misc]


def _is_finite(value: Any) -> bool:
    return math.isfinite(value) if isinstance(value, float | int) else bool(value.isfinite().all())


def _error(inputs: Inputs, expected: Inputs, found: Inputs) -> float:
    """Return the largest error in weights and state, relative to what they are before and after the step."""
    worst = 0.0
    for old, right, wrong in zip((inputs[0], *inputs[3:]), expected, found, strict=True):
        if right is wrong:
            continue
        distance, scale = abs(right - wrong), abs(old) + abs(right)
        if not isinstance(distance, float | int):
            if bool(distance.isnan().any()):
                return math.inf
            worst = max(worst, float((distance / scale).nan_to_num(0.0).max()))
        elif math.isnan(distance) or (distance and not scale):
            return math.inf
        elif distance:
            worst = max(worst, distance / scale)
    return worst


def _digits(values: Inputs) -> str:
    return " ".join(
        "-" if value is None else f"{value:.8e}" if isinstance(value, float | int) else _digits_of(value)
        for value in values
    )


def _digits_of(tensor: Any) -> str:
    return " ".join(f"{number:.8e}" for number in tensor.flatten().tolist())


@dataclass(frozen=True, slots=True)
class _Slot:
    """One number or one choice in the settings.

    Attributes:
        name: of the hyperparameter.
        place: of the number in it; None if it is one.
        telling: the value that it has in telling settings.
        others: other values that it can have.
        is_switch: whether it is a choice.
    """

    name: str
    place: int | None
    telling: Any
    others: tuple[Any, ...]
    is_switch: bool = False

    def put(self, settings: Settings, value: Any) -> dict[str, Any]:
        """Return settings with a value here."""
        if self.place is None:
            return {**settings, self.name: value}
        numbers = settings[self.name]
        return {**settings, self.name: (*numbers[: self.place], value, *numbers[self.place + 1 :])}


def _pool(rule: Rule, accepts: Callable[[Settings], bool]) -> Iterator[Settings]:
    """Yield settings, the most telling first."""
    defaults = {p.name: LR if p.name == "lr" else p.default for p in rule.parameters}
    offered = {p.name: p.default for p in rule.parameters}
    slots = list(_slots(rule))

    def given(settings: Settings) -> dict[str, Any]:
        return {n: v for n, v in settings.items() if n == "lr" or v != offered[n]}

    telling: dict[str, Any] = dict(defaults)
    for slot in slots:
        values = (slot.telling, *slot.others)
        usable = (v for v in values if accepts(given(slot.put(defaults, v))))
        telling = slot.put(telling, next(usable, _default(offered, slot)))
    switched = dict(telling)
    for slot in slots:
        if slot.is_switch and slot.others:
            switched = slot.put(switched, slot.others[0])
    bases = [telling, switched] if accepts(given(telling)) else [defaults]
    ranked = [(rank, slot, value) for slot in slots for rank, value in enumerate(slot.others)]
    moves = [(slot, value) for _, slot, value in sorted(ranked, key=lambda each: each[0])]
    pairs = [(one, two) for one, two in combinations(moves, 2) if one[0] is not two[0]]
    pool = [defaults, *bases]
    pool += [slot.put(base, value) for base in bases for slot, value in moves]
    every = max(1, -(-len(pairs) // MOST_PAIRS))
    pool += [two[0].put(one[0].put(bases[0], one[1]), two[1]) for one, two in pairs[::every]]
    seen: list[dict[str, Any]] = []
    for settings in map(given, pool):
        if settings not in seen and accepts(settings):
            seen.append(settings)
            yield settings


def _default(offered: Settings, slot: _Slot) -> Any:
    value = offered[slot.name]
    return value if slot.place is None else value[slot.place]


def _slots(rule: Rule) -> Iterator[_Slot]:
    switches = {part.id for part in _conditions(rule) if isinstance(part, ast.Name)}
    for number, parameter in enumerate(rule.parameters):
        name, value, kind = parameter.name, parameter.default, parameter.annotation
        if name == "lr":
            yield _Slot(name, None, LR, (1.0, 1e-3))
        elif isinstance(value, tuple):
            for place, (part, member) in enumerate(zip(value, get_args(kind), strict=True)):
                yield _slot(name, place, part, member, number + place)
        else:
            slot = _slot(name, None, value, kind, number)
            is_off = name in switches and not slot.is_switch and 0.0 not in slot.others
            yield replace(slot, others=(*slot.others, type(value)(0))) if is_off else slot


def _slot(name: str, place: int | None, value: Any, kind: Any, number: int) -> _Slot:
    if isinstance(value, bool):
        return _Slot(name, place, value, (not value,), is_switch=True)
    members = get_args(kind)
    words = [word for each in (kind, *members) if get_origin(each) is Literal for word in get_args(each)]
    if words:
        choices = [*words, *([None] if NoneType in members else [])]
        return _Slot(name, place, value, tuple(c for c in choices if c != value), is_switch=True)
    if value is None:
        numbers = (5, 20) if int in members else (0.02, 2.0) if float in members else ()
        return _Slot(name, place, None, numbers, is_switch=True)
    others = (None,) if NoneType in members else ()
    if isinstance(value, int):
        few, many = (3, 10) if value == 0 else (min(value, 2), value + 2)
        return _Slot(name, place, few, (value, many, *others))
    if isinstance(value, float):
        telling, *more = _numbers(value, number)
        return _Slot(name, place, telling, (*more, value, *others))
    return _Slot(name, place, value, ())


def _numbers(default: float, number: int) -> tuple[float, ...]:
    """Return numbers unlike a default, that differ from one hyperparameter to the next."""
    odd = 1.1 + 0.1 * number
    size = abs(default)
    if size == 0:
        return _rounded(0.1 * odd), 0.6
    if 0.5 < default < 1:
        return _rounded(1 - math.sqrt(1 - default)), 0.6
    if size == 1:
        return math.copysign(_rounded(0.7 + 0.01 * number), default), math.copysign(1.5, default)
    if size < 1e-2:
        return math.copysign(_rounded(0.02 * odd), default), math.copysign(_rounded(2.0 * odd), default)
    if size > 10:
        return math.copysign(10.0, default), math.copysign(0.3, default)
    return _rounded(default * (1.2 + 0.02 * number)), _rounded(default * 0.55), 10 * default


def _rounded(number: float) -> float:
    return float(f"{number:.2g}")
