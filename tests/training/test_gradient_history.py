from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from optitrace.monitoring import gradient_provenance
from optitrace.monitoring.backward_tracker import Backward, BackwardTracker
from optitrace.monitoring.gradient_provenance import MOST_OWNERS, GradientMark, GradientProvenance


def weights() -> Tensor:
    return torch.ones(2, requires_grad=True)


def backward(history: GradientProvenance, *parameters: Tensor) -> None:
    """Compute the gradient of the sum of parameters, as the watcher is told of it."""
    history.before_backward()
    loss = torch.stack([p.sum() for p in parameters]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    history.after_backward(Backward(loss.item(), False, BackwardTracker()))


def test_parameters_that_are_added_between_backward_and_step_leave_the_gradient_fresh() -> None:
    old, new = weights(), weights()
    history = GradientProvenance([old])
    backward(history, old)
    history.stepped(1)
    old.grad = None
    backward(history, old, new)
    history.follow([old, new])

    assert history.kind() == "fresh"
    assert history.loss() == 4.0


def test_the_gradient_is_followed_on_after_parameters_were_added() -> None:
    old, new = weights(), weights()
    history = GradientProvenance([old])
    backward(history, old)
    history.stepped(1)
    history.follow([old, new])
    backward(history, old, new)

    assert history.kind() == "accumulated"


def test_parameters_that_take_the_place_of_all_others_are_followed_in_their_stead() -> None:
    old, new = weights(), weights()
    history = GradientProvenance([old])
    history.follow([new])
    backward(history, new)

    assert history.kind() == "fresh"


def test_a_gradient_that_is_there_already_comes_from_what_was_heard() -> None:
    having, other = weights(), weights()
    having.grad = torch.ones(2)

    assert GradientProvenance([having]).kind() == "by hand"
    assert GradientProvenance([other], Backward(5.0, False, BackwardTracker())).kind() == "none"
    history = GradientProvenance([other, having], Backward(5.0, False, BackwardTracker()))
    assert (history.kind(), history.loss()) == ("fresh", 5.0)
    backward(history, having)  # adds to it
    assert (history.kind(), history.loss()) == ("fresh", 7.0)


def test_a_backward_elsewhere_while_a_gradient_is_computed_makes_it_not_stale() -> None:
    """Of two threads that train, each is told of the backward of the other, at any moment."""
    parameter = weights()
    history = GradientProvenance([parameter])
    backward(history, parameter)
    history.stepped(1)
    parameter.grad = None
    history.before_backward()
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    history.before_backward()  # that of the other thread
    history.after_backward(Backward(2.0, False, BackwardTracker()))

    assert history.kind() != "stale"


def test_what_took_the_place_of_a_parameter_is_not_stale_because_that_is() -> None:
    old, new = weights(), weights()
    history = GradientProvenance([old])
    backward(history, old)
    history.stepped(1)
    history.follow([new])
    backward(history, new)

    assert history.kind() == "fresh"


def test_a_parameter_that_alone_has_a_gradient_tells_of_all() -> None:
    unused, used = weights(), weights()
    history = GradientProvenance([unused, used])
    backward(history, used)

    assert history.kind() == "fresh"
    assert history.loss() == 2.0


def test_a_gradient_is_stale_though_that_of_another_parameter_was_taken_away() -> None:
    first, second = weights(), weights()
    history = GradientProvenance([first, second])
    backward(history, first, second)
    first.grad = None
    history.stepped(1)

    assert history.kind() == "stale"


def test_a_change_of_any_gradient_by_hand_makes_it_not_stale() -> None:
    first, second = weights(), weights()
    history = GradientProvenance([first, second])
    backward(history, first, second)
    history.stepped(1)
    assert second.grad is not None
    second.grad.add_(1.0)

    assert history.kind() == "by hand"


def test_a_parameter_without_numbers_says_nothing_of_whether_a_gradient_was_cleared() -> None:
    empty, other = torch.ones(0, requires_grad=True), weights()
    history = GradientProvenance([empty, other])
    backward(history, empty, other)
    history.stepped(1)
    for p in (empty, other):
        assert p.grad is not None
        p.grad.mul_(0.5)  # as clipping does
    backward(history, empty, other)

    assert history.kind() == "accumulated"


def test_the_end_of_the_backward_that_a_history_began_in_is_no_other_backward() -> None:
    parameter = weights()
    underway = Backward(2.0, False, BackwardTracker())
    parameter.grad = torch.ones(2)
    history = GradientProvenance([parameter], underway)
    history.stepped(1)
    history.after_backward(underway)
    parameter.grad = torch.ones(2)

    assert history.kind() == "by hand"


@pytest.mark.parametrize("sets_to_none", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_losses_that_share_but_a_trunk_are_added(order: tuple[int, ...], sets_to_none: bool) -> None:
    trunk, heads = weights(), [torch.ones(k + 1, requires_grad=True) for k in range(3)]
    history = GradientProvenance([trunk, *heads])
    found = []
    for _ in range(4):
        for p in (trunk, *heads):
            if sets_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.zero_()
        for k in order:
            backward(history, trunk, heads[k])
        found.append((history.kind(), history.loss()))
        history.stepped(1)

    assert found == [("fresh", 3 * 2.0 + 1 + 2 + 3)] * 4


@pytest.mark.parametrize("sets_to_none", [True, False])
def test_the_loss_of_another_optimizers_backward_is_none_of_ones_own(sets_to_none: bool) -> None:
    own, other = [weights(), torch.ones(1, requires_grad=True)], weights()
    history = GradientProvenance(own)
    found = []
    for _ in range(4):
        backward(history, other)
        for p in own:
            if sets_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.zero_()
        backward(history, *own)
        backward(history, other)
        found.append((history.kind(), history.loss()))
        history.stepped(1)

    assert found == [("fresh", 3.0)] * 4


def test_gradients_of_a_trunk_that_are_never_cleared_are_accumulated() -> None:
    trunk, heads = weights(), [torch.ones(k + 1, requires_grad=True) for k in range(2)]
    history = GradientProvenance([trunk, *heads])
    kinds = []
    for _ in range(3):
        for head in heads:
            backward(history, trunk, head)
        kinds.append(history.kind())
        history.stepped(1)

    assert kinds == ["fresh", "accumulated", "accumulated"]


class OnAccelerator:
    """A parameter on an accelerator, of whose gradient nobody reads a number."""

    def __init__(self) -> None:
        self.requires_grad = True
        self.grad: Any = None
        self.layout = torch.sparse_coo

    def detach(self) -> OnAccelerator:
        return self

    def numel(self) -> int:
        return 2

    def add(self) -> None:
        """Change the gradient as a backward does, or whatever else."""
        if self.grad is None:
            self.grad = SimpleNamespace(_version=0, device=torch.device("cuda"), is_cpu=False)
        else:
            self.grad._version += 1


def test_on_an_accelerator_a_clipping_is_no_clearing_and_what_another_change_was_is_not_known() -> None:
    parameter: Any = OnAccelerator()
    history = GradientProvenance([parameter])

    def backward() -> None:
        history.before_backward()
        parameter.add()
        history.after_backward(Backward(1.0, False, BackwardTracker()))

    def clip() -> GradientMark:
        mark = history.before_clipping(None)
        parameter.add()
        history.after_clipping()
        return mark

    backward()
    first = clip()
    assert history.mark_of_step() == first
    backward()
    assert history.mark() == first._replace(backwards=2)
    second = clip()
    parameter.add()  # as noise does, or zero_grad(set_to_none=False)
    assert history.mark_of_step() == second
    backward()
    assert history.mark() == second._replace(changes=1, backwards=3)
    parameter.grad = None
    assert history.mark_of_step().clearings == second.clearings + 1


def test_a_gradient_that_is_set_to_zero_before_a_step_is_cleared_for_it() -> None:
    parameter = weights()
    history = GradientProvenance([parameter])
    backward(history, parameter)
    mark = history.before_clipping(None)
    history.after_clipping()
    assert history.mark_of_step() == mark
    assert parameter.grad is not None
    parameter.grad.mul_(0.5)
    assert history.mark_of_step() == mark
    parameter.grad.zero_()

    assert history.mark_of_step() == mark._replace(clearings=mark.clearings + 1)


def test_a_gradient_that_was_changed_after_a_scaled_backward_is_not_known_to_be_scaled() -> None:
    parameter = weights()
    history = GradientProvenance([parameter])
    history.before_backward()
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    history.after_backward(Backward(2.0, True, BackwardTracker()))
    assert history.mark().is_scaled
    assert parameter.grad is not None
    parameter.grad.div_(1024.0)

    assert not history.mark().is_scaled


def clip(history: GradientProvenance, *parameters: Tensor) -> None:
    history.before_clipping(None)
    for p in parameters:
        if p.grad is not None:
            p.grad.mul_(0.5)
    history.after_clipping()


def test_a_gradient_that_is_clipped_after_a_step_and_stepped_on_is_stale() -> None:
    parameter = weights()
    history = GradientProvenance([parameter])
    backward(history, parameter)
    history.stepped(1)
    clip(history, parameter)

    assert history.kind() == "stale"


@pytest.mark.parametrize("is_scaled", [False, True])
def test_what_was_zero_and_is_reached_is_no_longer_known_as_zero(is_scaled: bool) -> None:
    """A clipping or a scaler changes it after the backward, and zeros as well."""
    reached, other = weights(), weights()
    history = GradientProvenance([reached, other])
    backward(history, reached, other)
    history.stepped(1)
    for _ in range(2):  # from the second time on what a step leaves is known
        for p in (reached, other):
            assert p.grad is not None
            p.grad.zero_()
        history.before_backward()
        reached.sum().backward()  # type: ignore[no-untyped-call]
        history.after_backward(Backward(2.0, is_scaled, BackwardTracker()))
        if is_scaled:
            for p in (reached, other):
                assert p.grad is not None
                p.grad.mul_(0.5)
            history.unscaled()
        else:
            clip(history, reached, other)
        assert (history.kind(), history.parts) == ("fresh", {})
        history.stepped(1)
    backward(history, reached, other)

    assert (history.kind(), history.parts) == ("accumulated", {"accumulated": [0]})


def test_gradients_that_are_changed_by_hand_between_steps_and_not_to_zero_add_up() -> None:
    parameters = weights(), weights()
    history = GradientProvenance(parameters)
    kinds = []
    for _ in range(4):
        backward(history, *parameters)
        kinds.append(history.kind())
        history.stepped(1)
        for p in parameters:
            assert p.grad is not None
            p.grad.mul_(0.5)

    assert kinds == ["fresh"] + ["accumulated"] * 3


def test_gradients_of_two_modules_that_are_cleared_one_after_the_other_are_cleared() -> None:
    first, second = (torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2))]) for _ in range(2))
    history = GradientProvenance([*first, *second])
    backward(history, *first, *second)
    kinds = []
    for module in (first, second):
        module.zero_grad(set_to_none=False)
        history.zeroed(module, module.parameters)
        kinds.append(history.kind())

    assert kinds == ["fresh", "cleared"]  # the second has its gradient after the first
    assert history.cleared_by == "zero_grad"


def test_a_module_in_the_place_of_another_is_not_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same place in memory, and so the same id."""
    parameter = torch.nn.Parameter(torch.ones(2))
    owner, other = torch.nn.ParameterList([parameter]), torch.nn.ParameterList([weights()])

    def place(thing: object) -> int:
        return 1 if isinstance(thing, torch.nn.Module) else id(thing)

    monkeypatch.setattr(gradient_provenance, "id", place, raising=False)
    history = GradientProvenance([parameter])
    history.zeroed(owner, owner.parameters)
    backward(history, parameter)
    history.zeroed(other, other.parameters)

    assert history.kind() == "fresh"


def test_thousands_of_modules_are_not_remembered() -> None:
    history = GradientProvenance([weights()])
    modules = [torch.nn.ParameterList() for _ in range(3 * MOST_OWNERS)]
    before = sum(map(weakref.getweakrefcount, modules))
    for module in modules:
        history.zeroed(module, module.parameters)

    assert sum(map(weakref.getweakrefcount, modules)) - before <= MOST_OWNERS


def test_a_parameter_that_never_had_a_gradient_is_known_after_others_were_added() -> None:
    used, unused, late = weights(), weights(), weights()
    history = GradientProvenance([used, unused])
    backward(history, used)
    history.stepped(1)
    history.follow([unused, used, late])

    assert history.ungraded == {0, 2}
