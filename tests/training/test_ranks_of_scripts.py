"""A script on two processes under optitrace run: what rank 0 says of them, and what each writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rank_runs import launched, torchrun


def test_ranks_whose_gradients_are_averaged_agree_with_accumulation_too(tmp_path: Path) -> None:
    ran = torchrun("averaged", tmp_path, "--strict")

    assert ran.code == 0
    assert ran.ranks["agrees"]
    assert ran.stdout == "".join(f"step {step}\n" for step in range(1, 6))
    assert ran.stderr.count("completed after 5 steps") == 1
    assert ran.stderr.count("the weights of 2 ranks agree after every recorded step") == 1
    for rank in (0, 1):
        assert (ran.written[rank]["rank"], ran.written[rank]["world_size"]) == (rank, 2)
        [optimizer] = ran.written[rank]["optimizers"]
        assert optimizer["gradients"] == {"fresh": {"count": 5, "first": 1}}
        assert [p["name"] for p in optimizer["parameters"]] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "ranks" not in ran.written[1]


@pytest.mark.parametrize(("how", "step"), [("other-seed", 0), ("not-averaged", 1)])
def test_ranks_that_are_not_alike_part_where_that_begins(how: str, step: int, tmp_path: Path) -> None:
    ran = launched(how, tmp_path)
    found = ran.ranks

    assert ran.code == 0
    assert (found["agrees"], found["optimizer"], found["step"], found["parameter"]) == (
        False,
        "SGD",
        step,
        "0.weight",
    )
    assert found["norms"][0] != found["norms"][1]
    assert ran.stderr.count("ranks 0 and 1 first differ") == 1
    assert "no faults found" not in ran.stderr


@pytest.mark.parametrize("how", ["crash", "crash-alone"])
def test_a_rank_that_crashes_hangs_nobody_and_what_is_known_is_told(how: str, tmp_path: Path) -> None:
    ran = launched(how, tmp_path)

    assert ran.code == 1
    assert ran.written[1]["outcome"] == {"status": "failed", "step": 3, "reason": "ValueError: out of data"}
    assert "rank 1 failed after step 3: ValueError: out of data" in ran.ranks["note"]
    if how == "crash":  # its gradients are averaged, so that rank 0 finds its partner gone
        assert ran.ranks["agrees"]
    else:  # torchrun ends it
        assert ran.written[0]["outcome"] == {"status": "interrupted", "step": 3}
        assert ran.ranks["step"] == 1
    assert ran.stderr.count('raise ValueError("out of data")') == 1
