"""Faults of the size of updates. Each limit is tried on both sides."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.trainings import PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import KINDS, LostUpdate, WatchedParameter

INSPECTED = (1, 2, 4, 8, 16)
"""The rows of twenty that are inspected for lost updates."""


def lost(count: int, steps: Sequence[int] = INSPECTED) -> tuple[LostUpdate, ...]:
    """Return lost updates of so many in a hundred coordinates."""
    return tuple(LostUpdate(step, count, 100) for step in steps)


def of(*dtypes: str) -> tuple[WatchedParameter, ...]:
    return tuple(WatchedParameter(f"{k}.weight", (4, 2), dtype) for k, dtype in enumerate(dtypes))


def faults(found: Sequence[Diagnosis]) -> list[tuple[str, int | None]]:
    return [(one.fault, one.step) for one in found]


def test_updates_lost_in_rounding_are_told_with_share_and_dtype() -> None:
    (diagnosis,) = diagnose(seen(stepped("AdamW", lost=lost(93), parameters=of("bfloat16"))))

    assert (diagnosis.fault, diagnosis.step, diagnosis.parameter) == ("lost update", 1, None)
    assert diagnosis.fact == (  # 2**-8
        "step 1 of AdamW leaves 93 % of the bfloat16 weights unchanged: "
        "rounding loses updates below 0.0039 of a weight"
    )
    assert diagnosis.remedy == (
        "keep the weights in float32 and use autocast, round stochastically, or raise the lr (0.1)"
    )


def test_updates_lost_in_float32_have_another_cause() -> None:
    (diagnosis,) = diagnose(seen(stepped(lost=lost(100))))

    assert "100 % of the float32 weights" in diagnosis.fact
    assert diagnosis.fact.endswith("below 6e-08 of a weight")  # 2**-24
    assert diagnosis.remedy == "raise the lr (0.1), or find out why the gradient is so small"


def test_a_dtype_of_unknown_format_is_told_without_a_limit() -> None:
    (diagnosis,) = diagnose(seen(stepped(lost=lost(80), parameters=of("float8_e5m2"))))

    assert diagnosis.fact.endswith("the float8_e5m2 weights unchanged: their updates are lost in rounding")


def test_lost_updates_of_several_dtypes_are_told_with_all_and_the_limit_of_the_coarsest() -> None:
    mixed = of("float32", "bfloat16", "float32", "float16")
    still = replace(mixed[0], name="still", dtype="float64", is_frozen=True)
    (diagnosis,) = diagnose(seen(stepped(lost=lost(80), parameters=(*mixed, still))))

    assert diagnosis.fact == (  # 2**-8
        "step 1 of SGD leaves 80 % of the float32, bfloat16 and float16 weights unchanged: "
        "rounding loses updates below 0.0039 of a weight in bfloat16"
    )
    assert diagnosis.remedy.startswith("keep the weights in float32")


@pytest.mark.parametrize(
    ("count", "steps", "is_fault"),
    [
        (51, INSPECTED, True),
        (50, INSPECTED, False),
        (100, (1, 2, 4), True),
        (100, (1, 2), False),  # in the minority of the inspected steps
    ],
)
def test_lost_updates_are_a_fault_if_most_are_lost_in_most_of_the_inspected_steps(
    count: int, steps: Sequence[int], is_fault: bool
) -> None:
    found = diagnose(seen(stepped(lost=lost(count, steps=steps))))

    assert faults(found) == [("lost update", 1)] * is_fault


@pytest.mark.parametrize(("steps", "is_fault"), [((1, 10), True), ((30,), False)])
def test_the_inspected_rows_are_counted_and_not_the_steps(steps: Sequence[int], is_fault: bool) -> None:
    """Of the recorded steps 1, 10, 20, 30, 40 the first, second and fourth are inspected."""
    sparse = replace(stepped(steps=5, lost=lost(100, steps=steps)), steps=(1, 10, 20, 30, 40), taken=40)

    assert faults(diagnose(seen(sparse))) == [("lost update", 1)] * is_fault


MADE_SMALL = {
    "a warm-up": {"lr": [0.009] * 16 + [0.1] * 4},
    "a schedule that has ended": {"lr": [0.1] + [0.0] * 19},
    "a gradient that has shrunk by a thousand": {"gradient_norm": [0.2] + [0.0001] * 19},
    "a group at rest": {"lr": [0.1, 0.0] * 20},
    "skipped steps": {"gradient": [float(KINDS.index("skipped"))] * 20},
}
"""Why updates are small without being too small, and the columns of a training where it is so."""


@pytest.mark.parametrize("reason", MADE_SMALL)
def test_small_updates_that_have_a_reason_are_no_fault(reason: str) -> None:
    columns = {**MADE_SMALL[reason], "update_ratio": [1e-9] * 20}
    most = (2, 4, 8, 16) if reason != "a warm-up" else INSPECTED

    assert diagnose(seen(stepped(columns=columns, lost=lost(100, steps=most)))) == ()
    without = stepped(columns={"update_ratio": [1e-9] * 20}, lost=lost(100, steps=most))
    assert faults(diagnose(seen(without))) == [("lost update", most[0])]
    assert faults(diagnose(seen(replace(without, lost=())))) == [("update ratio", None)]


def test_a_lr_and_a_gradient_that_fall_less_are_not_taken_for_a_reason() -> None:
    columns = {"lr": [0.1] + [0.011] * 19, "gradient_norm": [0.2] + [0.00021] * 19}
    faulty = stepped(columns={**columns, "update_ratio": [1e-9] * 20}, lost=lost(100))

    assert faults(diagnose(seen(faulty))) == [("lost update", 1)]
    assert faults(diagnose(seen(replace(faulty, lost=())))) == [("update ratio", None)]


@pytest.mark.parametrize(
    ("ratio", "told"),
    [(5e-7, "5e-07"), (2e-6, ""), (1e-5, ""), (0.1, ""), (0.9, ""), (1.1, "1.1"), (230.0, "230")],
)
def test_update_ratios_are_a_fault_ten_times_outside_of_the_usual(ratio: float, told: str) -> None:
    found = diagnose(seen(stepped(columns={"update_ratio": [ratio] * 20})))

    assert faults(found) == [("update ratio", None)] * bool(told)
    assert all(
        one.fact == f"an update of SGD is {told} of the weights' norm (median after step 10); "
        "usual is 1e-05 to 0.1"
        for one in found
    )


def test_the_remedy_leads_toward_the_usual() -> None:
    for ratio, verb in ((1e-8, "raise"), (10.0, "lower")):
        (diagnosis,) = diagnose(seen(stepped(columns={"update_ratio": [ratio] * 20})))

        assert diagnosis.remedy == f"{verb} the lr (0.1) until an update is about 0.001 of the weights"


def test_the_first_ratios_do_not_count() -> None:
    """Weights that begin at zero change by their own size, and more, in the first steps."""
    assert diagnose(seen(stepped(columns={"update_ratio": [50.0] * 10 + [0.01] * 10}))) == ()


def test_the_median_decides_and_not_single_rows() -> None:
    assert diagnose(seen(stepped(columns={"update_ratio": [0.01] * 16 + [50.0] * 4}))) == ()
    assert len(diagnose(seen(stepped(columns={"update_ratio": [0.01] * 14 + [50.0] * 6})))) == 1


def test_fewer_than_five_rows_are_too_few_for_a_median() -> None:
    assert diagnose(seen(stepped(steps=14, columns={"update_ratio": [50.0] * 14}))) == ()
    assert len(diagnose(seen(stepped(steps=15, columns={"update_ratio": [50.0] * 15})))) == 1


def test_a_ratio_that_is_not_a_number_is_left_out() -> None:
    assert diagnose(seen(stepped(columns={"update_ratio": [float("nan")] * 20}))) == ()


@pytest.mark.parametrize("had_gradient", [True, False])
@pytest.mark.parametrize(("size", "is_fault"), [(12, True), (13, False)])
def test_a_small_ratio_is_no_fault_where_most_weights_of_the_norm_are_frozen(
    size: int, is_fault: bool, had_gradient: bool
) -> None:
    """The parameters that move have 8 + 4 weights."""
    frozen = WatchedParameter("backbone", (size,), "float32", is_frozen=True, had_gradient=had_gradient)
    optimizer = stepped(columns={"update_ratio": [1e-8] * 20}, parameters=(*PARAMETERS, frozen))

    assert faults(diagnose(seen(optimizer))) == [("update ratio", None)] * is_fault


def test_of_a_long_training_evenly_spread_rows_are_looked_at() -> None:
    """A few hundred rows of other ratios at one end do not outweigh a million."""
    rows = 1_000_000
    ratios = array("d", [0.001]) * (rows - 500) + array("d", [50.0]) * 500

    assert diagnose(seen(stepped(steps=rows, columns={"update_ratio": ratios}))) == ()
    assert len(diagnose(seen(stepped(steps=rows, columns={"update_ratio": ratios[::-1]})))) == 0
    assert len(diagnose(seen(stepped(steps=rows, columns={"update_ratio": array("d", [50.0]) * rows})))) == 1
