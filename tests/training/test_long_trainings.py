"""The table of a long training: stretches of steps, what they come to, and its parameters and groups."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.findings import FINDINGS
from support.made_trainings import ADAMW, by_parameter, optimizer, scalar, training, vector, with_all
from support.samples import printed, written

from optitrace.records.training import (
    ClippingTally,
    GroupStorage,
    OptimizerTrace,
    Tally,
    TrainingRecord,
    WatchedParameter,
)
from optitrace.views.display import Display
from optitrace.views.group_grid import group_grid
from optitrace.views.page import html_page
from optitrace.views.presenters.training import TrainingPresenter
from optitrace.views.stretch_grid import STATISTICS
from optitrace.views.training_grids import training_grid, training_grids
from optitrace.views.training_summary import summary_lines

PARAMS = Display(by_parameter=True)


def with_columns(own: OptimizerTrace, **columns: Any) -> OptimizerTrace:
    return replace(own, columns={**own.columns, **columns})


def cells(own: OptimizerTrace, heading: tuple[str, str], look: Display | None = None) -> list[str]:
    """Return the cells below a heading."""
    grid = training_grid(own, look or Display())
    return [row[list(grid.headings).index(heading)] for row in grid.rows]


def text_of(made: TrainingRecord, width: int, look: Display | None = None) -> str:
    shown = replace(look or Display(), width=width)
    return printed(TrainingPresenter(made, FINDINGS).table(shown), width)


def loud(count: int, **changes: Any) -> OptimizerTrace:
    """Return an optimizer whose loss is the number of the step."""
    return optimizer([float(step + 1) for step in range(count)], **changes)


@pytest.mark.parametrize("count", [61, 62, 89, 90, 1000, 12_345])
def test_every_step_is_in_one_stretch_and_stretches_are_nearly_equal(count: int) -> None:
    spans = [tuple(map(int, cell.split("-"))) for cell in cells(loud(count), ("steps", ""))]

    assert len(spans) == 30
    assert [step for first, last in spans for step in range(first, last + 1)] == list(range(1, count + 1))
    sizes = {last - first + 1 for first, last in spans}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "heading"), [(60, "step"), (61, "steps")])
def test_up_to_sixty_steps_have_a_row_each(count: int, heading: str) -> None:
    assert training_grid(loud(count), Display()).headings[0] == (heading, "")
    assert training_grid(loud(count), Display(all_rows=True)).headings[0] == ("step", "")
    assert len(training_grid(loud(count), Display(all_rows=True)).rows) == count


def test_a_stretch_has_mean_least_and_greatest_loss() -> None:
    """Of 90 steps with loss k, the first stretch has losses 1, 2, 3, and the last 88, 89, 90."""
    own = loud(90)

    assert [cells(own, ("loss", name))[0] for name in ("mean", "min", "max")] == ["2.000", "1.000", "3.000"]
    assert [cells(own, ("loss", name))[-1] for name in ("mean", "min", "max")] == ["89.00", "88.00", "90.00"]
    assert cells(own, ("gradient", "max"))[:2] == ["9.000", "18.00"]  # 3 times the step
    assert cells(own, ("update", "/ weight"))[0] == "0.2500"  # the median of 1/2, 1/4, 1/8


def test_no_leap_of_a_loss_is_left_out() -> None:
    losses = [1.0] * 6000
    for row, leap in ((917, 1000.0), (3522, math.inf), (4000, math.nan)):
        losses[row] = leap

    greatest = cells(optimizer(losses), ("loss", "max"))

    assert {row: cell for row, cell in enumerate(greatest) if cell != "1.000"} == {
        917 // 200: "1000",
        3522 // 200: "inf",
        4000 // 200: "nan",
    }
    assert cells(optimizer(losses), ("loss", "min")) == ["1.000"] * 30


def test_steps_without_a_loss_are_left_out_of_those_of_their_stretch() -> None:
    kinds = ["by hand", "fresh", "by hand", *["by hand"] * 3, *["fresh"] * 84]
    own = loud(90, kinds=kinds)

    assert cells(own, ("loss", "mean"))[:3] == ["2.000", "", "8.000"]
    assert cells(own, ("gradient", ""))[:3] == ["2 by hand", "by hand", "fresh"]


@pytest.mark.parametrize(
    ("rates", "columns"),
    [
        ([0.1] * 90, {("lr", ""): ["0.1"] * 30}),
        ([0.1] * 45 + [0.01] * 45, {("lr", ""): ["0.1"] * 15 + ["0.01"] * 15}),
        (
            [0.1] * 46 + [0.01] * 44,
            {
                ("lr", "min"): ["0.1"] * 15 + ["0.01"] * 15,
                ("lr", "max"): ["0.1"] * 16 + ["0.01"] * 14,
            },
        ),
    ],
)
def test_the_lr_of_a_stretch_is_one_or_its_least_and_greatest(
    rates: Sequence[float], columns: dict[tuple[str, str], list[str]]
) -> None:
    own = with_columns(loud(90), lr=scalar(rates))

    assert {heading: cells(own, heading) for heading in columns} == columns
    headings = training_grid(own, Display()).headings
    assert [heading for heading in headings if heading[0] == "lr"] == list(columns)


def test_the_lrs_of_groups_the_state_and_weights_are_those_of_the_last_step() -> None:
    own = loud(90, state={"step": scalar(range(1, 91))}, values={"w[0]": scalar([k / 4 for k in range(90)])})
    own = with_columns(own, lr=vector([[k + 1.0, k + 2.0] for k in range(90)]))
    look = Display(state=True)

    assert cells(own, ("lr", "group 1"), look)[:2] == ["4", "7"]
    assert cells(own, ("step", "state"), look)[:2] == ["3", "6"]
    assert cells(own, ("w[0]", ""), look)[:2] == ["0.5000", "1.250"]
    assert (
        training_grid(own, look)
        .notes[0]
        .startswith("each row is 3 steps; lr, step and w[0] are those of the last; ")
    )


def test_a_gradient_that_is_always_clipped_is_shown_as_it_was_before() -> None:
    always = with_columns(loud(90), unclipped_gradient_norm=scalar([5.0] * 90))
    later = with_columns(loud(90), unclipped_gradient_norm=scalar([5.0] * 45, first=45))

    assert ("gradient", "max") not in training_grid(always, Display()).headings
    assert cells(always, ("unclipped", "max")) == ["5.000"] * 30
    assert ("gradient", "max") in training_grid(later, Display()).headings
    assert cells(later, ("unclipped", "max"))[14:16] == ["", "5.000"]


def test_a_stretch_of_every_second_step_says_that_others_are_not_recorded() -> None:
    own = loud(90, steps=range(1, 181, 2))

    assert cells(own, ("steps", ""))[:2] == ["1-5", "7-11"]
    assert training_grid(own, Display()).notes[0].startswith("each row is 3 recorded steps; ")


def test_every_quantity_has_statistics_or_is_left_out_on_purpose() -> None:
    left_out = {"update_norm", "weight_norm"}
    of_their_own = {"lr", "gradient"}

    assert {q.name for q in OptimizerTrace.QUANTITIES} == STATISTICS.keys() | left_out | of_their_own


@pytest.mark.parametrize("width", [80, 40, 30])
def test_a_long_table_fits(width: int) -> None:
    own = with_columns(
        optimizer([0.012345] * 1000, clippings={"used": ClippingTally(Tally(1000, 1), None, (1.0, 1.0))}),
        lr=scalar([1.2345e-4 * (1 + k) for k in range(1000)]),
        unclipped_gradient_norm=scalar([0.012345] * 1000),
    )
    text = text_of(training(own), width)

    assert max(map(len, text.splitlines())) <= width
    assert (text.count("967-1000") == 1) is (width == 80)


def test_the_summary_of_a_long_training() -> None:
    losses = [4.0, *[2.0] * 48, 0.5, *[3.0] * 50]
    own = optimizer(
        losses,
        seconds_per_step=0.0125,
        clippings={"used": ClippingTally(Tally(100, 1), Tally(37, 2), (1.0, 1.0))},
    )
    rates = [0.1 * (1 + min(k, 60 - min(k, 60))) for k in range(100)]
    own = with_columns(own, lr=scalar(rates))

    assert list(summary_lines(own, Display())) == [
        "steps: 100, 12.5 ms each",
        "loss: first 4.000, best 0.5000 (step 50), last 3.000",
        "gradient norm: greatest 300.0 (step 100)",
        "clipped: 37 of 100 steps (37.0%)",
        "lr: start 0.1, peak 3.1 (step 31), end 0.1",
    ]


def test_the_summary_says_what_it_is_of() -> None:
    groups = ({**ADAMW, "lr": 0.1}, {**ADAMW, "lr": 0.2})
    own = optimizer([math.nan] * 3, steps=[2, 4, 6], taken=6, hyperparameters=groups, seconds_per_step=1.5)
    own = with_columns(
        own,
        lr=vector([[0.1, 0.2], [0.1, 0.4], [0.1, 0.2]]),
        unclipped_gradient_norm=scalar([90.0, math.nan], first=1),
    )

    assert list(summary_lines(own, Display())) == [
        "steps: 6, 3 of them shown, 1.5 s each",
        "gradient norm before clipping: greatest nan (step 6)",
        "lr of group 0: 0.1",
        "lr of group 1: start 0.2, peak 0.4 (step 4), end 0.2",
    ]


def parameters_at_odds() -> OptimizerTrace:
    """Return four parameters of four steps: usual, far from the others, at times not moved, and frozen."""
    ratios = [
        [0.5, 0.125, 0.0, 0.0],
        [0.25, 8.0, 0.25, 0.0],
        [0.125, 16.0, 0.25, 0.0],
        [0.25, 4.0, 0.25, 0.0],
    ]
    each = by_parameter([[1.0, 2.0, 3.0, 0.0]] * 4)
    return optimizer(
        [1.0] * 4, by_parameter={**each, "update_norm": vector(ratios), "update_ratio": vector(ratios)}
    )


def test_parameters_have_a_row_each_the_most_unusual_first() -> None:
    grid = training_grid(parameters_at_odds(), PARAMS)

    assert grid.rows == [
        ("fc2.weight", "25.0%", "3.000", "0.2500", "0", "0.2500", "30.00", "30.00"),
        ("fc1.bias", "0%", "2.000", "6.000", "0.1250", "16.00", "20.00", "20.00"),
        ("fc1.weight", "0%", "1.000", "0.2500", "0.1250", "0.5000", "10.00", "10.00"),
        ("fc2.bias (frozen)", "100%", "0", "0", "0", "0", "0", "0"),
    ]


def test_a_parameter_that_is_not_finite_is_the_most_unusual() -> None:
    grid = training_grid(with_all().optimizers[0], PARAMS)

    assert [row[0] for row in grid.rows][:2] == ["fc1.weight", "fc2.weight"]
    assert grid.rows[0][-1] == "inf"


def test_of_many_parameters_the_most_unusual_are_shown() -> None:
    many = tuple(WatchedParameter(f"{k}.weight", (1,), "float32") for k in range(300))
    own = optimizer([1.0], parameters=many, by_parameter=by_parameter([[float(k) for k in range(300)]]))
    grid = training_grid(own, PARAMS)

    assert len(grid.rows) == 40
    assert grid.rows[0][:2] == ("0.weight", "100%")
    assert "260 less unusual parameters are hidden" in grid.notes


def test_beside_parameters_the_state_of_a_long_training_is_in_stretches() -> None:
    own = loud(90, state={"step": scalar(range(1, 91))}, by_parameter=by_parameter([[1.0] * 4] * 90))
    _, beside = training_grids(own, replace(PARAMS, state=True))

    assert beside.rows[:2] == [("1-3", "3"), ("4-6", "6")]
    assert beside.notes == ["each row is 3 steps; step is that of the last"]


def grouped() -> OptimizerTrace:
    names = [*(f"encoder.{k}.weight" for k in range(12)), "head.weight", "head.bias"]
    groups = [0] * 12 + [1, 1]
    return optimizer(
        parameters=tuple(
            WatchedParameter(name, (10, 2), "bfloat16", group)
            for name, group in zip(names, groups, strict=True)
        ),
        hyperparameters=({**ADAMW, "weight_decay": 0.1}, {"lr": 0.5}, {"lr": 0.25}),
        storage=(
            GroupStorage(("bfloat16",), ("float32", "uint8"), 3 * 2**20),
            GroupStorage((), (), 0),
            GroupStorage(),
        ),
    )


def test_groups_say_who_moves_what() -> None:
    own = with_columns(grouped(), lr=vector([[0.1, 0.5, 0.25], [0.2, 0.5, 0.25], [0.05, 0.5, 0.25]]))

    rows = group_grid([own], Display()).rows

    assert rows == [
        (
            *("AdamW", "0", "encoder.*.weight (12)", "12", "240", "0.05 to 0.2", "0.1"),
            *("bfloat16", "bfloat16", "float32, uint8", "3.00 MiB"),
        ),
        ("AdamW", "1", "head.weight, head.bias", "2", "40", "0.5", "", "bfloat16", "", "", "0 B"),
        ("AdamW", "2", "", "0", "0", "0.25", "", "", "", "", "0 B"),
    ]


def test_what_an_older_file_does_not_say_of_groups_is_empty() -> None:
    (row,) = group_grid([optimizer()], Display()).rows

    assert row[-3:] == ("", "", "")
    assert row[5] == "0.001"


@pytest.mark.parametrize("width", [200, 80, 40])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_groups_and_stretches_fit_at_any_width(width: int, ascii_only: bool) -> None:
    made = training(grouped(), loud(400, name="SGD"))
    text = text_of(made, width, Display(groups=True, ascii=ascii_only))

    assert max(map(len, text.splitlines())) <= width
    assert "encoder.*.weight (12)" in text
    assert text.isascii() is ascii_only


def test_pages_have_the_notes_of_their_tables_and_the_groups() -> None:
    look = Display(groups=True)
    presenter = TrainingPresenter(training(loud(90)), FINDINGS)
    for text in (written(presenter, "markdown", look), html_page(presenter.page(look))):
        assert "each row is 3 steps; " in text
        assert "steps: 90" in text
        assert "lr: 0.001" in text
        assert "99,601" in text


def test_files_of_numbers_have_every_step() -> None:
    presenter = TrainingPresenter(training(loud(90)), FINDINGS)

    assert written(presenter, "csv").count("\n") == 91
    assert written(presenter, "jsonl").count("\n") == 91


@pytest.mark.parametrize(
    ("first", "last", "steps"),
    [(1, None, [2, 4, 7]), (3, None, [4, 7]), (3, 6, [4]), (4, 7, [4, 7]), (8, None, []), (1, 1, [])],
)
def test_the_steps_between_two(first: int, last: int | None, steps: list[int]) -> None:
    own = optimizer((1.0, 2.0, 3.0), steps=[2, 4, 7], state={"z": scalar([5.0, 6.0], first=1)})

    kept = own.between(first, last)

    assert kept.steps == array("q", steps)
    assert list(kept.columns["gradient_norm"].values) == [3.0 * step for step in steps]
    assert [kept.state["z"].row(row) for row in range(len(steps))] == [
        {2: None, 4: (5.0,), 7: (6.0,)}[step] for step in steps
    ]
