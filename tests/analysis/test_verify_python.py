from __future__ import annotations

import json

import pytest
import torch
from support.descents import Descent, optimizer_of
from support.known_mistakes import KNOWN_MISTAKES

import optitrace
from optitrace.rules.families.adam_family import adam
from optitrace.rules.mistakes import damaged


def test_a_name_a_class_and_the_name_of_a_class_are_verified_together() -> None:
    found = optitrace.verify("Adamax", Descent, "torch.optim:Rprop", implementation="single")

    assert found.passed
    assert {check.optimizer for check in found.checks} == {"adamax"}
    assert {c.optimizer for c in found.conformances} == {"Descent", "torch.optim:Rprop"}


def test_a_class_is_held_against_a_rule() -> None:
    found = optitrace.verify(Descent, rule="sgd", dtypes=("float64",), momentum=0.5)

    assert found.passed
    assert [(check.dtype, check.verdict) for check in found.checks] == [("float64", "agrees")]


def test_what_departs_can_be_printed_and_read() -> None:
    wrong = damaged(
        adam, next(m for m in KNOWN_MISTAKES["adam"] if m.name == "eps is inside the square root")
    )
    found = optitrace.verify(optimizer_of(wrong), rule="adam", dtypes=("float64",))

    assert not found.passed
    assert repr(found) == "<Verification: failed>"
    assert "agrees with adam if eps is inside the square root" in str(found)
    assert json.loads(found.to_json())["checks"][0]["causes"] == ["eps is inside the square root"]


def test_a_class_that_is_no_optimizer_is_refused() -> None:
    with pytest.raises(optitrace.OptitraceError, match="'Linear' is not an optimizer class"):
        optitrace.verify(torch.nn.Linear)  # type: ignore[arg-type]
