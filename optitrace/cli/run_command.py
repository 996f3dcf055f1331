"""`optitrace run script.py`: trace the optimizers of a training script, which runs unchanged."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from optitrace.analysis.training.diagnoses.registry import check_allowed
from optitrace.cli import options, terminal
from optitrace.cli.delivery import Delivery, plan_delivery
from optitrace.cli.experiment_runner import apart_from_stdout
from optitrace.cli.interruption import Interruption, raising_terminated, rest_handlers
from optitrace.cli.output_files import STDOUT
from optitrace.cli.run_command_line import RunCommandLine
from optitrace.cli.run_ending import Ending
from optitrace.cli.run_part import RunPart
from optitrace.cli.run_report import Rank, Report, Rules, tell
from optitrace.cli.run_status import RunStatus
from optitrace.errors import UsageError, quoted
from optitrace.experiment.text import whole_number
from optitrace.experiment.user_class import ChosenRule
from optitrace.monitoring.fault_isolation import forget_waiting, undisturbed
from optitrace.monitoring.recording_config import RecordingConfig, check_pattern
from optitrace.monitoring.script_runner import check_program, run_program
from optitrace.monitoring.session import Session
from optitrace.records.training import Program
from optitrace.text import listed
from optitrace.views.formats import find_writer
from optitrace.views.presenters.training import TrainingPresenter

if TYPE_CHECKING:
    from optitrace.monitoring.monitor import Monitor

RECORDING = "Recording"

HELP = """\
Run a training script, unchanged, and trace every optimizer that it steps.

Write [bold]optitrace run train.py --epochs 3[/] where you write [bold]python train.py --epochs 3[/]: \
the script's output, files and exit code are its own. The table goes to standard error, after the script has \
ended, with the faults that were found: a stale gradient, a forgotten zero_grad, updates lost in rounding, …

Options of optitrace go before the script; everything after it is passed to the script.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace run train.py
  optitrace run --params --every 10 -o trace.jsonl train.py --epochs 3
  optitrace run --watch 'layer1.weight[0,3]' --watch '*.bias' train.py
  optitrace run --verify -m mypackage.train
  optitrace run --verify --rule package.module:Lion=lion train.py
  torchrun --nproc-per-node 2 -m optitrace run train.py
"""

_MODULE = typer.Option(
    False,
    "-m",
    metavar=options.NO_VALUE,
    help="Run a module by its name, like python -m.",
    rich_help_panel=RECORDING,
)

_ARGUMENTS = options.argument(
    "arguments", list[str], metavar="SCRIPT [ARGS]…", help="The script and its arguments."
)

OPTIONS = (
    options.flag("params", panel=RECORDING, help="Also record each parameter separately."),
    options.flag("state", panel=RECORDING, help="Record the norms of the optimizer's state."),
    options.repeatable_option(
        "watch",
        "--watch",
        metavar="PATTERN",
        panel=RECORDING,
        help="Record the weights themselves, as in 'layer1.weight[0,3]' or '*.bias'; repeatable.",
    ),
    options.text_option(
        "every", metavar="K", default="1", panel=RECORDING, help="Record the first and every K-th step."
    ),
    options.text_option(
        "first", "--from", metavar="STEP", default="1", panel=RECORDING, help="Record from this step on."
    ),
    options.text_option("last", "--to", metavar="STEP", panel=RECORDING, help="Record up to this step."),
    options.flag(
        "verify",
        panel=RECORDING,
        help="Recompute each step from the published rule, on a sample of the weights.",
    ),
    options.repeatable_option(
        "rule",
        "--rule",
        metavar="CLASS=RULE",
        panel=RECORDING,
        help="The rule by which --verify checks a class, as in package.module:Lion=mine.py:lion; repeatable.",
    ),
    options.output_option(TrainingPresenter),
    options.GROUPS_OPTION,
    options.PLOT_OPTION,
    options.PRECISION_OPTION,
    options.flag("all", panel=options.OUTPUT, help="Show every row and every optimizer."),
    options.COLOR_OPTION,
    options.flag(
        "strict", panel=options.OUTPUT, help="Exit with 1 if a fault is found, or nothing could be recorded."
    ),
    options.ALLOW_OPTION,
)


@options.takes((_ARGUMENTS, options.parameter("module", bool, _MODULE), *OPTIONS))
def run_training(**given: Any) -> None:
    """Run a program, watch its optimizers, show the training, and exit as the program does."""
    program = Program(tuple(given["arguments"]), is_module=given["module"])
    rank = Rank.of_this_process()
    delivery = _plan(given, rank)
    check_allowed(given["allow"])
    config = RecordingConfig(
        every=whole_number("every", given["every"], least=1),
        first=whole_number("from", given["first"], least=1),
        last=whole_number("to", given["last"], least=1) if given["last"] is not None else None,
        parameters=given["params"],
        state=given["state"],
        patterns=tuple(map(check_pattern, given["watch"])),
    )
    if given["rule"] and not given["verify"]:
        raise UsageError("--rule names a rule for --verify to check; add --verify.")
    process, stderr = os.getpid(), sys.stderr
    rules = Rules(_choices(given["rule"])) if given["verify"] else None
    part = _part(delivery, program, rank, rules)
    command = _command_line(program, given, rank)
    report = Report(delivery, given["strict"], tuple(given["allow"]), command, part)
    session = Session(lambda: _watcher(config, rank, rules, part))
    interruption = Interruption()
    with ExitStack() as taken_over:
        with session.watching():
            check_program(program)
            if rank.number == 0:
                _say_passed_on(report.command)
            ended = _run(program, session, lambda: _take_over(taken_over, interruption))
        if os.getpid() != process:  # a child that the program has forked has come to the program's end
            raise typer.Exit(ended.code)
        with terminal.standard_error(stderr):
            findings_code = tell(program, session, ended, rank, report, rules, interruption)
    raise typer.Exit(ended.say() or (interruption.exit_code if interruption() else findings_code))


def _choices(texts: Sequence[str]) -> Sequence[ChosenRule]:
    """Return the rules that are named for classes.

    Raises:
        UsageError: a text cannot be read, there is no such rule, or a class has two.
    """
    with apart_from_stdout():
        choices = [ChosenRule.of(text) for text in texts]
    names = [chosen.class_name for chosen in choices]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--rule names two rules for {quoted(twice)}; name one.")
    return choices


def _command_line(program: Program, given: Mapping[str, Any], rank: Rank) -> RunCommandLine:
    if rank.world_size == 1:
        return RunCommandLine(OPTIONS, given, program)
    torchrun = ("torchrun", "--nproc-per-node", str(rank.world_size), "-m", "optitrace", "run")
    return RunCommandLine(OPTIONS, given, program, torchrun)


def _say_passed_on(command: RunCommandLine) -> None:
    """Report options of optitrace that are passed to the script because they follow it."""
    passed, moved = command.passed_on()
    if passed:
        terminal.say(
            f"{listed(passed)} {'is' if len(passed) == 1 else 'are'} passed to the script; "
            f"options of optitrace go before it, as in: {moved.text}"
        )


def _run(program: Program, session: Session, when_ended: Callable[[], None]) -> Ending:
    try:
        with (
            raising_terminated(),
            terminal.streams_of_a_program(),
            RunStatus(lambda passed: _status(session, passed)),
        ):
            try:
                run_program(program)
            finally:
                when_ended()
    except BaseException as error:  # whatever it raises is the program's own, and told when it has ended
        return Ending(error)
    return Ending()


@undisturbed
def _take_over(taken_over: ExitStack, interruption: Interruption) -> None:
    """Keep signals from interrupting the report, and disable the program's handlers."""
    taken_over.enter_context(interruption)
    rest_handlers()
    forget_waiting()


def _status(session: Session, passed: float) -> str:
    """Return the progress of a training, in one line."""
    watcher = session.monitor
    if watcher is None or not watcher.step:
        return ""
    return f"optitrace: step {watcher.step:,}, {watcher.step / passed:,.1f}/s"


def _part(delivery: Delivery, program: Program, rank: Rank, rules: Rules | None) -> RunPart | None:
    """Return what writes the training while it goes on: into the first file of JSONL, if there is one."""
    paths = [file.path for file in delivery.files if file.writer is find_writer("jsonl", TrainingPresenter)]
    path = next((path for path in paths if path.is_file() or not path.exists()), None)
    if path is None:
        return None

    def findings(monitor: Monitor) -> Mapping[str, Any]:
        return {"verified": rules.agreements(monitor.names())} if rules is not None else {}

    return RunPart(path, program, rank, findings)


def _watcher(config: RecordingConfig, rank: Rank, rules: Rules | None, part: RunPart | None) -> Monitor:
    from optitrace.monitoring.monitor import Monitor

    return Monitor(
        config,
        keeps_weight_norms=rank.world_size > 1,
        make_probe=rules.make_probe if rules is not None else None,
        when_recorded=part,
    )


def _plan(given: Mapping[str, Any], rank: Rank) -> Delivery:
    """Return the destinations of the training: files, one for each rank, and standard error."""
    if STDOUT in given["output"]:
        raise UsageError("standard output is the script's own; name a file, as in -o trace.json.")
    own = [rank.path_of_rank(path) for path in given["output"]]
    planned = plan_delivery({**given, "format": None, "output": own}, TrainingPresenter)
    # the program may go elsewhere
    return replace(planned, files=[replace(file, path=file.path.absolute()) for file in planned.files])
