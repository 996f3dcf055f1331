"""What is said of ranks beside whether they agree: who is missing, what cannot be compared, who failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optitrace.analysis.training.ranks.account import Account, OptimizerAccount, layout
from optitrace.analysis.training.ranks.parting import Parting, comparable_rows, pairs
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.trace import Status
from optitrace.text.number_format import first_of

MOST = 3
"""How many remarks are told, and how many ranks are named; of more there is the number."""


def joined(remarks: Sequence[str]) -> str:
    """Return some remarks in a line, the first of them if there are many.

    >>> joined(["one", "two", "three", "four", "five"])
    'one; two; three; and 2 more'
    """
    rest = len(remarks) - MOST
    return "; ".join([*remarks[:MOST], *([f"and {rest} more"] if rest > 0 else [])])


def absences(world_size: int, others: Mapping[int, Account], waited: str) -> Iterator[str]:
    """Yield which ranks gave no account, and how long they were waited for."""
    missing = [str(rank) for rank in range(1, world_size) if rank not in others]
    if missing:
        yield f"{'rank' if len(missing) == 1 else 'ranks'} {first_of(missing, MOST)} did not answer {waited}"


def failures(others: Mapping[int, Account]) -> Iterator[str]:
    """Yield which ranks did not come to the end of the program, and why."""
    for rank, told in others.items():
        outcome = told.outcome
        if outcome.status is not Status.COMPLETED:
            reason = f": {outcome.reason}" if outcome.reason else ""
            verb = "was interrupted" if outcome.status is Status.INTERRUPTED else str(outcome.status)
            yield f"rank {rank} {verb} after step {outcome.step}{reason}"


def differences(norms: Sequence[WeightNorms], others: Mapping[int, Account]) -> Iterator[str]:
    """Yield what cannot be compared: optimizers, parameters and steps that not all ranks have."""
    own = {each.optimizer: each for each in norms}
    for rank, account in others.items():
        theirs = {told.optimizer: told for told in account.optimizers}
        yield from (
            f"only rank 0 took steps of {name}, rank {rank} did not" for name in own if name not in theirs
        )
        yield from (
            f"only rank {rank} took steps of {name}, rank 0 did not" for name in theirs if name not in own
        )
        for name in [name for name in own if name in theirs and not _is_sharded(own[name], theirs[name])]:
            told, mine = theirs[name], own[name]
            if told.layout != layout(mine):
                yield f"{name} has other parameters on rank {rank} than on rank 0"
            elif told.taken != mine.taken:
                yield f"rank {rank} took {told.taken:,} steps of {name} and rank 0 {mine.taken:,}"


def agreeing_parts(norms: Sequence[WeightNorms], others: Mapping[int, Account]) -> Iterator[str]:
    """Yield up to which step of each optimizer the ranks that could be compared agree."""
    last: dict[str, int] = {}
    for told in others.values():
        for own, each in pairs(norms, told):
            step = own.step(comparable_rows(own, each) - 1)
            last[own.optimizer] = min(step, last.get(own.optimizer, step))
    yield from (f"up to step {step:,} of {name} their weights agree" for name, step in last.items())


def sharded(norms: Sequence[WeightNorms], others: Mapping[int, Account]) -> Iterator[str]:
    """Yield of which optimizers each rank has a part."""
    for own in norms:
        theirs = [told for account in others.values() for told in account.optimizers]
        if any(_is_sharded(own, told) for told in theirs if told.optimizer == own.optimizer):
            yield f"the parameters of {own.optimizer} are sharded, so that each rank has a part of its own"


def unsaid(found: Parting) -> Iterator[str]:
    """Yield what another rank did not say any more of the place where it parts."""
    if found.end - found.begin > 1:
        last = found.norms.step(found.end - 1)
        yield f"rank {found.rank} left before it said at which step up to {last:,}"
    elif found.parameter is None:
        yield f"rank {found.rank} left before it said in which parameter"


def _is_sharded(own: WeightNorms, told: OptimizerAccount) -> bool:
    return own.is_sharded or told.is_sharded
