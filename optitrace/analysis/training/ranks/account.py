"""The account that a rank gives of its training: short, however long that was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.trace import Outcome, Status

DIGESTS = 4096
"""How many digests an optimizer is told by, at most: of up to so many rows each has its own."""


@dataclass(frozen=True, slots=True)
class OptimizerAccount:
    """What a rank tells of an optimizer.

    Attributes:
        optimizer: its name.
        layout: the digest of its parameters' names and shapes.
        is_sharded: whether the rank has a part of its parameters only.
        taken: how many steps it took.
        rows: how many rows of norms there are.
        block: how many rows a digest is of; the last may be of fewer.
        digests: that of each block of rows.
    """

    optimizer: str
    layout: str
    is_sharded: bool
    taken: int
    rows: int
    block: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What a rank tells.

    Attributes:
        outcome: how its program ended.
        optimizers: what it tells of each optimizer that took a step.
    """

    outcome: Outcome
    optimizers: tuple[OptimizerAccount, ...]

    def to_json(self) -> str:
        """Return the account as a text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Account:
        """Return the account that a text is."""
        told = json.loads(text)
        outcome = Outcome(**{**told["outcome"], "status": Status(told["outcome"]["status"])})
        optimizers = [OptimizerAccount(**{**o, "digests": tuple(o["digests"])}) for o in told["optimizers"]]
        return cls(outcome, tuple(optimizers))


def account(outcome: Outcome, norms: Sequence[WeightNorms]) -> Account:
    """Return the account of a rank.

    Args:
        outcome: how its program ended.
        norms: those of the weights of each optimizer.
    """
    return Account(outcome, tuple(optimizer_account(each) for each in norms))


def optimizer_account(norms: WeightNorms) -> OptimizerAccount:
    """Return what there is to tell of an optimizer."""
    block = max(1, -(-norms.rows // DIGESTS))
    return OptimizerAccount(
        optimizer=norms.optimizer,
        layout=layout(norms),
        is_sharded=norms.is_sharded,
        taken=norms.taken,
        rows=norms.rows,
        block=block,
        digests=digests(norms, 0, norms.rows, block),
    )


def layout(norms: WeightNorms) -> str:
    """Return the digest of the names and shapes of an optimizer's parameters."""
    return _digest(repr((norms.parameters, norms.shapes)).encode())


def told_rows(norms: WeightNorms, begin: int, end: int) -> list[str]:
    """Return what tells rows apart, from one up to another: a digest of each; of a single row all its bytes.

    Returns:
        Texts of hexadecimal digits.
    """
    if end - begin == 1:
        return [norms.bytes(begin, end).hex()]
    return list(digests(norms, begin, end))


def digests(norms: WeightNorms, begin: int, end: int, block: int = 1) -> tuple[str, ...]:
    """Return the digest of each block of rows, from one row up to another."""
    return tuple(_digest(norms.bytes(k, min(k + block, end))) for k in range(begin, end, block))


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]
