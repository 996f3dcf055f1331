"""Reading a printed table back, from nothing but its text."""

from __future__ import annotations

import re

from optitrace.views.grid import Grid

Cell = tuple[str, str, str]
"""Where a number stands: the step, the quantity, and the weight or state that it belongs to."""


def expected_cells(grid: Grid) -> dict[Cell, str]:
    """Return every number that a printed grid has to show."""
    return {
        (row[0], quantity, weight): cell
        for row in grid.rows
        for (quantity, weight), cell in zip(grid.headings[1:], row[1:], strict=True)
        if cell
    }


def faults(text: str, grid: Grid, width: int) -> list[str]:
    """Return what is wrong with a printed table: lines too wide, numbers that are cut or missing."""
    wide = [f"wider than {width}: {line!r}" for line in text.splitlines() if len(line) > width]
    read = read_blocks(text) if is_in_blocks(text) else None
    if read is None:
        return wide + _faults_of_list(text, grid)
    expected = expected_cells(grid)
    wrong = [
        f"{place} is {read.get(place)!r}, not {cell!r}"
        for place, cell in expected.items()
        if read.get(place) != cell
    ]
    return wide + wrong + [f"{cell} is too much" for cell in read.keys() - expected.keys()]


def is_in_blocks(text: str) -> bool:
    """Tell whether a text has tables, and not the list for narrow terminals."""
    return re.search(r"^[─-]+$", text, re.MULTILINE) is not None


def read_blocks(text: str) -> dict[Cell, str]:
    """Return every number of every block; columns are told apart by where they end."""
    cells: dict[Cell, str] = {}
    for block in _blocks(text):
        rule = next(index for index, line in enumerate(block) if re.fullmatch(r"[─-]+", line))
        quantities = _by_end(block[0])
        weights = _by_end(block[1]) if rule == 2 else {}
        step_end = min(quantities)
        for line in block[rule + 1 :]:
            row = _by_end(line)
            step = row.pop(step_end)
            if step in "⋮:":
                continue
            for end, cell in row.items():
                cells[step, quantities.get(end, "?"), weights.get(end, "")] = cell
    return cells


def rows_of_blocks(text: str) -> list[list[str]]:
    """Return, for each block, the steps of its rows and the dots between head and tail, in order."""
    shown = []
    for block in _blocks(text):
        rule = next(index for index, line in enumerate(block) if re.fullmatch(r"[─-]+", line))
        shown.append([line.split()[0] for line in block[rule + 1 :]])
    return shown


def _blocks(text: str) -> list[list[str]]:
    paragraphs = [paragraph.splitlines() for paragraph in re.split(r"\n\n+", text)]
    return [lines for lines in paragraphs if any(re.fullmatch(r"[─-]+", line) for line in lines)]


def _by_end(line: str) -> dict[int, str]:
    """Return the cells of a line, between which are two blanks or more, by where they end."""
    return {match.end(): match.group() for match in re.finditer(r"\S+(?: \S+)*", line)}


def _faults_of_list(text: str, grid: Grid) -> list[str]:
    """Return what is missing in the list for narrow terminals: a paragraph for each row, in its order."""
    paragraphs = ["".join(paragraph.split()) for paragraph in re.split(r"\n\n+", text)]
    words = set(text.split())
    wanted = [
        "".join(f"{''.join(heading)}{cell}" for heading, cell in zip(grid.headings, row, strict=True) if cell)
        for row in grid.rows
    ]
    wanted = ["".join(row.split()) for row in wanted]
    cut = [cell for row in grid.rows for cell in row if not set(cell.split()) <= words]
    return [f"no paragraph {row!r}" for row in wanted if row not in paragraphs] + [f"{c} is cut" for c in cut]
