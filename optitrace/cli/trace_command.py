"""The command of each optimizer: run one experiment and show it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer

from optitrace.analysis.documented import cells_like, reproduce
from optitrace.analysis.stability import stability_limit
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.output_files import OutputFile, plan_files, write_file
from optitrace.cli.progress import Progress
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import DeviceError, OutputError
from optitrace.experiment.experiment import Experiment, design
from optitrace.rules.catalogue import Optimizer
from optitrace.tracing.trace import Status, Trace
from optitrace.views.formats import check_format, chunks
from optitrace.views.grid import Look
from optitrace.views.remarks import documented_remark, stability_remark

SHARED_OPTIONS = (
    *options.EXPERIMENT_OPTIONS,
    *options.LOOK_OPTIONS,
    *options.WRITING_OPTIONS,
    options.STRICT_OPTION,
)


def trace_command(optimizer: Optimizer) -> Callable[..., None]:
    """Return the function of an optimizer's command, whose signature has its hyperparameters."""

    def command(**given: Any) -> None:
        run(optimizer, given)

    parameters = [*map(options.hyperparameter_option, optimizer.hyperparameters), *SHARED_OPTIONS]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def run(optimizer: Optimizer, given: dict[str, Any]) -> None:
    """Run the experiment that the options ask for, write its files, and show it."""
    look = options.look(given)
    every = options.whole_number("every", given["every"], least=1)
    color = terminal.check_color(given["color"])
    format = check_format(given["format"]) if given["format"] else None
    files = plan_files(given["output"], format)
    settings = options.experiment_settings(given)
    hyperparameters = {
        h.name: h.parse(value) if isinstance(value, str) else value
        for h in optimizer.hyperparameters
        if (value := given[h.name]) is not None
    }

    if settings["device"] == "auto":
        settings["device"] = _choose_device()
    experiment = design(optimizer.name, hyperparameters, **settings)
    load_torch()
    with Interruption() as interruption:
        traced = _trace(experiment, every, interruption)
    unwritten = _write(files, traced, look)
    _show(traced, look, format or "table", color)
    _finish(traced, unwritten, interruption, strict=given["strict"])


def _choose_device() -> str:
    load_torch()
    from optitrace.tracing.devices import choose_device

    return choose_device()


def _trace(experiment: Experiment, every: int, interruption: Interruption) -> Trace:
    from optitrace.tracing.tracer import trace

    with Progress(experiment.steps, interruption) as progress:
        return trace(experiment, every=every, stop=progress)


def _write(files: Sequence[OutputFile], traced: Trace, look: Look) -> list[OutputError]:
    """Write every file that can be written; return what went wrong with the others."""
    errors = []
    for file in files:
        try:
            write_file(file.path, chunks(traced, file.format, look))
        except OutputError as error:
            errors.append(error)
    return errors


def _show(traced: Trace, look: Look, format: str, color: str) -> None:
    if format != "table":
        terminal.print_text(chunks(traced, format, look))
        return
    from optitrace.views.table import render

    table = render(
        traced,
        look,
        width=terminal.width(),
        notes=[*_remarks(traced), *_hints(traced, look)],
        ascii_only=terminal.ascii_only(),
    )
    terminal.print_rich(table, color)


def _remarks(traced: Trace) -> list[str]:
    """Return what theory and the document have to say of the run."""
    experiment = traced.experiment
    remarks = []
    limit = stability_limit(experiment)
    if limit is not None and _number(experiment.hyperparameters["lr"]) > limit.lr:
        remarks.append(stability_remark(experiment, limit))
    if cells := cells_like(experiment):
        remarks.append(documented_remark([reproduce(cell) for cell in cells]))
    return remarks


def _hints(traced: Trace, look: Look) -> list[str]:
    """Return the line that says what else there is to see."""
    more = []
    if traced.state and not look.state:
        more.append(f"--state ({', '.join(traced.state)})")
    if not look.update:
        more.append("--update")
    more += ["--format json", f"optitrace {traced.experiment.optimizer} --help"]
    return [f"more: {', '.join(more)}"]


def _finish(
    traced: Trace, unwritten: Sequence[OutputError], interruption: Interruption, *, strict: bool
) -> None:
    """Say what went wrong, and exit with what it means."""
    for error in unwritten:
        terminal.say(str(error))
    if interruption.signal is not None:
        taken, planned = traced.steps[-1], traced.experiment.steps
        terminal.say(f"interrupted after step {taken} of {planned}; what was traced so far is above.")
        raise typer.Exit(interruption.exit_code)
    if unwritten:
        raise typer.Exit(OutputError.exit_code)
    if traced.outcome.status is Status.OUT_OF_MEMORY:
        raise DeviceError(
            f"{traced.experiment.device} ran out of memory after step {traced.steps[-1]}; "
            "what was traced until then was kept."
        )
    if strict and traced.outcome.status is Status.NON_FINITE:
        raise typer.Exit(1)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
