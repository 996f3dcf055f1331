"""Faults of the gradients that steps use. Each limit is tried on both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.trainings import PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import GradientCase, Tally


def test_a_stale_gradient_is_told_with_its_first_step_and_how_many_have_it() -> None:
    (diagnosis,) = diagnose(seen(stepped(gradients={"fresh": Tally(1, 1), "stale": Tally(19, 2)})))

    assert diagnosis == Diagnosis(
        fault="stale gradient",
        optimizer="SGD",
        step=2,
        parameter=None,
        fact="step 2 of SGD reuses the gradient of the previous step: backward() was not called in between "
        "(19 of 20 steps)",
        remedy="call loss.backward() before each optimizer.step()",
        code="stale-gradient",
    )


def test_an_accumulated_gradient_is_told_of_the_optimizer_that_has_it() -> None:
    sound = stepped("Adam")
    faulty = stepped("Adam 2", gradients={"fresh": Tally(6, 1), "accumulated": Tally(14, 7)})
    (diagnosis,) = diagnose(seen(sound, faulty))

    assert (diagnosis.fault, diagnosis.optimizer, diagnosis.step) == ("accumulated gradient", "Adam 2", 7)
    assert diagnosis.fact == (
        "step 7 of Adam 2 adds its gradient to that of the previous step, which was not cleared "
        "(14 of 20 steps)"
    )
    assert diagnosis.remedy == "call optimizer.zero_grad() before loss.backward()"


def test_a_scaled_gradient_is_told() -> None:
    (diagnosis,) = diagnose(seen(stepped(gradients={"scaled": Tally(20, 1)})))

    assert (diagnosis.fault, diagnosis.step) == ("scaled gradient", 1)
    assert diagnosis.fact == (
        "step 1 of SGD uses a gradient that is still multiplied with a GradScaler's scale (20 of 20 steps)"
    )
    assert "scaler.step(optimizer)" in diagnosis.remedy


@pytest.mark.parametrize("kind", ["fresh", "by hand"])
def test_gradients_of_a_sound_kind_are_no_fault(kind: str) -> None:
    assert diagnose(seen(stepped(gradients={kind: Tally(20, 1)}))) == ()


@pytest.mark.parametrize(
    ("skipped", "taken", "is_fault"),
    [
        (10, 12, False),  # a short run, in which the scale is found
        (16, 20, False),  # 2**16 was halved to 1
        (18, 20, False),  # 16 + 20 / 10
        (19, 20, True),
        (26, 100, False),
        (27, 100, True),
        (516, 1_000_000, False),  # 16, and one trial of a larger scale in 2000 steps
        (20, 20, True),
    ],
)
def test_skipped_steps_are_a_fault_beyond_those_that_find_the_scale(
    skipped: int, taken: int, is_fault: bool
) -> None:
    kinds = {"skipped": Tally(skipped, 3), "fresh": Tally(taken - skipped, 1)}
    found = diagnose(seen(stepped(gradients=kinds)))

    assert [(one.fault, one.step) for one in found] == [("skipped steps", 3)] * is_fault
    assert all(f"skipped {skipped} of {taken} steps of SGD, the first at step 3" in one.fact for one in found)


def test_an_optimizer_that_never_has_a_gradient_is_told_once_and_not_for_each_parameter() -> None:
    parameters = tuple(replace(parameter, had_gradient=False) for parameter in PARAMETERS)
    (diagnosis,) = diagnose(seen(stepped(gradients={"none": Tally(20, 1)}, parameters=parameters)))

    assert (diagnosis.fault, diagnosis.step) == ("no gradient", 1)
    assert diagnosis.fact == "step 1 of SGD moves nothing: no parameter has a gradient (20 of 20 steps)"
    assert "loss.backward()" in diagnosis.remedy


def test_a_step_without_a_gradient_between_others_is_no_fault() -> None:
    assert diagnose(seen(stepped(gradients={"none": Tally(19, 1), "fresh": Tally(1, 20)}))) == ()


CLEARED = {"cleared": Tally(20, 1)}


def test_a_cleared_gradient_is_told_with_what_has_cleared_it() -> None:
    case = GradientCase("cleared", "zero_grad", Tally(20, 1), 20)
    (diagnosis,) = diagnose(seen(stepped(gradients=CLEARED, cases=(case,))))

    assert diagnosis == Diagnosis(
        fault="cleared gradient",
        optimizer="SGD",
        step=1,
        parameter=None,
        fact="step 1 of SGD has no gradient to use: zero_grad() was called between backward and step "
        "(20 of 20 steps)",
        remedy="call zero_grad() before loss.backward() or after optimizer.step()",
        code="cleared-gradient",
    )


def test_gradients_that_zero_grad_has_cleared_and_others_that_it_has_not_are_one_fault() -> None:
    cases = (
        GradientCase("cleared", "by hand", Tally(6, 2), 20),
        GradientCase("cleared", "zero_grad", Tally(4, 3), 19),
        GradientCase("cleared", "not finite", Tally(5, 4), 18),
    )
    kinds = {"fresh": Tally(5, 1), "cleared": Tally(15, 2)}
    (diagnosis,) = diagnose(seen(stepped(gradients=kinds, cases=cases)))

    assert diagnosis.fact == (
        "step 2 of SGD has no gradient to use: the gradients were cleared between backward and step "
        "(10 of 20 steps)"
    )
    assert diagnosis.remedy == "clear them before loss.backward() or after optimizer.step()"


@pytest.mark.parametrize(("count", "is_fault"), [(1, False), (2, True)])
def test_clearing_is_a_remark_below_a_tenth_of_the_steps(count: int, is_fault: bool) -> None:
    case = GradientCase("cleared", "zero_grad", Tally(count, 3), 9)
    kinds = {"fresh": Tally(20 - count, 1), "cleared": Tally(count, 3)}
    (diagnosis,) = diagnose(seen(stepped(gradients=kinds, cases=(case,))))

    assert diagnosis.is_fault is is_fault


def test_one_parameter_is_told_of_in_the_singular() -> None:
    frozen = GradientCase("stale", "frozen", Tally(19, 2), 20, ("scale",))
    unused = GradientCase("stale", "", Tally(3, 4), 8, ("0.bias",))
    found = diagnose(seen(stepped(cases=(frozen, unused))))

    assert [(d.fault, d.step, d.parameter, d.fact) for d in found] == [
        (
            "stale gradient",
            2,
            "scale",
            "scale does not require a gradient since step 2, and is moved by the gradient of step 1 "
            "(19 of 20 steps of SGD)",
        ),
        (
            "stale gradient",
            4,
            "0.bias",
            "0.bias gets no gradient in step 4, and is moved by that of an earlier step "
            "(3 of 20 steps of SGD)",
        ),
    ]
    assert "frozen" in found[0].remedy
    assert "zero_grad()" in found[1].remedy


def test_accumulation_of_all_is_told_as_that_though_a_part_had_it_once() -> None:
    part = GradientCase("accumulated", "", Tally(1, 20), 20, ("0.bias",))
    kinds = {"fresh": Tally(2, 1), "accumulated": Tally(18, 2)}
    (diagnosis,) = diagnose(seen(stepped(gradients=kinds, cases=(part,))))

    assert (diagnosis.parameter, diagnosis.fact[:34]) == (None, "step 2 of SGD adds its gradient to")


def test_parameters_beyond_three_sets_are_counted() -> None:
    cases = tuple(
        GradientCase("accumulated", "", Tally(20 - k, k + 1), 20, (f"{k}.weight", f"{k}.bias"))
        for k in range(1, 6)
    )
    found = diagnose(seen(stepped(cases=cases)))

    assert [d.parameter for d in found] == ["1.weight", "2.weight", "3.weight"]
    assert [d.fact.partition("; ")[2] for d in found] == ["", "", "the same applies to 4 other parameters"]
