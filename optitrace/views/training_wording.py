"""The text around the tables of a training: the program, its outcome, and the findings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optitrace.analysis.training.diagnoses.registry import unjudged
from optitrace.errors import printable
from optitrace.records.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings
from optitrace.records.trace import Status
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.text import counted, first_of, format_significant, listed, tallied
from optitrace.views.wording import setting

NOT_TOLD = ("params", "initial_lr", "foreach", "fused", "capturable", "differentiable")
"""What a parameter group has beside what decides its steps."""

LONGEST_SETTING = 40
"""How many characters of a hyperparameter's value are shown."""

NO_STEP = "no step was recorded"

NO_FAULTS = "no faults found"

PARTING_REMEDY = "if they should be the same, wrap the model in DistributedDataParallel"
"""The remedy for ranks whose weights differ."""

MOST_OPTIMIZERS = 8
"""Of more optimizers than this the first few and the last are shown."""

FIRST_OPTIMIZERS = 3
"""How many the first few are."""

MOST_ALIKE = 3
"""So many optimizers with one fault are told one by one."""

MOST_NAMED = 2
"""How many of the others are named where a fault is told once."""

_OWN_NUMBERS = re.compile(r"\(.*?\)")
"""What a remedy has in parentheses, such as the lr of its optimizer."""


def program_line(training: TrainingRecord) -> str:
    """Return what was run, and which of the processes that trained together this is.

    It is empty of a training that was watched from within and had one process.
    """
    command = training.program.command
    parts = [printable(command)] if command else []
    if training.world_size > 1:
        parts.append(f"rank {training.rank} of {training.world_size}")
    return ", ".join(parts)


def optimizer_title(optimizer: OptimizerTrace) -> str:
    """Return an optimizer's name and what its parameter groups have; what is off is left out.

    Where groups differ, their values stand beside each other: ``lr=0.1/0.01``. An lr that moves is given as
    the least and the greatest that was recorded: ``lr=1e-05 to 0.005``.
    """
    groups = optimizer.hyperparameters
    names = dict.fromkeys(name for group in groups for name in group if name not in NOT_TOLD)
    lr = _range_of_lr(optimizer)
    shown = [
        lr if name == "lr" and lr else _setting(name, groups)
        for name in names
        if name == "lr" or any(g.get(name) for g in groups)
    ]
    cls = optimizer.class_path.rpartition(".")[2]
    title = optimizer.name if optimizer.name.startswith(cls) else f"{optimizer.name}: {cls}"
    return f"{title}({', '.join(shown)})"


def optimizer_subtitle(optimizer: OptimizerTrace) -> str:
    """Return how much an optimizer moves: groups if there are several, parameters, weights, dtypes."""
    parameters = optimizer.parameters
    groups = len(optimizer.hyperparameters)
    weights = sum(math.prod(parameter.shape) for parameter in parameters)
    return ", ".join(
        [
            *([counted(groups, "group")] if groups > 1 else []),
            tallied(len(parameters), "parameter"),
            tallied(weights, "weight"),
            *dict.fromkeys(parameter.dtype for parameter in parameters),
        ]
    )


def ending(training: TrainingRecord) -> str:
    """Return how a training ended: after how many steps, and why if it failed."""
    outcome = training.outcome
    if not training.optimizers:
        what = "no step was observed" if training.unobserved else "no optimizer took a step"
        line = f"{outcome.status}; {what}"
    else:
        status = f"still {outcome.status}" if outcome.status is Status.RUNNING else outcome.status
        line = f"{status} after {_steps_taken(training.optimizers)}"
    return f"{line}: {printable(outcome.reason)}" if outcome.reason else line


def ending_lines(training: TrainingRecord) -> Iterator[str]:
    """Yield how a training ended, and what could not be observed of it."""
    yield ending(training)
    yield from map(printable, training.unobserved)


def soundness(training: TrainingRecord, findings: TrainingFindings) -> str:
    """Return that no fault was found in a training that was observed to its end, and what it does not tell.

    It is empty where there is a fault, or where the training or its observation has failed.
    """
    is_whole = training.outcome.status is not Status.FAILED and not training.unobserved
    if not training.optimizers or findings.has_faults or not is_whole:
        return ""
    if unknown := unjudged(training):
        return f"{printable(unknown)}; no other faults found"
    until = {Status.INTERRUPTED: " until then", Status.RUNNING: " so far"}
    return f"{NO_FAULTS}{until.get(training.outcome.status, '')}"


def closing_lines(training: TrainingRecord, findings: TrainingFindings, *, tells_all: bool) -> Iterator[str]:
    """Yield all that is said below the tables where nothing can be indented, a diagnosis in one line."""
    yield from ending_lines(training)
    if sentence := soundness(training, findings):
        yield sentence
    diagnoses = told(findings.diagnoses, tells_all=tells_all)
    yield from (f"{printable(found.fact)}: {printable(found.remedy)}" for found in diagnoses)
    yield from findings_lines(findings, tells_all=tells_all)


def findings_lines(findings: TrainingFindings, *, tells_all: bool = False) -> Iterator[str]:
    """Yield what was found out beside faults: whether steps follow the rule, whether ranks agree."""
    verified = findings.verified
    yield from map(_rule_line, verified) if tells_all or len(verified) <= MOST_OPTIMIZERS else _few(verified)
    if findings.ranks is not None:
        yield _ranks_line(findings.ranks)


@dataclass(frozen=True, slots=True)
class Extent:
    """The optimizers that are shown.

    Attributes:
        optimizers: those that are.
        gap: the place before which some are left out; None if all are there.
        hidden: those that are left out.
    """

    optimizers: Sequence[OptimizerTrace]
    gap: int | None = None
    hidden: Sequence[OptimizerTrace] = ()

    @property
    def line(self) -> str:
        """How many are left out, which, and how to see them."""
        first, last = (printable(optimizer.name) for optimizer in (self.hidden[0], self.hidden[-1]))
        return f"{len(self.hidden):,} optimizers are hidden, {first} to {last}; --all shows them"


def extent(optimizers: Sequence[OptimizerTrace], *, shows_all: bool = False) -> Extent:
    """Return which of a training's optimizers are shown: all, or the first few and the last of many."""
    if shows_all or len(optimizers) <= MOST_OPTIMIZERS:
        return Extent(optimizers)
    first, hidden, last = optimizers[:FIRST_OPTIMIZERS], optimizers[FIRST_OPTIMIZERS:-1], optimizers[-1]
    return Extent((*first, last), FIRST_OPTIMIZERS, hidden)


def told(diagnoses: Sequence[Diagnosis], *, tells_all: bool = False) -> list[Diagnosis]:
    """Return the faults to tell, in their order: of one that many optimizers have, the first, for all."""
    alike: dict[tuple[str, str], list[Diagnosis]] = {}
    for diagnosis in diagnoses:
        alike.setdefault((diagnosis.fault, _OWN_NUMBERS.sub("", diagnosis.remedy)), []).append(diagnosis)
    faults = []
    for diagnosis in diagnoses:
        group = alike[diagnosis.fault, _OWN_NUMBERS.sub("", diagnosis.remedy)]
        if tells_all or len({one.optimizer for one in group}) <= MOST_ALIKE:
            faults.append(diagnosis)
        elif diagnosis is group[0]:
            faults.append(_for_all(group))
    return faults


def _range_of_lr(optimizer: OptimizerTrace) -> str:
    """Return the least and the greatest recorded lr of each group, if it moves in any; else an empty text."""
    column = optimizer.columns.get("lr")
    if column is None:
        return ""
    groups = [[x for x in column.values[k :: column.size] if math.isfinite(x)] for k in range(column.size)]
    ends = [(min(lrs), max(lrs)) for lrs in groups if lrs]
    if all(least == greatest for least, greatest in ends):
        return ""
    texts = [f"{low:.6g} to {high:.6g}" if low < high else f"{low:.6g}" for low, high in ends]
    return _cut(f"lr={'/'.join(dict.fromkeys(texts))}")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SETTING else f"{text[: LONGEST_SETTING - 1]}…"


def _setting(name: str, groups: Sequence[Mapping[str, Any]]) -> str:
    texts = [_shown(name, group[name]) if name in group else f"{name}=–" for group in groups]
    values = [text.removeprefix(f"{name}=") for text in texts]
    return texts[0] if len(set(values)) == 1 else _cut(f"{name}={'/'.join(values)}")


def _shown(name: str, value: Any) -> str:
    if isinstance(value, float):  # as a scheduler computed it, with all its digits
        value = float(f"{value:.6g}")
    return _cut(printable(setting(name, tuple(value) if isinstance(value, list) else value)))


def _steps_taken(optimizers: Sequence[OptimizerTrace]) -> str:
    """Return how many steps each optimizer took; of very many, the first few, and all others together."""
    if len(optimizers) == 1:
        return tallied(optimizers[0].steps_seen, "step")
    named = FIRST_OPTIMIZERS if len(optimizers) > MOST_OPTIMIZERS else len(optimizers)
    steps = [f"{tallied(o.steps_seen, 'step')} of {o.name}" for o in optimizers[:named]]
    if others := optimizers[named:]:
        steps.append(f"{tallied(sum(o.steps_seen for o in others), 'step')} of {len(others):,} more")
    return listed(steps)


def _rule_line(found: RuleAgreement) -> str:
    note = f"; {printable(found.note)}" if found.note else ""
    if not found.is_verified:
        return f"no step of {found.optimizer} was verified{note}"
    worst = f"{format_significant(found.worst, 2)} units"
    if found.agrees:
        verb = "agrees" if found.steps == 1 else "agree"
        return (
            f"{tallied(found.steps, 'step')} of {found.optimizer} {verb} with the rule, worst {worst}{note}"
        )
    return (
        f"{found.optimizer} departs from the rule of {found.rule} at step {found.departure}, "
        f"in {found.quantity} of {found.parameter}: worst {worst}, tolerance {found.allowed:g}{note}"
    )


def _few(verified: Sequence[RuleAgreement]) -> Iterator[str]:
    """Yield how very many optimizers stand to their rules: a few by themselves, the others together."""
    departing = [found for found in verified if not found.agrees]
    agreeing = [found for found in verified if found.agrees and found.is_verified]
    unverified = [found for found in verified if not found.is_verified]
    for alike in (departing, agreeing, unverified):
        yield from map(_rule_line, alike[:MOST_ALIKE])
        if others := alike[MOST_ALIKE:]:
            yield _others_line(others)


def _others_line(others: Sequence[RuleAgreement]) -> str:
    more = tallied(len(others), "more optimizer")
    if not others[0].agrees:
        return f"{more} depart from their rules, {first_of([o.optimizer for o in others], MOST_NAMED)}"
    if not others[0].is_verified:
        return f"no step of {more} was verified"
    worst = format_significant(max(found.worst for found in others), 2)
    return (
        f"{tallied(sum(found.steps for found in others), 'step')} of {more} agree with the rule, "
        f"worst {worst} units"
    )


def _ranks_line(found: RankAgreement) -> str:
    note = f"; {printable(found.note)}" if found.note else ""
    if found.agrees is None:
        return f"cannot determine whether the {found.world_size} ranks agree: {printable(found.note)}"
    if found.agrees:
        return f"the weights of {found.world_size} ranks agree after every recorded step{note}"
    first, second = found.ranks
    when = f"at step {found.step:,} of" if found.step else "before the first step of"
    line = f"ranks {first} and {second} first differ {when} {found.optimizer}"
    if found.parameter:
        line += (
            f", in {printable(found.parameter)}: its norm is {found.norms[0]!r} on rank {first} "
            f"and {found.norms[1]!r} on rank {second}"
        )
    return f"{line}{note}; {PARTING_REMEDY}"


def _for_all(alike: Sequence[Diagnosis]) -> Diagnosis:
    first, *others = alike
    names = list(dict.fromkeys(other.optimizer for other in others if other.optimizer != first.optimizer))
    return replace(first, fact=f"{first.fact}; the same applies to {first_of(names, MOST_NAMED)}")
