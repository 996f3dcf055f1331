"""The schedule: how the learning rate moves from step to step, by a scheduler of torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optitrace.errors import UsageError, did_you_mean
from optitrace.rules.hyperparameter import show

SCHEDULERS = (
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "StepLR",
    "MultiStepLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "PolynomialLR",
    "CyclicLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
)
"""The schedulers of torch.optim.lr_scheduler whose arguments are numbers and words."""

OF_OBJECTS = ("LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR")
"""The schedulers whose arguments are Python objects, which no text can name."""

_SEQUENCES = ("milestones",)
"""The arguments that torch takes as a sequence only: one number of them is a sequence of one."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A scheduler and its arguments.

    Attributes:
        name: torch's name of the scheduler, one of `SCHEDULERS`.
        arguments: its arguments by name, but for the optimizer: numbers, switches, words, tuples.
    """

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        settings = ",".join(f"{key}={show(value).replace(',', ';')}" for key, value in self.arguments.items())
        return f"{self.name}:{settings}" if settings else self.name


def parse_schedule(text: str) -> Schedule:
    """Return the schedule of a text such as ``StepLR:step_size=10,gamma=0.5``.

    The name is taken in any letter case; numbers of a tuple are separated by semicolons. So may be the
    arguments, which stand so in the text of an experiment.

    >>> str(parse_schedule("multisteplr:milestones=3;6"))
    'MultiStepLR:milestones=3;6'

    Raises:
        UsageError: there is no such scheduler, or an argument is not ``key=value``.
    """
    given, _, rest = text.partition(":")
    names = {name.lower(): name for name in SCHEDULERS}
    name = names.get(given.strip().lower())
    if name is None:
        raise UsageError(_unknown(given.strip()))
    arguments = {}
    for part in filter(None, map(str.strip, re.split(r",|;(?=\s*\w+\s*=)", rest))):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise UsageError(
                f"the schedule's '{part}' is no argument; write key=value, as in StepLR:step_size=10."
            )
        if key.strip() in arguments:
            raise UsageError(f"the schedule gives {key.strip()} twice; give it once.")
        read = _value(value.strip())
        lone = key.strip() in _SEQUENCES and not isinstance(read, tuple)
        arguments[key.strip()] = (read,) if lone else read
    return Schedule(name, arguments)


def _unknown(name: str) -> str:
    if name.lower() in {other.lower() for other in OF_OBJECTS}:
        return f"the scheduler {name} takes Python objects, which no text can name; use another one."
    guess = did_you_mean(name, SCHEDULERS) or ";"
    return f"unknown scheduler '{name}'{guess} there are {', '.join(SCHEDULERS)}."


def _value(text: str) -> Any:
    """Return the number, the switch, the tuple or the word that a text is."""
    if ";" in text:
        return tuple(_value(part.strip()) for part in text.split(";") if part.strip())
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
