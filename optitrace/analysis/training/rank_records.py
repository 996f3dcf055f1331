"""Digest records: what a rank of a training gives of its weights for comparison, short however long that was.

Ranks exchange them in torchrun's own store once their programs have ended. The process groups of the program
are not used: it may have destroyed them, or have been interrupted while it used them.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from time import monotonic, sleep
from typing import Any, Protocol

from optitrace.monitoring.norms import WeightNorms
from optitrace.records.trace import Outcome, Status

NUMBERS = 2**15
"""Up to so many norms of a rank are given as they are; of more, digests of some rows each."""

DIGESTS = 4096
"""How many digests the optimizers of a rank have together; of up to so many rows each has its own."""

FEWEST = 64
"""How many digests an optimizer may have in any case."""

PIECE = 2**22
"""How many characters of a value are stored at once: torch closes the connection at 8 MiB."""

INTERVAL = 0.05
"""Seconds between two looks at the store: waiting in it cannot be interrupted, and ends with a warning."""

CONNECTING = 5.0
"""How many seconds it may take to connect."""


@dataclass(frozen=True, slots=True)
class OptimizerDigests:
    """The weight norms of an optimizer on one rank, digested.

    Attributes:
        optimizer: the name of the optimizer.
        layout: the digest of its parameters' names and shapes.
        is_sharded: whether the rank has a part of its parameters only.
        taken: how many steps it took.
        rows: how many rows of norms there are.
        block: how many rows a digest is of; the last may be of fewer.
        is_hashed: whether digests are hashes; else each is its row itself.
        digests: that of each block of rows, hexadecimal.
    """

    optimizer: str
    layout: str
    is_sharded: bool
    taken: int
    rows: int
    block: int
    is_hashed: bool
    digests: tuple[str, ...]

    @classmethod
    def of(cls, norms: WeightNorms, most: int | None) -> OptimizerDigests:
        """Return the digests of norms, `most` at most; if that is None, each is its row itself."""
        is_hashed = most is not None
        block = 1 if most is None else max(1, -(-norms.rows // most))
        return cls(
            optimizer=norms.optimizer,
            layout=layout(norms),
            is_sharded=norms.is_sharded,
            taken=norms.taken,
            rows=norms.rows,
            block=block,
            is_hashed=is_hashed,
            digests=digests(norms, norms.rows, block, is_hashed),
        )


@dataclass(frozen=True, slots=True)
class RankRecord:
    """What a rank gives for comparison.

    Attributes:
        outcome: how its program ended.
        optimizers: the digests of each optimizer that took a step.
    """

    outcome: Outcome
    optimizers: tuple[OptimizerDigests, ...]

    @classmethod
    def of(cls, outcome: Outcome, norms: Sequence[WeightNorms]) -> RankRecord:
        """Return the record of a rank whose program ended so, with these norms."""
        is_short = sum(len(each.numbers) for each in norms) <= NUMBERS
        most = None if is_short else max(DIGESTS // len(norms), FEWEST)
        return cls(outcome, tuple(OptimizerDigests.of(each, most) for each in norms))

    @classmethod
    def from_fields(cls, fields: Any) -> RankRecord:
        """Return the record that `dataclasses.asdict` made fields of, also after they were JSON."""
        outcome = {**fields["outcome"], "status": Status(fields["outcome"]["status"])}
        optimizers = [{**each, "digests": tuple(each["digests"])} for each in fields["optimizers"]]
        return cls(Outcome(**outcome), tuple(OptimizerDigests(**each) for each in optimizers))


def layout(norms: WeightNorms) -> str:
    """Return the digest of the names and shapes of an optimizer's parameters."""
    return _hashed(repr((norms.parameters, norms.shapes)).encode())


def digests(norms: WeightNorms, rows: int, block: int, is_hashed: bool) -> tuple[str, ...]:
    """Return the digest of each block among the first rows."""
    blocks = (norms.bytes(k, min(k + block, rows)) for k in range(0, rows, block))
    return tuple(map(_hashed if is_hashed else bytes.hex, blocks))


def _hashed(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]


class Store(Protocol):
    """A key-value store that processes share, as of torch.distributed."""

    def set(self, key: str, value: str, /) -> None:
        """Put a text there."""

    def get(self, key: str, /) -> bytes:
        """Return a text that is there."""

    def check(self, keys: list[str], /) -> bool:
        """Return whether all of some texts are there."""


def agent_store() -> Store | None:
    """Return the store that torchrun keeps for the processes that it started; None if it has none."""
    found = os.environ
    if found.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    try:
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

        host, port = found["MASTER_ADDR"], int(found["MASTER_PORT"])
        socket.create_connection((host, port), CONNECTING).close()  # torch would complain at length
        store = TCPStore(
            host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=CONNECTING)
        )
    except (ImportError, KeyError, ValueError, OSError, RuntimeError):
        return None
    attempt = found.get("TORCHELASTIC_RESTART_COUNT", "0")
    shared: Store = PrefixStore(f"optitrace/{found.get('TORCHELASTIC_RUN_ID', '')}/{attempt}", store)
    return shared


class RankExchange:
    """Exchanges JSON values between ranks; all methods raise RuntimeError if the connection breaks."""

    def __init__(self, store: Store, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """Use a store.

        Args:
            store: shared by the ranks.
            is_interrupted: whether to stop waiting.
        """
        self._store = store
        self._is_interrupted = is_interrupted

    def send(self, key: str, value: Any) -> None:
        """Put a value into the store; it has arrived when this returns, even if the process ends then."""
        text = json.dumps(value)
        pieces = [text[begin : begin + PIECE] for begin in range(0, len(text), PIECE)]
        for number, piece in enumerate(pieces):
            self._store.set(f"{key}/{number}", piece)
        self._store.set(key, str(len(pieces)))  # last, so that the pieces are there when it is
        self._store.check([key])

    def receive(self, keys: Iterable[str], patience: float) -> dict[str, Any]:
        """Return the values of some keys, those that arrive within so many seconds."""
        found: dict[str, Any] = {}
        missing = list(keys)
        deadline = monotonic() + patience
        while True:
            for key in [key for key in missing if self._store.check([key])]:
                pieces = (self._store.get(f"{key}/{k}") for k in range(int(self._store.get(key))))
                found[key] = json.loads(b"".join(pieces))
                missing.remove(key)
            if not missing or self._is_interrupted() or monotonic() >= deadline:
                return found
            sleep(INTERVAL)
