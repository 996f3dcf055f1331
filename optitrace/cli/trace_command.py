"""The command of each optimizer: run one experiment and show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from optitrace.analysis.documented import cells_like, reproduce
from optitrace.analysis.explanation import check_explainable
from optitrace.analysis.theory import check_theory, stability_limit
from optitrace.cli import options, terminal
from optitrace.cli.experiment_runner import resolve_device, run_experiment
from optitrace.cli.hyperparameter_options import SET_OPTION, hyperparameter_option, set_values
from optitrace.cli.interruption import Interruption
from optitrace.cli.showing import SHOWING_OPTIONS, finish, hints, read_wish, show, show_again
from optitrace.errors import DeviceError, UsageError
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.text import whole_number
from optitrace.records.trace import Status, Trace
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.hyperparameter import Hyperparameter
from optitrace.rules.optimizer import Optimizer
from optitrace.views.remarks import documented_remark, stability_remark


def trace_command(optimizer: Optimizer) -> Callable[..., None]:
    """Return the function of an optimizer's command, whose signature has its hyperparameters."""
    shared = [*options.EXPERIMENT_OPTIONS, *SHOWING_OPTIONS]
    if optimizer.name not in OPTIMIZERS:
        shared.insert(0, SET_OPTION)

    @options.takes([*map(hyperparameter_option, _with_option(optimizer)), *shared])
    def command(**given: Any) -> None:
        run(optimizer, given)

    return command


def run(optimizer: Optimizer, given: dict[str, Any]) -> None:
    """Run the experiment that the options ask for, write its files, and show it."""
    wish = read_wish(given)
    every = whole_number("every", given["every"], least=1)
    experiment = _experiment(optimizer, given)
    if wish.theorizes:
        check_theory(experiment)
    if wish.explains:
        if every > 1:
            raise UsageError("an explanation needs every step; leave out --every, or --explain.")
        check_explainable(experiment, wish.coordinate)
    with Interruption() as interruption:
        traced = run_experiment(experiment, interruption, every=every)
        unwritten = show(traced, wish, [*_remarks(traced), *hints(traced, wish)])
    if not unwritten:
        show_again(wish)
    if interruption.signal is not None:
        taken, planned = traced.steps[-1], experiment.steps
        terminal.say(f"interrupted after step {taken} of {planned}; what was traced so far is shown.")
        raise typer.Exit(interruption.exit_code)
    finish(traced, wish, unwritten)
    if traced.outcome.reason is not None:
        raise UsageError(traced.outcome.reason)
    if traced.outcome.status is Status.OUT_OF_MEMORY:
        raise DeviceError(
            f"{experiment.device} ran out of memory after step {traced.steps[-1]}, and what was traced until "
            "then is shown; use fewer coordinates, or keep fewer steps with --every."
        )


def _with_option(optimizer: Optimizer) -> list[Hyperparameter]:
    """Return the hyperparameters that have an option; one named as another option is left to ``--set``."""
    shared = [SET_OPTION, *options.EXPERIMENT_OPTIONS, *SHOWING_OPTIONS]
    taken = {"help", *(option.name for option in shared)}
    return [h for h in optimizer.hyperparameters if h.name not in taken and h.name.isidentifier()]


def _experiment(optimizer: Optimizer, given: dict[str, Any]) -> Experiment:
    settings = options.experiment_settings(given)
    hyperparameters = {
        h.name: h.parse(value) if isinstance(value, str) else value
        for h in _with_option(optimizer)
        if (value := given[h.name]) is not None
    }
    also = set_values(optimizer, given.get("set", ()))
    if twice := sorted(hyperparameters.keys() & also.keys()):
        raise UsageError(f"{twice[0]} is given by an option and by --set; give it once.")
    hyperparameters |= also
    settings["device"] = resolve_device(settings["device"])
    return design(optimizer, hyperparameters, **settings)


def _remarks(traced: Trace) -> list[str]:
    """Return what theory and the document have to say of the run."""
    experiment = traced.experiment
    remarks = []
    limit = stability_limit(experiment)
    if limit is not None and _number(experiment.hyperparameters["lr"]) > limit.lr:
        remarks.append(stability_remark(experiment, limit))
    return remarks + [documented_remark(reproduce(cell)) for cell in cells_like(experiment)]


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
