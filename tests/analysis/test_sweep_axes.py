"""The axes of a sweep as text: what they stand for, and what is said of those that stand for nothing."""

from __future__ import annotations

import math

import pytest

from optitrace.analysis.sweeping.axis import Range, SweptAxis, read_axis
from optitrace.analysis.sweeping.measures import Goal, check_goal
from optitrace.analysis.sweeping.space import columns, lay_out, listed
from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.experiment.landscapes import LANDSCAPES
from optitrace.experiment.objective import Quadratic


@pytest.mark.parametrize(
    ("optimizer", "text", "axis"),
    [
        ("sgd", "lr=0.1,0.2", SweptAxis("lr", "lr", None, (0.1, 0.2))),
        ("sgd", "lr = 0.1", SweptAxis("lr", "lr", None, (0.1,))),
        ("sgd", "lr=0.1:0.9:17", SweptAxis("lr", "lr", None, Range(0.1, 0.9, 17, logarithmic=False))),
        ("sgd", "lr=LOG:1e-4:1:200", SweptAxis("lr", "lr", None, Range(1e-4, 1.0, 200, logarithmic=True))),
        ("sgd", "lr=0.1:0.1:1", SweptAxis("lr", "lr", None, (0.1,))),
        ("sgd", "lr=1:0.1:4", SweptAxis("lr", "lr", None, Range(1.0, 0.1, 4, logarithmic=False))),
        ("adam", "betas.1=0.9,0.99", SweptAxis("betas.1", "betas", 1, (0.9, 0.99))),
        ("adam", "betas=0.9;0.99,0.8;0.9", SweptAxis("betas", "betas", None, ((0.9, 0.99), (0.8, 0.9)))),
        ("adam", "weight-decay=0,0.1", SweptAxis("weight_decay", "weight_decay", None, (0.0, 0.1))),
        ("sgd", "nesterov=true,false", SweptAxis("nesterov", "nesterov", None, (True, False))),
        ("adafactor", "eps.0=none,1e-3", SweptAxis("eps.0", "eps", 0, (None, 1e-3))),
        (
            "muon",
            "adjust_lr_fn=none,original",
            SweptAxis("adjust_lr_fn", "adjust_lr_fn", None, (None, "original")),
        ),
        ("muon", "ns_steps=1:9:3", SweptAxis("ns_steps", "ns_steps", None, (1, 5, 9))),
        ("sgd", "start.1=-1:1:3", SweptAxis("start.1", "start", 1, Range(-1.0, 1.0, 3, logarithmic=False))),
        (
            "sgd",
            "coefficients=1;2,1;100",
            SweptAxis("coefficients", "coefficients", None, ((1.0, 2.0), (1.0, 100.0))),
        ),
    ],
)
def test_an_axis_is_read(optimizer: str, text: str, axis: SweptAxis) -> None:
    assert read_axis(text, design(optimizer), sampled=False) == axis


def test_whole_numbers_between_two_are_drawn_from() -> None:
    space = lay_out(design("muon"), ["ns_steps=2:4"], samples=60)

    assert set(listed(space.axes[0], columns(space, 0, 60)[0])) == {2, 3, 4}


@pytest.mark.parametrize("ends", ["1:1000", "1000:1"])
def test_whole_numbers_of_a_log_range_are_drawn_log_uniformly(ends: str) -> None:
    space = lay_out(design("lbfgs"), [f"history_size=log:{ends}"], samples=4096, seed=3)
    [axis] = space.axes
    found = listed(axis, columns(space, 0, space.size)[0])
    drawn = [number for number in found if type(number) is int]

    assert len(drawn) == len(found)
    assert (min(drawn), max(drawn)) == (1, 1000)
    # a number k has the share log((k + ½) / (k − ½)) of log(1000.5 / 0.5): k ≤ 31 have 54.5 % together
    share = sum(number <= 31 for number in drawn) / len(drawn)
    assert share == pytest.approx(math.log(31.5 / 0.5) / math.log(1000.5 / 0.5), abs=0.03)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "'lr' has no values; write it as lr=0.1,0.2 or lr=log:1e-4:1:200."),
        ("lr=", "'lr=' has no values"),
        ("=1", "'=1' has no values"),
        ("lr=log:-1:1:3", "includes -1; both ends of a log range must be positive."),
        ("lr=log:0:1:3", "includes 0; both ends"),
        ("lr=0.1:0.1:3", "the range lr=0.1:0.1:3 is empty; let it end where it does not begin."),
        ("lr=0:1:0", "the range lr=0:1:0 is empty: its count is '0'; it must be a positive integer."),
        ("lr=0:1:x", "its count is 'x'; it must be a positive integer"),
        ("lr=0:1:1e3", "its count is '1e3'; it must be a positive integer"),
        ("lr=0:1", "lr=0:1 has no count; write lr=0:1:200, or take samples of it with --random 1000."),
        ("lr=1:2:3:4", "lr=1:2:3:4 is not a range; write lr=START:STOP:COUNT or lr=log:START:STOP:COUNT."),
        ("lr=log:1", "is not a range; write"),
        ("lr=a,b", "adam: lr must be a number, not 'a'."),
        ("lr=nan", "adam: lr is nan; it must be finite."),
        ("lr=log:1e-4:inf:3", "adam: lr is inf; it must be finite."),
        ("lr=1,1.0", "lr has the value 1 twice; give each once."),
        ("lr=", "has no values"),
        ("foo=1", "adam has no foo; its hyperparameters are lr, betas, eps"),
        ("bettas.1=1", "adam has no 'bettas'; did you mean 'betas'?"),
        ("betas.2=1", "betas has no position '2'; positions count from 0: betas.0, betas.1."),
        ("betas.x=1", "betas has no position 'x'"),
        ("lr.0=1", "lr is a single value, without a position '0'; vary lr."),
        (
            "betas=0.9,0.99",
            "adam: betas is 2 numbers; write one value of it as betas=0.9;0.999, or vary a part",
        ),
        ("betas=0.1:0.9:3", "betas is several numbers, which have no range; vary betas.0."),
        ("amsgrad=0:1:2", "adam: amsgrad must be true or false, not '0'."),
        ("amsgrad=true:false:2", "amsgrad has no range from 'true'; list its values: amsgrad=A,B."),
    ],
)
def test_what_is_no_axis_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.").replace("?", r"\?")):
        read_axis(text, design("adam"), sampled=False)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([], "nothing is varied; say what with -P, as in -P lr=log:1e-4:1:200."),
        (["lr=0.1", "lr=0.2"], "lr is given twice; give all its values in one -P."),
        (
            ["betas=0.9;0.99", "betas.1=0.5"],
            "betas is given as a whole and by position; give the whole, or each",
        ),
        (
            ["lr=log:1e-4:1:100000", "eps=0:1:10000"],
            "the sweep has 1,000,000,000 configurations, more than 100,000,000; "
            "make its ranges coarser, or confirm it: --yes, in Python yes=True.",
        ),
    ],
)
def test_what_is_no_space_is_refused(axes: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lay_out(design("adam"), axes)


def test_a_large_sweep_that_is_meant_is_laid_out() -> None:
    assert lay_out(design("sgd"), ["lr=log:1e-4:1:1000000000"], confirmed=True).size == 10**9


def test_a_loss_without_coefficients_has_none_to_vary() -> None:
    with pytest.raises(
        UsageError, match=r"the loss rosenbrock has no coefficients; vary start, or leave it out\."
    ):
        read_axis("coefficients.0=1,2", design("sgd", objective=LANDSCAPES["rosenbrock"]), sampled=False)


@pytest.mark.parametrize(
    ("coefficients", "axes", "minima"),
    [
        ((1.0, 2.0), ["lr=0.1,0.2"], ((0.0, 0.0),)),
        ((1.0, 2.0), ["coefficients.0=1:3:3"], ((0.0, 0.0),)),
        ((1.0, 2.0), ["coefficients.0=-1:1:3"], ()),  # at -1 there is none
        ((1.0, 2.0), ["coefficients.0=0:1:2"], ()),  # at 0 there is a line of them
        ((-1.0, 2.0), ["coefficients.0=1,2"], ((0.0, 0.0),)),
        ((-1.0, 2.0), ["lr=0.1,0.2"], ()),
        ((1.0, 2.0), ["coefficients=1;2,-1;2", "start.0=-1:1:3"], ()),
    ],
)
def test_only_a_minimum_of_every_configuration_is_one_of_the_space(
    coefficients: tuple[float, ...], axes: list[str], minima: tuple[tuple[float, ...], ...]
) -> None:
    space = lay_out(design("sgd", objective=Quadratic(coefficients)), axes)

    assert space.minima == minima


def test_a_rank_that_needs_a_minimum_is_refused_where_the_configurations_share_none() -> None:
    space = lay_out(design("sgd"), ["coefficients.0=-1:1:3"])
    with pytest.raises(UsageError, match="share no known minimum, which the rank steps needs"):
        check_goal(Goal("steps"), space)
