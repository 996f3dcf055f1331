from __future__ import annotations

import inspect
import re

import pytest
from support.known_mistakes import KNOWN_MISTAKES

from optitrace.rules.families.gradient_descent import sgd
from optitrace.rules.mistakes import Mistake, damaged

FIRST_DAMPENED = next(m for m in KNOWN_MISTAKES["sgd"] if m.name == "the first momentum_buffer is dampened")


def test_a_damaged_rule_computes_its_mistake() -> None:
    wrong = damaged(sgd, FIRST_DAMPENED)
    settings = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}

    assert sgd(1.0, 2.0, 1, 0.0, **settings) == (0.8, 2.0)
    assert wrong(1.0, 2.0, 1, 0.0, **settings) == (0.9, 1.0)


def test_a_damaged_rule_keeps_everything_but_the_mistake() -> None:
    wrong = damaged(sgd, FIRST_DAMPENED)

    assert (wrong.name, wrong.state, wrong.parameters) == (sgd.name, sgd.state, sgd.parameters)


def test_damage_leaves_the_rule_itself_whole() -> None:
    before = inspect.getsource(sgd.function)
    damaged(sgd, FIRST_DAMPENED)

    assert inspect.getsource(sgd.function) == before
    assert sgd(1.0, 2.0, 1, 0.0, lr=0.1, momentum=0.9, dampening=0.5) == (0.8, 2.0)


def test_the_source_of_a_damaged_rule_can_be_read() -> None:
    source = inspect.getsource(damaged(sgd, Mistake("lr is left out", {"lr * g": "g"})).function)

    assert "w = w - g" in source
    assert "lr * g" not in source


@pytest.mark.parametrize(
    "piece",
    ["w = w - lr * g", "w=w-lr*g", "w = (w - (lr * g))", "w = (\n    w\n    - lr * g\n)"],
)
def test_the_form_of_a_piece_does_not_matter(piece: str) -> None:
    wrong = damaged(sgd, Mistake("the step has no lr", {piece: "w = w - g"}))

    assert wrong(1.0, 2.0, 1, None)[0] == -1.0


def test_a_piece_is_replaced_wherever_it_occurs() -> None:
    wrong = damaged(sgd, Mistake("the momentum is squared", {"momentum * b": "momentum**2 * b"}))

    assert inspect.getsource(wrong.function).count("momentum ** 2 * b") == 2


def test_several_statements_in_a_row_are_one_piece() -> None:
    piece = "if maximize: g = -g\nif weight_decay: g = g + weight_decay * w"
    bare = damaged(sgd, Mistake("maximize and weight decay are left out", {piece: ""}))

    assert bare(1.0, 2.0, 1, None, lr=0.1, weight_decay=0.5, maximize=True)[0] == 0.8


@pytest.mark.parametrize("piece", ["momentum * v", "momentum * b * b", "g = g", "w = w - lr * g\nreturn w"])
def test_a_mistake_that_does_not_fit_its_rule_is_refused(piece: str) -> None:
    with pytest.raises(LookupError, match=f"^sgd has no '{re.escape(piece)}'$"):
        damaged(sgd, Mistake("something", {piece: "0"}))
