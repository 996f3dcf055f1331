"""The axes of a sweep: what is varied, and over which values. Reading one needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import Quadratic
from optitrace.rules.hyperparameter import Hyperparameter, Value, show

LOGARITHMIC = "log"
"""The word before a range that is spaced logarithmically."""

MOST_WHOLE_NUMBERS = 1_000_000
"""The largest number of integer values of an axis."""

POINTS = ("start", "coefficients")
"""The settings other than hyperparameters that can be varied: a number for each weight."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers between two others.

    Attributes:
        first: the first number.
        last: the last number, which is included.
        count: the number of values in a grid; None if it is only sampled.
        logarithmic: whether the values are log-spaced.
        whole: whether samples of it are whole numbers.
    """

    first: float
    last: float
    count: int | None
    logarithmic: bool
    whole: bool = False

    def at(self, share: Any) -> Any:
        """Return the number at a share of the way from `first` to `last`; of a tensor of shares, a tensor."""
        if self.logarithmic:
            return self.first * (self.last / self.first) ** share
        return self.first + (self.last - self.first) * share


@dataclass(frozen=True, slots=True)
class SweptAxis:
    """A setting that is varied.

    Attributes:
        name: its name as given: ``lr``, ``betas.1``, ``start.0``.
        setting: the hyperparameter, or one of `POINTS`.
        position: which number of it, from 0; None for the whole.
        values: the values, one after the other, or a range of numbers.
    """

    name: str
    setting: str
    position: int | None
    values: tuple[Value, ...] | Range

    @property
    def length(self) -> int:
        """The number of its values in a grid."""
        if isinstance(self.values, Range):
            return self.values.count or 0
        return len(self.values)

    @property
    def is_number(self) -> bool:
        """Whether all its values are numbers, so that it has a scale."""
        if isinstance(self.values, Range):
            return True
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that decide whether all can be used, as every range that torch checks is an interval.

        They are the least and the greatest number, zero, and the greatest and least of what is left
        without zero; and every value that is no number.
        """
        if isinstance(self.values, Range):
            low, high = sorted((self.values.first, self.values.last))
            return tuple(dict.fromkeys((low, high)))
        numbers = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        others = [v for v in self.values if not isinstance(v, int | float) or isinstance(v, bool)]
        other_than_zero = [v for v in numbers if v]
        telling: list[Value] = [v for v in numbers if not v]
        telling += [extreme(part) for part in (other_than_zero,) if part for extreme in (min, max)]
        return tuple(dict.fromkeys((*telling, *others)))


def read_axis(text: str, base: Experiment, *, sampled: bool) -> SweptAxis:
    """Read an axis: ``name=v1,v2``, ``name=start:stop:count`` or ``name=log:start:stop:count``.

    A name may end in the position of one number of several, from 0: ``betas.1``. In a list, the
    numbers of one tuple are separated by semicolons. A range that is sampled needs no count.

    Raises:
        UsageError: there is no such setting, or a value has the wrong type.
    """
    name, sign, values = (part.strip() for part in text.partition("="))
    if not sign or not values or not name:
        raise UsageError(f"{quoted(text)} has no values; write it as lr=0.1,0.2 or lr=log:1e-4:1:200.")
    axis, part = _varied(name, base)
    return replace(axis, values=_values(values, part, sampled=sampled))


def list_axis(name: str, values: Iterable[Any], base: Experiment) -> SweptAxis:
    """Return the axis of some values, one after the other; a text among them is read.

    Raises:
        UsageError: there is no such setting, a value has the wrong type, or there are no values.
    """
    axis, part = _varied(name, base)
    read = tuple(part.parse(value) if isinstance(value, str) else part.check(value) for value in values)
    return replace(axis, values=_distinct(read, part))


def check_axes(axes: Sequence[SweptAxis]) -> None:
    """Check that no two axes vary the same setting.

    Raises:
        UsageError: two do.
    """
    for index, axis in enumerate(axes):
        for other in axes[:index]:
            if axis.name == other.name:
                raise UsageError(f"{axis.name} is given twice; give all its values in one -P.")
            if axis.setting == other.setting and None in (axis.position, other.position):
                raise UsageError(
                    f"{axis.setting} is given as a whole and by position; give the whole, or each position."
                )


def _varied(name: str, base: Experiment) -> tuple[SweptAxis, Hyperparameter]:
    """Return the axis of a name such as ``lr`` or ``betas.1``, without values, and what reads these."""
    setting, dot, place = name.replace("-", "_").partition(".")
    whole = _setting(setting, base)
    if not dot:
        return SweptAxis(whole.name, setting, None, ()), whole
    position, kind = _member(whole, place)
    part = Hyperparameter(base.optimizer, f"{setting}.{position}", None, kind)
    return SweptAxis(part.name, setting, position, ()), part


def _setting(name: str, base: Experiment) -> Hyperparameter:
    """Return the setting of a name, which can parse its values."""
    known = {h.name: h for h in base.entry.hyperparameters}
    if name in known:
        return known[name]
    if name == "start":
        return Hyperparameter(base.optimizer, name, base.start, tuple[(float,) * len(base.start)])  # type: ignore[misc]
    if name == "coefficients":
        if not isinstance(base.objective, Quadratic):
            raise UsageError(
                f"the loss {base.objective.name} has no coefficients; vary start, or leave it out."
            )
        if base.objective.rotation is not None:
            raise UsageError("the coefficients of a rotated quadratic cannot be varied; leave out --rotate.")
        numbers = base.objective.coefficients
        return Hyperparameter(base.optimizer, name, numbers, tuple[(float,) * len(numbers)])  # type: ignore[misc]
    guess = did_you_mean(name, [*known, *POINTS])
    if guess:
        raise UsageError(f"{base.optimizer} has no {quoted(name)}{guess}")
    raise UsageError(base.entry.has_no(name))


def _member(whole: Hyperparameter, place: str) -> tuple[int, Any]:
    """Return a position in a tuple, and the type of the element there."""
    if get_origin(whole.type) is not tuple:
        raise UsageError(
            f"{whole.name} is a single value, without a position {quoted(place)}; vary {whole.name}."
        )
    members = get_args(whole.type)
    if not place.isdecimal() or int(place) >= len(members):
        positions = ", ".join(f"{whole.name}.{k}" for k in range(min(len(members), 4)))
        raise UsageError(
            f"{whole.name} has no position {quoted(place)}; positions count from 0: {positions}."
        )
    return int(place), members[int(place)]


def _values(text: str, setting: Hyperparameter, *, sampled: bool) -> tuple[Value, ...] | Range:
    if ":" in text:
        return _range(text, setting, sampled=sampled)
    if get_origin(setting.type) is tuple and ";" not in text:
        count = len(get_args(setting.type))
        example = show(setting.default).replace(",", ";")
        raise UsageError(
            f"{setting.optimizer}: {setting.name} is {count} number{'s' * (count > 1)}; "
            f"write one value of it as {setting.name}={example}, or vary a part of it, "
            f"such as {setting.name}.0."
        )
    return _distinct(tuple(setting.parse(part) for part in text.split(",")), setting)


def _distinct(values: tuple[Value, ...], setting: Hyperparameter) -> tuple[Value, ...]:
    if not values:
        raise UsageError(f"{setting.name} has no values; give at least one.")
    if len(set(values)) < len(values):
        twice = next(value for index, value in enumerate(values) if value in values[:index])
        raise UsageError(f"{setting.name} has the value {show(twice)} twice; give each once.")
    return values


def _range(text: str, setting: Hyperparameter, *, sampled: bool) -> tuple[Value, ...] | Range:
    parts = [part.strip() for part in text.split(":")]
    logarithmic = parts[0].lower() == LOGARITHMIC
    ends, count = parts[logarithmic : logarithmic + 2], parts[logarithmic + 2 :]
    if len(ends) < 2 or len(count) > 1:
        raise UsageError(
            f"{setting.name}={text} is not a range; write {setting.name}=START:STOP:COUNT or "
            f"{setting.name}=log:START:STOP:COUNT."
        )
    if get_origin(setting.type) is tuple:
        raise UsageError(f"{setting.name} is several numbers, which have no range; vary {setting.name}.0.")
    first, last = (_end(end, setting) for end in ends)
    if logarithmic and min(first, last) <= 0:
        raise UsageError(
            f"{setting.name}={text} includes {show(min(first, last))}; "
            "both ends of a log range must be positive."
        )
    number = _count(count[0], setting.name, text) if count else None
    if number is None and not sampled:
        raise UsageError(
            f"{setting.name}={text} has no count; write {setting.name}={text}:200, "
            "or take samples of it with --random 1000."
        )
    if number is not None and number > 1 and first == last:
        raise UsageError(f"the range {setting.name}={text} is empty; let it end where it does not begin.")
    if first == last or (number == 1 and not sampled):
        return (first,)
    between = Range(first, last, number, logarithmic, whole=_is_whole(setting.type))
    return _whole_numbers(between, setting) if between.whole and not sampled else between


def _end(text: str, setting: Hyperparameter) -> float:
    value = setting.parse(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(
            f"{setting.name} has no range from {quoted(text)}; list its values: {setting.name}=A,B."
        )
    return value


def _count(text: str, name: str, whole: str) -> int:
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
    if count < 1:
        raise UsageError(
            f"the range {name}={whole} is empty: its count is {quoted(text)}; it must be a positive integer."
        )
    return count


def _is_whole(kind: Any) -> bool:
    return kind is int or int in get_args(kind)


def _whole_numbers(between: Range, setting: Hyperparameter) -> tuple[Value, ...]:
    """Return the whole numbers that are nearest to those of a range, each once."""
    assert between.count is not None
    if between.count > MOST_WHOLE_NUMBERS:
        raise UsageError(
            f"{setting.name} would have {between.count} values; take at most {MOST_WHOLE_NUMBERS}."
        )
    spaced = (between.at(k / (between.count - 1)) for k in range(between.count))
    return tuple(dict.fromkeys(round(number) for number in spaced))
