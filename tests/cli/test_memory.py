"""Memory that runs out: what cannot fit is refused, and what was recorded until then is kept."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from itertools import count
from typing import Any

import pytest
import torch
from support.runs import environment, run

from optitrace.errors import ran_out_of_memory
from optitrace.experiment.experiment import design
from optitrace.experiment.memory import most_memory
from optitrace.records.trace import Outcome, Status
from optitrace.tracing.series import BLOCK, HostSeries
from optitrace.tracing.tracer import trace


def test_what_torch_says_where_there_is_no_memory_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert not isinstance(caught.value, torch.OutOfMemoryError)
    assert ran_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["sgd", "--dimension", "200000", "--rotate", "1"],
            # the Gaussian matrix, Q, R and the result, of 8 bytes a number
            r"the rotation of 200,000 coordinates takes at least 1,280 GB of memory, and there is "
            r"[\d.,]+ GB; use fewer coordinates\.",
        ),
        (
            ["sgd", "-n", "100000000000"],
            # loss and lr, two numbers of the gradient and two of the weights, and the step's number
            r"a trace of 100,000,000,000 steps of 2 coordinates takes at least 5,600 GB of memory, and there "
            r"is [\d.,]+ GB; take fewer steps, or keep fewer of them with --every\.",
        ),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_what_it_would_take(words: list[str], sentence: str) -> None:
    refused = run(*words)

    assert (refused.code, refused.stdout) == (5, "")
    assert re.fullmatch(f"optitrace: {sentence}\n", refused.stderr)


def test_a_limit_of_the_process_is_the_most_that_there_is() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "from optitrace.experiment.memory import most_memory; print(most_memory())"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert int(asked.stdout) == 2**31
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    assert limit != resource.RLIM_INFINITY or (most_memory() or 2**40) > 2**28


@pytest.mark.parametrize(("fails_at", "kept"), [(1, 0), (4, 0), (5, BLOCK), (8, BLOCK)])
def test_steps_for_whose_block_there_is_no_memory_are_lost_alone(
    fails_at: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trace(design("sgd", steps=BLOCK + 5))
    take, calls = HostSeries.take, count(1)  # one for each of loss, gradient, weights and lr of a block

    def taking(self: HostSeries) -> Any:
        if next(calls) >= fails_at:
            raise MemoryError
        return take(self)

    monkeypatch.setattr(HostSeries, "take", taking)
    traced = trace(design("sgd", steps=BLOCK + 5))

    assert traced.outcome == Outcome(Status.OUT_OF_MEMORY, kept)
    assert list(traced.steps) == list(range(kept + 1))
    assert [len(c.values) // c.size for c in traced.columns.values()] == [kept, kept, kept + 1, kept]
    assert traced.weights.row(kept) == whole.weights.row(kept)
