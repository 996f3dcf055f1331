"""The command of each optimizer: run one experiment and show it."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

import typer
from rich.markup import escape

from optitrace.analysis.documented import cells_like, reproduce
from optitrace.analysis.explanation import check_explainable
from optitrace.analysis.theory import stability_limit
from optitrace.cli import options, terminal
from optitrace.cli.delivery import leave, leave_if_interrupted
from optitrace.cli.experiment_runner import apart_from_stdout, load_torch, resolve_device, run_experiment
from optitrace.cli.interruption import Interruption
from optitrace.cli.output_files import OutputFile
from optitrace.cli.trace_request import REQUEST_OPTIONS, read_request
from optitrace.errors import DeviceError, UsageError, printable
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.user_class import entry_of, is_shipped, is_user_class
from optitrace.records.trace import Status, TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS, shipped_rules
from optitrace.rules.hyperparameter import Hyperparameter, describe, read_settings, show
from optitrace.rules.optimizer import Optimizer
from optitrace.rules.reader import Spelling, read
from optitrace.views.wording import documented_remark, stability_remark

HYPERPARAMETERS = "Hyperparameters"

READABLE = ("json", "jsonl")
"""The formats that a trace can be read back from."""

NO_BREAK_SPACE = "\u00a0"
"""Indents a line of help, where Typer would strip blanks."""

SET_OPTION = options.repeatable_option(
    "set",
    "--set",
    metavar="NAME=VALUE",
    panel=HYPERPARAMETERS,
    help="Set a hyperparameter that has no option, or that needs a value of another type.",
)

SHARED_OPTIONS = (*options.EXPERIMENT_OPTIONS, *REQUEST_OPTIONS, options.STRICT_OPTION)
"""The options of every optimizer's command."""


def optimizer_command(optimizer: Optimizer) -> Callable[..., None]:
    """Return the function of an optimizer's command, whose signature has its hyperparameters."""
    own = [] if optimizer.name in OPTIMIZERS else [SET_OPTION]

    @options.takes([*map(_hyperparameter_option, _with_option(optimizer)), *own, *SHARED_OPTIONS])
    def command(**given: Any) -> None:
        run(optimizer, given)

    return command


def command_of(name: str, cls: type[Any]) -> Any:
    """Return the command of an optimizer, made when it is named, from the optimizer's signature.

    Args:
        name: in the catalogue, or ``package.module:Class`` or ``path/file.py:rule``.
        cls: Typer's class of commands, of which it is to be one.

    Raises:
        UsageError: there is no such optimizer.
    """
    if is_user_class(name):
        load_torch()
    with apart_from_stdout():
        optimizer = entry_of(name)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(
        name,
        cls=cls,
        help=optimizer.summary,
        short_help=optimizer.summary,
        rich_help_panel=_panel(name, optimizer),
    )(optimizer_command(optimizer))
    command = typer.main.get_command(app)
    command.optimizer = optimizer  # type: ignore[attr-defined]
    return command


def _panel(name: str, optimizer: Optimizer) -> str:
    if is_shipped(name):
        return f"Optimizers of {escape(shipped_rules()[name].package)}"
    return "Optimizers" if optimizer.class_path else "Optimizers beyond torch.optim"


def help_text(optimizer: Optimizer, spelling: Spelling) -> str:
    """Return the help of an optimizer in rich's markup: its rule, its source, where torch departs from it."""
    paragraphs = [f"{escape(optimizer.summary)}."] if optimizer.summary else []
    if optimizer.rule is not None:
        paragraphs.append(_listed("Each step", read(optimizer.rule).formulas(spelling)))
    if optimizer.source:
        paragraphs.append(f"[bold]Source[/] {escape(optimizer.source)}.")
    if optimizer.rule is not None and optimizer.rule.departures:
        whose = "torch" if optimizer.class_path else "this rule"
        paragraphs.append(_listed(f"Where {whose} departs from it", optimizer.rule.departures))
    return "\n\n".join(paragraphs)


def run(optimizer: Optimizer, given: dict[str, Any]) -> None:
    """Run the experiment of the options, write its files, and show it."""
    request = read_request(given)
    experiment = _experiment(optimizer, given)
    request.check(experiment)
    if request.explains:
        if request.every > 1:
            raise UsageError("an explanation needs every step; leave out --every, or --explain.")
        check_explainable(experiment, request.coordinate)
    with Interruption() as interruption:
        traced = run_experiment(experiment, interruption, every=request.every)
        notes = [*_remarks(traced), request.hint(traced)]
        unwritten = request.delivery.deliver(request.present(traced), notes)
    if not unwritten:
        _say_how_to_show_again(request.delivery.files)
    taken, planned = traced.steps[-1], experiment.steps
    leave_if_interrupted(
        interruption, f"interrupted after step {taken} of {planned}; what was traced so far is shown."
    )
    leave(unwritten, is_no=request.is_failed(traced))
    if traced.outcome.reason is not None:
        raise UsageError(traced.outcome.reason)
    if traced.outcome.status is Status.OUT_OF_MEMORY:
        raise DeviceError(
            f"{experiment.device} ran out of memory after step {traced.steps[-1]}, and what was traced until "
            "then is shown; use fewer coordinates, or keep fewer steps with --every."
        )


def _with_option(optimizer: Optimizer) -> list[Hyperparameter]:
    """Return the hyperparameters with an option; one with the name of another option needs ``--set``."""
    taken = {"help", SET_OPTION.name, *(option.name for option in SHARED_OPTIONS)}
    return [h for h in optimizer.hyperparameters if h.name not in taken and h.name.isidentifier()]


def _hyperparameter_option(hyperparameter: Hyperparameter) -> inspect.Parameter:
    """Return the option of a hyperparameter: its name with dashes, and a switch for true or false."""
    name = hyperparameter.name.replace("_", "-")
    is_switch = hyperparameter.type is bool
    option = typer.Option(
        None,
        f"--{name}/--no-{name}" if is_switch else f"--{name}",
        metavar=options.NO_VALUE if is_switch else _metavar(hyperparameter),
        help=options.with_default(_explained(hyperparameter), show(hyperparameter.default)),
        rich_help_panel=HYPERPARAMETERS,
        show_default=False,
    )
    return options.parameter(hyperparameter.name, bool | None if is_switch else str | None, option)


def _explained(hyperparameter: Hyperparameter) -> str:
    """Return the description of a hyperparameter, with its choices if it has any."""
    members = (hyperparameter.type, *get_args(hyperparameter.type))
    if any(get_origin(member) is Literal for member in members):
        words = describe(hyperparameter.type)
        return f"{hyperparameter.summary.removesuffix('.')}: {words}." if hyperparameter.summary else words
    return hyperparameter.summary


def _metavar(hyperparameter: Hyperparameter) -> str:
    """Return the metavar of a value: NUMBER, N, the choices, or A,B for a pair."""
    kind = hyperparameter.type
    if get_origin(kind) is tuple:
        return ",".join("ABCDEFGH"[: len(get_args(kind))])
    described = describe(kind).removesuffix(" or none")
    if described == "an integer":
        return "N"
    return "NUMBER" if described.endswith("a number") else "WORD"


def _listed(title: str, lines: Iterable[str]) -> str:
    """Return lines under their title, indented, with their own indentation kept."""
    said = [f"[bold]{title}[/]"]
    for line in map(escape, lines):
        text = line.lstrip()
        said.append(NO_BREAK_SPACE * (2 + len(line) - len(text)) + text)
    return "\n".join(said)


def _experiment(optimizer: Optimizer, given: dict[str, Any]) -> Experiment:
    settings = options.experiment_settings(given)
    hyperparameters = {
        h.name: h.parse(value) if isinstance(value, str) else value
        for h in _with_option(optimizer)
        if (value := given[h.name]) is not None
    }
    also = read_settings(optimizer.name, optimizer.hyperparameters, given.get("set", ()))
    if twice := sorted(hyperparameters.keys() & also.keys()):
        raise UsageError(f"{twice[0]} is given by an option and by --set; give it once.")
    settings["device"] = resolve_device(settings["device"])
    return design(optimizer, hyperparameters | also, **settings)


def _remarks(traced: TraceRecord) -> list[str]:
    """Return what theory and the document have to say of the run."""
    experiment = traced.experiment
    remarks = []
    limit, lr = stability_limit(experiment), experiment.hyperparameters.get("lr")
    if limit is not None and isinstance(lr, int | float) and lr > limit.lr:
        remarks.append(stability_remark(experiment, limit))
    return remarks + [documented_remark(reproduce(cell)) for cell in cells_like(experiment)]


def _say_how_to_show_again(files: Sequence[OutputFile]) -> None:
    """Print the command that shows the trace again, if it was saved in a readable format."""
    saved = [file.path for file in files if file.writer.name in READABLE and file.path.is_file()]
    if saved:
        terminal.say(f"to see this again: optitrace show {shlex.quote(printable(str(saved[0])))}")
