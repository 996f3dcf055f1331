"""The space of a sweep: every configuration by its number, without holding any of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from optitrace.analysis.sweeping.axis import Range, SweptAxis, check_axes, read_axis
from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import Point, Quadratic
from optitrace.rules.hyperparameter import Value, show

LARGEST_UNASKED = 100_000_000
"""How many configurations are run without asking back."""

Configuration = Mapping[str, Value]
"""The values of the axes, by their names."""

_KNOWN_TO_RULES = frozenset(
    ("optimizer", "custom", "hyperparameters", "objective", "start", "steps", "gradient", "dtype", "device")
)
_WITHOUT_EFFECT = frozenset(("implementation", "seed"))


@dataclass(frozen=True, slots=True)
class Space:
    """What is swept: an experiment, and what of it is varied.

    Attributes:
        base: the experiment, where nothing is varied.
        axes: what is varied; an axis of one value sets it.
        samples: how many configurations are drawn; None for the grid of all combinations.
        seed: of the draw.
    """

    base: Experiment
    axes: tuple[SweptAxis, ...]
    samples: int | None = None
    seed: int = 0

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return math.prod(axis.length for axis in self.axes) if self.samples is None else self.samples

    @property
    def varied(self) -> tuple[SweptAxis, ...]:
        """The axes with more than one value."""
        if self.samples is None:
            return tuple(axis for axis in self.axes if axis.length > 1)
        return tuple(a for a in self.axes if isinstance(a.values, Range) or a.length > 1)

    @property
    def minima(self) -> tuple[Point, ...]:
        """The minima that the losses of all configurations share; none if one of them has others, or none.

        A quadratic has its minimum where all coefficients are positive, and only there: so the ends of the
        axes decide.
        """
        bent = replace(self, axes=tuple(a for a in self.axes if a.setting == "coefficients"))
        found = {bent.experiment(corner).objective.minima for corner in corners(bent)}
        return found.pop() if len(found) == 1 else ()

    @property
    def has_rule(self) -> bool:
        """Whether the optimizer's rule alone decides a run; if not, its class has to be stepped."""
        known = _KNOWN_TO_RULES | _WITHOUT_EFFECT
        others = (f for f in fields(Experiment) if f.name not in known)
        return self.base.entry.rule is not None and all(
            getattr(self.base, f.name) == f.default for f in others
        )

    def experiment(self, configuration: Configuration) -> Experiment:
        """Return the experiment of a configuration.

        Raises:
            UsageError: a value is out of range.
        """
        settings: dict[str, Value] = dict(self.base.hyperparameters)
        points: dict[str, Value] = {"start": self.base.start}
        if isinstance(self.base.objective, Quadratic):
            points["coefficients"] = self.base.objective.coefficients
        for axis in self.axes:
            place = points if axis.setting in points else settings
            value = configuration[axis.name]
            place[axis.setting] = value if axis.position is None else _with(place[axis.setting], axis, value)
        objective = self.base.objective
        if isinstance(objective, Quadratic):
            objective = replace(objective, coefficients=points["coefficients"])  # type: ignore[arg-type]
        return replace(
            self.base,
            hyperparameters=self.base.entry.settings(settings),
            start=points["start"],  # type: ignore[arg-type]
            objective=objective,
        )


def lay_out(
    base: Experiment,
    axes: Sequence[str | SweptAxis],
    *,
    samples: int | None = None,
    seed: int = 0,
    confirmed: bool = False,
) -> Space:
    """Return the space that some axes span around an experiment.

    Args:
        base: the experiment, where nothing is varied.
        axes: what is varied; a text is read as `read_axis` reads it.
        samples: how many configurations to draw; the grid of all combinations if not given.
        seed: of the draw.
        confirmed: whether more than `LARGEST_UNASKED` configurations are meant.

    Raises:
        UsageError: an axis cannot be read, nothing is varied, or there are too many configurations.
    """
    read = tuple(
        axis if isinstance(axis, SweptAxis) else read_axis(axis, base, sampled=samples is not None)
        for axis in axes
    )
    check_axes(read)
    space = Space(base, read, samples, seed)
    if not axes:
        raise UsageError("nothing is varied; say what with -P, as in -P lr=log:1e-4:1:200.")
    if samples is not None and samples < 1:
        raise UsageError(f"the number of samples is {samples}; it must be a positive integer.")
    if space.size > LARGEST_UNASKED and not confirmed:
        raise UsageError(
            f"the sweep has {space.size:,} configurations, more than {LARGEST_UNASKED:,}; "
            "make its ranges coarser, or confirm it: --yes, in Python yes=True."
        )
    return space


def corners(space: Space) -> list[Configuration]:
    """Return the configurations that decide whether all can be run: all combinations of the axes' ends."""
    names = [axis.name for axis in space.axes]
    ends = itertools.product(*(axis.ends for axis in space.axes))
    return [dict(zip(names, values, strict=True)) for values in ends]


def described(configuration: Configuration) -> str:
    """Return a configuration in words.

    >>> described({"lr": 0.1, "betas.1": 0.9})
    'lr=0.1, betas.1=0.9'
    """
    return ", ".join(f"{name}={show(value)}" for name, value in configuration.items())


def _with(whole: Value, axis: SweptAxis, value: Value) -> Value:
    """Return a tuple with one of its numbers replaced."""
    assert isinstance(whole, tuple)
    assert value is None or isinstance(value, int | float)
    return tuple(value if k == axis.position else number for k, number in enumerate(whole))
