"""What `optitrace run` tells once the program has ended: files, tables, sentences, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optitrace.analysis.training.diagnoses import diagnose
from optitrace.analysis.training.findings import RankAgreement, TrainingFindings
from optitrace.cli import terminal
from optitrace.cli.output_files import OutputFile
from optitrace.cli.run_ending import Ending
from optitrace.cli.run_rank import Rank
from optitrace.cli.run_rules import Rules
from optitrace.cli.training_showing import training_tables, write_training
from optitrace.errors import OutputError, UsageError
from optitrace.rules.numerals import first_of, tallied
from optitrace.tracing.watching.session import Session
from optitrace.tracing.watching.training import Program, Training
from optitrace.views.grid import Look

if TYPE_CHECKING:
    from optitrace.tracing.watching.watcher import Watcher


MOST_NAMED = 3
"""How many optimizers a message lists."""


@dataclass(frozen=True, slots=True)
class Report:
    """How what was seen is to be told.

    Attributes:
        files: what to write.
        look: what the table shows, and how.
        color: when to use colour.
        plots: whether to draw the training, too.
        strict: whether a fault makes the exit code 1.
    """

    files: Sequence[OutputFile]
    look: Look
    color: str
    plots: bool
    strict: bool


def tell(
    program: Program,
    session: Session,
    ended: Ending,
    rank: Rank,
    report: Report,
    rules: Rules | None,
    is_interrupted: Callable[[], bool],
) -> int:
    """Write and show what was seen; return the exit code that this asks for."""
    watcher = session.watcher
    if watcher is None:
        return _say_nothing_seen(
            "the program made no optimizer of torch: it did not load torch.", ended, rank
        )
    outcome = ended.outcome(watcher.step)
    training = watcher.training(program, outcome, rank=rank.number, world_size=rank.world_size)
    ranks = _compare_ranks(watcher, training, is_interrupted) if rank.world_size > 1 else None
    failures = _failures(watcher)
    if not training.optimizers:
        if not failures:
            return _say_nothing_seen(_nothing(training, watcher.numberless()), ended, rank)
        for sentence in failures if rank.number == 0 else ():
            terminal.say(sentence)
        return 1
    findings = TrainingFindings(
        diagnoses=diagnose(training), verified=rules.agreements(watcher.names()) if rules else (), ranks=ranks
    )
    errors = write_training(training, findings, report.files, report.look, plots=report.plots)
    if rank.number == 0:
        _show(training, findings, report)
    complaints = watcher.complaints()
    for sentence in [*(complaints if rank.number == 0 else []), *map(str, errors)]:
        terminal.say(sentence)
    for sentence in failures:
        terminal.say(sentence)
    if failures:
        return 1
    if errors:
        return OutputError.exit_code
    if complaints:
        return UsageError.exit_code
    return int(findings.departs or (report.strict and findings.has_faults))


def _say_nothing_seen(sentence: str, ended: Ending, rank: Rank) -> int:
    """Say why nothing is shown, unless the program failed; return the exit code that this asks for."""
    if rank.number == 0 and not ended.has_failed:
        terminal.say(sentence)
    return int(not ended.has_left)


def _compare_ranks(
    watcher: Watcher, training: Training, is_interrupted: Callable[[], bool]
) -> RankAgreement | None:
    from optitrace.analysis.training.ranks.agreement import compare_ranks

    return compare_ranks(training, watcher.weight_norms(), is_interrupted=is_interrupted)


def _failures(watcher: Watcher) -> list[str]:
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
    return (
        "the program made no optimizer of torch in this process; "
        "where it starts processes of its own, start them with torchrun -m optitrace run."
    )


def _show(training: Training, findings: TrainingFindings, report: Report) -> None:
    notes = _hints(training, findings, report)
    tables = training_tables(training, findings, report.look, sys.stderr, notes=notes, plots=report.plots)
    with suppress(OutputError):  # whoever closed standard error does not want to read it
        terminal.print_rich(tables, report.color, sys.stderr)


def _hints(training: Training, findings: TrainingFindings, report: Report) -> list[str]:
    """Return the line that says what else there is to see."""
    more = [] if report.look.by_parameter else ["--params"]
    more += [] if report.look.state else ["--state"]
    more += [] if any(optimizer.values for optimizer in training.optimizers) else ["--watch 'NAME[0,3]'"]
    more += [] if findings.verified else ["--verify"]
    more += [] if report.plots else ["--plot"]
    more += [] if report.files else ["-o trace.json"]
    return [f"more: {', '.join(more)}"] if more else []
