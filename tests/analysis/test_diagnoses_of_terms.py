"""Terms of the rule without an effect, and eps with all of it. Each limit is tried on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.trainings import seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import (
    ClippingTally,
    LostUpdate,
    StalledCounter,
    StuckState,
    Tally,
    TermEffect,
)

DECAY = TermEffect(
    term="weight_decay",
    group=0,
    dtype="bfloat16",
    value=0.01,
    lr=1e-3,
    steps=Tally(5, 1),
    idle=Tally(5, 1),
    weights=1153,
    is_sampled=False,
    changed=0,
    share=0.0,
)
AMSGRAD = replace(DECAY, term="amsgrad", value=1.0, dtype="float32")
EPS = replace(DECAY, term="eps", value=1e-8, dtype="float32", idle=None, changed=9)
LOST = tuple(LostUpdate(step, 93, 100) for step in (1, 2, 4, 8, 16))


def of(*effects: TermEffect, **changes: Any) -> list[Diagnosis]:
    return list(diagnose(seen(stepped("AdamW", effects=effects, **changes))))


def told(found: list[Diagnosis]) -> list[tuple[str, str, int | None]]:
    return [(one.code, one.severity, one.step) for one in found]


def test_weight_decay_that_changes_no_bfloat16_weight_is_a_fault() -> None:
    (diagnosis,) = of(DECAY)

    assert told([diagnosis]) == [("weight-decay-without-effect", "fault", 1)]
    assert diagnosis.fact == (
        "weight decay of AdamW changes 0 of 1,153 weights in bfloat16: lr·weight_decay is 1e-05, "
        "half an ulp of a weight is 0.002 (5 inspected steps)"  # 2**-9
    )
    assert diagnosis.remedy == "keep the weights in float32 and use autocast, or raise weight_decay (0.01)"
    assert diagnosis.count == 5
    assert diagnosis.numbers == {
        "changed": 0,
        "weights": 1153,
        "lr·weight_decay": pytest.approx(1e-5),
        "half_ulp": 2.0**-9,
    }


def test_in_float32_it_is_a_remark() -> None:
    (diagnosis,) = of(replace(DECAY, dtype="float32", lr=1e-6))

    assert diagnosis.severity == "remark"
    assert "lr·weight_decay is 1e-08, half an ulp of a weight is 3e-08" in diagnosis.fact  # 2**-25
    assert diagnosis.remedy == "raise weight_decay (0.01), or set it to 0: it does nothing at this lr"


def test_a_sample_and_a_group_are_named() -> None:
    groups = ({"lr": 0.1}, {"lr": 0.1})
    found = of(replace(DECAY, group=1, weights=4096, is_sampled=True), hyperparameters=groups)
    (diagnosis,) = [one for one in found if one.fault != "empty group"]

    assert "changes 0 of 4,096 sampled weights of group 1 in bfloat16" in diagnosis.fact


def test_where_rounding_alone_does_not_explain_it_no_ulp_is_named() -> None:
    (diagnosis,) = of(replace(DECAY, lr=1.0))

    assert "lr·weight_decay is 0.01 (5 inspected steps)" in diagnosis.fact


@pytest.mark.parametrize(
    "effect",
    [
        replace(DECAY, idle=Tally(4, 1)),  # once it acted
        replace(DECAY, idle=None),
        replace(DECAY, steps=Tally(2, 1), idle=Tally(2, 1)),  # too few
        replace(DECAY, dtype="float8_e5m2"),  # of which nothing is known
    ],
)
def test_weight_decay_that_acts_or_is_hardly_seen_is_not_told(effect: TermEffect) -> None:
    assert of(effect) == []


def test_where_rounding_takes_most_updates_that_is_told_alone() -> None:
    stuck = (StuckState("exp_avg_sq", "float32", 0.001, Tally(4, 2), 4),)

    assert told(of(DECAY, AMSGRAD, lost=LOST, stuck=stuck)) == [("lost-update", "fault", 1)]


def test_lambd_is_a_weight_decay_by_its_own_name() -> None:
    (diagnosis,) = of(replace(DECAY, term="lambd"))

    assert diagnosis.fact.startswith("lambd of AdamW changes 0 of 1,153 weights in bfloat16: lr·lambd is")


def test_amsgrad_that_never_acts_is_a_remark() -> None:
    (diagnosis,) = of(AMSGRAD, hyperparameters=({"lr": 0.1, "amsgrad": True},))

    assert told([diagnosis]) == [("term-without-effect", "remark", 1)]
    assert diagnosis.fact == "amsgrad=True of AdamW changes 0 of 1,153 weights in 5 inspected steps"
    assert diagnosis.remedy.startswith("the steps are the same without it: leave amsgrad out")


def test_a_term_that_acts_in_one_group_is_not_told() -> None:
    assert of(AMSGRAD, replace(AMSGRAD, group=1, idle=None)) == []


def test_an_eps_that_does_nothing_is_as_it_should_be() -> None:
    assert of(replace(EPS, idle=Tally(5, 1), changed=0)) == []


def test_an_eps_that_dominates_nearly_all_weights_is_a_remark() -> None:
    (diagnosis,) = of(replace(EPS, share=0.97, dominated=("0.weight",)))

    assert told([diagnosis]) == [("eps-dominates", "remark", 1)]
    assert diagnosis.fact == (
        "eps 1e-08 dominates in 97 % of the weights that AdamW moves: it is most of the denominator, so that "
        "the step is about lr·m/eps (5 inspected steps)"
    )
    assert diagnosis.parameter is None


def test_an_eps_that_dominates_a_parameter_names_it() -> None:
    (diagnosis,) = of(replace(EPS, share=0.3, dominated=("layer2.weight", "layer2.bias")))

    assert "dominates in nearly all of layer2.weight and 1 more of the parameters" in diagnosis.fact
    assert diagnosis.parameters == ("layer2.weight", "layer2.bias")


def test_a_second_moment_that_never_falls_is_a_fault() -> None:
    (diagnosis,) = of(stuck=(StuckState("exp_avg_sq", "bfloat16", 0.001, Tally(4, 2), 4),))

    assert told([diagnosis]) == [("state-never-falls", "fault", 2)]
    assert diagnosis.fact == (
        "exp_avg_sq of AdamW never falls: 0.999·exp_avg_sq is rounded to exp_avg_sq in bfloat16, "
        "where half an ulp of a number is 0.002 of it (4 inspected steps)"
    )


def test_one_that_fell_once_is_not_told() -> None:
    assert of(stuck=(StuckState("exp_avg_sq", "bfloat16", 0.001, Tally(3, 2), 4),)) == []


def test_a_counter_that_stays_is_a_fault() -> None:
    (diagnosis,) = of(stalled=StalledCounter(256.0, "bfloat16", Tally(44, 27)))

    assert told([diagnosis]) == [("counter-stalled", "fault", 27)]
    assert diagnosis.fact == (
        "the step counter of AdamW stays at 256 from step 27 on: it is kept in bfloat16, "
        "in which 256 + 1 is 256"
    )
    assert diagnosis.count == 44


@pytest.mark.parametrize(
    ("steps", "cut", "limit", "is_told"),
    [(20, None, 0.61, True), (20, None, 0.59, False), (19, None, 0.61, False), (20, 1, 0.61, False)],
)
def test_a_limit_three_times_above_all_of_20_gradients_is_a_remark(
    steps: int, cut: int | None, limit: float, is_told: bool
) -> None:
    cuts = None if cut is None else Tally(cut, 1)
    found = of(clippings={"used": ClippingTally(Tally(steps, 1), cuts, (limit, limit))})

    assert told(found) == [("clipping-never-cuts", "remark", 1)] * is_told
    if is_told:
        assert found[0].fact == (
            "clipping (limit 0.61) cuts no gradient of AdamW in 20 steps; the largest norm is 0.2"
        )
