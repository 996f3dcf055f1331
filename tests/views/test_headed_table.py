from __future__ import annotations

import pytest
from rich.console import RenderableType
from samples import printed

from optitrace.analysis.documented import results
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.views.catalogue_table import catalogue_table, optimizer_table
from optitrace.views.headed_table import headed_table
from optitrace.views.notebook_table import notebook_table

RESULTS = results()


def views(width: int) -> list[RenderableType]:
    return [
        catalogue_table(OPTIMIZERS.values(), width=width),
        notebook_table(RESULTS, width=width),
        *(optimizer_table(optimizer, width=width) for optimizer in OPTIMIZERS.values()),
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
    table = headed_table(("name", "meaning"), [("a", "first"), ("b", "second")], width=11)

    assert printed(table, 11) == "name: a\nmeaning:\nfirst\n\nname: b\nmeaning:\nsecond\n"


def test_a_table_that_just_fits_is_a_table() -> None:
    table = headed_table(("name", "meaning"), [("a", "first one")], width=13)

    assert printed(table, 13) == "name  meaning\n─────────────\na     first\n      one\n"


def test_a_heading_is_no_markup() -> None:
    assert printed(headed_table(("[red]x[/red]", "[/y]"), [("a", "b")], width=40), 40).startswith(
        "[red]x[/red]  [/y]\n"
    )
