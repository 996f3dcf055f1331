"""The floors of the house: a room knows only those below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "optitrace"
FLOORS = ("rules", "experiment", "native", "tracing", "analysis", "views", "cli")
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Yield the modules that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def above(room: str, source: str) -> list[str]:
    """Return the imports of a source that lead up from its room."""
    floor = FLOORS.index("cli" if room == "python" else room)
    return [
        name
        for name in imports(source)
        if name.startswith("optitrace.")
        and (other := name.split(".")[1]) in (*FLOORS, "python")
        and (FLOORS.index("cli" if other == "python" else other) > floor)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_one_above_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]

    if room in (*FLOORS, "python"):
        assert above(room, path.read_text(encoding="utf-8")) == []


def test_an_import_that_leads_up_would_be_noticed() -> None:
    source = "def f():\n    from optitrace.views.tables import render\n"

    assert above("tracing", source) == ["optitrace.views.tables"]
    assert above("cli", source) == []


def test_sweeps_alone_use_machine_code() -> None:
    users = {
        path.relative_to(PACKAGE).parts[:2]
        for path in MODULES
        if any(name.startswith("optitrace.native") for name in imports(path.read_text(encoding="utf-8")))
    }

    assert {user for user in users if user[0] != "native"} == {("analysis", "sweeping")}
