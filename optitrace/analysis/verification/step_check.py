"""One step of an optimizer, checked: recomputed from its rule in float64 and compared in units of the dtype.

Every step is recomputed from the optimizer's own weights and state before it, so errors do not accumulate,
and the check is as sharp in float32 as in float64. `check_step` allows a fixed error, which suffices for
gradients that were chosen so that nothing cancels. `allow_rounding` adds what those of any training need:
where the inputs of a rule cancel, one rounding of an input is more than the fixed error of what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.verification.check import ALLOWED, STATE_ALLOWED
from optitrace.experiment.float_formats import dtype_name
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import called, extent

WEIGHTS = "weights"

COUNT = "step"
"""The state entry that counts the steps; no rule has it, as each is given the number of the step."""


@dataclass(frozen=True, slots=True)
class StepInputs:
    """The inputs of a rule in one step, and what the optimizer made of them; all tensors on the CPU.

    Attributes:
        number: of the step, from 1; a tensor of shape () to compute with its rounded value.
        weights: before the step, float64, in the shape that the rule takes.
        gradient: used by the step, float64, of the same shape.
        state: before the step, in the rule's order: float64 tensors of that shape, or numbers; None for an
            entry that does not exist.
        settings: every hyperparameter of the rule.
        after: weights, and state entries by torch's names, after the step, float64; entries that are not
            here are not compared.
        dtypes: that the optimizer keeps each of these in.
        is_capturable: whether torch computes with tensors where it otherwise has Python's numbers.
    """

    number: int | Tensor
    weights: Tensor
    gradient: Tensor
    state: tuple[Any, ...]
    settings: Mapping[str, Any]
    after: Mapping[str, Tensor]
    dtypes: Mapping[str, torch.dtype]
    is_capturable: bool = False

    def before(self, rule: Rule) -> dict[str, Any]:
        """Return the state that exists before the step, by torch's names, and the weights, in this order."""
        entries = zip(rule.state, self.state, strict=True)
        return {entry.key: value for entry, value in entries if value is not None} | {WEIGHTS: self.weights}

    def recomputed(self, rule: Rule) -> dict[str, Any]:
        """Return the weights and the state that a rule computes, by torch's names."""
        results = rule(self.weights, self.gradient, self.number, *self.state, **self.settings)
        return dict(zip((WEIGHTS, *(entry.key for entry in rule.state)), results, strict=True))


@dataclass(frozen=True, slots=True)
class CheckedQuantity:
    """The weights or a state entry after a step, compared.

    Attributes:
        expected: computed by the rule, float64.
        found: computed by the optimizer, float64, of the same shape.
        errors: their distance, in units of the optimizer's dtype.
        dtype: the optimizer's dtype.
        allowed: the largest error that rounding explains.
    """

    expected: Tensor
    found: Tensor
    errors: Tensor
    dtype: torch.dtype
    allowed: float

    @property
    def worst(self) -> float:
        """The largest error; infinite if one is NaN."""
        worst = float(self.errors.max())
        return math.inf if math.isnan(worst) else worst

    @property
    def is_wrong(self) -> Tensor:
        """Which errors are larger than allowed, or NaN."""
        return ~(self.errors <= self.allowed)

    @property
    def departs(self) -> bool:
        """Whether any error is larger than allowed."""
        return not self.worst <= self.allowed


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step, recomputed and compared.

    Attributes:
        inputs: what was recomputed.
        expected: weights and state as the rule computes them, by torch's names.
        quantities: the comparisons: of the state and, last, of the weights, which follow from it.
        note: completes the sentence "agrees only to ..." if a coarser rounding was allowed; else empty.
    """

    inputs: StepInputs
    expected: Mapping[str, Any]
    quantities: Mapping[str, CheckedQuantity]
    note: str = ""

    @property
    def departing(self) -> list[str]:
        """The quantities whose error is larger than allowed."""
        return [name for name, quantity in self.quantities.items() if quantity.departs]


def check_step(rule: Rule, inputs: StepInputs) -> CheckedStep:
    """Recompute a step and compare; the unit of an error is eps(dtype) × max(|before|, |after|)."""
    before, expected = inputs.before(rule), inputs.recomputed(rule)
    quantities = {
        name: compare(before[name], expected[name], inputs.after[name], inputs.dtypes[name], _allowed(name))
        for name in before
        if name in inputs.after
    }
    if COUNT in inputs.after:
        quantities[COUNT] = _compare_count(int(inputs.number), inputs.after[COUNT])
    return CheckedStep(inputs, expected, quantities)


def worst_error(rule: Rule, steps: Sequence[StepInputs]) -> tuple[float, float] | None:
    """Return the error of several steps that is nearest to what is allowed, and what is; None if any departs.

    This is what `check_step` finds in each of them, but all are compared at once, which is faster.
    """
    columns: dict[tuple[str, torch.dtype], list[tuple[Tensor, ...]]] = {}
    for inputs in steps:
        if COUNT in inputs.after:
            return None
        given, results = inputs.before(rule), inputs.recomputed(rule)
        for name in given.keys() & inputs.after.keys():
            result = torch.as_tensor(results[name], dtype=torch.float64).expand_as(given[name])
            row = given[name], result, inputs.after[name]
            columns.setdefault((name, inputs.dtypes[name]), []).append(tuple(map(torch.flatten, row)))
    worst = 0.0, ALLOWED
    for (name, dtype), rows in columns.items():
        before, expected, found = map(torch.cat, zip(*rows, strict=True))
        compared = compare(before, expected, found, dtype, _allowed(name))
        if compared.departs:
            return None
        worst = max(worst, (compared.worst, compared.allowed), key=lambda each: each[0] / each[1])
    return worst


def compare(before: Any, expected: Any, found: Tensor, dtype: torch.dtype, allowed: float) -> CheckedQuantity:
    """Compare a quantity after a step with what a rule computes.

    Args:
        before: the quantity before the step, a number or a tensor.
        expected: computed by the rule, a number or a tensor.
        found: computed by the optimizer, float64.
        dtype: that the optimizer keeps it in.
        allowed: the largest error, in units of eps(dtype) × max(|before|, |found|).
    """
    before, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (before, expected))
    if expected.numel() == found.numel():  # one number may come in any form
        expected = expected.reshape(found.shape)
    if not dtype.is_floating_point:
        dtype = torch.float64
    information = torch.finfo(dtype)
    scale = torch.maximum(before.abs(), found.abs()).clamp(min=information.tiny) * information.eps
    is_same = (expected == found) | (expected.isnan() & found.isnan())
    errors = torch.where(is_same, 0.0, (expected - found).abs() / scale)
    return CheckedQuantity(expected.expand_as(found), found, errors, dtype, allowed)


def numbers_in(settings: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return hyperparameters with the numbers that they stand for in a dtype of weights.

    A rule is computed in float64 whatever the dtype of the run, so the eps of Adafactor that is None, which
    stands for the dtype's machine epsilon, must be replaced here.
    """
    match settings.get("eps"):
        case (None, second):
            return {**settings, "eps": (torch.finfo(dtype).eps, second)}
    return dict(settings)


def allow_rounding(rule: Rule, checked: CheckedStep) -> CheckedStep:
    """Return a checked step in which an error is also measured in what rounding the inputs alone can cause.

    No implementation can be more exact than that. The finest rounding that explains the step is used.
    """
    quantities, note = _without_overflows(rule, checked)
    roundings = _rounding_units(rule, checked)
    while _departs(quantities) and (rounding := next(roundings, None)):
        units, note = rounding
        quantities = {n: _in_larger_units(each, units.get(n)) for n, each in quantities.items()}
    return replace(checked, quantities=quantities, note=note)


def _allowed(name: str) -> float:
    return ALLOWED if name == WEIGHTS else STATE_ALLOWED


def _compare_count(number: int, found: Tensor) -> CheckedQuantity:
    """Compare the count of steps, which must be exact."""
    expected = torch.full_like(found, number, dtype=torch.float64)
    return CheckedQuantity(expected, found.double(), (expected - found).abs(), found.dtype, 0.0)


def _departs(quantities: Mapping[str, CheckedQuantity]) -> bool:
    """Return whether weights or state depart in a way that rounding might explain."""
    return any(quantity.departs for name, quantity in quantities.items() if name != COUNT)


def _without_overflows(rule: Rule, checked: CheckedStep) -> tuple[dict[str, CheckedQuantity], str]:
    """Count as no error what is infinite or NaN in the rule, too, when computed in the weights' dtype."""
    quantities = dict(checked.quantities)
    if all(bool(each.found.isfinite().all()) for each in quantities.values()):
        return quantities, ""
    dtype = checked.inputs.dtypes[WEIGHTS]
    in_dtype = _in_dtype(checked.inputs, dtype).recomputed(rule)
    is_any = False
    for name, each in quantities.items():
        if name == COUNT:
            continue
        neither = ~(each.found.isfinite() | torch.as_tensor(in_dtype[name]).isfinite())
        is_any = is_any or bool(neither.any())
        quantities[name] = replace(each, errors=torch.where(neither, 0.0, each.errors))
    note = f"{dtype_name(dtype)}, in which a number of the rule is not finite"
    return quantities, note if is_any else ""


def _in_larger_units(quantity: CheckedQuantity, units: Tensor | None) -> CheckedQuantity:
    """Return the same with the errors in other units, where those are larger."""
    if units is None:
        return quantity
    distance = (quantity.expected - quantity.found).abs()
    is_larger = (units > 0) & (distance / units < quantity.errors)
    return replace(quantity, errors=torch.where(is_larger, distance / units, quantity.errors))


_Change: TypeAlias = tuple[float, Callable[[float], StepInputs]]
"""The machine epsilon that an input is rounded to, and the inputs with it made larger by 1 + size."""


def _rounding_units(rule: Rule, checked: CheckedStep) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Yield how far one rounding of the inputs moves each quantity, and a note on it, the finest first."""
    inputs, expected = checked.inputs, checked.expected
    slopes = partial(_slopes, rule, inputs, expected)
    tensors = _sum(map(slopes, _changes_of_tensors(rule, inputs)))
    yield tensors, ""
    if inputs.is_capturable or any(entry.scalar for entry in rule.state):
        dtype = torch.get_default_dtype()
        scalars = list(map(slopes, _changes_of_scalars(rule, inputs, dtype)))
        if inputs.is_capturable:  # torch then has the number, too, as a tensor, and rounds 1 - beta2**t
            number = torch.tensor(float(inputs.number), dtype=dtype)
            scalars.append(_moved(rule, expected, replace(inputs, number=number)))
        yield _sum([tensors, *scalars]), f"{dtype_name(dtype)}, in which torch computes some scalars"
    if "bfloat16" in called(rule):
        eps = torch.finfo(torch.bfloat16).eps
        # its results come in steps, so that they have no slope
        coarse = _moved(rule, expected, _with_gradient(inputs, eps))[WEIGHTS]
        step = (torch.as_tensor(expected[WEIGHTS]) - inputs.weights).abs()
        units = (step.max() * eps + coarse.max()).expand_as(inputs.weights)
        yield tensors | {WEIGHTS: units}, "bfloat16, in which the direction of a step is computed"
    if inputs.dtypes[WEIGHTS] is torch.float16:
        within = _moved(rule, expected, _in_dtype(inputs, torch.float16))
        yield _sum([tensors, within]), "float16, whose smallest numbers some are below"


def _slopes(
    rule: Rule, inputs: StepInputs, expected: Mapping[str, Any], change: _Change
) -> dict[str, Tensor]:
    """Return how far one rounding of an input moves the results.

    A jump is no rounding: if half the change moves a result by as much, that counts as nothing.
    """
    eps, changed = change
    size = min(8 * eps, 2.0**-12)
    far, near = (_moved(rule, expected, changed(each)) for each in (size, size / 2))
    slopes = {
        name: torch.where(near[name] <= 0.75 * far[name], far[name], 0.0) * (eps / size) for name in far
    }
    if extent(rule) == "weight":
        return slopes
    return {name: each.max().expand_as(each) for name, each in slopes.items()}


def _moved(rule: Rule, expected: Mapping[str, Any], changed: StepInputs) -> dict[str, Tensor]:
    """Return how far the results move if the rule is given other inputs."""
    return {
        name: (torch.as_tensor(value, dtype=torch.float64) - expected[name]).abs().nan_to_num()
        for name, value in changed.recomputed(rule).items()
        if value is not None
    }


def _sum(each: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    together: dict[str, Tensor] = {}
    for moved in each:
        for name, value in moved.items():
            together[name] = together[name] + value if name in together else value
    return together


def _changes_of_tensors(rule: Rule, inputs: StepInputs) -> Iterator[_Change]:
    """Yield a change of the weights, of the gradient, and of each state entry that is a tensor."""
    dtype = inputs.dtypes[WEIGHTS]
    yield torch.finfo(dtype).eps, lambda size: replace(inputs, weights=_jittered(inputs.weights, size))
    yield torch.finfo(dtype).eps, partial(_with_gradient, inputs)
    for place, entry in enumerate(rule.state):
        if inputs.state[place] is not None and not entry.scalar:
            eps = torch.finfo(inputs.dtypes.get(entry.key, dtype)).eps
            yield eps, partial(_with_state, inputs, place)


def _changes_of_scalars(rule: Rule, inputs: StepInputs, dtype: torch.dtype) -> Iterator[_Change]:
    """Yield a change of each hyperparameter that is a number, and of each scalar of the state."""
    eps = torch.finfo(dtype).eps
    for name, value in inputs.settings.items():
        for place, number in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(number, float) and number:
                yield eps, partial(_with_setting, inputs, name, place)
    for place, entry in enumerate(rule.state):
        if inputs.state[place] is not None and entry.scalar:
            yield eps, partial(_with_state, inputs, place)


def _with_gradient(inputs: StepInputs, size: float) -> StepInputs:
    return replace(inputs, gradient=_jittered(inputs.gradient, size))


def _with_state(inputs: StepInputs, place: int, size: float) -> StepInputs:
    changed = _jittered(inputs.state[place], size)
    return replace(inputs, state=(*inputs.state[:place], changed, *inputs.state[place + 1 :]))


def _with_setting(inputs: StepInputs, name: str, place: int, size: float) -> StepInputs:
    """Return inputs with another hyperparameter; the number at a place of it if it has several."""
    value = inputs.settings[name]
    numbers = list(value) if isinstance(value, tuple) else [value]
    numbers[place] *= 1 + size
    changed = tuple(numbers) if isinstance(value, tuple) else numbers[0]
    return replace(inputs, settings={**inputs.settings, name: changed})


def _jittered(numbers: Tensor, size: float) -> Tensor:
    """Return numbers of which some are a little larger and some a little smaller, always the same ones.

    To make all of them larger would change nothing in a rule that uses only a gradient's direction.
    """
    generator = torch.Generator().manual_seed(0)
    up = torch.randint(2, numbers.shape, generator=generator, dtype=torch.float64)
    return numbers * (1 + size * (2 * up - 1))


def _in_dtype(inputs: StepInputs, dtype: torch.dtype) -> StepInputs:
    """Return inputs in a dtype, so that each result of the rule is rounded to it."""
    state = tuple(None if each is None else each.to(dtype) for each in inputs.state)
    return replace(inputs, weights=inputs.weights.to(dtype), gradient=inputs.gradient.to(dtype), state=state)
