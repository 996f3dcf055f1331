"""The operands of commands that take several traces: experiments as text, and saved traces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from inspect import Parameter
from typing import Any

from optitrace.cli import options
from optitrace.cli.experiment_runner import resolve_device, run_experiment, say_code
from optitrace.cli.interruption import Interruption
from optitrace.errors import UsageError, did_you_mean, printable, quoted
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objectives import as_settings, recorded_function
from optitrace.experiment.text import design_text, parse_text
from optitrace.experiment.user_class import is_shipped, is_user_class
from optitrace.records.reader import STDIN, Saved, read_saved
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS, shipped_rules
from optitrace.rules.hyperparameter import show

STANDARD_INPUT = "standard input"

SAVED_SUFFIXES = (".json", ".jsonl")
"""The suffixes of files that hold a trace or a training."""


def _without_default(parameter: Parameter) -> Parameter:
    """Return an option that is None if not given; its help still shows the default."""
    option = copy(parameter.default)
    option.default = None
    return parameter.replace(default=option)


LR_OPTION = options.text_option(
    "lr",
    metavar="NUMBER",
    panel=options.EXPERIMENT,
    help="Learning rate. [dim]\\[0.01; 1 for adadelta and lbfgs][/]",
)

OPERAND_OPTIONS = (LR_OPTION, *map(_without_default, options.EXPERIMENT_OPTIONS))
"""The settings of every experiment whose text does not set them."""


def given_settings(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the given values of `OPERAND_OPTIONS`."""
    names = [option.name for option in OPERAND_OPTIONS]
    return {name: given[name] for name in names if given[name] is not None}


def shared_settings(
    operands: Sequence[str], saved: Mapping[str, TraceRecord], given: Mapping[str, str], *, runs_code: bool
) -> dict[str, str]:
    """Return the settings that experiments take from the first saved trace that they are compared with.

    They say what is optimized and for how long, but not by which optimizer.

    Args:
        operands: all of them.
        saved: those that are saved traces.
        given: the given settings, which take precedence.
        runs_code: whether a function that the trace names may be run.

    Raises:
        UsageError: an experiment would run a function that the trace names.
    """
    experiments = [operand for operand in operands if operand not in saved]
    if not saved or not experiments:
        return {}
    name, trace = next(iter(saved.items()))
    experiment = trace.experiment
    texts = [{**given, **parse_text(operand).settings} for operand in experiments]
    function = recorded_function(experiment.objective)
    if function and any("objective" not in text for text in texts):
        if not runs_code:
            raise UsageError(
                f"the loss of {quoted(called(name))} is the function {quoted(function)}, "
                "and code that a saved trace names is not run; --rerun runs it."
            )
        say_code([function])
    return {
        **{name: show(value) for name, value in as_settings(experiment.objective).items()},
        "start": show(experiment.start),
        "steps": str(experiment.steps),
        "gradient": experiment.gradient,
        "dtype": experiment.dtype,
    }


def read_files(operands: Sequence[str]) -> dict[str, Saved]:
    """Return the records saved in those operands that are files; ``-`` is standard input.

    Raises:
        InputFileError: a file cannot be read, or is neither a trace nor a training.
        UsageError: standard input is named twice.
    """
    if operands.count(STDIN) > 1:
        raise UsageError("standard input can be read only once; give one '-', and files for the others.")
    return {operand: read_saved(operand) for operand in dict.fromkeys(operands) if _is_file(operand)}


def traces_of(saved: Mapping[str, Saved], remedy: str) -> dict[str, TraceRecord]:
    """Return the traces saved in files.

    Raises:
        UsageError: one is a training; `remedy` says what to do then.
    """
    traces = {operand: found for operand, found in saved.items() if isinstance(found, TraceRecord)}
    for operand in saved:
        if operand not in traces:
            named = STANDARD_INPUT if operand == STDIN else quoted(operand)
            raise UsageError(f"{named} is a training, not a trace; {remedy}.")
    return traces


def called(operand: str) -> str:
    """Return the printable name of an operand's trace or training."""
    return STANDARD_INPUT if operand == STDIN else printable(operand)


def design_operand(operand: str, settings: Mapping[str, str]) -> Experiment:
    """Return the experiment of an operand.

    Raises:
        UsageError: it is neither an experiment nor a file.
    """
    text = parse_text(operand).over(settings)
    if text.name.lower() not in OPTIMIZERS and not is_user_class(text.name) and not is_shipped(text.name):
        guess = did_you_mean(text.name.lower(), [*OPTIMIZERS, *shipped_rules()]) or ";"
        raise UsageError(
            f"{quoted(text.name)} is neither an optimizer nor a file{guess} 'optitrace list' shows all."
        )
    if "device" in text.settings:
        text = replace(text, settings={**text.settings, "device": resolve_device(text.settings["device"])})
    return design_text(text)


def run_operands(
    operands: Sequence[str],
    saved: Mapping[str, TraceRecord],
    experiments: Mapping[str, Experiment],
    interruption: Interruption,
) -> list[NamedTrace]:
    """Return the trace of each operand, in order, without those not run because of an interruption."""
    traces = []
    for operand in operands:
        if operand in saved:
            traces.append(NamedTrace(called(operand), saved[operand]))
        elif not interruption():
            traces.append(NamedTrace(called(operand), run_experiment(experiments[operand], interruption)))
    return traces


def _is_file(operand: str) -> bool:
    """Return whether an operand names a file and no experiment; an optimizer's name is never a file's."""
    if operand == STDIN:
        return True
    if operand.partition(":")[0].lower() in OPTIMIZERS:
        return False
    return operand.lower().endswith(SAVED_SUFFIXES) or os.path.exists(operand)
