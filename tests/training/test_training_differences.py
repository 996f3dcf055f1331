"""The differences of trainings: step, quantity and parameter are found where they are, and else nothing."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.made_trainings import (
    ADAMW,
    PARAMETERS,
    QUANTITIES,
    by_parameter,
    optimizer,
    scalar,
    training,
    with_all,
)
from support.samples import printed

from optitrace.analysis.diff_report import TrainingDifferences, diff_trainings
from optitrace.analysis.tolerance import EXACT, Tolerance, tolerance
from optitrace.records.reader import parse_training
from optitrace.records.training import KINDS, NamedTraining, OptimizerTrace, Program, TrainingRecord
from optitrace.records.writer import json_chunks
from optitrace.views.diff_view import training_diff_json, training_diff_view
from optitrace.views.display import Display

NORMS = by_parameter([[1.0, 2.0, 0.0, 0.0], [1.5, 2.5, 0.0, 0.0], [1.25, 3.0, 0.0, 0.0]])


def diff(a: TrainingRecord, b: TrainingRecord, tolerance: Tolerance = EXACT) -> TrainingDifferences:
    return diff_trainings(NamedTraining("a.json", a), NamedTraining("b.json", b), lambda dtypes: tolerance)


def with_number(
    own: OptimizerTrace, where: str, quantity: str, position: int, number: float
) -> OptimizerTrace:
    columns = dict(getattr(own, where))
    values = array("d", columns[quantity].values)
    values[position] = number
    columns[quantity] = replace(columns[quantity], values=values)
    changes: dict[str, object] = {where: columns}
    return replace(own, **changes)  # type: ignore[arg-type]


def said(found: TrainingDifferences, width: int = 200) -> str:
    return printed(training_diff_view(found, Display(width=width)), width)


@pytest.mark.parametrize("made", [training(), with_all(), training(optimizer(())), training(optimizers=())])
def test_a_training_is_the_same_as_itself_from_a_file(made: TrainingRecord) -> None:
    again = parse_training("".join(json_chunks(made)).encode()).training

    found = diff(made, again)

    assert found.are_same
    assert found.settings == ()
    assert json.loads(training_diff_json(found))["same"] is True


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize(
    "quantity", ["loss", "lr", "gradient", "gradient_norm", "update_norm", "weight_norm", "update_ratio"]
)
def test_one_number_is_found_at_its_step_and_in_its_quantity(quantity: str, step: int) -> None:
    own = optimizer()

    found = diff(training(own), training(with_number(own, "columns", quantity, step - 1, 5.0)))

    first = found.optimizers[0].differences.first
    assert first is not None
    assert (first.step, first.quantity, first.b, found.are_same) == (step, quantity, 5.0, False)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_one_number_of_a_parameter_is_found_and_the_parameter_is_named(quantity: str, place: int) -> None:
    own = optimizer(by_parameter=NORMS)

    found = diff(training(own), training(with_number(own, "by_parameter", quantity, 4 + place, 9.0)))

    words = "the " + quantity.replace("_", " ")
    assert f"A and B first differ at step 2, in {words} of {PARAMETERS[place].name}:\n" in said(found)
    data = json.loads(training_diff_json(found))["optimizers"][0]["first"]
    assert (data["step"], data["quantity"], data["parameter"]) == (2, quantity, PARAMETERS[place].name)


@pytest.mark.parametrize(("where", "name"), [("state", "exp_avg"), ("values", "fc1.weight[0,3]")])
def test_state_and_watched_weights_are_compared(where: str, name: str) -> None:
    own = with_all().optimizers[0]

    found = diff(training(own), training(with_number(own, where, name, 0, 7.0)))

    first = found.optimizers[0].differences.first
    assert first is not None
    assert (first.quantity, first.b) == (name, 7.0)


def test_a_state_entry_named_as_a_quantity_has_the_name_that_files_give_it() -> None:
    own = optimizer(state={"lr": scalar([2.0, 2.0, 2.0])}, values={"lr": scalar([3.0, 3.0, 3.0])})

    for where, name in (("state", "state_lr"), ("values", "value_lr")):
        [found] = diff(training(own), training(with_number(own, where, "lr", 0, 7.0))).optimizers
        [alone] = diff(training(own), training(optimizer())).optimizers

        assert found.differences.first is not None
        assert found.differences.first.quantity == name
        assert name in alone.differences.only[0]
    assert list(own.named_columns())[-2:] == ["state_lr", "value_lr"]


def test_a_gradient_of_another_kind_is_said_in_words() -> None:
    a, b = (training(optimizer(kinds=("fresh", kind, "fresh"))) for kind in ("fresh", "stale"))
    found = diff(a, b)
    data = json.loads(training_diff_json(found))["optimizers"][0]["first"]

    assert (
        "A and B first differ at step 2, in the kind of gradient:\n  A  fresh\n  B  stale\n\nthe largest"
    ) in said(found)
    assert (data["a"], data["b"], data["difference"], data["ulps"]) == ("fresh", "stale", None, None)
    assert KINDS.index("stale") == 1


def test_how_a_difference_grows_is_told_of_the_weights() -> None:
    own = optimizer([0.5] * 100)
    grown = replace(
        own, columns={**own.columns, "weight_norm": scalar([8.0] * 9 + [8.0 + k / 4 for k in range(91)])}
    )

    growth = diff(training(own), training(grown)).optimizers[0].differences.growth

    # step 11 is the first; by hand: (step − 10) / 4
    assert [(d.step, d.size) for d in growth] == [(11, 0.25), (20, 2.5), (50, 10.0), (100, 22.5)]


def test_how_a_difference_grows_is_told_of_the_weights_though_the_loss_differs_first() -> None:
    own = optimizer()
    other = with_number(with_number(own, "columns", "loss", 0, 3.0), "columns", "weight_norm", 2, 8.5)

    growth = diff(training(own), training(other)).optimizers[0].differences.growth

    assert [(d.quantity, d.step, d.size) for d in growth] == [
        ("weight_norm", 1, 0.0),
        ("weight_norm", 2, 0.0),
        ("weight_norm", 3, 0.5),
    ]


@pytest.mark.parametrize(
    ("tolerance", "same"),
    [
        (EXACT, False),
        (Tolerance(atol=0.5), True),
        (Tolerance(atol=0.25), False),
        (Tolerance(rtol=0.2), True),
        (Tolerance(ulps=2.0**21), True),
        (Tolerance(ulps=2.0**20), False),
        (tolerance(close=True)(("float32", "float32")), False),
    ],
)
def test_tolerances_decide_what_is_the_same(tolerance: Tolerance, same: bool) -> None:
    """2.5 and 3 are 2²¹ units apart in float32, whose unit at 2 is 2⁻²²."""
    own = optimizer()

    assert (
        diff(training(own), training(with_number(own, "columns", "loss", 0, 3.0)), tolerance).are_same is same
    )


def test_the_tolerance_is_asked_for_each_optimizers_dtypes() -> None:
    half = optimizer(name="B", parameters=(replace(PARAMETERS[0], dtype="bfloat16"),))
    odd = optimizer(name="C", parameters=(replace(PARAMETERS[0], dtype="complex64"),))
    made = NamedTraining("a", training(optimizer(), half, odd))
    asked: list[tuple[str, str]] = []

    def tolerance(dtypes: tuple[str, str]) -> Tolerance:
        asked.append(dtypes)
        return EXACT

    diff_trainings(made, made, tolerance)

    assert asked == [("float32", "float32"), ("bfloat16", "bfloat16"), ("float64", "float64")]


@pytest.mark.parametrize(
    ("a", "b", "line"),
    [
        ([], ["B"], "only B has the optimizer B"),
        (["B", "C"], [], "only A has the optimizers B, C"),
        (["B", "C", "D", "E", "F"], [], "only A has the optimizers B, C, D and 2 more"),
    ],
)
def test_optimizers_that_one_alone_has_are_told(a: Sequence[str], b: Sequence[str], line: str) -> None:
    mine, theirs = (training(optimizer(), *(optimizer(name=name) for name in names)) for names in (a, b))
    found = diff(mine, theirs)

    assert not found.are_same
    assert f"\n{line}\n" in said(found)


def test_optimizers_are_matched_by_name_in_any_order() -> None:
    one, other = optimizer(), optimizer((1.0, 2.0), name="B")

    assert diff(training(one, other), training(other, one)).are_same
    assert "A and B have no optimizer in common" in said(diff(training(one), training(other)))


def test_parameters_that_one_alone_has_are_told_and_the_others_compared() -> None:
    a = optimizer(by_parameter=NORMS)
    swapped = {name: replace(c, values=_without_the_first(c.values)) for name, c in NORMS.items()}
    b = optimizer(
        parameters=PARAMETERS[1:],
        by_parameter={name: replace(column, shape=(3,)) for name, column in swapped.items()},
    )

    found = diff(training(a), training(with_number(b, "by_parameter", "update_norm", 3, 9.0)))

    assert found.optimizers[0].only == (("fc1.weight",), ())
    assert "only A has the parameter fc1.weight\n" in said(found)
    assert "A and B first differ at step 2, in the update norm of fc1.bias:" in said(found)
    assert not diff(training(a), training(b)).are_same
    assert diff(training(a), training(b)).optimizers[0].differences.first is None


def _without_the_first(values: Sequence[float]) -> array[float]:
    return array("d", [value for k, value in enumerate(values) if k % 4])


def test_trainings_of_other_steps_are_compared_where_both_have_them() -> None:
    every = training(optimizer([3.0, 2.0, 1.0, 0.5]))
    thin = training(optimizer([2.0, 0.5], steps=[2, 4]))
    shorter = training(optimizer([3.0, 2.0]))
    elsewhere = training(optimizer([3.0], steps=[9]))

    assert diff(every, thin).are_same
    assert "A and B are the same bit for bit up to step 2, where one ends; A continues to step 4" in said(
        diff(every, shorter)
    )
    assert "A and B have no step in common" in said(diff(every, elsewhere))
    assert not diff(every, elsewhere).are_same


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"state": {"exp_avg": scalar([1.0, 2.0, 3.0])}}, "only B has exp_avg\n"),
        ({"values": {"fc1.bias[0]": scalar([1.0, 2.0, 3.0])}}, "only B has fc1.bias[0]\n"),
        ({"by_parameter": NORMS}, "only B has norms of each parameter\n"),
    ],
)
def test_what_only_one_was_asked_to_record_is_named_and_no_difference(
    other: dict[str, Any], line: str
) -> None:
    found = diff(training(), training(optimizer(**other)))

    assert found.are_same
    assert line in said(found)
    assert "what both have is the same bit for bit: 21 numbers in 3 steps" in said(found)
    assert json.loads(training_diff_json(found))["same"] is True


def test_state_that_one_lacks_although_it_records_state_is_a_difference() -> None:
    a, b = ({"exp_avg": scalar([1.0, 2.0, 3.0])}, {"momentum_buffer": scalar([1.0, 2.0, 3.0])})
    found = diff(training(optimizer(state=a)), training(optimizer(state=b)))

    assert not found.are_same
    assert "only A has exp_avg\n" in said(found)


def test_every_kth_step_of_one_training_is_the_same_to_its_end() -> None:
    every = training(optimizer([3.0, 2.0, 1.0, 0.5]))
    thin = training(optimizer([3.0, 1.0], steps=[1, 3], taken=4))
    found = diff(every, thin)

    assert found.are_same
    assert "A has 4 recorded steps and B 2; 2 are compared\n" in said(found)


def test_state_that_begins_later_in_one_is_told() -> None:
    a, b = (
        training(optimizer(state={"exp_avg": scalar(values, first=3 - len(values))}))
        for values in ([1.0, 2.0], [])
    )

    assert "exp_avg: A has values from step 2 on and B no values" in said(diff(a, b))


def test_settings_that_differ_are_told() -> None:
    a = training()
    groups = ({**ADAMW, "lr": 0.01}, {**ADAMW, "lr": 0.1})
    b = training(
        optimizer(hyperparameters=groups, class_path="mine.AdamW"),
        versions=replace(a.versions, torch="2.5.0"),
        program=replace(a.program, arguments=("train.py", "--epochs", "4")),
    )
    text = said(diff(a, b))

    for line in (
        "program is train.py --epochs 3 in A and train.py --epochs 4 in B",
        "torch is 2.13.0 in A and 2.5.0 in B",
        "class is torch.optim.adamw.AdamW in A and mine.AdamW in B",
        "lr is 0.001 in A and 0.01/0.1 in B",
    ):
        assert f"\n{line}\n" in text


def test_a_module_and_a_script_of_its_name_are_two_programs() -> None:
    a = training(program=Program(("train", "a\nb")))
    b = training(program=Program(("train", "a\nb"), is_module=True))

    assert "\nprogram is train 'a\\nb' in A and -m train 'a\\nb' in B\n" in said(diff(a, b))


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    own = with_all().optimizers[0]
    found = diff(with_all(), training(with_number(own, "by_parameter", "gradient_norm", 5, 99.0)))

    lines = said(found, width).splitlines()
    words = said(found).split()
    assert max(map(len, lines)) <= width
    assert {word for word in words if "." in word} <= set(said(found, width).split())


def test_numbers_that_are_not_finite_are_texts_in_json() -> None:
    own = optimizer()
    found = diff(training(own), training(with_number(own, "columns", "loss", 0, math.inf)))

    data = json.loads(training_diff_json(found))["optimizers"][0]["first"]
    assert (data["a"], data["b"], data["difference"]) == (2.5, "Infinity", "Infinity")
