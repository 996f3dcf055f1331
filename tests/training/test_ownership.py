from __future__ import annotations

import torch
from torch import Tensor

from optitrace.tracing.watching.naming import Owned
from optitrace.tracing.watching.ownership import Ownership


def parameter(gradient: float | None = None) -> Tensor:
    made = torch.zeros(1, requires_grad=True)
    made.grad = None if gradient is None else torch.tensor([gradient])
    return made


def test_a_parameter_is_unowned_if_it_gets_gradients_and_no_optimizer_has_it() -> None:
    owned, head, target = parameter(1.0), parameter(1.0), parameter()
    ownership = Ownership()
    ownership.own("SGD", [owned])
    ownership.look_at([[Owned("body", owned), Owned("head", head), Owned("target", target)]])

    assert ownership.unowned() == ("head",)


def test_the_gradient_of_an_unowned_parameter_may_come_later_or_be_gone() -> None:
    late, cleared = parameter(), parameter(1.0)
    ownership = Ownership()
    ownership.look_at([[Owned("late", late), Owned("cleared", cleared)]])
    late.grad, cleared.grad = torch.ones(1), None

    assert ownership.unowned() == ("late", "cleared")


def test_a_parameter_that_comes_to_an_optimizer_later_is_owned() -> None:
    head = parameter(1.0)
    ownership = Ownership()
    ownership.look_at([[Owned("head", head)]])
    ownership.own("SGD", [head])

    assert ownership.unowned() == ()
    assert ownership.owners([id(head)]) == {"SGD"}


def test_a_frozen_parameter_is_not_unowned() -> None:
    ownership = Ownership()
    ownership.look_at([[Owned("frozen", torch.zeros(1))]])

    assert ownership.unowned() == ()


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

    assert (ownership._owners, ownership._owned) == ({id(one): ["SGD"]}, {"SGD": {id(one)}})


def test_what_takes_the_place_of_the_parameters_of_a_lost_optimizer_is_not_its() -> None:
    head = parameter(1.0)
    ownership = Ownership()
    ownership.own("SGD", [head])
    ownership.let_go("SGD")
    ownership.look_at([[Owned("head", head)]])

    assert not ownership.owners([id(head)])
    assert ownership.unowned() == ("head",)
