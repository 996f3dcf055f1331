"""The hyperparameter: a name, a default, a type, and how its value is read from text and checked."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from optitrace.errors import UsageError, quoted

Value: TypeAlias = "float | int | bool | str | tuple[float | None, ...] | None"
"""A value of a hyperparameter."""

SUMMARIES: Mapping[str, str] = {
    "adjust_lr_fn": "How lr is scaled with the shape of the matrix.",
    "alpha": "Smoothing constant of the running mean of squared gradients.",
    "alpha_warmup": "Steps in which alpha grows to its value (none: no warmup).",
    "always_adapt": "Scale the step without weight decay, too.",
    "amsgrad": "Use the largest second moment so far.",
    "beta1": "Decay rate of the running mean of the steps (none: it is not kept).",
    "beta2_decay": "Exponent by which the second moment's smoothing grows.",
    "beta3": "Decay rate of the estimate of the distance (none: the root of the second beta).",
    "beta3_warmup": "Steps in which the last beta grows to its value (none: no warmup).",
    "betas": "Decay rates of the running means of the gradient and of its square.",
    "bias_correction": "Correct both running means for their start at 0.",
    "caution": "Leave out the weights whose momentum points against the gradient.",
    "centered": "Divide by an estimate of the standard deviation.",
    "clip_exp": "Bound of a normalized gradient: the steps before to this power (none: no bound).",
    "clip_threshold": "Largest root mean square of an update before it is clipped.",
    "correct_bias": "Correct both running means for their start at 0.",
    "d": "Largest root mean square of an update before it is clipped.",
    "d0": "Initial estimate of the distance to the solution.",
    "d_coef": "Factor of the estimated distance.",
    "dampening": "Fraction of the gradient left out of the momentum buffer.",
    "decay_rate": "Exponent by which the second moment's smoothing grows.",
    "decouple": "Decouple weight decay from the gradient, as AdamW does.",
    "decouple_weight_decay": "Decouple weight decay from the gradient, as AdamW does.",
    "decoupled_decay": "Decouple weight decay from the scaled step, as AdamW does.",
    "decoupled_weight_decay": "Decouple weight decay from the gradient, as AdamW does.",
    "degenerated_to_sgd": "Step by the momentum alone until the variance is tractable; else do not step.",
    "delta": "Cosine of gradient and weights below which a step is projected.",
    "eps": "Added to the denominator for numerical stability.",
    "etas": "Factors that shrink and grow a step size.",
    "fixed_decay": "Weight decay that is not multiplied by the learning rate.",
    "gamma": "Strength of the variance reduction.",
    "grad_averaging": "Average the gradients in the first moment; else add them up.",
    "growth_rate": "Most by which the estimated distance grows in a step.",
    "history_size": "Number of past updates stored.",
    "initial_accumulator": "Initial value of both running means.",
    "initial_accumulator_value": "Initial sum of squared gradients.",
    "lambd": "Decay term of the weights.",
    "line_search_fn": "Line search; none steps by lr.",
    "lr": "Learning rate.",
    "lr_decay": "Learning rate decay.",
    "max_eval": "Maximum closure evaluations per step (none: 1.25 max_iter).",
    "max_grad_norm": "Norm that the gradient is scaled down to (none or 0: it is not).",
    "max_iter": "Maximum iterations per step.",
    "maximize": "Maximize the objective.",
    "momentum": "Momentum factor.",
    "momentum_decay": "Speed of the momentum schedule.",
    "nesterov": "Use Nesterov momentum.",
    "no_prox": "Decay the weights as AdamW does, not by a proximal step.",
    "normalize_gradient": "Scale the step to a root mean square of 1.",
    "ns_coefficients": "Coefficients of the Newton-Schulz iteration.",
    "ns_steps": "Number of Newton-Schulz iterations.",
    "nus": "Shares of the running means in the step, the rest is of the gradient.",
    "precondition_frequency": "Steps from one computation of the eigenvectors to the next.",
    "r": "Exponent of the step's number in the weights of the average.",
    "rectify": "Rectify the variance of the adaptive learning rate, as RAdam does.",
    "relative_step": "Take steps that fall with the number of the step, in place of lr.",
    "rho": "Decay rate of both running means.",
    "safeguard_warmup": "Leave a warmup of lr out of the estimate of the distance.",
    "scale_parameter": "Scale the step by the root mean square of the weights.",
    "shampoo_beta": "Decay rate of the preconditioners (none: the second beta).",
    "step_sizes": "Smallest and largest step size.",
    "t0": "Step at which averaging begins.",
    "tolerance_change": "Stop when the loss or the weights change by less.",
    "tolerance_grad": "Stop when the gradient's largest entry is smaller.",
    "trust_clip": "Never lengthen a step.",
    "trust_coeff": "Factor of the ratio of norms.",
    "use_bias_correction": "Correct both running means for their start at 0.",
    "warmup_init": "Begin with relative steps that grow from 1e-6.",
    "warmup_steps": "Steps in which the learning rate grows to its value.",
    "wd_ratio": "Factor of the weight decay where a step is projected.",
    "weight_decay": "Weight decay (L2 penalty).",
    "weight_decouple": "Decouple weight decay from the gradient, as AdamW does.",
    "weight_lr_power": "Exponent of the learning rate in the weights of the average.",
}
"""The descriptions of hyperparameters by name, unless the rule has its own."""


@dataclass(frozen=True, slots=True)
class Detail:
    """Details of a hyperparameter.

    Attributes:
        summary: its description, in one sentence; that of its name if empty.
        minimum: the least value, where torch does not check it.
        maximum: the greatest value, where torch checks it only when it steps.
        is_range: whether it is the smallest and the largest of something, which torch does not check.
    """

    summary: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    is_range: bool = False


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One setting of an optimizer.

    Attributes:
        optimizer: the optimizer that it belongs to, in lower case.
        name: torch's name.
        default: the value where none is given.
        type: its type, as Python's typing writes it.
        detail: further details.
    """

    optimizer: str
    name: str
    default: Value
    type: Any
    detail: Detail = Detail()

    @property
    def summary(self) -> str:
        """Its description, in one sentence; empty for an unknown name."""
        return self.detail.summary or SUMMARIES.get(self.name, "")

    def parse(self, text: str) -> Value:
        """Return the value of a text.

        Numbers in a tuple are separated by commas or semicolons: ``0.9,0.99``.

        Raises:
            UsageError: the text does not stand for a value of this type.
        """
        try:
            return self.check(_parse(text.strip(), self.type))
        except ValueError:
            raise self._wrong(text) from None

    def check(self, value: Any) -> Value:
        """Return `value` as this hyperparameter's type.

        Raises:
            UsageError: it is of another type, not finite unless that is the default, or out of the bounds of
                what the optimizer can use.
        """
        try:
            converted: Value = _convert(value, self.type)
        except (TypeError, ValueError, OverflowError):
            raise self._wrong(value) from None
        if reason := self._out_of_bounds(converted):
            raise UsageError(f"{self.optimizer}: {self.name} is {show(converted)}; {reason}.")
        return converted

    def takes(self, value: Any) -> bool:
        """Return whether a value can be converted to this hyperparameter's type."""
        try:
            _convert(value, self.type)
        except (TypeError, ValueError, OverflowError):
            return False
        return True

    def _out_of_bounds(self, value: Any) -> str:
        """Return the condition that a value of the right type violates; empty if it is valid."""
        parts = value if isinstance(value, tuple) else (value,)
        is_finite = all(not isinstance(part, float) or math.isfinite(part) for part in parts)
        if not is_finite and value != self.default:
            return "it must be finite"
        if self.detail.is_range and not 0 < value[0] <= value[1]:
            return "it must be the smallest step size, above 0, and then the largest"
        if value is None or isinstance(value, str | tuple):
            return ""
        if value < self.detail.minimum:
            return f"it must be at least {self.detail.minimum:g}"
        return f"it must be at most {self.detail.maximum:g}" if value > self.detail.maximum else ""

    def _wrong(self, value: object) -> UsageError:
        given = quoted(value) if isinstance(value, str) else repr(value)
        return UsageError(f"{self.optimizer}: {self.name} must be {describe(self.type)}, not {given}.")


def read_settings(
    optimizer: str, hyperparameters: Sequence[Hyperparameter], texts: Iterable[str]
) -> dict[str, Value]:
    """Return the values that texts such as ``eps=1e-6`` give to an optimizer's hyperparameters.

    Raises:
        UsageError: a text is of another form, or there is no such hyperparameter or value.
    """
    known = {hyperparameter.name: hyperparameter for hyperparameter in hyperparameters}
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set is {quoted(text)}; it must be NAME=VALUE, such as eps=1e-6.")
        if name not in known:
            raise UsageError(has_no(optimizer, name, known))
        values[name] = known[name].parse(value)
    return values


def has_no(optimizer: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says that an optimizer has no such hyperparameter, and which it has.

    >>> has_no("adam", "momentum", ["lr", "betas"])
    'adam has no momentum; its hyperparameters are lr, betas.'
    """
    return f"{optimizer} has no {name}; its hyperparameters are {', '.join(known) or 'none'}."


def describe(kind: Any) -> str:
    """Return a type in words, for messages and help.

    >>> describe(tuple[float, float])
    '2 numbers such as 0.1,0.2'
    """
    if kind is bool:
        return "true or false"
    if kind is int:
        return "an integer"
    if kind is float:
        return "a number"
    if kind is types.NoneType:
        return "none"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is tuple:
        count = len(get_args(kind))
        return f"{count} numbers such as {','.join(f'0.{k}' for k in range(1, count + 1))}"
    if _is_union(kind):
        return " or ".join(describe(member) for member in get_args(kind))
    return "a text"


def show(value: Value) -> str:
    """Return a value as typed on the command line, with all its digits.

    >>> show((None, 0.001)), show(True), show(50.0)
    ('none,0.001', 'true', '50')
    """
    if isinstance(value, tuple):
        return ",".join(show(part) for part in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _parse(text: str, kind: Any) -> Any:
    """Read a text as a type; ValueError where it does not fit."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)
    if get_origin(kind) is tuple:
        parts = text.strip("()[] ").replace(";", ",").split(",")
        members = get_args(kind)
        if len(parts) != len(members):
            raise ValueError(text)
        return tuple(_parse(part.strip(), member) for part, member in zip(parts, members, strict=True))
    if _is_union(kind):
        if text.lower() == "none" and types.NoneType in get_args(kind):
            return None
        return _parse_as_a_member(text, [m for m in get_args(kind) if m is not types.NoneType])
    return text


def _parse_as_a_member(text: str, members: list[Any]) -> Any:
    for member in members[:-1]:
        try:
            return _parse(text, member)
        except ValueError:
            continue
    return _parse(text, members[-1])


def _convert(value: Any, kind: Any) -> Any:
    """Return a value as a type; ValueError or TypeError where it does not fit."""
    if kind is Any:  # of a class that is known from a file alone
        return value
    if kind is float and not isinstance(value, bool | str):
        return float(value)
    if kind is int and not isinstance(value, bool | str) and int(value) == value:
        return int(value)
    if (kind is bool and isinstance(value, bool)) or (kind is str and isinstance(value, str)):
        return value
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is types.NoneType and value is None:
        return value
    if get_origin(kind) is tuple:
        return tuple(_convert(v, member) for v, member in zip(value, get_args(kind), strict=True))
    if _is_union(kind):
        return _convert_to_a_member(value, get_args(kind))
    raise TypeError(value)


def _convert_to_a_member(value: Any, members: tuple[Any, ...]) -> Any:
    for member in members:
        try:
            return _convert(value, member)
        except (TypeError, ValueError):
            continue
    raise TypeError(value)
