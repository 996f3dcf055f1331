"""How the views look, as goldens: `--snapshot-update` writes them anew. What they say is tested elsewhere."""

from __future__ import annotations

import pytest
from samples import printed, traced
from syrupy.assertion import SnapshotAssertion

from optitrace.analysis.documented import Result
from optitrace.records.trace import Trace
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.catalogue_table import catalogue_table
from optitrace.views.grid import Look
from optitrace.views.markdown import markdown_chunks
from optitrace.views.notebook_table import notebook_table
from optitrace.views.table import render

RESULTS = [
    Result(1, "torch's version", "2.5.1", "9.9.9", None),
    Result(9, "one step of SGD: weights after step 1", "(0.4900, 0.4800)", "(0.4900, 0.4800)", True),
    Result(16, "SGD with momentum: weights after step 2", "(0.4790, 0.4580)", "(0.4792, 0.4588)", False),
]


def first_command() -> Trace:
    return traced("sgd", steps=2, momentum=0.1)


@pytest.mark.parametrize("width", [80, 40, 30])
def test_the_first_command(width: int, snapshot: SnapshotAssertion) -> None:
    assert printed(render(first_command(), Look(), width=width), width) == snapshot


def test_the_first_command_in_ascii(snapshot: SnapshotAssertion) -> None:
    assert printed(render(first_command(), Look(), width=80, ascii_only=True), 80) == snapshot


def test_state_and_update(snapshot: SnapshotAssertion) -> None:
    assert printed(render(traced("adam"), Look(state=True, update=True), width=80), 80) == snapshot


def test_a_run_that_diverges(snapshot: SnapshotAssertion) -> None:
    trace = traced("sgd", steps=150, every=10, lr=0.6)

    assert printed(render(trace, Look(), width=80), 80) == snapshot


def test_hidden_rows(snapshot: SnapshotAssertion) -> None:
    assert printed(render(traced("sgd", steps=100), Look(), width=80), 80) == snapshot


def test_markdown(snapshot: SnapshotAssertion) -> None:
    assert "".join(markdown_chunks(first_command(), Look(state=True))) == snapshot


def test_the_catalogue(snapshot: SnapshotAssertion) -> None:
    assert printed(catalogue_table(OPTIMIZERS.values(), width=80), 80) == snapshot


@pytest.mark.parametrize("width", [80, 40])
def test_the_document(width: int, snapshot: SnapshotAssertion) -> None:
    assert printed(notebook_table(RESULTS, width=width), width) == snapshot
