"""The report of `optitrace run` after the program has ended: files, tables, messages, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optitrace.analysis.training.diagnoses.registry import diagnose, without_allowed
from optitrace.cli import terminal
from optitrace.cli.delivery import Delivery
from optitrace.cli.run_command_line import RunCommandLine
from optitrace.cli.run_ending import Ending
from optitrace.errors import OutputError, UsageError, quoted
from optitrace.experiment.user_class import ChosenRule
from optitrace.experiment.user_module import reason
from optitrace.monitoring.session import Session
from optitrace.records.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings
from optitrace.records.trace import Outcome, Status
from optitrace.records.training import Program, TrainingRecord
from optitrace.text import first_of, listed, tallied
from optitrace.views.presenters.training import TrainingPresenter

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.analysis.training.rule_watch import RuleWatch
    from optitrace.cli.run_part import RunPart
    from optitrace.monitoring.monitor import Monitor
    from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder


NO_TORCH = (
    "the program did not load torch, and made no torch.optim optimizer; run a script that trains with one."
)

NO_OPTIMIZER = (
    "the program made no torch.optim optimizer in this process, and updates by Keras or by hand are not "
    "observed; to trace the processes that it starts, start them with torchrun -m optitrace run."
)

MOST_NAMED = 3
"""The number of optimizers that a message lists."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The rank of this process, as set by torchrun.

    Attributes:
        number: its number, from 0.
        world_size: the number of processes.
    """

    number: int = 0
    world_size: int = 1

    @classmethod
    def of_this_process(cls) -> Rank:
        """Return the rank from the environment; that of a single process if not set."""
        number, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        return cls(int(number), int(size)) if number.isdigit() and size.isdigit() else cls()

    def path_of_rank(self, path: str) -> str:
        """Return the path of this rank's file for a given path.

        >>> Rank(1, 2).path_of_rank("runs/trace.json"), Rank().path_of_rank("trace.json")
        ('runs/trace.rank1.json', 'trace.json')
        """
        if self.world_size == 1 or not path:
            return path
        whole = Path(path)
        return str(whole.with_name(f"{whole.stem}.rank{self.number}{whole.suffix}"))


class Rules:
    """The rule checks of a run, loaded with the first optimizer, since they need torch."""

    def __init__(self, choices: Sequence[ChosenRule] = ()) -> None:
        self._choices = choices
        self._watch: RuleWatch | None = None

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return the probe of an optimizer's steps; None if nothing can be verified."""
        if self._watch is None:
            from optitrace.analysis.training.rule_watch import RuleWatch

            self._watch = RuleWatch(self._choices)
        return self._watch.make_probe(optimizer, watched)

    def agreements(self, names: Mapping[str, str]) -> tuple[RuleAgreement, ...]:
        """Return the agreement of each optimizer with its rule, under its final name."""
        return () if self._watch is None else self._watch.agreements(names)

    def complaints(self, training: TrainingRecord) -> list[str]:
        """Return a sentence for each class that was given a rule and took no step."""
        there = listed(list(dict.fromkeys(optimizer.class_path for optimizer in training.optimizers)))
        unused = self._choices if self._watch is None else self._watch.unused
        return [
            f"no optimizer of the class {quoted(chosen.class_name)}, which --rule names, took a step; "
            f"the steps were of {there}."
            for chosen in unused
        ]


@dataclass(frozen=True, slots=True)
class Report:
    """The options of a report.

    Attributes:
        delivery: the content of the table, and the files to write.
        strict: whether a fault, or an incomplete recording, makes the exit code 1.
        allowed: the diagnoses that are accepted, as `without_allowed` takes them.
        command: the command line of the run.
        part: what writes the training while it goes on; None if nothing does.
    """

    delivery: Delivery
    strict: bool
    allowed: tuple[str, ...]
    command: RunCommandLine
    part: RunPart | None = None


def tell(
    program: Program,
    session: Session,
    ended: Ending,
    rank: Rank,
    report: Report,
    rules: Rules | None,
    is_interrupted: Callable[[], bool],
) -> int:
    """Show and write the training; return the exit code."""
    watcher = session.monitor
    if session.failure is not None:
        if rank.number == 0:
            terminal.say(f"no optimizer is observed: {reason(session.failure)}.")
        return int(report.strict)
    if watcher is None:
        return _say_nothing_seen([NO_TORCH], ended, rank, report)
    outcome = ended.outcome(watcher.step)
    training = watcher.training(program, outcome, rank=rank.number, world_size=rank.world_size)
    ranks = _compare_ranks(watcher, training, is_interrupted) if rank.world_size > 1 else None
    failures = _failures(watcher)
    if not training.optimizers:
        for sentence in training.unobserved if rank.number == 0 else ():
            terminal.say(sentence)
        if watcher.is_blind:
            return int(report.strict)
        sentences = failures or [_nothing(training, watcher.numberless())]
        return _say_nothing_seen(sentences, ended, rank, report, is_failure=bool(failures))
    training, diagnoses = _diagnosed(training, failures)
    findings = TrainingFindings(
        diagnoses=without_allowed(diagnoses, report.allowed),
        verified=rules.agreements(watcher.names()) if rules else (),
        ranks=ranks,
    )
    result = TrainingPresenter(training, findings)
    if rank.number == 0:
        failures += _show(result, report)
    errors = report.delivery.write(result)
    complaints = [*watcher.complaints(), *(rules.complaints(training) if rules else ())]
    remarks = [*watcher.unmeasured(), *complaints] if rank.number == 0 else []
    remarks += _end_part(report.part, is_written=not errors)
    for sentence in [*dict.fromkeys(remarks), *map(str, errors), *failures]:
        terminal.say(sentence)
    if errors:
        return OutputError.exit_code
    if complaints:
        return UsageError.exit_code
    return int(findings.departs or (report.strict and (findings.has_faults or bool(failures))))


def _say_nothing_seen(
    sentences: Sequence[str], ended: Ending, rank: Rank, report: Report, *, is_failure: bool = False
) -> int:
    """Report why nothing is shown and written, unless the program failed; return the exit code."""
    if rank.number == 0 and (is_failure or not ended.has_failed):
        for sentence in sentences:
            terminal.say(sentence)
        if paths := [quoted(str(file.path)) for file in report.delivery.files]:
            terminal.say(f"nothing was recorded: {listed(paths)} {_was(paths)} not written.")
    return int(report.strict)


def _was(things: Sequence[str]) -> str:
    return "was" if len(things) == 1 else "were"


def _diagnosed(training: TrainingRecord, failures: list[str]) -> tuple[TrainingRecord, tuple[Diagnosis, ...]]:
    """Return a training and its findings; if the diagnosis fails, the outcome says so."""
    try:
        return training, diagnose(training)
    except Exception as error:  # a fault of this program costs no record
        failures.append(f"the training could not be diagnosed: {reason(error)}.")
        if training.outcome.status is Status.COMPLETED:
            what = f"the diagnosis failed: {reason(error)}"
            training = replace(training, outcome=Outcome(Status.FAILED, reason=what))
        return training, ()


def _end_part(part: RunPart | None, *, is_written: bool) -> list[str]:
    """Remove the part of a training that is written whole; return what there is to say of it."""
    if part is None:
        return []
    sentences = [part.failure] if part.failure else []
    if is_written:
        part.remove()
    elif part.is_begun:
        sentences.append(f"what was recorded until shortly before the end is in {quoted(str(part.path))}.")
    return sentences


def _compare_ranks(
    watcher: Monitor, training: TrainingRecord, is_interrupted: Callable[[], bool]
) -> RankAgreement | None:
    from optitrace.analysis.training.rank_agreement import compare_ranks

    return compare_ranks(training, watcher.weight_norms(), is_interrupted=is_interrupted)


def _failures(watcher: Monitor) -> list[str]:
    """Return the messages on optimizers whose watching failed."""
    sentences = [failure.sentence for failure in watcher.failures]
    more = len(sentences) - MOST_NAMED
    if more > 0:
        sentences[MOST_NAMED:] = [f"watching {tallied(more, 'other optimizer')} failed, too."]
    return sentences


def _nothing(training: TrainingRecord, numberless: Sequence[str]) -> str:
    """Return the message for a program without an observed step."""
    if training.idle:
        made = first_of(training.idle, MOST_NAMED)
        return f"the program made {made} and never stepped it; call optimizer.step()."
    if numberless:
        of = first_of(numberless, MOST_NAMED)
        return f"the parameters of {of} are meta or lazy tensors, without numbers to trace; initialize them."
    return NO_OPTIMIZER


def _show(result: TrainingPresenter, report: Report) -> list[str]:
    """Show the table; return a message if that fails, since the files are still to be written."""
    try:
        with suppress(OutputError):  # whoever closed standard error does not want to read it
            report.delivery.print_table(result, stream=sys.stderr)
            if more := _more(result.training, report):
                terminal.print_content([f"more: {more}\n"], sys.stderr)
    except Exception as error:
        return [f"the table cannot be shown: {reason(error)}; a file written by -o trace.json has all of it."]
    return []


def _more(training: TrainingRecord, report: Report) -> str:
    """Return the command that shows and writes the rest; empty if nothing is left."""
    watched = next(iter(_watchable(training)), None)
    command = report.command.having(
        {
            "params": True,
            "state": True,
            "watch": [watched] if watched else [],
            "verify": True,
            "plot": True,
            "output": ["trace.json"],
        }
    )
    return "" if command == report.command else command.text


def _watchable(training: TrainingRecord) -> Iterator[str]:
    """Yield patterns that name the first weight of each parameter."""
    for optimizer in training.optimizers:
        for parameter in optimizer.parameters:
            if parameter.name.isascii() and not set(parameter.name) & set("*?["):
                place = ",".join("0" for _ in parameter.shape)
                yield f"{parameter.name}[{place}]" if place else parameter.name
