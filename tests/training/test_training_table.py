"""The tables of a training: every number whole at any width, and what is said below them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group
from support.findings import AGREES, DEPARTS, FINDINGS, NO_RULE, PARTED, REMARK, STALE
from support.made_trainings import (
    ADAMW,
    any_training,
    by_parameter,
    optimizer,
    scalar,
    training,
    vector,
    with_all,
)
from support.reading import faults
from support.samples import printed

from optitrace.records.findings import RankAgreement, RuleAgreement, TrainingFindings
from optitrace.records.trace import Outcome, Status
from optitrace.records.training import (
    ClippingTally,
    OptimizerTrace,
    Tally,
    TrainingRecord,
    WatchedParameter,
)
from optitrace.views.display import Display
from optitrace.views.grid import Grid
from optitrace.views.page import html_page
from optitrace.views.presenters.training import TrainingPresenter
from optitrace.views.tables import grid_tables
from optitrace.views.training_grids import hidden_values, training_grid, training_grids
from optitrace.views.training_wording import (
    closing_lines,
    ending,
    findings_lines,
    optimizer_subtitle,
    optimizer_title,
    program_line,
    soundness,
)

NOTHING = TrainingFindings()

PARAMS = Display(by_parameter=True)
EVERY_PARAMETER = Display(by_parameter=True, all_rows=True)


def shown(made: TrainingRecord, look: Display, width: int, **how: Any) -> str:
    return printed(TrainingPresenter(made, NOTHING).table(replace(look, width=width, **how)), width)


def alone(own: OptimizerTrace) -> TrainingRecord:
    return training(own, program=replace(training().program, arguments=()))


@settings(deadline=None)
@given(
    made=any_training(),
    look=st.builds(Display, precision=st.integers(0, 17), state=st.booleans()),
    width=st.integers(30, 200),
    ascii_only=st.booleans(),
)
def test_any_number_of_an_optimizer_is_whole_at_any_width(
    made: TrainingRecord, look: Display, width: int, ascii_only: bool
) -> None:
    own = made.optimizers[0]
    if not own.steps:
        return
    text = shown(alone(own), look, width, ascii=ascii_only)

    assert faults(text, training_grid(own, look), width) == []


@pytest.mark.parametrize("width", [30, 40, 80])
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda text: text.replace("6.000", "6.00…"), "'6.00…', not '6.000'"),
        (lambda text: text.replace("/ weight", "  weight"), "not '0.5000'"),
        (lambda text: text + "x" * 81, "wider than"),
    ],
)
def test_a_damaged_table_is_noticed(damage: Callable[[str], str], fault: str, width: int) -> None:
    made = alone(optimizer())
    text = shown(made, Display(), width)
    grid = training_grid(made.optimizers[0], Display())

    assert faults(text, grid, width) == []
    assert fault in " ".join(faults(damage(text), grid, width))


def rows_beside_labels(text: str) -> list[list[str]]:
    """Return the rows of a text's tables, those of blocks put together again: no cell is empty."""
    blocks = [block.splitlines() for block in re.split(r"\n\n+", text) if "──" in block]
    tables = [[re.split(r" {2,}", line.strip()) for line in block[3:]] for block in blocks]
    return [
        [*first, *(cell for other in others for cell in other[2:])]
        for first, *others in zip(*tables, strict=True)
    ]


@pytest.mark.parametrize("width", [36, 40, 60, 80])
def test_a_row_a_parameter_has_its_step_and_name_in_every_block(width: int) -> None:
    own = replace(with_all().optimizers[0], values={})
    text = shown(alone(own), EVERY_PARAMETER, width)

    assert rows_beside_labels(text) == [list(row) for row in training_grid(own, EVERY_PARAMETER).rows]
    assert max(map(len, text.splitlines())) <= width


def test_the_norms_of_a_parameter_stand_beside_its_name() -> None:
    grid = training_grid(with_all().optimizers[0], EVERY_PARAMETER)

    assert grid.rows[5] == ("2", "fc1.bias", "2.500", "0.02500", "25.00", "0.002500")
    assert len(grid.rows) == 12


def test_state_and_values_stand_in_a_table_of_their_own_beside_rows_of_parameters() -> None:
    own = with_all().optimizers[0]
    _, beside = training_grids(own, Display(by_parameter=True, state=True))

    assert beside.headings == [
        ("step", ""),
        ("step", "state"),
        ("exp_avg", "state"),
        ("fc1.weight[0,3]", ""),
        ("fc1.bias", "[0]"),
        ("fc1.bias", "[1]"),
    ]
    assert beside.rows[1] == ("2", "2", "0.2500", "-0.5000", "1.000", "2.000")
    assert set(beside.rows[1]) <= set(shown(alone(own), Display(by_parameter=True, state=True), 80).split())


@pytest.mark.parametrize("look", [Display(), Display(by_parameter=True), Display(state=True)])
def test_there_is_one_table_where_nothing_else_is_asked_for(look: Display) -> None:
    own = replace(with_all().optimizers[0], values={})

    assert training_grids(own, look) == [training_grid(own, look)]


def test_no_line_tells_of_numbers_that_no_table_has() -> None:
    many = vector([[1.0] * 16] * 3)
    rates = vector([[0.1, 0.2, 0.3, 0.4, 0.5]] * 3)
    own = optimizer(state={"z": many}, values={"bias": many}, by_parameter=by_parameter([[1.0] * 4] * 3))
    own = replace(own, columns={**own.columns, "lr": rates})

    assert hidden_values(own, PARAMS) == [
        "only the first 3 of 16 numbers of bias are shown; output files have all"
    ]
    assert [line.split()[8] for line in hidden_values(own, Display(state=True))] == ["lr", "z", "bias"]


def test_what_every_step_has_alike_is_left_out() -> None:
    headings = [quantity for quantity, _ in training_grid(optimizer(), Display(state=True)).headings]

    assert headings == ["step", "loss", "lr", "gradient", "update", "weight", "update"]


def test_a_gradient_that_is_not_fresh_is_called_what_it_is() -> None:
    grid = training_grid(optimizer(kinds=("fresh", "by hand", "skipped")), Display())

    assert [row[1:4] for row in grid.rows] == [
        ("2.500", "0.001", "fresh"),
        ("", "0.001", "by hand"),
        ("2.000", "0.001", "skipped"),
    ]


def test_gradients_that_come_from_no_loss_leave_no_column_for_it() -> None:
    headings = training_grid(optimizer(kinds=("by hand",) * 3), Display()).headings

    assert ("loss", "") not in headings


@pytest.mark.parametrize(
    ("rates", "headings"),
    [
        ([[0.1, 0.1], [0.1, 0.1], [0.2, 0.2]], [("lr", "")]),
        ([[0.1, 0.2]] * 3, [("lr", "group 0"), ("lr", "group 1")]),
        ([[0.1, 0.2, 0.3, 0.4, 0.5]] * 3, [("lr", "group 0"), ("lr", "group 1"), ("lr", "group 2")]),
    ],
)
def test_the_lr_has_a_column_for_each_group_where_they_are_not_alike(
    rates: list[list[float]], headings: list[tuple[str, str]]
) -> None:
    own = optimizer()
    own = replace(own, columns={**own.columns, "lr": vector(rates)})

    assert [h for h in training_grid(own, Display()).headings if h[0] == "lr"] == headings
    told = "only the first 3 of 5 numbers of lr are shown; output files have all"
    assert (told in shown(training(own), Display(), 80)) is (len(rates[0]) == 5)


def test_an_optimizer_without_an_lr_has_no_column_of_it() -> None:
    own = optimizer()
    own = replace(own, columns={name: c for name, c in own.columns.items() if name != "lr"})

    assert ("lr", "") not in training_grid(own, Display()).headings


def test_a_state_entry_that_counts_is_a_whole_number() -> None:
    own = optimizer(state={"step": scalar([1.0, 2.0, 3.0]), "exp_avg": scalar([0.5, 1.0, 2.0])})

    assert [row[-2:] for row in training_grid(own, Display(state=True)).rows] == [
        ("1", "0.5000"),
        ("2", "1.000"),
        ("3", "2.000"),
    ]


def test_columns_of_one_quantity_are_parted_where_they_do_not_fit_beside_the_labels() -> None:
    row = ("1", "fc1.weight", "1.2345", "2.3456", "3.4567")
    headings = [("step", ""), ("parameter", ""), *(("norms", f"[{k}]") for k in range(3))]
    grid = Grid(headings, [0, 1, 2, 2, 2], [row], labels=2)

    text = printed(Group(*grid_tables(grid, Display(width=32))), 32)

    assert max(map(len, text.splitlines())) <= 32
    assert set(row) <= set(text.split())


@pytest.mark.parametrize(
    ("groups", "title"),
    [
        ([ADAMW], "AdamW(lr=0.001, betas=(0.9,0.999), eps=1e-08, weight_decay=0.01)"),
        ([{"lr": 0.1, "betas": [0.9, 0.99]}], "AdamW(lr=0.1, betas=(0.9,0.99))"),
        ([{"lr": 0.0, "momentum": 0, "nesterov": False}], "AdamW(lr=0)"),
        ([{"lr": 0.1, "wd": 0.01}, {"lr": 0.1, "wd": 0.0}], "AdamW(lr=0.1, wd=0.01/0)"),
        ([{"lr": 0.1}, {"lr": 0.2, "name": "head"}], "AdamW(lr=0.1/0.2, name=–/head)"),
        ([{"lr": 0.1, "text": "x" * 99}], f"AdamW(lr=0.1, text={'x' * 34}…)"),
        ([{"lr": 0.1, "text": "\x1b[2J"}], r"AdamW(lr=0.1, text=\x1b[2J)"),
        ([{}], "AdamW()"),
    ],
)
def test_the_title_has_what_the_groups_have(groups: list[dict[str, Any]], title: str) -> None:
    assert optimizer_title(optimizer(hyperparameters=tuple(groups))) == title


def test_the_subtitle_counts_groups_parameters_and_weights() -> None:
    mixed = (WatchedParameter("a", (2, 3), "float32"), WatchedParameter("b", (), "bfloat16", group=1))

    assert optimizer_subtitle(optimizer()) == "4 parameters, 99,601 weights, float32"
    assert (
        optimizer_subtitle(optimizer(parameters=mixed, hyperparameters=({"lr": 0.1}, {"lr": 0.2})))
        == "2 groups, 2 parameters, 7 weights, float32, bfloat16"
    )


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (training(), "completed after 3 steps"),
        (training(optimizer(taken=1200)), "completed after 1,200 steps"),
        (
            training(optimizer(), optimizer(name="B", taken=1)),
            "completed after 3 steps of AdamW and 1 step of B",
        ),
        (training(outcome=Outcome(Status.INTERRUPTED, 3)), "interrupted after 3 steps"),
        (
            training(outcome=Outcome(Status.FAILED, 3, reason="ValueError: two\nlines")),
            r"failed after 3 steps: ValueError: two\nlines",
        ),
        (replace(training(), optimizers=()), "completed; no optimizer took a step"),
    ],
)
def test_the_end_is_told_with_the_steps_of_each_optimizer(made: TrainingRecord, line: str) -> None:
    assert ending(made) == line


def test_what_was_run_stands_at_the_top() -> None:
    assert program_line(training()) == "train.py --epochs 3"
    assert program_line(with_all()) == "-m package.train --name 'a b', rank 1 of 2"
    assert program_line(alone(optimizer())) == ""


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (AGREES, "1,200 steps of AdamW agree with the rule, worst 2.1 units"),
        (
            replace(AGREES, steps=1, note="one was skipped"),
            "1 step of AdamW agrees with the rule, worst 2.1 un",
        ),
        (
            DEPARTS,
            "AdamW departs from the rule of adamw at step 3, in exp_avg of fc1.bias: "
            "worst 820 units, tolerance 8",
        ),
        (NO_RULE, "no step of Lion was verified; its class has no rule"),
        (RuleAgreement("Adam", "adam"), "no step of Adam was verified"),
    ],
)
def test_whether_the_rule_is_followed_is_one_line(found: RuleAgreement, line: str) -> None:
    (told,) = findings_lines(TrainingFindings(verified=(found,)))

    assert told.startswith(line)
    assert told.endswith(f"; {found.note}" if found.note else "")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (RankAgreement(2, True), "the weights of 2 ranks agree after every recorded step"),
        (
            PARTED,
            "ranks 0 and 1 first differ at step 3 of AdamW, in fc1.bias: its norm is 1.0 on rank 0 and "
            "1.5 on rank 1; if they should be the same, wrap the model in DistributedDataParallel",
        ),
        (
            replace(PARTED, step=0, note="rank 2 did not answer within 30 s"),
            "ranks 0 and 1 first differ before the first step of AdamW, in fc1.bias: its norm is 1.0 on "
            "rank 0 and 1.5 on rank 1; rank 2 did not answer within 30 s; if they should be the same, "
            "wrap the model in DistributedDataParallel",
        ),
        (
            replace(PARTED, step=1200, parameter="", note="rank 1 left before it said in which parameter"),
            "ranks 0 and 1 first differ at step 1,200 of AdamW; rank 1 left before it said in which "
            "parameter; if they should be the same, wrap the model in DistributedDataParallel",
        ),
        (
            RankAgreement(2, True, note="rank 1 failed after step 3: ValueError: no\ndata"),
            "the weights of 2 ranks agree after every recorded step; "
            "rank 1 failed after step 3: ValueError: no\\ndata",
        ),
        (
            RankAgreement(4, None, note="rank 3 wrote no file"),
            "cannot determine whether the 4 ranks agree: rank 3 wrote no file",
        ),
    ],
)
def test_whether_ranks_agree_is_one_line(found: RankAgreement, line: str) -> None:
    assert list(findings_lines(TrainingFindings(ranks=found))) == [line]


LONG = training(optimizer([2.0] * 20))
"""A training of enough steps to judge it."""


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (training(), "3 steps: too few to judge update sizes; no other faults found"),
        (training(optimizer([2.0] * 14)), "14 steps: too few to judge update sizes; no other faults found"),
        (training(optimizer([2.0] * 15)), "no faults found"),
        (
            training(
                optimizer(
                    [2.0] * 19, clippings={"used": ClippingTally(Tally(19, 1), Tally(1, 1), (1.0, 1.0))}
                )
            ),
            "19 steps: too few to judge clipping; no other faults found",
        ),
        (
            training(optimizer([2.0] * 20), optimizer([2.0], name="critic")),
            "1 step of critic: too few to judge update sizes; no other faults found",
        ),
        (
            training(optimizer([2.0] * 3, steps=[1, 50, 100])),
            "3 recorded steps: too few to judge update sizes; no other faults found",
        ),
        (replace(LONG, outcome=Outcome(Status.FAILED, 20, reason="ValueError: no data")), ""),
        (replace(LONG, outcome=Outcome(Status.INTERRUPTED, 20)), "no faults found until then"),
        (replace(LONG, unobserved=("backward is not observed.",)), ""),
        (replace(LONG, optimizers=()), ""),
    ],
)
def test_no_faults_are_found_only_where_all_was_observed_to_its_end(
    made: TrainingRecord, sentence: str
) -> None:
    assert soundness(made, TrainingFindings()) == sentence


def test_a_fault_is_told_with_its_remedy_below_it() -> None:
    text = printed(TrainingPresenter(training(), TrainingFindings((STALE,))).table(Display(width=200)), 200)

    assert f"\n{STALE.fact}\n  {STALE.remedy}\n" in text
    assert "no faults found" not in text
    assert "no faults found" in shown(LONG, Display(), 80)


def test_a_remark_is_told_like_a_fault_where_there_are_none() -> None:
    findings = TrainingFindings((REMARK,))
    text = printed(TrainingPresenter(LONG, findings).table(Display(width=200)), 200)

    assert not findings.has_faults
    assert f"\nno faults found\n\n{REMARK.fact}\n  {REMARK.remedy}\n" in text
    assert list(closing_lines(LONG, findings, tells_all=False)) == [
        "completed after 20 steps",
        "no faults found",
        f"{REMARK.fact}: {REMARK.remedy}",
    ]


def test_a_fault_beside_a_remark_is_one() -> None:
    findings = TrainingFindings((STALE, REMARK))
    text = printed(TrainingPresenter(training(), findings).table(Display(width=200)), 200)

    assert findings.has_faults
    assert "no faults found" not in text
    assert REMARK.fact in text


def test_an_optimizer_that_departs_from_its_rule_is_not_said_to_be_without_fault() -> None:
    findings = TrainingFindings(verified=(AGREES, DEPARTS))

    assert findings.has_faults
    assert "no faults found" not in printed(
        TrainingPresenter(training(), findings).table(Display(width=80)), 80
    )
    assert not TrainingFindings(verified=(AGREES, NO_RULE)).has_faults


def test_a_training_without_an_optimizer_is_not_said_to_be_without_fault() -> None:
    text = shown(replace(training(), optimizers=()), Display(), 80)

    assert text.splitlines()[-1] == "completed; no optimizer took a step"


def test_an_optimizer_of_which_no_step_was_recorded_says_so() -> None:
    text = shown(alone(optimizer((), taken=7, gradients={"fresh": Tally(7, 1)})), Display(), 80)

    assert "\nno step was recorded\n\ncompleted after 7 steps\n" in text


def test_html_has_every_cell_and_nothing_unescaped() -> None:
    own = optimizer(hyperparameters=({"lr": 0.1, "tag": "<b>"},))
    text = html_page(TrainingPresenter(training(own, program=with_all().program), FINDINGS).page(Display()))
    cells = re.findall(r"<td>(.*?)</td>", text)

    assert cells == [cell for row in training_grid(own, Display()).rows for cell in row]
    assert "tag=&lt;b&gt;" in text
    assert text.startswith("<div>-m package.train")
    assert STALE.remedy.replace("'", "&#x27;") in text


def test_where_ranks_part_it_is_not_said_that_there_are_no_faults() -> None:
    parted, agreeing = (TrainingFindings(ranks=each) for each in (PARTED, RankAgreement(2, True)))

    assert "no faults found" not in printed(TrainingPresenter(training(), parted).table(Display()), 80)
    assert "no faults found" in printed(TrainingPresenter(LONG, agreeing).table(Display()), 80)


def test_the_course_of_the_loss_stands_below_the_table_of_each_optimizer() -> None:
    """Eight equally distant numbers on seven signs; of fewer than four nothing is drawn."""
    long = optimizer((8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0))
    text = shown(training(long, optimizer((2.5, 2.25, 2.0), name="B")), Display(), 80, ascii=True)

    assert re.findall(r"^loss  (.*)$", text, re.MULTILINE) == ["#*+==-:."]


def test_steps_that_used_no_loss_leave_no_gap_in_its_course() -> None:
    """A gradient by hand comes from no loss, which is not one that is not finite."""
    kinds = ["fresh", "fresh", "by hand", "fresh", "fresh"]
    text = shown(training(optimizer((4.0, 3.0, 9.0, 2.0, 1.0), kinds=kinds)), Display(), 80, ascii=True)

    [course] = re.findall(r"^loss  (.*)$", text, re.MULTILINE)
    assert "x" not in course
    assert len(course) == 4
