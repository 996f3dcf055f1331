"""Whether the ranks of one training agree: asked when the program has ended, and told by rank 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from optitrace.analysis.training.ranks.account import Account, account, told_rows
from optitrace.analysis.training.ranks.meeting import Meeting, Store, agent_store
from optitrace.analysis.training.ranks.parting import Parting, first_parting, pairs
from optitrace.analysis.training.ranks.remarks import (
    absences,
    agreeing_parts,
    differences,
    failures,
    joined,
    sharded,
    unsaid,
)
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.findings import RankAgreement
from optitrace.records.trace import Status
from optitrace.records.training import Training

PATIENCE = 30.0
"""How many seconds a rank waits for the others."""

AFTER_A_FAILURE = 5.0
"""How many seconds it does if its own program has failed: the others may wait for that, in vain."""

NO_STORE = "there is no store of torchrun to meet in; start the program with torchrun -m optitrace run"
NOTHING = "no optimizer took a step"
BROKEN = "the connection to the store of torchrun broke"


def compare_ranks(
    training: Training,
    norms: Sequence[WeightNorms],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> RankAgreement | None:
    """Meet the other ranks, all of which are to call this, and compare the weights.

    Args:
        training: what was seen on this rank.
        norms: those of its weights.
        is_interrupted: asked now and then; once it says so, nobody is waited for.

    Returns:
        What rank 0 found out; None on all others.
    """
    store = agent_store()
    if store is None:
        return None if training.rank else RankAgreement(training.world_size, None, note=NO_STORE)
    return compare_in(store, training, norms, is_interrupted=is_interrupted)


def compare_in(
    store: Store,
    training: Training,
    norms: Sequence[WeightNorms],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
    patience: float = PATIENCE,
) -> RankAgreement | None:
    """Do what `compare_ranks` does in a store of one's own.

    Args:
        store: what the ranks share.
        training: what was seen on this rank.
        norms: those of its weights.
        is_interrupted: asked now and then; once it says so, nobody is waited for.
        patience: how many seconds others are waited for.
    """
    has_completed = training.outcome.status is Status.COMPLETED
    meeting = Meeting(store, is_interrupted)
    try:
        if training.rank:
            meeting.give(training.rank, account(training.outcome, norms))
            # while a rank that failed waited, one that waits for its part in a collective would, too
            meeting.answer(training.rank, _telling(norms), patience if has_completed else 0.0)
            return None
        waiting = patience if has_completed else min(patience, AFTER_A_FAILURE)
        others = meeting.gather(range(1, training.world_size), waiting)
        found = first_parting(norms, others, partial(meeting.ask, patience=waiting))
        meeting.end()
    except RuntimeError:
        return None if training.rank else RankAgreement(training.world_size, None, note=BROKEN)
    waited = "before rank 0 was told to end" if is_interrupted() else f"within {waiting:g} s"
    return _agreement(training.world_size, norms, others, found, waited)


def _telling(norms: Sequence[WeightNorms]) -> Callable[[str, int, int], list[str]]:
    known = {each.optimizer: each for each in norms}
    return lambda optimizer, begin, end: told_rows(known[optimizer], begin, end)


def _agreement(
    world_size: int,
    norms: Sequence[WeightNorms],
    others: Mapping[int, Account],
    found: Parting | None,
    waited: str,
) -> RankAgreement:
    missing = [*absences(world_size, others, waited), *differences(norms, others)]
    remarks = [*missing, *failures(others)]
    if found is not None:
        return _parted(world_size, found, remarks)
    if missing:
        remarks += agreeing_parts(norms, others)
    remarks += sharded(norms, others)
    compares = any(True for told in others.values() for _ in pairs(norms, told))
    if not compares and not remarks:
        remarks = [NOTHING]
    return RankAgreement(world_size, True if compares and not missing else None, note=joined(remarks))


def _parted(world_size: int, found: Parting, remarks: Sequence[str]) -> RankAgreement:
    norms = found.norms
    return RankAgreement(
        world_size,
        agrees=False,
        optimizer=norms.optimizer,
        step=found.step,
        parameter="" if found.parameter is None else norms.parameters[found.parameter],
        ranks=(0, found.rank),
        norms=found.values,
        note=joined([*unsaid(found), *remarks]),
    )
