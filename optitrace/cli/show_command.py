"""`optitrace show FILE`: show a saved trace or training like a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optitrace.analysis.diff_report import DiffReport, report_differences
from optitrace.analysis.tolerance import EXACT
from optitrace.analysis.training.diagnoses.registry import check_allowed, diagnose, without_allowed
from optitrace.cli import options, terminal
from optitrace.cli.delivery import Delivery, leave, leave_if_interrupted, plan_delivery
from optitrace.cli.experiment_runner import run_experiment, say_code
from optitrace.cli.following import find_saved, follow
from optitrace.cli.interruption import Interruption
from optitrace.cli.trace_request import REQUEST_OPTIONS, TraceRequest, read_request
from optitrace.errors import UsageError, printable
from optitrace.experiment.objectives import UserLoss
from optitrace.experiment.text import whole_number
from optitrace.experiment.user_class import entry_of
from optitrace.records.reader import STDIN, SavedTraining, read_saved
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.records.training import TrainingRecord
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
    "params",
    panel=options.OUTPUT,
    help="Show a training with a row for each parameter; with --all, in each step.",
)

FROM_OPTION = options.text_option(
    "first", "--from", metavar="STEP", panel=options.OUTPUT, help="Show a training from this step on."
)

TO_OPTION = options.text_option(
    "last", "--to", metavar="STEP", panel=options.OUTPUT, help="Show a training up to this step."
)

FOLLOW_OPTION = options.flag(
    "follow",
    panel=options.OUTPUT,
    help="Report the latest steps of a training that is still running until it ends, then show it.",
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
"""The options for traces only."""

OF_TRAININGS = {"allow": "allow", "params": "params", "groups": "groups", "first": "from", "last": "to"}
"""The options for trainings only, and what they are called."""

BESIDE_WHY = (*OF_TRACES, "state", "params", "plot", "all", "strict", "allow")
"""The options that say nothing of one step."""


@options.takes(
    (
        FILE,
        FOLLOW_OPTION,
        RERUN_OPTION,
        PARAMS_OPTION,
        options.GROUPS_OPTION,
        FROM_OPTION,
        TO_OPTION,
        WHY_OPTION,
        *REQUEST_OPTIONS,
        STRICT_OPTION,
        options.ALLOW_OPTION,
    )
)
def show_saved(**given: Any) -> None:
    """Show a saved trace or training in any format; with --rerun, run a trace again and compare."""
    if given["why"] is not None:
        _show_step(given)
        return
    request = read_request(given)
    check_allowed(given["allow"])
    saved = read_saved(_followed(given["file"]) if given["follow"] else find_saved(given["file"]))
    if isinstance(saved, SavedTraining):
        _check_training(saved.training, given)
        selected = _selected(saved.training, given["first"], given["last"])
        _show_training(saved, selected, request, given["allow"])
        return
    for name, called in OF_TRAININGS.items():
        if given[name]:
            raise UsageError(f"--{called} is for trainings, and this is a trace; leave it out.")
    if given["rerun"]:
        saved = _with_code(saved)
    elif request.explains and saved.experiment.custom is not None:
        raise UsageError(
            f"{printable(saved.experiment.optimizer)} is code that the trace names, and only --rerun runs "
            "it; add --rerun to explain by its rule."
        )
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


def _followed(path: str) -> str:
    """Return the path of a training once it has ended."""
    if path == STDIN:
        raise UsageError("--follow needs a file, and - is standard input; name the file.")
    with Interruption() as interruption:
        path = follow(path, interruption)
    leave_if_interrupted(interruption, "interrupted; the training continues.")
    return path


def _check_training(training: TrainingRecord, given: Mapping[str, Any]) -> None:
    """Refuse options that do not apply to this training."""
    for name in OF_TRACES:
        if given[name]:
            raise UsageError(f"--{name} is for traces, and this is a training; leave it out.")
    for name, recorded in (("state", "state"), ("params", "by_parameter")):
        if given[name] and not any(getattr(optimizer, recorded) for optimizer in training.optimizers):
            raise UsageError(
                f"--{name} shows what this training did not record; record it with 'optitrace run --{name}'."
            )


def _selected(training: TrainingRecord, first: str | None, last: str | None) -> TrainingRecord:
    """Return the steps of a training from one to another, each the end of the training if not given."""
    if first is None and last is None:
        return training
    from optitrace.monitoring.recording_config import RecordingConfig

    begin = whole_number("from", first, least=1) if first is not None else 1
    end = whole_number("to", last, least=1) if last is not None else None
    wanted = RecordingConfig(first=begin, last=end)
    selected = training.between(wanted.first, wanted.last)
    if not any(optimizer.steps for optimizer in selected.optimizers):
        recorded = [step for optimizer in training.optimizers for step in optimizer.steps]
        there = f"choose from its steps {min(recorded)} to {max(recorded)}" if recorded else "it has none"
        asked = f"from {begin} on" if end is None else f"from {begin} to {end}"
        raise UsageError(f"the training has no recorded step {asked}; {there}.")
    return selected


def _show_training(
    saved: SavedTraining, selected: TrainingRecord, request: TraceRequest, allowed: Sequence[str]
) -> None:
    diagnoses = diagnose(saved.training) if saved.is_part else saved.findings.diagnoses
    findings = replace(saved.findings, diagnoses=without_allowed(diagnoses, allowed))
    training = selected.every_kth(request.every)
    with Interruption() as interruption:
        result = TrainingPresenter(training, findings, saved.training)
        unwritten = request.delivery.deliver(result, [_training_hint(training, request.delivery)])
    leave_if_interrupted(interruption, "interrupted; what was saved is shown.")
    leave(unwritten, is_no=request.strict and findings.has_faults)


def _training_hint(training: TrainingRecord, delivery: Delivery) -> str:
    """Return the line that names further options for this training."""
    display = delivery.display
    more = [] if display.plot else ["--plot"]
    entries = dict.fromkeys(name for optimizer in training.optimizers for name in optimizer.state)
    if entries and not display.state:
        more.append(f"--state ({', '.join(entries)})")
    if any(optimizer.by_parameter for optimizer in training.optimizers) and not display.by_parameter:
        more.append("--params")
    if not display.groups:
        more.append("--groups")
    return f"more: {', '.join([*more, '--format json'])}"


def _with_code(trace: TraceRecord) -> TraceRecord:
    """Return a saved trace with the code that it names, after reporting its files."""
    experiment = trace.experiment
    objective = experiment.objective
    named = [] if experiment.custom is None else [experiment.optimizer]
    if isinstance(objective, UserLoss) and objective.is_recorded:
        named.append(objective.function)
        experiment = replace(experiment, objective=replace(objective, is_recorded=False))
    say_code(named)
    custom = None if experiment.custom is None else entry_of(experiment.optimizer)
    return replace(trace, experiment=replace(experiment, custom=custom))


def _run_again(trace: TraceRecord) -> DiffReport:
    """Run the experiment of a trace as far as it went, and compare bit for bit."""
    experiment = trace.experiment
    with Interruption() as interruption:
        again = run_experiment(replace(experiment, steps=trace.steps[-1]), interruption)
        comparable = replace(again.at_steps(trace.steps), experiment=experiment)
        report = report_differences(NamedTrace("saved", trace), NamedTrace("run again", comparable), EXACT)
    leave_if_interrupted(interruption, "interrupted; nothing was compared.")
    return report


def _show_whether_same(report: DiffReport, delivery: Delivery) -> None:
    """Report whether the two are the same: below a table, or on standard error for other formats."""
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
