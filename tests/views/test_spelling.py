from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rich.console import RenderableType
from samples import made_up, printed, traced

from optitrace.analysis.documented import results
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.text.ascii import to_ascii
from optitrace.views.catalogue_table import catalogue_table, optimizer_table
from optitrace.views.formats import chunks
from optitrace.views.grid import Look
from optitrace.views.notebook_table import notebook_table
from optitrace.views.table import render

EVERYTHING = Look(state=True, update=True)

RESULTS = results()


def trace_views(width: int) -> Iterator[RenderableType]:
    traces = [
        traced("sgd", coefficients=(1.0, -2.0) * 4),
        made_up(range(100), [0.5]),
        *map(traced, OPTIMIZERS),
    ]
    for trace in traces:
        yield render(trace, EVERYTHING, width=width, ascii_only=True)


def word_views(width: int) -> Iterator[RenderableType]:
    yield catalogue_table(OPTIMIZERS.values(), width=width, ascii_only=True)
    yield notebook_table(RESULTS, width=width, ascii_only=True)
    for optimizer in OPTIMIZERS.values():
        yield optimizer_table(optimizer, width=width, ascii_only=True)


@pytest.mark.parametrize("views", [trace_views, word_views])
@pytest.mark.parametrize("width", [12, 30, 80, 300])
def test_every_view_has_a_spelling_in_ascii(
    views: Callable[[int], Iterator[RenderableType]], width: int
) -> None:
    for view in views(width):
        text = printed(view, width)

        assert text.isascii()
        assert "?" not in text
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "tsv"])
def test_formats_for_scripts_are_ascii(format: str) -> None:
    assert "".join(chunks(traced("adam"), format, Look())).isascii()


def test_what_has_no_spelling_is_a_question_mark() -> None:
    assert to_ascii("w1² → 優") == "w1^2 -> ?"
