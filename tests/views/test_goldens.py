"""How the views look, as goldens: `--snapshot-update` writes them anew. What they say is tested elsewhere."""

from __future__ import annotations

import pytest
from support.samples import printed, traced, written
from syrupy.assertion import SnapshotAssertion

from optitrace.analysis.documented import Result
from optitrace.records.trace import TraceRecord
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.display import Display
from optitrace.views.presenters.lists import CataloguePresenter
from optitrace.views.presenters.notebook import NotebookPresenter
from optitrace.views.presenters.trace import TracePresenter

RESULTS = [
    Result(1, "torch's version", "2.5.1", "9.9.9", None),
    Result(9, "one step of SGD: weights after step 1", "(0.4900, 0.4800)", "(0.4900, 0.4800)", True),
    Result(16, "SGD with momentum: weights after step 2", "(0.4790, 0.4580)", "(0.4792, 0.4588)", False),
]


def first_command() -> TraceRecord:
    return traced("sgd", steps=2, momentum=0.1)


@pytest.mark.parametrize("width", [80, 40, 30])
def test_the_first_command(width: int, snapshot: SnapshotAssertion) -> None:
    assert printed(TracePresenter(first_command()).table(Display(width=width)), width) == snapshot


def test_the_first_command_in_ascii(snapshot: SnapshotAssertion) -> None:
    assert printed(TracePresenter(first_command()).table(Display(width=80, ascii=True)), 80) == snapshot


def test_state_and_update(snapshot: SnapshotAssertion) -> None:
    assert (
        printed(TracePresenter(traced("adam")).table(Display(state=True, update=True, width=80)), 80)
        == snapshot
    )


def test_a_run_that_diverges(snapshot: SnapshotAssertion) -> None:
    trace = traced("sgd", steps=150, every=10, lr=0.6)

    assert printed(TracePresenter(trace).table(Display(width=80)), 80) == snapshot


def test_hidden_rows(snapshot: SnapshotAssertion) -> None:
    assert printed(TracePresenter(traced("sgd", steps=100)).table(Display(width=80)), 80) == snapshot


def test_markdown(snapshot: SnapshotAssertion) -> None:
    assert written(TracePresenter(first_command()), "markdown", Display(state=True)) == snapshot


def test_the_catalogue(snapshot: SnapshotAssertion) -> None:
    assert printed(CataloguePresenter(list(OPTIMIZERS.values())).table(Display(width=80)), 80) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_the_document(width: int, snapshot: SnapshotAssertion) -> None:
    assert printed(NotebookPresenter(RESULTS).table(Display(width=width)), width) == snapshot
