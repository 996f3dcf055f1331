from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rich.console import RenderableType
from support.samples import made_up, printed, traced, written

from optitrace.analysis.documented import results
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.text import to_ascii
from optitrace.views.display import Display
from optitrace.views.presenters.lists import CataloguePresenter, OptimizerPresenter
from optitrace.views.presenters.notebook import NotebookPresenter
from optitrace.views.presenters.trace import TracePresenter

EVERYTHING = Display(state=True, update=True)

RESULTS = results()


def trace_views(width: int) -> Iterator[RenderableType]:
    traces = [
        traced("sgd", coefficients=(1.0, -2.0) * 4),
        made_up(range(100), [0.5]),
        *map(traced, OPTIMIZERS),
    ]
    for trace in traces:
        yield TracePresenter(trace).table(replace(EVERYTHING, width=width, ascii=True))


def word_views(width: int) -> Iterator[RenderableType]:
    yield CataloguePresenter(list(OPTIMIZERS.values())).table(Display(width=width, ascii=True))
    yield NotebookPresenter(RESULTS).table(Display(width=width, ascii=True))
    for optimizer in OPTIMIZERS.values():
        yield OptimizerPresenter(optimizer).table(Display(width=width, ascii=True))


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
    assert written(TracePresenter(traced("adam")), format).isascii()


def test_what_has_no_spelling_is_a_question_mark() -> None:
    assert to_ascii("w1² → 優") == "w1^2 -> ?"
