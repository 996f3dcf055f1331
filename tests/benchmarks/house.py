"""What a look at the structure of the package shows: sizes, names that occur twice, imports that run upward.

Run as ``python tests/benchmarks/house.py``. It counts; it judges nothing.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FLOORS = (
    *(
        "text",
        "rules",
        "experiment",
        "records",
        "native",
        "tracing",
        "monitoring",
        "analysis",
        "views",
        "python",
        "cli",
    ),
)
"""The rooms of the package from the ground up; a room imports none that comes after it."""

LONGEST = 60
"""The lines of a function that fits a screen."""

ROOT = Path(__file__).parents[2] / "optitrace"


def main() -> None:
    """Print what there is."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in trees)
    print(f"{len(trees)} files, {lines} lines")  # noqa: T201
    found = {
        "public classes of one name": _twice(_classes(trees)),
        "modules of one name": _twice((path.stem, path) for path in trees if path.name != "__init__.py"),
        f"functions over {LONGEST} lines": list(_long_functions(trees)),
        "imports that run upward": list(_upward(trees)),
    }
    for what, places in found.items():
        print(f"{len(places)} {what}", *places, sep="\n  ")  # noqa: T201


def _classes(trees: dict[Path, ast.Module]) -> Iterator[tuple[str, Path]]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, path


def _twice(named: Iterator[tuple[str, Path]]) -> list[str]:
    places = defaultdict(list)
    for name, path in named:
        places[name].append(str(path.relative_to(ROOT)))
    return [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]


def _long_functions(trees: dict[Path, ast.Module]) -> Iterator[str]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno
                if length > LONGEST:
                    yield f"{path.relative_to(ROOT)}: {node.name}, {length} lines"


def _upward(trees: dict[Path, ast.Module]) -> Iterator[str]:
    for path, tree in trees.items():
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(tree):
            imported = node.module if isinstance(node, ast.ImportFrom) else None
            parts = (imported or "").split(".")
            is_of_rooms = parts[0] == "optitrace" and len(parts) > 1 and {room, parts[1]} <= set(FLOORS)
            if is_of_rooms and FLOORS.index(parts[1]) > FLOORS.index(room):
                yield f"{path.relative_to(ROOT)} imports {imported}"


if __name__ == "__main__":
    main()
