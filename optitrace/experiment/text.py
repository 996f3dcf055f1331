"""An experiment as text: ``NAME:key=value,…`` as an operand of a command, or a command that traces it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from optitrace.errors import UsageError, amount, did_you_mean, integer, printable, quoted
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.objective import Quadratic
from optitrace.experiment.objectives import as_short_settings
from optitrace.experiment.user_class import entry_of
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer


@dataclass(frozen=True, slots=True)
class ExperimentText:
    """A parsed text, whose names are not looked up yet.

    Attributes:
        name: the optimizer's name, or the path of a class.
        settings: the hyperparameters and settings after the name, by key.
    """

    name: str
    settings: Mapping[str, str]

    def over(self, defaults: Mapping[str, str]) -> ExperimentText:
        """Return this text with defaults for settings that it does not have."""
        return ExperimentText(self.name, {**defaults, **self.settings})


def parse_text(text: str) -> ExperimentText:
    """Take a text apart.

    A name may have colons of its own: the settings begin at the first one that a key follows.

    >>> parse_text("adam:betas=0.9;0.99,dtype=float64")
    ExperimentText(name='adam', settings={'betas': '0.9;0.99', 'dtype': 'float64'})
    >>> parse_text("./mine.py:Lion:lr=0.1").name
    './mine.py:Lion'

    Raises:
        UsageError: a setting has no value, or is given twice.
    """
    name, found, rest = _split(text)
    settings: dict[str, str] = {}
    for part in rest.split(",") if found else ():
        key, sign, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not sign or not value.strip() or not key:
            raise UsageError(_no_setting(text, part.strip(), list(settings)))
        if key in settings:
            raise UsageError(f"{quoted(text)} gives {key} twice; give it once.")
        settings[key] = value.strip()
    return ExperimentText(name.strip(), settings)


def design_text(text: ExperimentText) -> Experiment:
    """Return the experiment of a text.

    Raises:
        UsageError: a name is not known, or the experiment cannot be run.
    """
    entry = entry_of(text.name)
    known = {h.name: h.parse for h in entry.hyperparameters}
    hyperparameters = {}
    settings = {}
    for key, value in text.settings.items():
        if key in SETTINGS:
            settings[key] = SETTINGS[key](key, value)
        elif key in known:
            hyperparameters[key] = known[key](value)
        else:
            raise UsageError(_unknown(entry, key))
    return design(entry, hyperparameters, **settings)


def text_of(experiment: Experiment) -> str:
    """Return the shortest text of an experiment.

    >>> text_of(design("adam", {"betas": (0.9, 0.99)}, dtype="float64"))
    'adam:betas=0.9;0.99,dtype=float64'
    """
    shown = _unusual_hyperparameters(experiment) | _unusual_settings(experiment)
    settings = ",".join(f"{name}={value.replace(',', ';')}" for name, value in shown.items())
    return f"{experiment.optimizer}:{settings}" if settings else experiment.optimizer


def command_line(experiment: Experiment) -> str:
    """Return the shortest command that traces an experiment.

    >>> command_line(design("sgd", {"momentum": 0.9, "nesterov": True}, start=(-1, 1), steps=100))
    'optitrace sgd --momentum 0.9 --nesterov --steps 100 --start=-1,1'
    >>> command_line(design("sgd", schedule="MultiStepLR:milestones=3;6,gamma=0.5"))
    "optitrace sgd --schedule 'MultiStepLR:milestones=3;6,gamma=0.5'"
    """
    switches = {h.name for h in experiment.entry.hyperparameters if h.type is bool}
    # what an optimizer of the catalogue calls a hyperparameter is no other option of any command
    named = {h.name for entry in OPTIMIZERS.values() for h in entry.hyperparameters}
    words = ["optitrace", experiment.optimizer]
    for name, value in _unusual_hyperparameters(experiment).items():
        if experiment.custom is not None and name not in named:
            words += ["--set", f"{name}={value}"]
        elif name in switches:
            words.append(_option(name if value == "true" else f"no_{name}"))
        else:
            words += _with_value(name, value)
    for name, value in _unusual_settings(experiment).items():
        words += _with_value(name, value)
    return shlex.join(words)


def whole_number(name: str, text: str, *, least: int = 0, most: int | None = None) -> int:
    """Return the integer of a text.

    Raises:
        UsageError: it is not an integer, or out of range.
    """
    try:
        return integer(name, int(text), least=least, most=most)
    except (ValueError, UsageError):
        return integer(name, text, least=least, most=most)  # which repeats what was typed


def non_negative(name: str, text: str) -> float:
    """Return the number, not below zero, that a text stands for.

    Raises:
        UsageError: it is none.
    """
    try:
        return amount(name, float(text))
    except (ValueError, UsageError):
        return amount(name, text)


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a text, separated by commas or semicolons.

    Raises:
        UsageError: a part of it is not a number.
    """
    parts = text.replace(";", ",").split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise UsageError(
            f"{name} is {quoted(text)}; it must be numbers separated by commas, such as 0.5,0.5."
        ) from None


def number(name: str, text: str) -> float:
    """Return the number of a text.

    Raises:
        UsageError: it is not a number.
    """
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} is {quoted(text)}; it must be a number.") from None


def _word(name: str, text: str) -> str:
    return text


SETTINGS: Mapping[str, Callable[[str, str], Any]] = {
    "steps": whole_number,
    "gradient": _word,
    "objective": _word,
    "coefficients": numbers,
    "dimension": partial(whole_number, least=1),
    "condition": number,
    "rotate": whole_number,
    "start": numbers,
    "dtype": _word,
    "device": _word,
    "implementation": _word,
    "noise": number,
    "seed": whole_number,
    "clip_norm": number,
    "clip_value": number,
    "schedule": _word,
    "until": _word,
}
"""The settings of an experiment, by the name of `design`'s argument, and what reads each from text."""


def _unusual_hyperparameters(experiment: Experiment) -> dict[str, str]:
    """Return the hyperparameters of an experiment that do not have their default, as text."""
    values = experiment.hyperparameters
    return {
        h.name: show(values[h.name]) for h in experiment.entry.hyperparameters if values[h.name] != h.default
    }


def _unusual_settings(experiment: Experiment) -> dict[str, str]:
    """Return what else of an experiment is not as usual, as text, by the keys of `SETTINGS`."""
    plain = design(
        experiment.entry,
        experiment.hyperparameters,
        objective=experiment.objective,
        device=experiment.device,
    )
    shown: dict[str, Any] = {}
    if plain.objective != Quadratic():
        shown |= as_short_settings(plain.objective)
    for name in SETTINGS:
        value, usual = getattr(experiment, name, None), getattr(plain, name, None)
        if value != usual and name not in ("objective", "device"):
            shown[name] = str(value) if name in ("schedule", "until") else value
    if experiment.device != "cpu":
        shown["device"] = experiment.device
    return {name: show(value) for name, value in shown.items()}


def _with_value(name: str, value: str) -> list[str]:
    return [f"{_option(name)}={value}"] if value.startswith("-") else [_option(name), value]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _split(text: str) -> tuple[str, bool, str]:
    """Return the name, whether settings follow it, and the settings."""
    if found := re.search(r":(?=\s*[A-Za-z_][\w-]*\s*=)", text):
        return text[: found.start()], True, text[found.end() :]
    name, colon, rest = text.partition(":")
    # 'sgd:momentum' forgot a value, whereas 'module:Class' is a name
    if colon and re.fullmatch(r"\w+", name) and not re.match(r"[A-Z]", rest):
        return name, True, rest
    return text, False, ""


def _no_setting(text: str, part: str, before: list[str]) -> str:
    try:
        is_number = before and bool(numbers("", part))
    except UsageError:
        is_number = False
    if is_number:
        remedy = f"within one setting numbers are separated by semicolons: {before[-1]}=A;{part}."
    else:
        remedy = "write NAME:key=value,key=value, as in sgd:momentum=0.9,nesterov=true."
    return f"{quoted(text)} has a setting without a value, {quoted(part)}; {remedy}"


def _unknown(entry: Optimizer, key: str) -> str:
    names = [h.name for h in entry.hyperparameters]
    guess = did_you_mean(key, [*names, *SETTINGS]) or ";"
    return (
        f"{entry.name} has no {printable(key)}{guess} its hyperparameters are {', '.join(names)}, "
        f"and an experiment has {', '.join(SETTINGS)}."
    )
