"""Sweeps of what has no rule: the real class is stepped for each configuration, here or on a cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from support.sweeps import everything, space

from optitrace.analysis.sweeping.classes import blocks_by_class, check_backend
from optitrace.analysis.sweeping.measures import Goal
from optitrace.analysis.sweeping.sweep import Workers, sweep
from optitrace.errors import UsageError

pytest.importorskip("joblib")

ALONE = Workers(threads=1)
"""No other process, which would first have to start; what others do is tested from the command line."""

LBFGS = ["lr=0.1,0.5,1", "history_size=1:3:3"]


def test_lbfgs_is_swept_by_its_class_and_needs_no_spot_check() -> None:
    found = sweep(space("lbfgs", LBFGS, steps=2), Goal(), workers=ALONE)

    assert found.finished == 9
    assert found.best[0].configuration["lr"] == 1
    assert found.checks is None


def test_a_schedule_that_no_rule_knows_is_left_to_torch() -> None:
    swept = space("sgd", ["lr=0.1,0.2"], schedule="StepLR:step_size=2", steps=4)

    assert not swept.has_rule
    # each halving of the period divides lr by 10, after steps 2: w1 = 0.5 (1 - 2 lr)^2 (1 - 0.2 lr)^2
    expected = [0.5 * (1 - 2 * lr) ** 2 * (1 - 0.2 * lr) ** 2 for lr in (0.1, 0.2)]
    assert [
        c.weights[0] for c in sorted(sweep(swept, Goal(), workers=ALONE).best, key=lambda c: c.number)
    ] == pytest.approx(expected)


@pytest.mark.parametrize("rank", ["final_loss", "steps", "path", "distance"])
def test_the_class_and_the_rule_find_the_same(rank: str) -> None:
    goal = Goal(rank, tolerance=1e-3)
    swept = space("sgd", ["lr=log:0.01:0.6:20", "momentum=0,0.5"], steps=40)
    by_rule = everything(swept, goal)
    [block] = blocks_by_class(swept, goal, threads=1)

    for name, measure in block.measures.items():
        assert torch.allclose(measure, by_rule[name].double(), rtol=1e-4, atol=1e-6)


def test_a_stale_gradient_that_passes_the_minimum_converges_when_it_does_so() -> None:
    # the gradient stays (1, 1): w is 0.5 − lr·k after step k, which is 0 after 5 steps and after 10
    settings: dict[str, Any] = {"coefficients": [1, 1], "gradient": "stale", "steps": 20}
    swept = space("sgd", ["lr=0.1,0.05"], **settings)
    noisy = space("sgd", ["lr=0.1,0.05"], noise=1e-12, **settings)

    for rank, expected in (("steps", [5.0, 10.0]), ("path", [0.5**0.5] * 2)):
        [block] = blocks_by_class(noisy, Goal(rank), threads=1)

        assert block.measures[rank].tolist() == pytest.approx(expected, rel=1e-6)
        assert everything(swept, Goal(rank))[rank].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_dask_steps_the_classes_on_a_local_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    swept = space("lbfgs", LBFGS, steps=2)
    [here] = blocks_by_class(swept, Goal(), threads=1)

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        there = torch.cat([block.weights for block in blocks_by_class(swept, Goal(), backend="dask")])

    assert torch.equal(there, here.weights)


def test_a_backend_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown backend 'lokki'; did you mean 'loky'"):
        check_backend("lokki")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_a_backend_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(UsageError, match=r"pip install 'optitrace\[ray\]' installs it."):
        check_backend("ray")


def test_workers_that_are_used_again_begin_where_the_program_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text("from torch.optim import SGD as VerifiedClass\n")
        monkeypatch.chdir(tmp_path / name)

        assert len(sweep(space(f"{name}.py:VerifiedClass", ["lr=0.1,0.2"]), Goal()).best) == 2
