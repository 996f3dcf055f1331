"""`optitrace show FILE`: a saved trace or training, shown as a fresh one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optitrace.analysis.diff_report import DiffReport, report_differences
from optitrace.analysis.tolerance import EXACT
from optitrace.analysis.training.diagnoses.diagnose import check_allowed, without_allowed
from optitrace.cli import options, terminal
from optitrace.cli.delivery import Delivery, leave, leave_if_interrupted, plan_delivery
from optitrace.cli.experiment_runner import run_experiment, say_code
from optitrace.cli.interruption import Interruption
from optitrace.cli.trace_request import REQUEST_OPTIONS, TraceRequest, read_request
from optitrace.errors import UsageError
from optitrace.experiment.objectives import OwnLoss
from optitrace.experiment.own_class import entry_of
from optitrace.experiment.text import whole_number
from optitrace.records.reader import SavedTraining, read_saved
from optitrace.records.trace import NamedTrace, Trace
from optitrace.records.training import Training
from optitrace.views.presenters.training import TrainingPresenter

FILE = options.argument(
    "file",
    str,
    metavar="FILE",
    help="A trace or a training saved with -o FILE.json or .jsonl; - is standard input.",
)

RERUN_OPTION = options.flag(
    "rerun", panel=options.OUTPUT, help="Run a trace again, and exit with 1 if anything differs."
)

PARAMS_OPTION = options.flag(
    "params", panel=options.OUTPUT, help="Show a training with a row for each parameter of each step."
)

STRICT_OPTION = options.flag(
    "strict",
    panel=options.OUTPUT,
    help="Exit with 1 if a number of a trace is not finite, its target was not reached, "
    "or a training has a fault.",
)

WHY_OPTION = options.text_option(
    "why",
    metavar="STEP",
    panel=options.OUTPUT,
    help="Compare one step of a training with those before it, and say what made its update so long.",
)

OF_TRACES = ("explain", "coordinate", "theory", "update", "rerun")
"""The options that say how to show a trace, and nothing of a training."""

BESIDE_WHY = (*OF_TRACES, "state", "params", "plot", "all", "strict", "allow")
"""The options that say nothing of one step."""


@options.takes(
    (FILE, RERUN_OPTION, PARAMS_OPTION, WHY_OPTION, *REQUEST_OPTIONS, STRICT_OPTION, options.ALLOW_OPTION)
)
def show_saved(**given: Any) -> None:
    """Show a saved trace or training in any format; with --rerun, run a trace again and compare."""
    if given["why"] is not None:
        _show_step(given)
        return
    request = read_request(given)
    check_allowed(given["allow"])
    saved = read_saved(given["file"])
    if isinstance(saved, SavedTraining):
        _check_training(saved.training, given)
        _show_training(saved, request, given["allow"])
        return
    if given["allow"]:
        raise UsageError("--allow is for trainings, and this is a trace; leave it out.")
    if given["params"]:
        raise UsageError("--params is for trainings, and this is a trace; leave it out.")
    if given["rerun"]:
        saved = _with_code(saved)
    trace = saved.every_kth(request.every)
    request.check(trace.experiment)
    with Interruption() as interruption:
        unwritten = request.delivery.deliver(request.present(trace), [request.hint(trace)])
    leave_if_interrupted(interruption, "interrupted; what was saved is shown.")
    if given["rerun"]:
        report = _run_again(saved)
        _show_whether_same(report, request.delivery)
        leave((), is_no=not report.differences.are_same)
    leave(unwritten, is_no=request.is_failed(trace))


def _show_step(given: Mapping[str, Any]) -> None:
    """Show one step of a training beside those before it."""
    from optitrace.analysis.training.step_account import accounts_of, concerns
    from optitrace.views.presenters.step_account import StepPresenter

    step = whole_number("why", given["why"], least=1)
    for name in BESIDE_WHY:
        if given[name]:
            raise UsageError(f"--why shows one step, and --{name} says nothing of it; leave it out.")
    delivery = plan_delivery(given, StepPresenter)
    saved = read_saved(given["file"])
    if not isinstance(saved, SavedTraining):
        raise UsageError("--why is for trainings, and this is a trace; use --explain.")
    found = tuple(one for one in saved.findings.diagnoses if concerns(one, step))
    leave(delivery.deliver(StepPresenter(accounts_of(saved.training, step), found)))


def _check_training(training: Training, given: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing for this training."""
    for name in OF_TRACES:
        if given[name]:
            raise UsageError(f"--{name} is for traces, and this is a training; leave it out.")
    for name, recorded in (("state", "state"), ("params", "by_parameter")):
        if given[name] and not any(getattr(optimizer, recorded) for optimizer in training.optimizers):
            raise UsageError(
                f"--{name} shows what this training did not record; record it with 'optitrace run --{name}'."
            )


def _show_training(saved: SavedTraining, request: TraceRequest, allowed: Sequence[str]) -> None:
    findings = replace(saved.findings, diagnoses=without_allowed(saved.findings.diagnoses, allowed))
    training = saved.training.every_kth(request.every)
    with Interruption() as interruption:
        unwritten = request.delivery.deliver(
            TrainingPresenter(training, findings), [_training_hint(training, request.delivery)]
        )
    leave_if_interrupted(interruption, "interrupted; what was saved is shown.")
    leave(unwritten, is_no=request.strict and findings.has_faults)


def _training_hint(training: Training, delivery: Delivery) -> str:
    """Return the line that says what else there is to see of what was recorded."""
    display = delivery.display
    more = [] if display.plot else ["--plot"]
    entries = dict.fromkeys(name for optimizer in training.optimizers for name in optimizer.state)
    if entries and not display.state:
        more.append(f"--state ({', '.join(entries)})")
    if any(optimizer.by_parameter for optimizer in training.optimizers) and not display.by_parameter:
        more.append("--params")
    return f"more: {', '.join([*more, '--format json'])}"


def _with_code(trace: Trace) -> Trace:
    """Return a saved trace with the code that it names, after naming each file of it."""
    experiment = trace.experiment
    objective = experiment.objective
    named = [] if experiment.own is None else [experiment.optimizer]
    if isinstance(objective, OwnLoss) and objective.is_recorded:
        named.append(objective.function)
        experiment = replace(experiment, objective=replace(objective, is_recorded=False))
    say_code(named)
    own = None if experiment.own is None else entry_of(experiment.optimizer)
    return replace(trace, experiment=replace(experiment, own=own))


def _run_again(trace: Trace) -> DiffReport:
    """Run the experiment of a trace as far as it went, and compare bit for bit."""
    experiment = trace.experiment
    with Interruption() as interruption:
        again = run_experiment(replace(experiment, steps=trace.steps[-1]), interruption)
        comparable = replace(again.at_steps(trace.steps), experiment=experiment)
        report = report_differences(NamedTrace("saved", trace), NamedTrace("run again", comparable), EXACT)
    leave_if_interrupted(interruption, "interrupted; nothing was compared.")
    return report


def _show_whether_same(report: DiffReport, delivery: Delivery) -> None:
    """Say whether the two are the same: below a table, and on standard error beside other formats."""
    is_same = report.differences.are_same
    answer = "the same bit for bit" if is_same else "not the same"
    said = f"run again with torch {report.b.trace.versions.torch}: {answer}"
    if not delivery.is_table:
        terminal.say(f"{said}.")
        return
    terminal.print_content(["\n", f"{said}\n"])
    if not is_same:
        from optitrace.views.presenters.difference import DiffPresenter

        terminal.print_content(["\n"])
        delivery.print_table(DiffPresenter(report))
