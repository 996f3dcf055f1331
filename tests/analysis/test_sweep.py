"""The sweep as a whole: the ranking, the picture, the spot check, and what is refused before it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from support.known_mistakes import KNOWN_MISTAKES
from support.sweeps import everything, space

from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.measures import RANKS, Goal
from optitrace.analysis.sweeping.space import Space
from optitrace.analysis.sweeping.spot_check import spot_check
from optitrace.analysis.sweeping.sweep import Workers, check_space, sweep
from optitrace.errors import DeviceError, UsageError
from optitrace.rules import catalogue
from optitrace.rules.mistakes import damaged

FINE = ["lr=log:1e-3:1:50", "momentum=0:0.9:20"]


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("chunk", [13, 1000])
def test_the_best_are_those_of_all_put_in_order(rank: str, chunk: int) -> None:
    swept = space("sgd", FINE, steps=30)
    goal = Goal(rank, tolerance=1e-3)
    found = everything(swept, goal)
    order = sorted(range(swept.size), key=lambda k: (float(found[rank][k]), float(found["final_loss"][k]), k))

    best = sweep(swept, goal, workers=Workers(chunk=chunk)).best

    assert [candidate.number for candidate in best] == order[:10]
    assert [c.measures[rank] for c in best] == [float(found[rank][k]) for k in order[:10]]


def test_settings_that_tie_are_ranked_by_distance_then_steps_then_lr() -> None:
    # A step multiplies w1 by 1 - 2·lr and w2 by 1 - 4·lr, until float32 rounds them to 0 or stops at its
    # least number. The loss is below 1e-6 after 7 steps for lr 0.3 and 0.31, and after 8 for 0.35.
    found = sweep(space("sgd", ["lr=0.45,0.35,0.31,0.3"], steps=3000), Goal())

    assert found.tied == 4
    assert {c.measures["final_loss"] for c in found.best} == {0.0}
    assert [c.measures["distance"] for c in found.best] == [0, 0, 0, pytest.approx(2.8e-45, rel=0.01)]
    assert [c.configuration["lr"] for c in found.best] == [0.3, 0.31, 0.35, 0.45]


def test_a_sweep_by_class_breaks_ties_alike() -> None:
    swept = space("sgd", ["lr=0.35,0.31,0.3"], steps=1500, clip_norm=1e9)
    found = sweep(swept, Goal(), workers=Workers(threads=1))

    assert not swept.has_rule
    assert [c.configuration["lr"] for c in found.best] == [0.3, 0.31, 0.35]


def test_only_the_first_that_tie_are_kept_where_all_diverge() -> None:
    found = sweep(space("sgd", ["lr=1e3:1e4:100"], steps=200), Goal())

    assert found.tied == 0
    assert [candidate.number for candidate in found.best] == list(range(10))


def test_the_counts_are_of_all() -> None:
    swept = space("sgd", FINE, steps=300)
    outcomes = everything(swept)["outcome"].tolist()

    counts = sweep(swept, Goal()).counts

    assert counts == {
        name: outcomes.count(k) for k, name in enumerate(("converged", "on the way", "diverged"))
    }
    assert all(counts.values())


def test_what_is_not_a_number_is_never_the_best() -> None:
    found = sweep(space("sgd", ["lr=0.1,1e3"], steps=200), Goal())

    assert [candidate.configuration["lr"] for candidate in found.best] == [0.1, 1e3]
    assert found.counts["diverged"] == 1


def test_a_loss_that_falls_beyond_every_number_is_never_the_best() -> None:
    # w2 of w1² − w2² grows by 1 + 2·lr in each step, beyond the square root of float32 for lr 0.5 and more
    found = sweep(space("sgd", ["lr=0.1,0.5,0.9"], objective="saddle", steps=100, start=(0.0, 1.0)), Goal())

    assert [c.configuration["lr"] for c in found.best] == [0.1, 0.5, 0.9]
    assert [c.measures["final_loss"] for c in found.best][1:] == [-math.inf, -math.inf]
    assert found.counts["diverged"] == 2


def test_a_sweep_that_is_told_to_stop_gives_what_is_finished() -> None:
    taken: list[Block] = []
    swept = space("sgd", ["lr=0.1:0.4:100"])

    found = sweep(
        swept, Goal(), workers=Workers(threads=1, chunk=10), stop=lambda: len(taken) >= 3, take=taken.append
    )

    assert not found.is_complete
    assert 30 <= found.finished < 100
    assert found.finished == sum(map(len, taken)) == sum(found.counts.values())
    assert found.checks is None


def test_the_picture_has_the_least_loss_of_each_bin_and_the_limit_of_theory() -> None:
    swept = space("sgd", ["momentum=0:0.9:4", "lr=log:0.01:10:60"], steps=100)
    found = sweep(swept, Goal())
    losses = everything(swept)

    picture = found.landscape
    assert picture is not None
    assert picture.up is not None
    assert (picture.across.axis.name, picture.up.axis.name) == ("lr", "momentum")
    assert picture.limits == pytest.approx([2 * (1 + m) / 4 for m in (0, 0.3, 0.6, 0.9)])
    expected = losses["final_loss"].masked_fill(losses["outcome"] == 2, math.inf).reshape(4, 60)
    assert torch.equal(torch.tensor(picture.losses, dtype=torch.float64), expected)
    assert picture.best == (found.best[0].number % 60, found.best[0].number // 60)


def test_the_best_stands_where_its_loss_is_and_not_in_a_bin_beside_it() -> None:
    found = sweep(space("sgd", ["lr=0:1:239"], objective="rosenbrock", steps=5), Goal())

    assert found.landscape is not None
    assert found.landscape.best is not None
    assert found.landscape.losses[0][found.landscape.best[0]] == found.best[0].measures["final_loss"]


def test_a_range_of_one_number_is_not_varied() -> None:
    found = sweep(space("sgd", ["lr=0.1:0.1", "momentum=0:0.9"], samples=10, steps=5), Goal())

    assert [axis.name for axis in found.space.varied] == ["momentum"]
    assert {candidate.configuration["lr"] for candidate in found.best} == {0.1}
    assert found.landscape is not None
    assert found.landscape.across.axis.name == "momentum"


@pytest.mark.parametrize(
    "axes",
    [["lr=0.1,0.2", "momentum=0.1,0.2", "weight_decay=0,0.1"], ["nesterov=true,false", "momentum=0.5"]],
)
def test_there_is_no_picture_of_three_axes_or_of_words(axes: list[str]) -> None:
    assert sweep(space("sgd", axes), Goal()).landscape is None


def test_the_best_and_nine_others_are_traced_by_torch_and_agree() -> None:
    found = sweep(space("adam", steps=50), Goal())

    assert found.checks is not None
    assert len(found.checks) == 10
    assert found.checks[0].configuration == found.best[0].configuration
    assert all(check.agrees for check in found.checks)
    assert max(check.ulps for check in found.checks) < 64


def test_a_space_smaller_than_ten_is_checked_whole() -> None:
    assert len(sweep(space("sgd", ["lr=0.1,0.2,0.3"]), Goal()).checks or ()) == 3


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_a_spot_check_notices_every_damaged_rule_that_shows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.OPTIMIZERS[name]
    assert entry.rule is not None
    swept = space(name, dtype="float64", steps=20)
    noticed = []
    for mistake in KNOWN_MISTAKES[name]:
        wrong = replace(entry, rule=damaged(entry.rule, mistake))
        monkeypatch.setattr(catalogue, "OPTIMIZERS", {**catalogue.OPTIMIZERS, name: wrong})
        noticed.append(not all(check.agrees for check in spot_check(swept, 0, others=12)))

    # a mistake in what the grid leaves alone cannot show
    assert sum(noticed) >= 0.7 * len(noticed)


def test_a_run_that_magnifies_rounding_is_judged_by_how_much_it_does() -> None:
    checks = sweep(space("adamax", ["lr=log:1e-3:1:20", "betas.1=0.5:0.999:7"], steps=100), Goal()).checks

    assert checks is not None
    assert all(check.agrees for check in checks)
    assert any(check.growth > 1 for check in checks)


@pytest.mark.parametrize(
    ("optimizer", "axes", "message"),
    [
        (
            "adam",
            ["betas.1=0.5:1:50"],
            "Invalid beta parameter at index 1: 1.0; leave out what contains betas.1=1.",
        ),
        ("sgd", ["lr=-1:1:3"], "Invalid learning rate: -1.0; leave out what contains lr=-1."),
        ("sgd", ["lr=1,0.5,-0.1,0.2"], "Invalid learning rate: -0.1"),
        (
            "sgd",
            ["momentum=0:0.9:10", "nesterov=true,false"],
            "Nesterov momentum requires a momentum and zero dampening; "
            "leave out what contains momentum=0, nesterov=true.",
        ),
        ("rprop", ["step_sizes.0=0.1:100:5"], "step_sizes is 100,50; it must be the smallest"),
        ("sgd", ["lr=0.1,1e300"], "without overflow; leave out what contains lr=1e\\+300."),
    ],
)
def test_a_value_that_torch_refuses_is_named_before_the_sweep(
    optimizer: str, axes: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_space(space(optimizer, axes), Goal())


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal("final_los"), "unknown rank 'final_los'; did you mean 'final_loss'"),
        (Goal("loss2"), "unknown rank 'loss2'"),
        (Goal(tolerance=-1), "tolerance is -1; it must be a non-negative number."),
    ],
)
def test_a_goal_that_is_none_is_refused(goal: Goal, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_space(space("sgd", ["lr=0.1,0.2"]), goal)


def test_a_rank_by_an_unknown_minimum_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no minimum of .* is known, which the rank steps needs; rank by final_loss\."
    ):
        check_space(space("sgd", ["lr=0.1,0.2"], coefficients=[1, -1]), Goal("steps"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told_before_the_sweep() -> None:
    with pytest.raises(DeviceError, match="there is no CUDA device"):
        check_space(space("sgd", ["lr=0.1,0.2"], device="cuda"), Goal())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_finds_what_the_cpu_finds() -> None:
    def best(swept: Space) -> dict[str, object]:
        found = sweep(swept, Goal())
        assert all(check.agrees for check in found.checks or ())
        return dict(found.best[0].configuration)

    assert best(space("sgd", FINE, device="cuda")) == best(space("sgd", FINE))
