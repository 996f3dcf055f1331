"""Whether the ranks of one training have the same weights: rank 0 compares their digest records at the end.

Each rank sends its record and waits for a request. Rank 0 requests the rows of those blocks that differ and
whose digests are hashes, so that it can say exactly which step and parameter differ first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import batched
from typing import Any

from optitrace.analysis.training.findings import RankAgreement
from optitrace.analysis.training.rank_records import (
    OptimizerDigests,
    RankExchange,
    RankRecord,
    Store,
    agent_store,
    digests,
    layout,
)
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.trace import Status
from optitrace.records.training import Training
from optitrace.text.number_format import first_of

PATIENCE = 30.0
"""How many seconds a rank waits for the others."""

AFTER_A_FAILURE = 5.0
"""How many seconds it waits if its own program has failed: the others may wait for that, in vain."""

MOST = 3
"""How many remarks are made, and how many ranks are named; of more there is the number."""

NO_STORE = "there is no store of torchrun to compare in; start the program with torchrun -m optitrace run"
NOTHING = "no optimizer took a step"
BROKEN = "the connection to the store of torchrun broke"
