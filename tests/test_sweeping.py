"""Sweeps from Python."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

import optitrace
from optitrace.errors import UsageError


@pytest.fixture(scope="module")
def found() -> optitrace.Sweep:
    return optitrace.sweep("sgd", {"lr": "0.1:0.5:5", "momentum": [0.0, 0.5]}, steps=20)


def test_the_best_settings_are_those_of_the_fastest_linear_descent(found: optitrace.Sweep) -> None:
    # curvatures 2 and 4: the rate max |1 - lr·curvature| is least at lr = 2 / (2 + 4), of these at 0.3
    assert found.best_settings == {"lr": 0.3, "momentum": 0.0}
    assert sum(found.counts.values()) == 10


def test_every_configuration_is_there_in_its_order(found: optitrace.Sweep) -> None:
    assert found.settings == {
        "lr": [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5],
        "momentum": [0.0, 0.5] * 5,
    }
    # each step multiplies w by 1 - 0.1·2 and 1 - 0.1·4
    assert found.weights[0].tolist() == pytest.approx([0.5 * 0.8**20, 0.5 * 0.6**20], rel=1e-5)
    assert found.weights.shape == (10, 2)
    assert found.measures["final_loss"].argmin() == 4


def test_the_best_are_traced_by_torch(found: optitrace.Sweep) -> None:
    for rank in (1, 3):
        traced = found.trace(rank)

        assert traced.weights[-1].tolist() == pytest.approx(found.best[rank - 1].weights, rel=1e-5)
        assert traced.experiment.hyperparameters["lr"] == found.best[rank - 1].configuration["lr"]
    with pytest.raises(UsageError, match="there is no rank 11; 10 are kept, and the best is 1"):
        found.trace(11)


def test_json_and_csv_hold_every_configuration(found: optitrace.Sweep) -> None:
    said = json.loads(found.to_json())
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))

    assert [float(row["w2"]) for row in rows] == found.weights[:, 1].tolist()
    assert [c["w2"] for c in said["configurations"]] == found.weights[:, 1].tolist()
    assert said["sweeps"][0]["command"] == "optitrace sgd --lr 0.3 --steps 20"


def test_it_prints_as_the_command_does_and_a_notebook_has_a_table(found: optitrace.Sweep) -> None:
    html = found._repr_html_()

    assert str(found).splitlines()[0] == "sgd: 10 configurations, 20 steps each"
    assert "best: optitrace sgd --lr 0.3 --steps 20" in str(found)
    assert html.count("<tr>") == 11
    assert "<td>0.3</td>" in html
    assert repr(found) == "<Sweep of sgd: best lr=0.3, momentum=0 of 10>"


def test_values_are_taken_as_python_writes_them() -> None:
    swept = optitrace.sweep("adam", {"betas": [(0.9, 0.999), (0.5, 0.9)], "amsgrad": (True, False)})

    assert swept.settings["betas"] == [(0.9, 0.999)] * 2 + [(0.5, 0.9)] * 2
    assert swept.settings["amsgrad"] == [True, False] * 2


def test_a_draw_is_that_of_its_seed() -> None:
    drawn = [optitrace.sweep("sgd", {"lr": "0.1:0.4"}, random=5, seed=seed) for seed in (1, 1, 2)]

    assert torch.equal(drawn[0].weights, drawn[1].weights)
    assert not torch.equal(drawn[0].weights, drawn[2].weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s("sgd", {}), r"what is varied is \{\}; give its values by name, as in \{'lr': 'log:1e-4"),
        (lambda s: s("sgd", ["lr"]), r"what is varied is \['lr'\]; give its values by name"),
        (lambda s: s("sgd", {"lr": 0.1}), "the values of lr are 0.1; give a list of them, or a text as"),
        (lambda s: s("sgd", {"betas": [1.0]}), "sgd has no betas; its hyperparameters are lr, momentum"),
        (lambda s: s("sgd", {"lr": [0.1]}, random=0), "random is 0; it must be a positive integer"),
        (
            lambda s: s("sgd", {"lr": [0.1]}, threads="x"),
            "threads is 'x'; it must be a positive integer",
        ),
        (lambda s: s("sgd", {"lr": [0.1]}, random=1.5), r"random is 1\.5; it must be a positive integer"),
        (
            lambda s: s("sgd", {"lr": [0.1]}, tolerance="1"),
            "tolerance is '1'; it must be a non-negative number",
        ),
        (
            lambda s: s("sgd", {"lr": [0.1]}, tolerance=-1),
            "tolerance is -1; it must be a non-negative number",
        ),
        (lambda s: s("sgd", {"lr": [0.1]}, rank=5), "unknown rank '5'; choose from: final_loss"),
        (lambda s: s("sgd", {"lr": [0.1]}, rank="speed"), "unknown rank 'speed'; choose from: final_loss"),
        (lambda s: s("sgd", {"lr": [-1.0]}), "leave out what contains lr=-1"),
        (lambda s: s("sgd", {f"start.{k}": "0:1:20000" for k in (0, 1)}), "400,000,000 configurations"),
    ],
)
def test_what_cannot_be_swept_is_told(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(optitrace.sweep)
