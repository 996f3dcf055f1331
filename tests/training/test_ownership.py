from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optitrace.monitoring import ownership as ownership_module
from optitrace.monitoring.ownership import Ownership
from optitrace.monitoring.parameters import NamedParameter
from optitrace.records.training import UnownedParameter


def parameter(gradient: float | None = None) -> Tensor:
    made = torch.zeros(1, requires_grad=True)
    made.grad = None if gradient is None else torch.tensor([gradient])
    return made


def names(ownership: Ownership) -> list[str]:
    return [one.name for one in ownership.unowned()]


def test_a_parameter_is_unowned_if_it_gets_gradients_and_no_optimizer_has_it() -> None:
    owned, head, target = parameter(1.0), parameter(1.0), parameter()
    ownership = Ownership()
    ownership.own("SGD", [owned])
    ownership.look_at(
        [[NamedParameter("body", owned), NamedParameter("head", head), NamedParameter("target", target)]],
        "SGD",
        1,
    )

    assert names(ownership) == ["head"]


def test_the_gradient_of_an_unowned_parameter_may_come_later_or_be_gone() -> None:
    late, cleared = parameter(), parameter(1.0)
    ownership = Ownership()
    ownership.look_at([[NamedParameter("late", late), NamedParameter("cleared", cleared)]], "SGD", 1)
    late.grad, cleared.grad = torch.ones(1), None

    ownership.look_again("SGD", 9)

    assert ownership.unowned() == (
        UnownedParameter("late", "SGD", since=2, by=9),
        UnownedParameter("cleared", "SGD", since=1, by=1),
    )


def test_a_parameter_that_comes_to_an_optimizer_later_is_owned() -> None:
    head = parameter(1.0)
    ownership = Ownership()
    ownership.look_at([[NamedParameter("head", head)]], "SGD", 1)
    ownership.own("SGD", [head])

    assert ownership.unowned() == ()
    assert ownership.owners([id(head)]) == {"SGD"}


def test_a_frozen_parameter_is_not_unowned() -> None:
    ownership = Ownership()
    frozen = torch.zeros(1)
    frozen.grad = torch.ones(1)
    ownership.look_at([[NamedParameter("frozen", frozen)]], "SGD", 1)

    assert ownership.unowned() == ()


def test_a_parameter_that_is_unfrozen_is_unowned_since_a_step_after_the_last_look() -> None:
    ownership, late = Ownership(), torch.zeros(1)
    ownership.look_at([[NamedParameter("late", late)]], "SGD", 1)
    for step in (2, 4, 8):
        ownership.look_again("SGD", step)
    late.requires_grad_()
    late.grad = torch.ones(1)
    ownership.look_again("Adam", 9)  # whose steps are others
    ownership.look_at([[NamedParameter("late", late)]], "SGD", 16)
    ownership.look_again("SGD", 20)

    assert ownership.unowned() == (UnownedParameter("late", "SGD", since=9, by=16),)


def test_what_takes_the_place_of_an_unowned_parameter_that_is_no_more_hides_it_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the same place in memory, and so the same id."""
    monkeypatch.setattr(ownership_module, "id", lambda tensor: 1, raising=False)
    ownership = Ownership()
    models = [[NamedParameter("head", parameter(1.0))]]
    ownership.look_at(models, "SGD", 1)
    models.clear()
    other = parameter()
    ownership.look_at([[NamedParameter("other", other)]], "SGD", 2)

    assert names(ownership) == ["head"]


def test_a_parameter_is_shared_with_those_that_are_asked_about() -> None:
    one, other = parameter(), parameter()
    ownership = Ownership()
    ownership.own("Adam", [one, other])
    ownership.own("LBFGS", [one])
    ownership.own("SGD", [one, other])

    assert ownership.shared("Adam", {"SGD"}) == {id(one): "SGD", id(other): "SGD"}
    assert ownership.shared("Adam", {"LBFGS"}) == {id(one): "LBFGS"}
    assert ownership.shared("Adam", set()) == {}
    assert ownership.sharing("LBFGS") == {"Adam", "SGD"}


def test_of_an_optimizer_that_is_lost_nothing_is_kept() -> None:
    """A program may make thousands."""
    one, other = parameter(), parameter()
    ownership = Ownership()
    ownership.own("Adam", [one, other])
    ownership.own("SGD", [one])
    ownership.let_go("Adam")

    assert ownership.owners([id(one)]) == {"SGD"}
    assert ownership.owners([id(other)]) == set()
    assert ownership.sharing("SGD") == ownership.sharing("Adam") == set()
    assert ownership.shared("Adam", {"SGD"}) == ownership.shared("SGD", {"Adam"}) == {}


def test_what_takes_the_place_of_the_parameters_of_a_lost_optimizer_is_not_its() -> None:
    head = parameter(1.0)
    ownership = Ownership()
    ownership.own("SGD", [head])
    ownership.let_go("SGD")
    ownership.look_at([[NamedParameter("head", head)]], "Adam", 1)

    assert not ownership.owners([id(head)])
    assert names(ownership) == ["head"]
