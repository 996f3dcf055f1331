"""Faults of gradient clipping, and remarks on it. Each limit is tried on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.trainings import PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.analysis.training.diagnoses.step_size import step_growth
from optitrace.records.findings import Diagnosis
from optitrace.records.training import ClippingKind, ClippingTally, LostUpdate, OptimizerTrace, Tally
from optitrace.rules.catalogue import TORCH_OPTIMIZERS


def clipped(
    kind: ClippingKind,
    steps: Tally,
    cut: Tally | None,
    *,
    limit: float = 1.0,
    scale: float | None = None,
    parameters: tuple[str, ...] = (),
    name: str = "SGD",
    taken: int = 20,
    norms: tuple[Sequence[float], Sequence[float]] | None = None,
    **more: Any,
) -> OptimizerTrace:
    """Return an optimizer with one kind of clippings; `norms` are those before and after."""
    columns = {} if norms is None else {"unclipped_gradient_norm": norms[0], "gradient_norm": norms[1]}
    tally = ClippingTally(steps, cut, (limit, limit), scale, parameters)
    return stepped(name, taken, columns, clippings={kind: tally}, **more)


def only(optimizer: OptimizerTrace) -> Diagnosis:
    (diagnosis,) = diagnose(seen(optimizer))
    return diagnosis


def cut_always(before: float, after: float, name: str = "SGD", **more: Any) -> OptimizerTrace:
    return clipped("used", Tally(20, 1), Tally(20, 1), name=name, norms=([before] * 20, [after] * 20), **more)


@pytest.mark.parametrize(
    ("cut", "taken", "is_told"),
    [(19, 20, True), (18, 20, False), (19, 19, False), (100, 100, True), (95, 100, True), (94, 100, False)],
)
def test_frequent_clipping_is_told_from_95_of_100_and_from_20_steps_on(
    cut: int, taken: int, is_told: bool
) -> None:
    norms = [12.0] * taken, [1.0] * taken
    optimizer = clipped("used", Tally(taken, 1), Tally(cut, 2), taken=taken, norms=norms)
    found = diagnose(seen(optimizer))

    assert [(one.fault, one.step, one.severity) for one in found] == [
        ("clipped gradient", 2, "fault")
    ] * is_told
    assert all(f"in {cut} of {taken} steps" in one.fact for one in found)


def test_clipping_tells_the_median_norm_before_and_after_of_the_steps_that_are_clipped() -> None:
    norms = [12.0] * 10 + [14.0] * 9 + [0.5], [1.0] * 19 + [0.5]

    assert only(clipped("used", Tally(20, 1), Tally(19, 1), norms=norms)).fact == (
        "clipping cuts the gradient of SGD in 19 of 20 steps, typically from norm 12 to 1"
    )


def test_clipping_of_a_part_of_the_parameters_names_them() -> None:
    names = ("a.weight", "a.bias", "b.weight")

    assert only(cut_always(12.0, 1.0, parameters=names)).fact == (
        "clipping cuts the gradient of 3 parameters of SGD (a.weight, a.bias and 1 more) in 20 of 20 steps, "
        "typically from norm 12 to 1"
    )


def test_frequent_clipping_of_which_no_norm_is_known_is_not_judged() -> None:
    assert diagnose(seen(clipped("used", Tally(20, 1), Tally(20, 1)))) == ()


@pytest.mark.parametrize(
    ("before", "after", "severity", "remedy"),
    [
        (
            34000.0,
            0.001,
            "fault",
            "this makes the steps 3.4e+07 times shorter: the limit, not the loss, sets",
        ),
        (
            2.1,
            1.0,
            "fault",
            "this makes the steps 2.1 times shorter: the limit, not the loss, sets their size",
        ),
        (1.9, 1.0, "remark", "this makes the steps 1.9 times shorter; no change is needed"),
        (1.3, 1.0, "remark", "this makes the steps 1.3 times shorter; no change is needed"),
    ],
)
def test_a_mild_cut_of_the_steps_is_no_fault(before: float, after: float, severity: str, remedy: str) -> None:
    """Without weight decay, an SGD step is as long as its gradient."""
    diagnosis = only(cut_always(before, after))

    assert diagnosis.severity == severity
    assert diagnosis.remedy.startswith(remedy)


INVARIANT = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "RMSprop", "Rprop", "Adafactor", "Muon")
"""The rules that divide by the gradient's size, or look at its sign or direction alone, as published."""

LINEAR = ("SGD", "ASGD")
"""Those whose steps are as long as the gradient."""


@pytest.mark.parametrize("name", [*INVARIANT, "SparseAdam", "Adadelta"])
def test_a_rule_that_is_invariant_to_the_gradients_scale_makes_frequent_clipping_a_remark(name: str) -> None:
    optimizer = cut_always(12.0, 1.0, name, hyperparameters=({"lr": 0.001},))
    diagnosis = only(replace(optimizer, parameters=PARAMETERS[:1]))  # a matrix, which Muon asks for

    assert diagnosis.severity == "remark"
    assert diagnosis.remedy.startswith(
        f"with {name} the clipping limit does not set the size of the steps: by its rule they would be "
    )


@pytest.mark.parametrize("name", INVARIANT)
def test_the_steps_of_an_invariant_rule_are_as_long_with_other_gradients(name: str) -> None:
    optimizer = stepped(name, hyperparameters=({"lr": 0.001},))

    assert step_growth(optimizer, 12.0, 1.0) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_steps_of_a_linear_rule_are_as_long_as_the_gradient(name: str, momentum: float) -> None:
    more = {"momentum": momentum} if name == "SGD" else {}
    optimizer = stepped(name, hyperparameters=({"lr": 0.001, **more},))

    # the shrinking by lambd, which ASGD does in every step, is small beside these
    assert step_growth(optimizer, 12.0, 1.0) == pytest.approx(12.0, rel=0.01)


def test_a_rule_is_judged_with_the_lr_that_a_warm_up_leads_to() -> None:
    optimizer = cut_always(12.0, 1.0, hyperparameters=({"lr": 0.0},))

    assert step_growth(optimizer, 12.0, 1.0) == pytest.approx(12.0)
    assert only(optimizer).severity == "fault"


def test_every_rule_of_torch_is_judged() -> None:
    assert {*INVARIANT, *LINEAR, "SparseAdam", "Adadelta"} == {
        optimizer.class_path.rpartition(".")[2] for optimizer in TORCH_OPTIMIZERS.values() if optimizer.rule
    }


def test_adam_whose_eps_is_above_the_gradient_is_not_invariant() -> None:
    """With eps far above every sqrt(v_hat), a step is lr * m_hat / eps."""
    optimizer = cut_always(12.0, 1.0, "Adam", hyperparameters=({"lr": 0.001, "eps": 1e4},))

    assert step_growth(optimizer, 12.0, 1.0) == pytest.approx(12.0, rel=0.01)
    assert only(optimizer).severity == "fault"


def test_of_a_class_without_a_rule_it_is_said_that_nothing_is_known() -> None:
    diagnosis = only(cut_always(12.0, 1.0, "Lion", class_path="lion_pytorch.Lion"))

    assert diagnosis.severity == "remark"
    assert "depends on the update rule of Lion, which is not known" in diagnosis.remedy


@pytest.mark.parametrize(
    ("count", "taken", "is_told"),
    [(19, 20, True), (18, 20, False), (2, 3, False), (3, 4, True), (30, 30, True)],
)
def test_clipping_before_the_backward_of_nearly_all_steps_is_a_fault(
    count: int, taken: int, is_told: bool
) -> None:
    tally = Tally(count, 2)
    found = diagnose(seen(clipped("before backward", tally, tally, limit=0.1, taken=taken)))

    assert [(one.fault, one.step, one.severity) for one in found] == [
        ("clipping without effect", 2, "fault")
    ] * is_told


def test_clipping_without_effect_tells_limit_place_and_the_norm_that_was_used() -> None:
    after = only(clipped("before backward", Tally(19, 2), Tally(19, 2), limit=0.1))
    before = only(clipped("before backward", Tally(20, 1), Tally(19, 2), limit=0.1))

    assert after.fact == (
        "clipping (limit 0.1) has no effect on the steps of SGD: it comes after step 1 and before the "
        "backward of step 2 (19 of 20 steps); the steps use gradients of norm 0.2 (median)"
    )
    assert "it comes before the backward of step 1 (20 of 20 steps)" in before.fact
    assert after.remedy == "call it between loss.backward() and optimizer.step()"


@pytest.mark.parametrize(("limit", "is_told"), [(0.19, True), (0.2, False)])
def test_a_clipping_of_no_gradient_is_told_if_it_could_cut_what_the_steps_use(
    limit: float, is_told: bool
) -> None:
    """The steps use gradients of norm 0.2."""
    found = diagnose(seen(clipped("before backward", Tally(20, 1), None, limit=limit)))

    assert [one.fault for one in found] == ["clipping without effect"] * is_told


def test_limits_that_vary_are_told_from_the_least_to_the_greatest() -> None:
    optimizer = clipped("before backward", Tally(20, 1), Tally(20, 1))
    tally = replace(optimizer.clippings["before backward"], limits=(0.1, 5.0))

    assert only(replace(optimizer, clippings={"before backward": tally})).fact.startswith(
        "clipping (limits 0.1 to 5) has no effect"
    )


@pytest.mark.parametrize(
    ("limit", "scale", "is_told"),
    [(1.0, 65536.0, True), (655.0, 65536.0, True), (656.0, 65536.0, False), (65536.0, 65536.0, False)],
)
def test_a_limit_that_acts_on_a_scaled_gradient_is_a_fault_unless_it_is_scaled_too(
    limit: float, scale: float, is_told: bool
) -> None:
    found = diagnose(seen(clipped("scaled", Tally(20, 1), Tally(20, 1), limit=limit, scale=scale)))

    assert [(one.fault, one.step) for one in found] == [("clipping of a scaled gradient", 1)] * is_told


def test_a_scaled_clipping_that_never_cut_is_no_fault() -> None:
    assert diagnose(seen(clipped("scaled", Tally(20, 1), None, scale=65536.0))) == ()


def test_clipping_on_a_scaled_gradient_advises_to_raise_nothing() -> None:
    small = {"update_ratio": [1e-7] * 20}
    bare = stepped(columns=small)
    tally = ClippingTally(Tally(20, 1), Tally(20, 1), (1.0, 1.0), 65536.0)
    diagnosis = only(replace(bare, clippings={"scaled": tally}))

    assert diagnosis.fact == (
        "step 1 of SGD uses a gradient that was clipped while multiplied by the scale of a GradScaler: "
        "the limit 1 acts as 1/65536 = 1.5e-05 (20 of 20 steps)"
    )
    assert diagnosis.remedy == "call scaler.unscale_(optimizer) before clipping"
    assert only(bare).remedy.startswith("raise the lr")


def test_updates_that_clipping_on_a_scaled_gradient_loses_are_not_told_once_more_but_in_short_dtypes() -> (
    None
):
    lost = tuple(LostUpdate(step, 100, 100) for step in range(1, 21))
    optimizer = clipped("scaled", Tally(20, 1), Tally(20, 1), scale=65536.0, lost=lost)
    short = tuple(replace(p, dtype="bfloat16") for p in PARAMETERS)

    assert only(optimizer).fault == "clipping of a scaled gradient"
    found = diagnose(seen(replace(optimizer, parameters=short)))
    assert [one.fault for one in found] == ["lost update", "clipping of a scaled gradient"]


@pytest.mark.parametrize(
    ("before", "faults"),
    [(12.0, ["clipped gradient", "update ratio"]), (120.0, ["clipped gradient"])],
)
def test_updates_that_would_be_of_usual_size_without_clipping_are_not_told_as_small(
    before: float, faults: list[str]
) -> None:
    """An update of 1e-8 of the weights is told below 1e-6, which is a hundred times as much."""
    optimizer = cut_always(before, 1.0)
    small = stepped(columns={"update_ratio": [1e-8] * 20}).columns["update_ratio"]
    found = diagnose(seen(replace(optimizer, columns={**optimizer.columns, "update_ratio": small})))

    assert [one.fault for one in found] == faults


@pytest.mark.parametrize(("count", "is_told"), [(19, True), (18, False)])
def test_clipping_of_micro_batches_is_a_remark(count: int, is_told: bool) -> None:
    found = diagnose(seen(clipped("micro-batch", Tally(count, 1), Tally(9, 2))))

    assert [(one.fault, one.step, one.severity) for one in found] == [
        ("clipping of micro-batches", 2, "remark")
    ] * is_told
    assert all(
        one.fact
        == "clipping (limit 1) comes before the last backward of step 2 of SGD, which adds to the clipped "
        f"gradient ({count} of 20 steps)"
        for one in found
    )


def test_micro_batches_that_were_never_cut_are_nothing() -> None:
    assert diagnose(seen(clipped("micro-batch", Tally(20, 1), None))) == ()
