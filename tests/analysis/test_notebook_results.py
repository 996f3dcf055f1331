from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optitrace.analysis import documented as notebook
from optitrace.analysis.documented import CELLS, Printed, Result, results


@pytest.fixture(scope="module")
def all_results() -> list[Result]:
    return results()


def test_every_result_that_can_be_judged_agrees(all_results: list[Result]) -> None:
    judged = [result for result in all_results if result.agree is not None]

    assert len(judged) == 31
    assert [result for result in judged if not result.agree] == []


def test_what_belongs_to_the_documents_own_installation_is_shown_and_not_judged(
    all_results: list[Result],
) -> None:
    shown = [result for result in all_results if result.agree is None]

    assert [(result.cell, result.document) for result in shown] == [(1, "2.5.1"), (7, "0.5473")]
    assert shown[0].ours == torch.__version__
    assert 0 <= float(shown[1].ours) <= 1


def test_the_tensor_basics_are_there_as_the_document_prints_them(all_results: list[Result]) -> None:
    basics = [(result.cell, result.document) for result in all_results if result.cell < 9]

    assert basics == [
        (1, "2.5.1"),
        (2, "tensor(7)"),
        (3, "0"),
        (4, "7"),
        (5, "tensor([7, 7])"),
        (7, "0.5473"),
        (7, "3 by 4"),
        (7, "torch.float32"),
    ]


@pytest.mark.parametrize(
    ("cell", "document"),
    [
        (9, ["(1.0000, 2.0000)", "(0.5000, 0.5000)", "(0.4900, 0.4800)"]),
        (10, ["(1.0000, 2.0000)", "(0.5000, 0.5000)", "(0.4900, 0.4800)", "(0.4800, 0.4600)"]),
        (
            14,
            [
                "(1.0000, 2.0000)",
                "(0.5000, 0.5000)",
                "(0.4900, 0.4800)",
                "(0.9800, 1.9200)",
                "(0.4802, 0.4608)",
            ],
        ),
        (15, ["(1.0000, 2.0000)", "(0.5000, 0.5000)", "(0.4850, 0.4750)", "(0.4702, 0.4502)"]),
        (16, ["(1.0000, 2.0000)", "(0.5000, 0.5000)", "(0.4900, 0.4800)", "(0.4790, 0.4580)"]),
        (
            17,
            [
                "(1.0000, 2.0000)",
                "(0.5000, 0.5000)",
                "(0.4900, 0.4900)",
                "(0.9800, 1.9600)",
                "(0.4830, 0.4830)",
            ],
        ),
    ],
)
def test_each_cell_shows_the_documents_numbers_and_ours_side_by_side(
    cell: int, document: list[str], all_results: list[Result]
) -> None:
    of_cell = [result for result in all_results if result.cell == cell]

    assert [result.document for result in of_cell] == document
    assert [result.ours for result in of_cell] == document


def test_a_number_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = [cell for cell in CELLS if cell.number == 16]
    wrong = replace(cell, prints=(*cell.prints[:-1], Printed("weights", 2, (0.4791, 0.458))))
    monkeypatch.setattr(notebook, "CELLS", (wrong,))

    assert [(result.cell, result.document, result.ours) for result in results() if result.agree is False] == [
        (16, "(0.4791, 0.4580)", "(0.4790, 0.4580)")
    ]
