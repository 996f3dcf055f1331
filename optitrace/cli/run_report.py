"""What `optitrace run` tells once the program has ended: files, tables, sentences, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optitrace.analysis.training.diagnoses.diagnose import diagnose
from optitrace.cli import terminal
from optitrace.cli.delivery import Delivery
from optitrace.cli.run_command_line import RunCommandLine
from optitrace.cli.run_ending import Ending
from optitrace.errors import OutputError, UsageError, quoted
from optitrace.experiment.own_class import ChosenRule
from optitrace.experiment.own_module import reason
from optitrace.monitoring.session import Session
from optitrace.records.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings
from optitrace.records.trace import Outcome, Status
from optitrace.records.training import Program, Training
from optitrace.text.number_format import first_of, listed, tallied
from optitrace.views.presenters.training import TrainingPresenter

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.analysis.training.rule_watch import RuleWatch
    from optitrace.monitoring.monitor import Monitor
    from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder


NO_TORCH = (
    "the program did not load torch, and made no torch.optim optimizer; run a script that trains with one."
)

NO_OPTIMIZER = (
    "the program made no torch.optim optimizer in this process, and updates by Keras or by hand are not "
    "observed; start processes of its own with torchrun -m optitrace run."
)

MOST_NAMED = 3
"""How many optimizers a message lists."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Which process this is, as torchrun tells it.

    Attributes:
        number: its number, from 0.
        world_size: how many processes there are.
    """

    number: int = 0
    world_size: int = 1

    @classmethod
    def of_this_process(cls) -> Rank:
        """Return what the environment gives; the rank of a process alone if it gives none."""
        number, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        return cls(int(number), int(size)) if number.isdigit() and size.isdigit() else cls()

    def own_file(self, path: str) -> str:
        """Return the path at which this process writes what it would write at another if it were alone.

        >>> Rank(1, 2).own_file("runs/trace.json"), Rank().own_file("trace.json")
        ('runs/trace.rank1.json', 'trace.json')
        """
        if self.world_size == 1 or not path:
            return path
        whole = Path(path)
        return str(whole.with_name(f"{whole.stem}.rank{self.number}{whole.suffix}"))


class Rules:
    """The rules that steps are checked against, loaded with the first optimizer, as that needs torch."""

    def __init__(self, choices: Sequence[ChosenRule] = ()) -> None:
        self._choices = choices
        self._watch: RuleWatch | None = None

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return what is to look at each step of an optimizer; None if nothing can be verified."""
        if self._watch is None:
            from optitrace.analysis.training.rule_watch import RuleWatch

            self._watch = RuleWatch(self._choices)
        return self._watch.make_probe(optimizer, watched)

    def agreements(self, names: Mapping[str, str]) -> tuple[RuleAgreement, ...]:
        """Return how each optimizer stands to its rule, under the names that they have in the end."""
        return () if self._watch is None else self._watch.agreements(names)

    def complaints(self, training: Training) -> list[str]:
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
    """How what was seen is to be told.

    Attributes:
        delivery: what the table shows, and what to write.
        strict: whether a fault makes the exit code 1, or that nothing could be recorded.
        command: the command line of the run.
    """

    delivery: Delivery
    strict: bool
    command: RunCommandLine


def tell(
    program: Program,
    session: Session,
    ended: Ending,
    rank: Rank,
    report: Report,
    rules: Rules | None,
    is_interrupted: Callable[[], bool],
) -> int:
    """Show and write what was seen; return the exit code that this asks for."""
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
        diagnoses=diagnoses, verified=rules.agreements(watcher.names()) if rules else (), ranks=ranks
    )
    result = TrainingPresenter(training, findings)
    if rank.number == 0:
        failures += _show(result, report)
    errors = report.delivery.write(result)
    complaints = [*watcher.complaints(), *(rules.complaints(training) if rules else ())]
    remarks = [*watcher.unmeasured(), *complaints] if rank.number == 0 else []
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
    """Say why nothing is shown and written, unless the program failed; return the exit code for it."""
    if rank.number == 0 and (is_failure or not ended.has_failed):
        for sentence in sentences:
            terminal.say(sentence)
        if paths := [quoted(str(file.path)) for file in report.delivery.files]:
            terminal.say(f"nothing was recorded: {listed(paths)} {_was(paths)} not written.")
    return int(report.strict)


def _was(things: Sequence[str]) -> str:
    return "was" if len(things) == 1 else "were"


def _diagnosed(training: Training, failures: list[str]) -> tuple[Training, tuple[Diagnosis, ...]]:
    """Return a training and its faults; where those cannot be told, it is kept as one that failed."""
    try:
        return training, diagnose(training)
    except Exception as error:  # a fault of this program costs no record
        failures.append(f"the training was not diagnosed: {reason(error)}.")
        if training.outcome.status is Status.COMPLETED:
            what = f"the diagnosis failed: {reason(error)}"
            training = replace(training, outcome=Outcome(Status.FAILED, reason=what))
        return training, ()


def _compare_ranks(
    watcher: Monitor, training: Training, is_interrupted: Callable[[], bool]
) -> RankAgreement | None:
    from optitrace.analysis.training.rank_agreement import compare_ranks

    return compare_ranks(training, watcher.weight_norms(), is_interrupted=is_interrupted)


def _failures(watcher: Monitor) -> list[str]:
    """Return the sentences for watchings that have ended before the program."""
    sentences = [failure.sentence for failure in watcher.failures]
    more = len(sentences) - MOST_NAMED
    if more > 0:
        sentences[MOST_NAMED:] = [f"the watching of {tallied(more, 'other optimizer')} failed, too."]
    return sentences


def _nothing(training: Training, numberless: Sequence[str]) -> str:
    """Return the sentence for a program none of whose optimizers took a step that could be watched."""
    if training.idle:
        made = first_of(training.idle, MOST_NAMED)
        return f"the program made {made} and never stepped it; call optimizer.step()."
    if numberless:
        of = first_of(numberless, MOST_NAMED)
        return f"the parameters of {of} are on meta or lazy, with no numbers to trace; give them some."
    return NO_OPTIMIZER


def _show(result: TrainingPresenter, report: Report) -> list[str]:
    """Show the table; return a sentence if that fails, as the files are still to be written."""
    try:
        with suppress(OutputError):  # whoever closed standard error does not want to read it
            report.delivery.print_table(result, stream=sys.stderr)
            if more := _more(result.training, report):
                terminal.print_content([f"more: {more}\n"], sys.stderr)
    except Exception as error:
        return [f"the table cannot be shown: {reason(error)}; a file written by -o trace.json has all of it."]
    return []


def _more(training: Training, report: Report) -> str:
    """Return the command that shows and writes what this one has not; empty if there is no more."""
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


def _watchable(training: Training) -> Iterator[str]:
    """Yield patterns that name the first weight of each parameter."""
    for optimizer in training.optimizers:
        for parameter in optimizer.parameters:
            if parameter.name.isascii() and not set(parameter.name) & set("*?["):
                place = ",".join("0" for _ in parameter.shape)
                yield f"{parameter.name}[{place}]" if place else parameter.name
