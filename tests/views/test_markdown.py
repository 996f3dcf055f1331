from __future__ import annotations

from support.samples import made_up, traced, written

from optitrace.views.display import Display
from optitrace.views.grid import make_grid
from optitrace.views.presenters.trace import TracePresenter


def test_each_row_of_the_grid_is_a_row_of_the_table() -> None:
    trace, look = traced("adam"), Display(state=True, update=True)
    lines = written(TracePresenter(trace), "markdown", look).splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    grid = make_grid(trace, look)

    assert table[0] == [" ".join(heading).strip() for heading in grid.headings]
    assert set(table[1]) == {"---:"}
    assert table[2:] == [list(row) for row in grid.rows]


def test_hidden_rows_are_counted_where_they_are_left_out() -> None:
    lines = written(TracePresenter(made_up(range(101), [0.25])), "markdown").splitlines()

    assert "| … 61 more | … | … | … | … | … |" in lines
    assert lines[4 + 20].startswith("| … 61 more |")
