from __future__ import annotations

import pytest
from rich.console import RenderableType
from support.samples import printed

from optitrace.analysis.documented import results
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.display import Display
from optitrace.views.presenters.lists import CataloguePresenter, OptimizerPresenter
from optitrace.views.presenters.notebook import NotebookPresenter
from optitrace.views.tables import headed_table

RESULTS = results()


def views(width: int) -> list[RenderableType]:
    return [
        CataloguePresenter(list(OPTIMIZERS.values())).table(Display(width=width)),
        NotebookPresenter(RESULTS).table(Display(width=width)),
        *(OptimizerPresenter(optimizer).table(Display(width=width)) for optimizer in OPTIMIZERS.values()),
    ]


def words_of(text: str) -> set[str]:
    return {word.rstrip(":") for word in text.split() if "─" not in word}


@pytest.mark.parametrize("width", [30, 40, 57, 58, 80, 120])
def test_no_word_is_cut_at_any_width(width: int) -> None:
    for narrow, whole in zip(views(width), views(1000), strict=True):
        text = printed(narrow, width)
        words = {word for word in words_of(printed(whole, 1000)) if len(word) <= width}

        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert words - words_of(text) == set()


def test_a_table_too_wide_for_its_words_is_a_list() -> None:
    table = headed_table(("name", "meaning"), [("a", "first"), ("b", "second")], Display(width=11))

    assert printed(table, 11) == "name: a\nmeaning:\nfirst\n\nname: b\nmeaning:\nsecond\n"


def test_a_table_that_just_fits_is_a_table() -> None:
    table = headed_table(("name", "meaning"), [("a", "first one")], Display(width=13))

    assert printed(table, 13) == "name  meaning\n─────────────\na     first\n      one\n"


def test_a_heading_is_no_markup() -> None:
    assert printed(headed_table(("[red]x[/red]", "[/y]"), [("a", "b")], Display(width=40)), 40).startswith(
        "[red]x[/red]  [/y]\n"
    )
