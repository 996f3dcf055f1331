"""What all diagnoses have in common, and the faults of parameters, numbers and schedules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.trainings import INTERRUPTED, PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.trace import Outcome, Status
from optitrace.records.training import (
    NonFinite,
    Scheduling,
    Tally,
    TrainingRecord,
    UnownedParameter,
    WatchedParameter,
)

FAILED = Outcome(Status.FAILED, 20, reason="ValueError: 3")

UNUSED = WatchedParameter("aux.weight", (3,), "float32", had_gradient=False)


def only(training: TrainingRecord) -> Diagnosis:
    (diagnosis,) = diagnose(training)
    return diagnosis


def test_a_sound_training_has_no_faults() -> None:
    assert diagnose(seen()) == ()
    assert diagnose(seen(stepped("Adam"), stepped("Adam 2", steps=3))) == ()


def test_a_training_without_steps_has_none() -> None:
    assert diagnose(TrainingRecord(seen().program, seen().versions, Outcome(), ())) == ()


def test_faults_come_in_the_order_of_their_steps_and_those_of_no_step_last() -> None:
    one = stepped(gradients={"fresh": Tally(19, 1), "stale": Tally(1, 9)}, non_finite=(NonFinite("loss", 4),))
    two = stepped(
        "Adam",
        gradients={"accumulated": Tally(1, 4), "fresh": Tally(19, 1)},
        parameters=(*PARAMETERS, UNUSED),
    )
    found = diagnose(seen(one, two, idle=("LBFGS",), unowned=(UnownedParameter("head.weight", "SGD"),)))

    assert [(d.fault, d.optimizer, d.step) for d in found] == [
        ("not finite", "SGD", 4),
        ("accumulated gradient", "Adam", 4),
        ("stale gradient", "SGD", 9),
        ("parameter without gradient", "Adam", None),
        ("parameter without optimizer", "", None),
        ("optimizer never stepped", "LBFGS", None),
    ]


def test_diagnosing_imports_no_torch() -> None:
    code = (
        "import sys; import optitrace.analysis.training.diagnoses.registry; sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_parameter_that_no_optimizer_has_is_told_with_how_many_more() -> None:
    unowned = tuple(UnownedParameter(name, "SGD") for name in ("head.weight", "head.bias"))
    diagnosis = only(seen(unowned=unowned))

    assert diagnosis.parameter == "head.weight"
    assert diagnosis.fact == (
        "head.weight and 1 more of the model's parameters get gradients and are in no optimizer"
    )
    assert "model.parameters()" in diagnosis.remedy
    assert only(seen(unowned=(UnownedParameter("scale", "SGD"),))).fact == (
        "scale of the model's parameters gets gradients and is in no optimizer"
    )


def test_parameters_that_are_unfrozen_later_are_told_with_the_steps_between_which_that_was() -> None:
    first = UnownedParameter("head.weight", "SGD")
    later = [UnownedParameter(name, "SGD", since=9, by=16) for name in ("0.weight", "0.bias")]
    last = UnownedParameter("1.weight", "SGD", since=17, by=17)
    found = diagnose(seen(unowned=(first, *later, last)))

    assert [(d.parameter, d.fact.partition(" of the model's parameters ")[2]) for d in found] == [
        ("0.weight", "get gradients since a step between 9 and 16 of SGD and are in no optimizer"),
        ("1.weight", "gets gradients since step 17 of SGD and is in no optimizer"),
        ("head.weight", "gets gradients and is in no optimizer"),
    ]
    assert ["add_param_group" in d.remedy for d in found] == [True, True, False]


def test_a_parameter_that_never_gets_a_gradient_is_told() -> None:
    diagnosis = only(seen(stepped("AdamW", parameters=(*PARAMETERS, UNUSED))))

    assert (diagnosis.fault, diagnosis.parameter) == ("parameter without gradient", "aux.weight")
    assert diagnosis.fact == "aux.weight of the parameters of AdamW had no gradient in 20 steps"


def test_a_frozen_parameter_needs_no_gradient() -> None:
    frozen = WatchedParameter("aux.weight", (3,), "float32", is_frozen=True, had_gradient=False)

    assert diagnose(seen(stepped(parameters=(*PARAMETERS, frozen)))) == ()


def test_a_parameter_in_two_optimizers_is_told_once() -> None:
    def shared(other: str) -> tuple[WatchedParameter, ...]:
        return tuple(WatchedParameter(p.name, p.shape, p.dtype, also_in=other) for p in PARAMETERS)

    diagnosis = only(
        seen(stepped("SGD", parameters=shared("Adam")), stepped("Adam", parameters=shared("SGD")))
    )

    assert (diagnosis.optimizer, diagnosis.parameter) == ("SGD", "0.weight")
    assert diagnosis.fact == "0.weight and 1 more of the parameters of SGD are in Adam too"


def test_each_two_optimizers_that_share_are_told() -> None:
    shared = (
        WatchedParameter("a", (1,), "float32", also_in="Adam"),
        WatchedParameter("b", (1,), "float32", also_in="Adam 2"),
    )

    facts = [d.fact for d in diagnose(seen(stepped(parameters=shared)))]
    assert facts == [
        "a of the parameters of SGD is in Adam too",
        "b of the parameters of SGD is in Adam 2 too",
    ]


def test_an_optimizer_that_never_steps_is_told_once_the_program_has_come_to_its_end() -> None:
    assert only(seen(idle=("Adam 2",))).fact == "Adam 2 was created but never stepped"
    for ended in (INTERRUPTED, FAILED):
        assert diagnose(seen(idle=("Adam 2",), outcome=ended)) == ()


def test_thousands_of_optimizers_that_never_step_are_told_once() -> None:
    names = ("SGD", *(f"SGD {k}" for k in range(2, 3001)))

    assert only(seen(idle=names)).fact == "SGD, SGD 2, SGD 3 and 2,997 more were created but never stepped"


@pytest.mark.parametrize(
    ("found", "fact", "remedy"),
    [
        (
            (
                NonFinite("loss", 12),
                NonFinite("gradient", 12, "0.weight"),
                NonFinite("weights", 13, "0.bias"),
            ),
            "step 12 of SGD: the loss is not finite; then gradient (step 12), weights (step 13)",
            "look in data and forward for log(0), 0/0 or an overflow",
        ),
        (
            (NonFinite("loss", 1),),
            "step 1 of SGD: the loss is not finite",
            "look in data and forward for log(0), 0/0 or an overflow",
        ),
        (
            (NonFinite("gradient", 3, "0.bias"),),
            "step 3 of SGD: the gradient is not finite, first in 0.bias",
            "a derivative is not finite, as that of sqrt, norm or ** at 0 is; "
            "torch.autograd.set_detect_anomaly(True) names the operation",
        ),
        (
            (NonFinite("exp_avg_sq", 5, "0.weight"), NonFinite("weights", 5), NonFinite("loss", 6)),
            "step 5 of SGD: the state exp_avg_sq is not finite, first in 0.weight; "
            "then weights (step 5), loss (step 6)",
            "the gradient of that step is finite; --watch '0.weight' --from 4 shows more",
        ),
        (
            (NonFinite("weights", 7, "0.weight", "the line w = w − lr·g does it", "lower the lr (7)"),),
            "step 7 of SGD: the weights are not finite, first in 0.weight",
            "the line w = w − lr·g does it; lower the lr (7)",
        ),
        (
            (NonFinite("weights", 7, "0.weight", "the line w = w − lr·g does it"),),
            "step 7 of SGD: the weights are not finite, first in 0.weight",
            "the line w = w − lr·g does it",
        ),
    ],
    ids=lambda value: value[0].quantity if isinstance(value[0], NonFinite) else "",
)
def test_only_the_first_number_that_is_not_finite_is_a_fault_of_its_own(
    found: tuple[NonFinite, ...], fact: str, remedy: str
) -> None:
    diagnosis = only(seen(stepped(non_finite=found)))

    assert (diagnosis.step, diagnosis.parameter) == (found[0].step, found[0].parameter)
    assert (diagnosis.fact, diagnosis.remedy) == (fact, remedy)


def test_a_lower_lr_is_the_remedy_of_a_loss_that_weights_have_grown_away_with() -> None:
    norms = [0.5, 10.0, 300.0, 6000.0, *[float("nan")] * 16]
    grown = stepped(columns={"weight_norm": norms}, non_finite=(NonFinite("loss", 5),))

    assert only(seen(grown)).remedy == (
        "look in data and forward for log(0), 0/0 or an overflow; "
        "before it the weights grew from norm 0.5 to 6000: lower the lr (0.1)"
    )


def test_each_optimizer_has_a_first_number_that_is_not_finite() -> None:
    training = seen(
        stepped("Adam", non_finite=(NonFinite("loss", 5),)),
        stepped("Adam 2", non_finite=(NonFinite("loss", 4),)),
    )

    assert [(d.optimizer, d.step) for d in diagnose(training)] == [("Adam 2", 4), ("Adam", 5)]


def test_a_scheduler_that_steps_before_the_optimizer_is_told() -> None:
    diagnosis = only(seen(stepped(scheduling=Scheduling(("StepLR",), steps=20, early=1))))

    assert (diagnosis.fault, diagnosis.step) == ("scheduler before optimizer", 1)
    assert diagnosis.fact == (
        "StepLR took 1 step before step 1 of SGD: the schedule's first lr is never used"
    )
    assert diagnosis.remedy == "call scheduler.step() after optimizer.step()"


def test_a_scheduler_that_steps_after_the_optimizer_is_no_fault() -> None:
    assert diagnose(seen(stepped(scheduling=Scheduling(("StepLR",), steps=20)))) == ()


def test_three_schedulers_are_listed_as_a_sentence_does() -> None:
    three = ("LinearLR", "StepLR", "ConstantLR")

    assert only(seen(stepped(scheduling=Scheduling(three)))).fact.startswith(
        "LinearLR, StepLR and ConstantLR took no step in 20 steps"
    )
    early = only(seen(stepped(scheduling=Scheduling(three, steps=20, early=1))))
    assert early.fact.startswith("LinearLR, StepLR and ConstantLR took 1 step before step 1")


def test_schedulers_that_never_step_are_told_after_more_than_a_handful_of_steps() -> None:
    never = Scheduling(("LinearLR", "StepLR"))
    diagnosis = only(seen(stepped(steps=11, scheduling=never)))

    assert (diagnosis.fault, diagnosis.step) == ("scheduler never stepped", None)
    assert diagnosis.fact == "LinearLR and StepLR took no step in 11 steps of SGD"
    assert diagnose(seen(stepped(steps=10, scheduling=never))) == ()
    for ended in (INTERRUPTED, FAILED):
        assert diagnose(seen(stepped(steps=11, scheduling=never), outcome=ended)) == ()


def test_what_a_trace_from_a_later_step_on_tells_is_counted_among_its_own_steps() -> None:
    later = stepped("Adam, from step 11 on", steps=10, taken=20, gradients={"accumulated": Tally(10, 11)})

    assert only(seen(later)).fact.endswith("which was not cleared (10 of 10 steps)")
