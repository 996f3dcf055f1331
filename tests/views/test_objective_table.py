from __future__ import annotations

import json

import pytest

from optitrace.cli.app import main
from optitrace.experiment.objectives import NAMES


def test_a_loss_is_told_with_its_minimum_and_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "Booth"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "booth",
        "loss = (w1 + 2·w2 − 7)² + (2·w1 + w2 − 5)²",
        "usual start: (0, 0)",
        "minima: (1, 3)",
        "usual bounds: -10 to 10 by -10 to 10",
        "source: Booth's function (Jamil & Yang 2013, no. 17): a rotated quadratic",
        "",
        "'optitrace adam --objective booth' runs on it",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_is_told_as_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", name, "--format", "json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert data["name"] == name
    assert data["formula"]
