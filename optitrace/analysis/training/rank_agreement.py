"""Whether the ranks of one training have the same weights: rank 0 compares their digest records at the end.

Each rank sends its record and waits for a request. Rank 0 requests the rows of those blocks that differ and
whose digests are hashes, so that it can say exactly which step and parameter differ first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

from optitrace.analysis.training.rank_records import (
    OptimizerDigests,
    RankExchange,
    RankRecord,
    Store,
    agent_store,
    digests,
    layout,
)
from optitrace.monitoring.norms import WeightNorms
from optitrace.records.findings import RankAgreement
from optitrace.records.trace import Status
from optitrace.records.training import TrainingRecord
from optitrace.text import first_of

PATIENCE = 30.0
"""The seconds that a rank waits for the others."""

AFTER_A_FAILURE = 5.0
"""The seconds that it waits if its own program has failed: the others may be waiting for it in vain."""

MOST = 3
"""The largest number of remarks, and of ranks that are named."""

NO_STORE = "the store of torchrun is not available; start the program with torchrun -m optitrace run"
NOTHING = "no optimizer took a step"
BROKEN = "the connection to the store of torchrun was lost"


def compare_ranks(
    training: TrainingRecord,
    norms: Sequence[WeightNorms],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> RankAgreement | None:
    """Compare the weights of all ranks, each of which is to call this.

    Args:
        training: of this rank.
        norms: of its weights.
        is_interrupted: called repeatedly; once it returns true, waiting ends.

    Returns:
        On rank 0 the result; None on all others.
    """
    store = agent_store()
    if store is None:
        return None if training.rank else RankAgreement(training.world_size, None, note=NO_STORE)
    return compare_in(store, training, norms, is_interrupted=is_interrupted)


def compare_in(
    store: Store,
    training: TrainingRecord,
    norms: Sequence[WeightNorms],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
    patience: float = PATIENCE,
) -> RankAgreement | None:
    """Do what `compare_ranks` does in a given store, shared by the ranks.

    Args:
        store: the store.
        training: of this rank.
        norms: of its weights.
        is_interrupted: called repeatedly; once it returns true, waiting ends.
        patience: the seconds to wait for others.
    """
    exchange = RankExchange(store, is_interrupted)
    has_completed = training.outcome.status is Status.COMPLETED
    try:
        if training.rank:
            record = RankRecord.of(training.outcome, norms)
            # while a rank that failed waited, one that waits for it in a collective would, too
            _contribute(exchange, training.rank, record, norms, patience if has_completed else 0.0)
            return None
        waiting = patience if has_completed else min(patience, AFTER_A_FAILURE)
        keys = {f"record/{rank}": rank for rank in range(1, training.world_size)}
        received = exchange.receive(keys, waiting)
        others = {r: RankRecord.from_fields(received[key]) for key, r in keys.items() if key in received}
        found = _first_difference(exchange, norms, others, keys.values(), waiting)
    except RuntimeError:
        return None if training.rank else RankAgreement(training.world_size, None, note=BROKEN)
    waited = "before rank 0 was interrupted" if is_interrupted() else f"within {waiting:g} s"
    return _agreement(training.world_size, norms, others, found, waited)


def _contribute(
    exchange: RankExchange, rank: int, record: RankRecord, norms: Sequence[WeightNorms], patience: float
) -> None:
    """Send a record, and the rows that rank 0 requests; none if it requests none for so many seconds."""
    exchange.send(f"record/{rank}", asdict(record))
    requested = exchange.receive([f"request/{rank}"], patience).get(f"request/{rank}", {})
    named = {each.optimizer: each for each in norms}
    exchange.send(f"rows/{rank}", {name: named[name].bytes(*rows).hex() for name, rows in requested.items()})


@dataclass(frozen=True, slots=True)
class _Difference:
    """The first rows of an optimizer that differ between rank 0 and another rank.

    Attributes:
        rank: the other rank.
        norms: of rank 0.
        begin: the first row.
        end: the row after the last; more than one row if it is not known which differs.
        parameter: the first parameter that differs in the row; None if that is not known.
        values: its norm on rank 0 and on the other rank.
    """

    rank: int
    norms: WeightNorms
    begin: int
    end: int
    parameter: int | None = None
    values: tuple[float, float] = (0.0, 0.0)

    @property
    def step(self) -> int:
        """The step of the first row."""
        return self.norms.step(self.begin)

    def located(self, theirs: bytes) -> _Difference:
        """Return the row and the parameter that differ, given the rows of the other rank."""
        ours, width = self.norms.bytes(self.begin, self.end), self.norms.width
        # bit by bit: NaN is the same as NaN, and 0 is not -0
        bits = zip(memoryview(ours).cast("Q"), memoryview(theirs).cast("Q"), strict=True)
        places = [divmod(place, width) for place, (own, other) in enumerate(bits) if own != other]
        row = places[0][0]
        found = replace(self, begin=self.begin + row, end=self.begin + row + 1)
        # the first number of a row is its step
        column = next((column for each, column in places if each == row and column), None)
        if column is None:
            return found
        own, other = (memoryview(each).cast("d")[row * width + column] for each in (ours, theirs))
        return replace(found, parameter=column - 1, values=(own, other))


def _first_difference(
    exchange: RankExchange,
    norms: Sequence[WeightNorms],
    others: Mapping[int, RankRecord],
    ranks: Iterable[int],
    patience: float,
) -> _Difference | None:
    """Return where any rank first differs from rank 0, by the steps of the optimizers; None if none does."""
    found = list(_differences(norms, others))
    requests: dict[int, dict[str, tuple[int, int]]] = {rank: {} for rank in ranks}
    for each in found:
        if each.parameter is None:
            requests[each.rank][each.norms.optimizer] = each.begin, each.end
    for rank, request in requests.items():
        exchange.send(f"request/{rank}", request)
    received = exchange.receive([f"rows/{rank}" for rank, request in requests.items() if request], patience)
    rows = [received.get(f"rows/{each.rank}", {}).get(each.norms.optimizer) for each in found]
    located = [
        each.located(bytes.fromhex(theirs)) if theirs else each
        for each, theirs in zip(found, rows, strict=True)
    ]
    return min(located, key=lambda each: each.step, default=None)


def _differences(norms: Sequence[WeightNorms], others: Mapping[int, RankRecord]) -> Iterator[_Difference]:
    """Yield the first difference of each optimizer of each rank, as far as the records show it."""

    @cache
    def own_digests(place: int, rows: int, block: int, is_hashed: bool) -> tuple[str, ...]:
        return digests(norms[place], rows, block, is_hashed)

    for rank, record in others.items():
        for place, own, theirs in _comparable(norms, record):
            rows = _comparable_rows(own, theirs)
            ours = own_digests(place, rows, theirs.block, theirs.is_hashed)
            pairs = enumerate(zip(ours, theirs.digests, strict=False))
            if (block := next((k for k, pair in pairs if pair[0] != pair[1]), None)) is not None:
                begin = block * theirs.block
                found = _Difference(rank, own, begin, min(begin + theirs.block, rows))
                yield found if theirs.is_hashed else found.located(bytes.fromhex(theirs.digests[block]))


def _comparable(
    norms: Sequence[WeightNorms], other: RankRecord
) -> Iterator[tuple[int, WeightNorms, OptimizerDigests]]:
    """Yield the optimizers that two ranks both have, where they can be compared, with their places."""
    named = {each.optimizer: each for each in other.optimizers}
    for place, own in enumerate(norms):
        theirs = named.get(own.optimizer)
        if theirs is not None and theirs.layout == layout(own) and not _is_sharded(own, theirs):
            yield place, own, theirs


def _comparable_rows(own: WeightNorms, theirs: OptimizerDigests) -> int:
    """Return how many rows of two ranks can be compared: those that both have, in whole blocks."""
    return theirs.rows if theirs.rows <= own.rows else own.rows // theirs.block * theirs.block


def _is_sharded(own: WeightNorms, theirs: OptimizerDigests) -> bool:
    return own.is_sharded or theirs.is_sharded


def _agreement(
    world_size: int,
    norms: Sequence[WeightNorms],
    others: Mapping[int, RankRecord],
    found: _Difference | None,
    waited: str,
) -> RankAgreement:
    missing = [*_absences(world_size, others, waited), *_not_in_common(norms, others)]
    remarks = [*missing, *_failures(others)]
    if found is not None:
        return RankAgreement(
            world_size,
            agrees=False,
            optimizer=found.norms.optimizer,
            step=found.step,
            parameter="" if found.parameter is None else found.norms.parameters[found.parameter],
            ranks=(0, found.rank),
            norms=found.values,
            note=_joined([*_unknown(found), *remarks]),
        )
    if missing:
        remarks += _agreeing_steps(norms, others)
    remarks += _sharded(norms, others)
    compares = any(True for record in others.values() for _ in _comparable(norms, record))
    if not compares and not remarks:
        remarks = [NOTHING]
    return RankAgreement(world_size, True if compares and not missing else None, note=_joined(remarks))


def _joined(remarks: Sequence[str]) -> str:
    """Return remarks joined in one line, only the first ones if there are many.

    >>> _joined(["one", "two", "three", "four", "five"])
    'one; two; three; and 2 more'
    """
    rest = len(remarks) - MOST
    return "; ".join([*remarks[:MOST], *([f"and {rest} more"] if rest > 0 else [])])


def _absences(world_size: int, others: Mapping[int, RankRecord], waited: str) -> Iterator[str]:
    """Yield the ranks that sent no record, and the time waited for them."""
    missing = [str(rank) for rank in range(1, world_size) if rank not in others]
    if missing:
        yield f"{'rank' if len(missing) == 1 else 'ranks'} {first_of(missing, MOST)} did not answer {waited}"


def _failures(others: Mapping[int, RankRecord]) -> Iterator[str]:
    """Yield the ranks that did not complete, and why."""
    for rank, record in others.items():
        outcome = record.outcome
        if outcome.status is not Status.COMPLETED:
            reason = f": {outcome.reason}" if outcome.reason else ""
            verb = "was interrupted" if outcome.status is Status.INTERRUPTED else str(outcome.status)
            yield f"rank {rank} {verb} after step {outcome.step}{reason}"


def _not_in_common(norms: Sequence[WeightNorms], others: Mapping[int, RankRecord]) -> Iterator[str]:
    """Yield the optimizers, parameters and steps that not all ranks have."""
    ours = {each.optimizer: each for each in norms}
    for rank, record in others.items():
        theirs = {each.optimizer: each for each in record.optimizers}
        for one, other, names in (
            ("rank 0", f"rank {rank}", ours.keys() - theirs.keys()),
            (f"rank {rank}", "rank 0", theirs.keys() - ours.keys()),
        ):
            for name in (name for name in {**ours, **theirs} if name in names):
                yield f"only {one} took steps of {name}, {other} did not"
        for name, own in ours.items():
            if name not in theirs or _is_sharded(own, theirs[name]):
                continue
            if theirs[name].layout != layout(own):
                yield f"{name} has other parameters on rank {rank} than on rank 0"
            elif theirs[name].taken != own.taken:
                yield f"rank {rank} took {theirs[name].taken:,} steps of {name} and rank 0 {own.taken:,}"


def _agreeing_steps(norms: Sequence[WeightNorms], others: Mapping[int, RankRecord]) -> Iterator[str]:
    """Yield the last step of each optimizer up to which the compared ranks agree."""
    last: dict[str, int] = {}
    for record in others.values():
        for _, own, theirs in _comparable(norms, record):
            step = own.step(_comparable_rows(own, theirs) - 1)
            last[own.optimizer] = min(step, last.get(own.optimizer, step))
    yield from (f"up to step {step:,} of {name} their weights agree" for name, step in last.items())


def _sharded(norms: Sequence[WeightNorms], others: Mapping[int, RankRecord]) -> Iterator[str]:
    """Yield the optimizers whose parameters are sharded."""
    theirs = [each for record in others.values() for each in record.optimizers]
    for own in norms:
        if any(_is_sharded(own, each) for each in theirs if each.optimizer == own.optimizer):
            yield f"the parameters of {own.optimizer} are sharded: each rank has a different part"


def _unknown(found: _Difference) -> Iterator[str]:
    """Yield the unknown part of a difference, if the other rank ended before it sent its rows."""
    if found.end - found.begin > 1:
        last = found.norms.step(found.end - 1)
        yield f"rank {found.rank} ended before the step could be determined (at most step {last:,})"
    elif found.parameter is None:
        yield f"rank {found.rank} ended before the parameter could be determined"
