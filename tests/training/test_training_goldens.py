"""How the views of trainings look, as goldens: `--snapshot-update` writes them anew."""

from __future__ import annotations

import pytest
from findings import AGREES, FINDINGS
from made_trainings import optimizer, training, with_all
from samples import printed
from syrupy.assertion import SnapshotAssertion

from optitrace.analysis.diff_report import diff_trainings
from optitrace.analysis.tolerance import EXACT
from optitrace.records.findings import TrainingFindings
from optitrace.records.training import NamedTraining
from optitrace.views.diff_view import training_diff_view
from optitrace.views.grid import Look
from optitrace.views.training_formats import training_chunks, training_html
from optitrace.views.training_table import render_training


@pytest.mark.parametrize("width", [80, 40, 30])
def test_a_training_without_fault(width: int, snapshot: SnapshotAssertion) -> None:
    findings = TrainingFindings(verified=(AGREES,))
    tables = render_training(training(), findings, Look(), width=width, notes=["more: --format json"])

    assert printed(tables, width) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_all_that_there_can_be(width: int, snapshot: SnapshotAssertion) -> None:
    assert printed(render_training(with_all(), FINDINGS, Look(state=True), width=width), width) == snapshot


def test_a_row_for_each_parameter_in_ascii(snapshot: SnapshotAssertion) -> None:
    tables = render_training(with_all(), FINDINGS, Look(by_parameter=True), width=80, ascii_only=True)

    assert printed(tables, 80) == snapshot


def test_markdown(snapshot: SnapshotAssertion) -> None:
    assert "".join(training_chunks(training(), FINDINGS, "markdown", Look())) == snapshot


def test_html(snapshot: SnapshotAssertion) -> None:
    assert training_html(training(), FINDINGS, Look()) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_two_trainings_that_part(width: int, snapshot: SnapshotAssertion) -> None:
    other = training(optimizer((2.5, 2.25, 2.125), kinds=("fresh", "stale", "fresh")), optimizer(name="B"))
    found = diff_trainings(
        NamedTraining("a.json", training()), NamedTraining("b.json", other), lambda dtypes: EXACT
    )

    assert printed(training_diff_view(found, width=width), width) == snapshot
