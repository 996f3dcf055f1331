"""How the views of trainings look, as goldens: `--snapshot-update` writes them anew."""

from __future__ import annotations

import pytest
from rich.console import Group
from support.findings import AGREES, FINDINGS
from support.made_trainings import optimizer, training, with_all
from support.samples import printed, written
from syrupy.assertion import SnapshotAssertion

from optitrace.analysis.diff_report import diff_trainings
from optitrace.analysis.tolerance import EXACT
from optitrace.records.findings import TrainingFindings
from optitrace.records.training import NamedTraining
from optitrace.views.diff_view import training_diff_view
from optitrace.views.display import Display
from optitrace.views.page import html_page
from optitrace.views.presenters.training import TrainingPresenter


@pytest.mark.parametrize("width", [80, 40, 30])
def test_a_training_without_fault(width: int, snapshot: SnapshotAssertion) -> None:
    findings = TrainingFindings(verified=(AGREES,))
    tables = TrainingPresenter(training(), findings).table(Display(width=width))

    assert printed(Group(tables, "more: --format json"), width) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_all_that_there_can_be(width: int, snapshot: SnapshotAssertion) -> None:
    assert (
        printed(TrainingPresenter(with_all(), FINDINGS).table(Display(state=True, width=width)), width)
        == snapshot
    )


def test_a_row_for_each_parameter_in_ascii(snapshot: SnapshotAssertion) -> None:
    tables = TrainingPresenter(with_all(), FINDINGS).table(Display(by_parameter=True, width=80, ascii=True))

    assert printed(tables, 80) == snapshot


def test_markdown(snapshot: SnapshotAssertion) -> None:
    assert written(TrainingPresenter(training(), FINDINGS), "markdown") == snapshot


def test_html(snapshot: SnapshotAssertion) -> None:
    assert html_page(TrainingPresenter(training(), FINDINGS).page(Display())) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_two_trainings_that_part(width: int, snapshot: SnapshotAssertion) -> None:
    other = training(optimizer((2.5, 2.25, 2.125), kinds=("fresh", "stale", "fresh")), optimizer(name="B"))
    found = diff_trainings(
        NamedTraining("a.json", training()), NamedTraining("b.json", other), lambda dtypes: EXACT
    )

    assert printed(training_diff_view(found, Display(width=width)), width) == snapshot
