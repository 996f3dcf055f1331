"""Where the weights of two ranks part: found from digests, then from what the other rank tells when asked."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from optitrace.analysis.training.ranks.account import Account, OptimizerAccount, digests, layout, told_rows
from optitrace.monitoring.weight_norms import WeightNorms

Ask = Callable[[int, str, int, int], Sequence[str] | None]
"""Asks a rank what it tells of an optimizer's rows, from one up to another; None if it does not say."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the weights of another rank are no longer those of this one.

    Attributes:
        rank: the other rank.
        norms: this rank's, of the optimizer.
        begin: the first row of the block that differs.
        end: the row after it.
        parameter: the first parameter that differs, by its place; None if the other rank does not say.
        values: this rank's norm of it and the other's.
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


def first_parting(own: Sequence[WeightNorms], others: Mapping[int, Account], ask: Ask) -> Parting | None:
    """Return where any rank parts first from this one, by the steps of the optimizers; None if none does.

    Args:
        own: the norms of this rank.
        others: the accounts of others.
        ask: asks them.
    """
    known: dict[tuple[str, int, int], tuple[str, ...]] = {}
    found = [
        Parting(rank, norms, *block)
        for rank, account in others.items()
        for norms, told in pairs(own, account)
        if (block := _first_block(norms, told, known)) is not None
    ]
    first: Parting | None = None
    for each in sorted(found, key=lambda parting: parting.step):
        if first is not None and first.step <= each.step:
            break
        in_block = _in_block(each, ask)
        if first is None or in_block.step < first.step:
            first = in_block
    return first and _with_parameter(first, ask)


def pairs(own: Sequence[WeightNorms], other: Account) -> Iterable[tuple[WeightNorms, OptimizerAccount]]:
    """Yield the optimizers of this rank with what another tells of them, where the two can be compared."""
    told = {each.optimizer: each for each in other.optimizers}
    for norms in own:
        each = told.get(norms.optimizer)
        if each is not None and each.layout == layout(norms) and not (norms.is_sharded or each.is_sharded):
            yield norms, each


def comparable_rows(own: WeightNorms, told: OptimizerAccount) -> int:
    """Return how many rows of two ranks can be compared: those that both have, in whole blocks."""
    return told.rows if told.rows <= own.rows else own.rows // told.block * told.block


def _first_block(
    own: WeightNorms, told: OptimizerAccount, known: dict[tuple[str, int, int], tuple[str, ...]]
) -> tuple[int, int] | None:
    """Return the first block that differs; what `known` has of the own digests is not computed again."""
    rows = comparable_rows(own, told)
    key = own.optimizer, rows, told.block
    if key not in known:
        known[key] = digests(own, 0, rows, told.block)
    for k, digest in enumerate(known[key]):
        if digest != told.digests[k]:
            return k * told.block, min((k + 1) * told.block, rows)
    return None


def _in_block(found: Parting, ask: Ask) -> Parting:
    """Return the row of a block that differs, if the other rank says."""
    if found.end - found.begin == 1:
        return found
    theirs = ask(found.rank, found.norms.optimizer, found.begin, found.end)
    if theirs is None:
        return found
    ours = told_rows(found.norms, found.begin, found.end)
    row = found.begin + next(k for k, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return replace(found, begin=row, end=row + 1)


def _with_parameter(found: Parting, ask: Ask) -> Parting:
    """Return the parameter that differs in a row, if the other rank says."""
    if found.end - found.begin > 1:
        return found
    theirs = ask(found.rank, found.norms.optimizer, found.begin, found.end)
    if theirs is None:
        return found
    ours = array("d", found.norms.bytes(found.begin, found.end))[1:]
    others = array("d", bytes.fromhex(theirs[0]))[1:]
    both = enumerate(zip(ours, others, strict=True))
    place = next((k for k, pair in both if _bits(pair[0]) != _bits(pair[1])), None)
    if place is None:  # the same norms, of another step
        return found
    return replace(found, parameter=place, values=(ours[place], others[place]))


def _bits(number: float) -> bytes:
    return array("d", [number]).tobytes()
