"""Where ranks meet once their programs have ended: in torchrun's own store, which lives until all have left.

The process groups of the program are not used: it may have destroyed them, or have broken off in the midst of
them.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from time import monotonic, sleep
from typing import Protocol

from optitrace.analysis.training.ranks.account import Account

INTERVAL = 0.05
"""Seconds between two looks at the store: to wait in it cannot be interrupted, and ends with a warning."""

CONNECTING = 5.0
"""How many seconds it may take to connect."""


class Store(Protocol):
    """Texts by name, which several processes share; one of torch.distributed."""

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


class Meeting:
    """The ranks of one training: each gives its account, then one asks, and the others answer.

    All methods raise RuntimeError if the connection breaks.
    """

    def __init__(self, store: Store, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """Begin.

        Args:
            store: what the ranks share.
            is_interrupted: whether to wait for nobody any more.
        """
        self._store = store
        self._is_interrupted = is_interrupted
        self._asked: Counter[int] = Counter()

    def give(self, rank: int, account: Account) -> None:
        """Give the account of a rank."""
        self._put(f"account/{rank}", account.to_json())

    def gather(self, ranks: Iterable[int], patience: float) -> dict[int, Account]:
        """Return the accounts of ranks, those that come within so many seconds."""
        found: dict[int, Account] = {}
        missing = list(ranks)

        def have_come() -> bool:
            for rank in [rank for rank in missing if self._has(f"account/{rank}")]:
                found[rank] = Account.from_json(self._store.get(f"account/{rank}"))
                missing.remove(rank)
            return not missing

        self._wait(have_come, patience)
        return found

    def ask(self, rank: int, optimizer: str, begin: int, end: int, patience: float) -> list[str] | None:
        """Return what another rank tells of its rows; None if it has left, or says nothing for so long."""
        self._asked[rank] += 1
        key = f"{rank}/{self._asked[rank]}"
        self._put(f"question/{key}", json.dumps([optimizer, begin, end]))
        self._wait(lambda: self._has(f"answer/{key}") or self._has(f"left/{rank}"), patience)
        if not self._has(f"answer/{key}"):
            return None
        answer: list[str] = json.loads(self._store.get(f"answer/{key}"))
        return answer

    def answer(self, rank: int, tell: Callable[[str, int, int], list[str]], patience: float) -> None:
        """Answer, as one of the ranks, until the meeting ends, or for so many seconds; then leave.

        Args:
            rank: whose questions to answer.
            tell: given an optimizer's name and from which row up to which, returns what is told of them.
            patience: how long to wait for the end, in seconds.
        """

        def is_over() -> bool:
            key = f"{rank}/{self._asked[rank] + 1}"
            if self._has(f"question/{key}"):
                question = json.loads(self._store.get(f"question/{key}"))
                self._put(f"answer/{key}", json.dumps(tell(*question)))
                self._asked[rank] += 1
            return self._has("end")

        self._wait(is_over, patience)
        self.leave(rank)

    def leave(self, rank: int) -> None:
        """Say that a rank answers no more."""
        self._put(f"left/{rank}", "")

    def end(self) -> None:
        """Let all ranks go."""
        self._put("end", "")

    def _put(self, key: str, text: str) -> None:
        self._store.set(key, text)
        self._has(key)  # it has arrived, then, whatever becomes of this process

    def _has(self, key: str) -> bool:
        return self._store.check([key])

    def _wait(self, is_done: Callable[[], bool], patience: float) -> None:
        deadline = monotonic() + patience
        while not is_done() and not self._is_interrupted() and monotonic() < deadline:
            sleep(INTERVAL)
