"""What ranks find out about each other's weights, in a store that threads share, and what is kept for it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from time import monotonic

import pytest
import torch
from support.made_trainings import training
from support.watched import Task, watching
from torch import nn
from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]

from optitrace.analysis.training.rank_agreement import NO_STORE, compare_in, compare_ranks
from optitrace.analysis.training.rank_records import DIGESTS, RankExchange, RankRecord
from optitrace.monitoring.norms import WeightNorms, WeightRecord
from optitrace.monitoring.tensor_values import is_sharded
from optitrace.records.findings import RankAgreement
from optitrace.records.trace import Outcome, Status
from optitrace.tracing.series import IN_MEMORY

FAILED = Outcome(Status.FAILED, 3, reason="ValueError: out of data")


def norms(
    rows: Sequence[tuple[float, ...]], optimizer: str = "SGD", *, first: int = 0, is_sharded: bool = False
) -> WeightNorms:
    """Return norms of two parameters: those at the start, and after each of some steps."""
    numbers = array("d", [number for k, row in enumerate(rows) for number in (first + k, *row)])
    taken = first + len(rows) - 1
    return WeightNorms(optimizer, ("weight", "bias"), ((4, 3), (4,)), is_sharded, taken, numbers)


def compared(
    *ranks: Sequence[WeightNorms],
    outcomes: Mapping[int, Outcome] | None = None,
    absent: Sequence[int] = (),
    patience: float = 30.0,
) -> RankAgreement:
    """Return what rank 0 finds out when these ranks are compared."""
    store = HashStore()
    outcomes = outcomes or {}

    def compare(rank: int) -> RankAgreement | None:
        own = replace(
            training(), rank=rank, world_size=len(ranks), outcome=outcomes.get(rank, training().outcome)
        )
        return compare_in(store, own, ranks[rank], patience=patience)

    with ThreadPoolExecutor(len(ranks)) as pool:
        found = [pool.submit(compare, rank) for rank in range(len(ranks)) if rank not in absent]
        first, *others = [each.result(timeout=300) for each in found]
    assert others == [None] * len(others)
    assert first is not None
    return first


START = (3.0, 1.0)
ONE = [START, (2.5, 1.5), (2.25, 1.75), (2.0, 2.0)]


def test_ranks_with_the_same_norms_agree() -> None:
    assert compared([norms(ONE)], [norms(ONE)], [norms(ONE)]) == RankAgreement(3, True)


@pytest.mark.parametrize(("step", "place", "name"), [(0, 0, "weight"), (1, 1, "bias"), (3, 0, "weight")])
def test_the_first_step_and_parameter_that_differ_are_named(step: int, place: int, name: str) -> None:
    other = [list(row) for row in ONE]
    for row in other[step:]:
        row[place] += 2.0**-50
    mine, theirs = ONE[step][place], other[step][place]

    found = compared([norms(ONE)], [norms(ONE)], [norms([tuple(row) for row in other])])

    assert found == RankAgreement(3, False, "SGD", step, name, (0, 2), (mine, theirs))


def test_a_single_bit_of_a_norm_is_noticed() -> None:
    zero, minus_zero = [START, (0.0, 1.0)], [START, (-0.0, 1.0)]

    assert compared([norms(zero)], [norms(minus_zero)]).step == 1


def test_norms_that_are_no_numbers_are_the_same_where_all_ranks_have_them() -> None:
    nan = [START, (float("nan"), 1.0)]

    assert compared([norms(nan)], [norms(nan)]).agrees


def test_the_earliest_difference_of_any_rank_and_optimizer_is_reported() -> None:
    late = [*ONE[:3], (9.0, 2.0)]
    early = [*ONE[:2], (2.25, 9.0), (2.0, 2.0)]
    own = [norms(ONE), norms(ONE, "Adam")]

    found = compared(own, [norms(late), norms(ONE, "Adam")], [norms(ONE), norms(early, "Adam")])

    assert (found.optimizer, found.step, found.parameter, found.ranks) == ("Adam", 2, "bias", (0, 2))


@pytest.mark.parametrize("step", [0, 3 * DIGESTS + 7, 4 * DIGESTS - 1])
def test_a_step_is_found_in_more_rows_than_there_are_digests(step: int) -> None:
    rows = [(float(k), 1.0) for k in range(4 * DIGESTS)]
    other = [(k, b + (k >= step)) for k, b in rows]

    found = compared([norms(rows)], [norms(other)])

    assert (found.step, found.parameter, found.norms) == (step, "bias", (1.0, 2.0))


def test_a_record_stays_short_however_long_the_training() -> None:
    short, long = norms(ONE), norms([START] * (50 * DIGESTS))

    assert len(RankRecord.of(Outcome(), [short]).optimizers[0].digests) == len(ONE)
    assert len(RankRecord.of(Outcome(), [long]).optimizers[0].digests) == DIGESTS


def test_the_records_of_many_optimizers_share_the_digests() -> None:
    rows = [START] * (2 * DIGESTS)
    record = RankRecord.of(Outcome(), [norms(rows, f"SGD {k}") for k in range(10)])

    assert sum(len(each.digests) for each in record.optimizers) <= DIGESTS


def test_a_value_that_is_more_than_the_store_takes_at_once_is_exchanged() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    exchange = RankExchange(store)
    exchange.send("large", "0123456789" * 10**6)

    assert exchange.receive(["large", "missing"], 0.0) == {"large": "0123456789" * 10**6}


def test_a_record_is_received_as_it_was_sent() -> None:
    sent = RankRecord.of(FAILED, [norms(ONE), norms(ONE, "Adam", is_sharded=True)])

    assert RankRecord.from_fields(json.loads(json.dumps(asdict(sent)))) == sent


def test_a_rank_that_failed_is_told_of_and_the_others_are_compared_up_to_there() -> None:
    found = compared([norms([*ONE, (1.0, 1.0)])], [norms(ONE)], outcomes={1: FAILED})

    assert found.agrees is None
    assert found.note == (
        "rank 1 took 3 steps of SGD and rank 0 4; rank 1 failed after step 3: ValueError: out of data; "
        "up to step 3 of SGD their weights agree"
    )


def test_a_rank_that_failed_after_as_many_steps_agrees() -> None:
    found = compared([norms(ONE)], [norms(ONE)], outcomes={1: FAILED})

    assert found == RankAgreement(2, True, note="rank 1 failed after step 3: ValueError: out of data")


def test_the_parameter_of_a_rank_that_failed_is_named() -> None:
    found = compared([norms(ONE)], [norms([START, *ONE[:3]])], outcomes={1: FAILED})

    assert (found.agrees, found.step, found.parameter) == (False, 1, "weight")
    assert found.norms == (2.5, 3.0)
    assert found.note == "rank 1 failed after step 3: ValueError: out of data"


def test_a_rank_that_failed_in_a_training_of_many_parameters_leaves_the_parameter_open() -> None:
    many = [*"ab"] * 50
    mine, theirs = (
        replace(
            norms([]),
            parameters=tuple(many),
            taken=499,
            numbers=array("d", [n for step in range(500) for n in (step, *[scale] * len(many))]),
        )
        for scale in (1.0, 2.0)
    )
    found = compared([mine], [theirs], outcomes={1: FAILED})

    assert (found.agrees, found.step, found.parameter) == (False, 0, "")
    assert found.note.startswith("rank 1 ended before the parameter could be determined; rank 1 failed")
    assert compared([mine], [theirs]).parameter == "a"


def test_a_rank_that_failed_in_a_long_training_leaves_the_step_open() -> None:
    rows = [(float(k), 1.0) for k in range(4 * DIGESTS)]
    other = [(k, b + (k >= 8)) for k, b in rows]

    found = compared([norms(rows)], [norms(other)], outcomes={1: FAILED})

    sentence = "rank 1 ended before the step could be determined (at most step 11)"
    assert (found.step, found.note.split(";")[0]) == (8, sentence)


def test_a_rank_that_does_not_come_is_not_waited_for_longer_than_patience() -> None:
    begin = monotonic()
    found = compared([norms(ONE)], [], [norms(ONE)], absent=[1], patience=0.5)

    assert found.agrees is None
    assert found.note == "rank 1 did not answer within 0.5 s; up to step 3 of SGD their weights agree"
    assert monotonic() - begin < 10


def test_no_rank_is_waited_for_once_this_one_is_told_to_end() -> None:
    begin = monotonic()
    own = replace(training(), rank=0, world_size=3)
    found = compare_in(HashStore(), own, [norms(ONE)], is_interrupted=lambda: True)

    assert found == RankAgreement(3, None, note="ranks 1, 2 did not answer before rank 0 was interrupted")
    assert monotonic() - begin < 10


def test_of_many_ranks_that_are_missing_a_few_are_named() -> None:
    own = replace(training(), rank=0, world_size=65)
    found = compare_in(HashStore(), own, [norms(ONE)], patience=0.0)

    assert found is not None
    assert found.note == "ranks 1, 2, 3 and 61 more did not answer within 0 s"


def test_optimizers_and_parameters_that_not_all_ranks_have_are_told() -> None:
    other = replace(norms(ONE, "Adam"), parameters=("weight", "scale"))
    found = compared([norms(ONE), norms(ONE, "Adam")], [other, norms(ONE, "Lion")])

    assert found.agrees is None
    assert found.note == (
        "only rank 0 took steps of SGD, rank 1 did not; only rank 1 took steps of Lion, rank 0 did not; "
        "Adam has other parameters on rank 1 than on rank 0"
    )


def test_sharded_parameters_are_not_compared() -> None:
    own, other = norms(ONE, is_sharded=True), norms([START, *ONE[:3]], is_sharded=True)
    found = compared([own], [other])

    assert found.agrees is None
    assert found.note == "the parameters of SGD are sharded: each rank has a different part"
    assert compared([own, norms(ONE, "Adam")], [other, norms(ONE, "Adam")]).agrees


def test_ranks_that_took_no_step_have_nothing_to_compare() -> None:
    assert compared([], []) == RankAgreement(2, None, note="no optimizer took a step")


def test_a_connection_that_breaks_is_told() -> None:
    class Broken:
        def set(self, key: str, value: str, /) -> None:
            raise RuntimeError("Broken pipe")

        def get(self, key: str, /) -> bytes:
            raise RuntimeError("Broken pipe")

        def check(self, keys: list[str], /) -> bool:
            raise RuntimeError("Broken pipe")

    first, second = (replace(training(), rank=rank, world_size=2) for rank in (0, 1))

    assert compare_in(Broken(), first, []) == RankAgreement(
        2, None, note="the connection to the store of torchrun was lost"
    )
    assert compare_in(Broken(), second, []) is None
    with pytest.raises(RuntimeError, match="Broken pipe"):
        RankExchange(Broken()).send("key", {})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TORCHELASTIC_USE_AGENT_STORE": "True"},
        {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"},
        {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
    ],
)
def test_without_a_store_of_torchrun_nothing_is_compared(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_USE_AGENT_STORE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    first, second = (replace(training(), rank=rank, world_size=2) for rank in (0, 1))

    assert compare_ranks(first, []) == RankAgreement(2, None, note=NO_STORE)
    assert compare_ranks(second, []) is None


def test_the_norms_of_every_parameter_are_kept_from_before_the_first_step_on() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    expected = []

    def note(step: int) -> None:
        expected.extend([step, *(p.detach().double().norm().item() for p in task.model.parameters())])

    with watching(keeps_weight_norms=True) as watcher:
        note(0)
        for step in (1, 2, 3):
            optimizer.zero_grad()
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            note(step)
        [kept] = watcher.weight_norms()
        [recorded] = watcher.training(training().program, Outcome()).optimizers

    assert list(kept.numbers) == pytest.approx(expected, rel=1e-15)
    assert (kept.parameters, kept.taken, kept.is_sharded) == (("weight", "bias"), 3, False)
    assert recorded.by_parameter == {}


def test_the_norms_of_an_optimizer_that_is_gone_are_kept() -> None:
    with watching(keeps_weight_norms=True) as watcher:
        task = Task()
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        del optimizer, task

        assert [(kept.optimizer, kept.rows) for kept in watcher.weight_norms()] == [("SGD", 2)]


def test_parameters_that_come_later_begin_norms_of_their_own() -> None:
    task, more = Task(), nn.Linear(2, 2)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with watching(keeps_weight_norms=True) as watcher:
        task.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.add_param_group({"params": more.parameters()})
        optimizer.step()
        kept = watcher.weight_norms()

    assert [[each.step(row) for row in range(each.rows)] for each in kept] == [[0, 1], [1, 2]]
    assert [len(each.parameters) for each in kept] == [2, 4]


def test_norms_are_kept_only_where_they_are_asked_for() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with watching() as watcher:
        task.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

        assert watcher.weight_norms() == []


def test_norms_of_many_steps_lie_in_a_file() -> None:
    record = WeightRecord([torch.ones(4)], taken=0)
    for step in range(1, IN_MEMORY):
        record.add(step, [2.0])
    kept = record.norms("SGD", ["weight"], IN_MEMORY - 1)

    assert isinstance(kept.numbers, memoryview)
    assert (kept.rows, kept.step(kept.rows - 1)) == (IN_MEMORY, IN_MEMORY - 1)
    assert kept.bytes(0, 2) == array("d", [0.0, 2.0, 1.0, 2.0]).tobytes()


def test_a_parameter_is_sharded_where_a_part_of_it_is_elsewhere() -> None:
    whole, flat = torch.ones(4), torch.ones(4)
    flat._fsdp_flattened = True  # type: ignore[attr-defined]

    assert [is_sharded(whole), is_sharded(flat)] == [False, True]
