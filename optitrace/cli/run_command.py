"""`optitrace run script.py`: the optimizers of a training script, seen while it runs unchanged."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optitrace.analysis.training.diagnoses import diagnose
from optitrace.analysis.training.findings import RankAgreement, RuleAgreement, TrainingFindings
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption, raising_terminated
from optitrace.cli.output_files import STDOUT, OutputFile, plan_files
from optitrace.cli.picturing import check_formats
from optitrace.cli.run_ending import Ending
from optitrace.cli.run_rank import Place
from optitrace.cli.run_status import RunStatus
from optitrace.cli.training_showing import training_tables, write_training
from optitrace.errors import OutputError, UsageError, one_of
from optitrace.experiment.own_module import reason
from optitrace.experiment.text import whole_number
from optitrace.tracing.watching.patterns import check_pattern
from optitrace.tracing.watching.running import check_program, run_program
from optitrace.tracing.watching.session import Session
from optitrace.tracing.watching.training import Program, Training
from optitrace.tracing.watching.wish import RecordingWish
from optitrace.views.formats import FORMATS
from optitrace.views.grid import Look

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.analysis.training.rule_watch import RuleWatch
    from optitrace.tracing.watching.watched_optimizer import Probe, WatchedOptimizer
    from optitrace.tracing.watching.watcher import Watcher

RECORDING = "Recording"

HELP = """\
Run a training script, unchanged, and trace every optimizer that it steps.

Write [bold]optitrace run train.py --epochs 3[/] where you write [bold]python train.py --epochs 3[/]: \
the script's output, files and exit code are its own. The table goes to standard error, after the script has \
ended, with the faults that were found: a stale gradient, a forgotten zero_grad, updates lost in rounding, …
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace run train.py
  optitrace run --params --every 10 -o trace.jsonl train.py --epochs 3
  optitrace run --watch 'layer1.weight[0,3]' --watch '*.bias' train.py
  optitrace run --verify -m mypackage.train
  torchrun --nproc-per-node 2 -m optitrace run train.py
"""

_MODULE = typer.Option(
    False,
    "-m",
    metavar=options.NO_VALUE,
    help="Run a module by its name, as python -m.",
    rich_help_panel=RECORDING,
)

_WATCH = typer.Option(
    [],
    "--watch",
    metavar="PATTERN",
    help="Record the weights themselves, as in 'layer1.weight[0,3]' or '*.bias'; repeatable.",
    rich_help_panel=RECORDING,
    show_default=False,
)

_ARGUMENTS = inspect.Parameter(
    "arguments",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        list[str], typer.Argument(metavar="SCRIPT [ARGS]…", help="The script, and what it is given.")
    ],
)

FILE_FORMATS = tuple(format for format in FORMATS if format != "table")
"""The formats of the files that a training is written to."""


@options.takes(
    (
        _ARGUMENTS,
        options.parameter("module", bool, _MODULE),
        options.flag("params", panel=RECORDING, help="Record every parameter by itself, too."),
        options.flag("state", panel=RECORDING, help="Record the norms of the optimizer's state."),
        options.parameter("watch", list[str], _WATCH),
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
            help="Recompute each step from the published rule, on some coordinates.",
        ),
        options.output_option(FILE_FORMATS),
        options.PLOT_OPTION,
        options.PRECISION_OPTION,
        options.ALL_OPTION,
        options.COLOR_OPTION,
        options.flag("strict", panel=options.OUTPUT, help="Exit with 1 if a fault is found."),
    )
)
def run_training(**given: Any) -> None:
    """Run a program, watch its optimizers, show what was seen, and exit as the program does."""
    program = Program(tuple(given["arguments"]), is_module=given["module"])
    place = Place.of_this_process()
    report = _Report(
        files=_files(given["output"], place),
        look=Look(
            precision=options.precision(given),
            all_rows=given["all"],
            state=given["state"],
            by_parameter=given["params"],
        ),
        color=terminal.check_color(given["color"]),
        plots=given["plot"],
        strict=given["strict"],
    )
    wish = RecordingWish(
        every=whole_number("every", given["every"], least=1),
        first=whole_number("from", given["first"], least=1),
        last=whole_number("to", given["last"], least=1) if given["last"] is not None else None,
        parameters=given["params"],
        state=given["state"],
        patterns=tuple(map(check_pattern, given["watch"])),
    )
    process = os.getpid()
    rules = _Rules() if given["verify"] else None
    session = Session(lambda: _watcher(wish, place, rules))
    with session.watching():
        check_program(program)
        ended = _run(program, session)
    if os.getpid() != process:  # a child that the program has forked, and that has come to the program's end
        raise typer.Exit(ended.code)
    with Interruption() as interruption:
        findings_code = _tell(program, session, ended, place, report, rules, interruption)
    ended.say()
    raise typer.Exit(ended.code or findings_code)


@dataclass(frozen=True, slots=True)
class _Report:
    """How what was seen is to be told."""

    files: Sequence[OutputFile]
    look: Look
    color: str
    plots: bool
    strict: bool


def _run(program: Program, session: Session) -> Ending:
    try:
        with (
            raising_terminated(),
            terminal.streams_of_a_program(),
            RunStatus(lambda passed: _status(session, passed)),
        ):
            run_program(program)
    except BaseException as error:  # whatever it raises is the program's own, and told when it has ended
        return Ending(error)
    return Ending()


def _status(session: Session, passed: float) -> str:
    """Return where a training is, in a line."""
    watcher = session.watcher
    if watcher is None or not watcher.step:
        return ""
    return f"optitrace: step {watcher.step:,}, {watcher.step / passed:,.1f}/s"


def _watcher(wish: RecordingWish, place: Place, rules: _Rules | None) -> Watcher:
    from optitrace.tracing.watching.watcher import Watcher

    watcher = Watcher(wish, keeps_weight_norms=place.world_size > 1)
    if rules is not None:
        watcher.make_probe = rules.make_probe
    return watcher


class _Rules:
    """The rules that steps are held against, loaded with the first optimizer, as that needs torch."""

    def __init__(self) -> None:
        self._watch: RuleWatch | None = None

    def make_probe(self, optimizer: Optimizer, watched: WatchedOptimizer) -> Probe | None:
        """Return what is to look at each step of an optimizer; None if nothing can be verified."""
        if self._watch is None:
            from optitrace.analysis.training.rule_watch import RuleWatch

            self._watch = RuleWatch()
        return self._watch.make_probe(optimizer, watched)

    def agreements(self) -> tuple[RuleAgreement, ...]:
        """Return how each optimizer stands to its rule."""
        return () if self._watch is None else self._watch.agreements()


def _tell(
    program: Program,
    session: Session,
    ended: Ending,
    place: Place,
    report: _Report,
    rules: _Rules | None,
    is_interrupted: Callable[[], bool],
) -> int:
    """Write and show what was seen; return the exit code that this asks for."""
    watcher = session.watcher
    if watcher is None:
        if place.rank == 0:
            terminal.say("the program made no optimizer of torch: it did not load torch.")
        return 1
    outcome = ended.outcome(watcher.step)
    training = watcher.training(program, outcome, rank=place.rank, world_size=place.world_size)
    ranks = _compare_ranks(watcher, training, is_interrupted) if place.world_size > 1 else None
    if not training.optimizers:
        if place.rank == 0:
            terminal.say(_nothing(training))
        return 1
    findings = TrainingFindings(
        diagnoses=diagnose(training), verified=rules.agreements() if rules else (), ranks=ranks
    )
    errors = write_training(training, findings, report.files, report.look)
    if place.rank == 0:
        _show(training, findings, report)
    complaints = watcher.complaints()
    for sentence in [*(complaints if place.rank == 0 else []), *map(str, errors)]:
        terminal.say(sentence)
    if watcher.failure is not None:
        terminal.say(f"nothing was watched after step {watcher.step}: {reason(watcher.failure)}.")
        return 1
    if errors:
        return OutputError.exit_code
    if complaints:
        return UsageError.exit_code
    departs = not all(agreement.agrees for agreement in findings.verified)
    return int(departs or (report.strict and findings.has_faults))


def _compare_ranks(
    watcher: Watcher, training: Training, is_interrupted: Callable[[], bool]
) -> RankAgreement | None:
    from optitrace.analysis.training.ranks.agreement import compare_ranks

    return compare_ranks(training, watcher.weight_norms(), is_interrupted=is_interrupted)


def _nothing(training: Training) -> str:
    """Return the sentence for a program none of whose optimizers took a step."""
    if training.idle:
        return f"the program made {', '.join(training.idle)} and never stepped it; call optimizer.step()."
    return (
        "the program made no optimizer of torch in this process; "
        "where it starts processes of its own, start them with torchrun -m optitrace run."
    )


def _files(paths: Sequence[str], place: Place) -> list[OutputFile]:
    """Return the files to write, one of each for every process, after seeing that they can be."""
    if STDOUT in paths:
        raise UsageError("standard output is the script's own; name a file, as in -o trace.json.")
    files = plan_files([place.own_file(path) for path in paths], None)
    for file in files:
        one_of("format", file.format, FILE_FORMATS)
    check_formats(None, files)
    return files


def _show(training: Training, findings: TrainingFindings, report: _Report) -> None:
    tables = training_tables(
        training, findings, report.look, sys.stderr, notes=_hints(report), plots=report.plots
    )
    with suppress(OutputError):  # whoever closed standard error does not want to read it
        terminal.print_rich(tables, report.color, sys.stderr)


def _hints(report: _Report) -> list[str]:
    """Return the line that says what else there is to see."""
    more = [] if report.look.by_parameter else ["--params"]
    more += [] if report.look.state else ["--state"]
    more += ["--watch 'NAME[0,3]'", "--verify"]
    if not report.plots:
        more.append("--plot")
    if not report.files:
        more.append("-o trace.json")
    return [f"more: {', '.join(more)}"]
