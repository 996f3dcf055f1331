"""Gradients that are cleared between backward and step, and the trainings that are like that and sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from support.watched import Task, gradient_kinds, numbers, only, seen, watching
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer
from torch.utils.checkpoint import checkpoint

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import Tally

STEPS = 12

Clear = Callable[[nn.Module, Optimizer], None]


def by_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    optimizer.zero_grad()


def by_optimizer_to_zero(model: nn.Module, optimizer: Optimizer) -> None:
    optimizer.zero_grad(set_to_none=False)


def by_module(model: nn.Module, optimizer: Optimizer) -> None:
    model.zero_grad()


def by_module_to_zero(model: nn.Module, optimizer: Optimizer) -> None:
    model.zero_grad(set_to_none=False)


def by_hand(model: nn.Module, optimizer: Optimizer) -> None:
    for p in model.parameters():
        p.grad = None


def by_hand_to_zero(model: nn.Module, optimizer: Optimizer) -> None:
    for p in model.parameters():
        if p.grad is not None:
            p.grad.zero_()


CALLED = "zero_grad() was called between backward and step"
BY_HAND = "the gradients were cleared between backward and step"

CLEARINGS: dict[Clear, str] = {
    by_optimizer: CALLED,
    by_optimizer_to_zero: CALLED,
    by_module: CALLED,
    by_module_to_zero: CALLED,
    by_hand: BY_HAND,
    by_hand_to_zero: BY_HAND,
}
"""The ways in which people clear gradients, and what is said of each."""


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def found_in(program: Callable[[], None]) -> tuple[Diagnosis, ...]:
    with watching() as watcher:
        program()
    return diagnose(seen(watcher))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("clear", CLEARINGS)
def test_a_clearing_between_backward_and_step_is_told_with_its_steps(clear: Clear, every: int) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = Adam(task.model.parameters(), lr=1e-3)
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            backward(task.loss())
            if step % every == 0:
                clear(task.model, optimizer)
            optimizer.step()

    trace = only(watcher)
    expected = ["cleared" if step % every == 0 else "fresh" for step in range(1, STEPS + 1)]
    assert gradient_kinds(trace) == expected
    assert trace.gradients["cleared"] == Tally(STEPS // every, every)
    assert [x == x for x in numbers(trace, "loss")] == [kind == "fresh" for kind in expected]
    [diagnosis] = diagnose(seen(watcher))
    assert (diagnosis.fault, diagnosis.step, diagnosis.is_fault) == ("cleared gradient", every, True)
    assert diagnosis.fact == (
        f"step {every} of Adam has no gradient to use: {CLEARINGS[clear]} ({STEPS // every} of {STEPS} steps)"
    )


@pytest.mark.parametrize("clear", CLEARINGS)
def test_without_any_other_clearing_it_is_not_taken_for_accumulation(clear: Clear) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = SGD(task.model.parameters(), lr=0.1)
        for _ in range(3):
            backward(task.loss())
            clear(task.model, optimizer)
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["cleared"] * 3
    assert [diagnosis.fault for diagnosis in diagnose(seen(watcher))] == ["cleared gradient"]


@pytest.mark.parametrize("clear", CLEARINGS)
def test_the_remedy_for_a_clearing_between_is_one(clear: Clear) -> None:
    def program() -> None:
        task = Task()
        optimizer = SGD(task.model.parameters(), lr=0.1)
        for _ in range(STEPS):
            clear(task.model, optimizer)
            backward(task.loss())
            optimizer.step()

    assert found_in(program) == ()


def test_a_step_that_is_seldom_left_out_by_clearing_is_a_remark() -> None:
    def program() -> None:
        task = Task()
        optimizer = SGD(task.model.parameters(), lr=0.01)
        for step in range(1, 41):
            optimizer.zero_grad()
            backward(task.loss())
            if step == 20:
                optimizer.zero_grad()
            optimizer.step()

    [diagnosis] = found_in(program)
    assert (diagnosis.fault, diagnosis.step, diagnosis.is_fault) == ("cleared gradient", 20, False)


@pytest.mark.parametrize("clear", CLEARINGS)
def test_gradients_that_are_cleared_as_they_are_not_finite_are_no_fault(clear: Clear) -> None:
    """Programs leave a batch out so, if only the weights stay as they are."""

    def program() -> None:
        task = Task()
        optimizer = SGD(task.model.parameters(), lr=0.1)
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            backward(task.loss() * (float("nan") if step % 3 == 0 else 1.0))
            if step % 3 == 0:
                clear(task.model, optimizer)
            optimizer.step()

    assert found_in(program) == ()


# --- what is like it, and sound


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def loss_of(model: nn.Module) -> Tensor:
    torch.manual_seed(1)
    inputs, targets = torch.randn(8, 4), torch.randn(8, 3)
    return nn.functional.mse_loss(model(inputs), targets)


def steps_of(optimizer: Optimizer, clear: Clear, model: nn.Module) -> Iterator[int]:
    for step in range(1, STEPS + 1):
        clear(model, optimizer)
        yield step
        optimizer.step()


def cleared_after_the_step(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        backward(loss_of(model))
        optimizer.step()
        clear(model, optimizer)


def a_graph_gone_through_twice(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in steps_of(optimizer, clear, model):
        loss = loss_of(model)
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        backward(loss)


def micro_batches(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for k in range(1, 4 * STEPS + 1):
        backward(loss_of(model) / 4)
        if k % 4 == 0:
            optimizer.step()
            clear(model, optimizer)


def micro_batches_thrown_away(clear: Clear) -> None:
    """All but the last: a fault, but none that the gradient of a step tells of."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for k in range(1, 4 * STEPS + 1):
        clear(model, optimizer)
        backward(loss_of(model))
        if k % 4 == 0:
            optimizer.step()


def two_optimizers_over_one_backward(clear: Clear) -> None:
    model = layers()
    first, second = SGD(model[0].parameters(), lr=0.1), Adam(model[2].parameters(), lr=0.01)
    for _ in range(STEPS):
        clear(model[0], first)
        clear(model[2], second)
        backward(loss_of(model))
        first.step()
        second.step()


def each_cleared_after_its_own_step(clear: Clear) -> None:
    model = layers()
    first, second = SGD(model[0].parameters(), lr=0.1), Adam(model[2].parameters(), lr=0.01)
    for _ in range(STEPS):
        backward(loss_of(model))
        first.step()
        clear(model[0], first)
        second.step()
        clear(model[2], second)


def adversaries(clear: Clear) -> None:
    """The gradients that the generator's backward leaves the judge are cleared before the judge's own."""
    torch.manual_seed(0)
    generator, judge = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    of_judge, of_generator = Adam(judge.parameters(), lr=0.01), Adam(generator.parameters(), lr=0.01)
    for _ in range(STEPS):
        made = generator(torch.randn(8, 2))
        clear(judge, of_judge)
        backward(judge(torch.randn(8, 2)).sigmoid().mean())
        backward(-judge(made.detach()).sigmoid().mean())
        of_judge.step()
        clear(generator, of_generator)
        backward(judge(made).sigmoid().mean())
        of_generator.step()


class Sharpness(Optimizer):
    """Sharpness-aware minimization as it is published: a step up, a second backward, a step from there."""

    def __init__(self, parameters: Iterator[nn.Parameter]) -> None:
        super().__init__(parameters, {"rho": 0.05})
        self.base = SGD(self.param_groups, lr=0.1, momentum=0.9)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        for p in self.param_groups[0]["params"]:
            self.state[p]["old"] = p.detach().clone()
            if p.grad is not None:
                p.add_(p.grad, alpha=0.05)

    @torch.no_grad()
    def second_step(self) -> None:
        for p in self.param_groups[0]["params"]:
            p.copy_(self.state[p]["old"])
        self.base.step()


def two_backwards_of_sam(clear: Clear) -> None:
    model = layers()
    optimizer = Sharpness(model.parameters())
    for _ in range(STEPS):
        backward(loss_of(model))
        optimizer.first_step()
        clear(model, optimizer)
        backward(loss_of(model))
        optimizer.second_step()
        clear(model, optimizer)


def frozen_from_the_start(clear: Clear) -> None:
    model = layers()
    model[0].requires_grad_(False)
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in steps_of(optimizer, clear, model):
        backward(loss_of(model))


def frozen_later(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in steps_of(optimizer, clear, model):
        if step == 4:
            model[0].requires_grad_(False)
        backward(loss_of(model))


def sparse_gradients(clear: Clear) -> None:
    torch.manual_seed(0)
    model = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.01)
    for _ in steps_of(optimizer, clear, model):
        backward(model(torch.tensor([1, 1, 3])).square().sum())


def branches_in_turns(clear: Clear) -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 1) for _ in range(3)])
    model = nn.ModuleList([trunk, heads])
    optimizer = Adam(model.parameters(), lr=0.01)
    for step in steps_of(optimizer, clear, model):
        backward(heads[step % 3](trunk(torch.randn(8, 4))).square().mean())


def dead_units(clear: Clear) -> None:
    """All gradients are zero from the second step on, and clipped all the same."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in steps_of(optimizer, clear, model):
        backward(model(torch.ones(1, 2) * (1 if step == 1 else 1e6)).sum() * (1 if step == 1 else 0))
        clip_grad_norm_(model.parameters(), 1.0)


def zeros_that_are_averaged_by_hand(clear: Clear) -> None:
    """The margin is kept in every other batch: no weight has a gradient then, and it is halved."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in steps_of(optimizer, clear, model):
        backward((loss_of(model) - (0 if step % 2 else 1e6)).relu())
        for p in model.parameters():
            if p.grad is not None:
                p.grad /= 2


def with_closure(clear: Clear) -> None:
    model = layers()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Tensor:
        clear(model, optimizer)
        loss = loss_of(model)
        backward(loss)
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)  # type: ignore[no-untyped-call]


def with_a_scaler(clear: Clear) -> None:
    model = layers()
    optimizer, scaler = SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(STEPS):
        clear(model, optimizer)
        backward(scaler.scale(loss_of(model)))
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 1e3)
        scaler.step(optimizer)
        scaler.update()


def steps_in_hooks(clear: Clear) -> None:
    model = layers()
    optimizers: dict[Tensor, SGD] = {p: SGD([p], lr=0.1) for p in model.parameters()}

    def step(p: Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]
    for _ in range(STEPS):
        backward(loss_of(model))
        for optimizer in optimizers.values():
            clear(model, optimizer)


def checkpointed(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in steps_of(optimizer, clear, model):
        inputs = torch.ones(8, 4, requires_grad=True)
        backward(checkpoint(model, inputs, use_reentrant=True).square().mean())


def gradients_put_there(clear: Clear) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())
    for _ in steps_of(optimizer, clear, model):
        for p, gradient in zip(parameters, torch.autograd.grad(loss_of(model), parameters), strict=True):
            p.grad = gradient


def gradients_put_there_before_a_backward(clear: Clear) -> None:
    """A penalty's gradient, which the backward adds to."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in steps_of(optimizer, clear, model):
        for p in model.parameters():
            p.grad = 0.01 * p.detach()
        backward(loss_of(model))


def one_layer_held_by_hand(clear: Clear) -> None:
    """The last layer is not to move at first: its gradient is taken away, as SwAV and DINO do."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in steps_of(optimizer, clear, model):
        backward(loss_of(model))
        clear(model[2], SGD(model[2].parameters()))


def an_optimizer_that_passes_frozen_over(clear: Clear) -> None:
    class Careful(SGD):
        @torch.no_grad()
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            for p in self.param_groups[0]["params"]:
                if p.requires_grad and p.grad is not None:
                    p.sub_(p.grad, alpha=0.1)

    model = layers()
    optimizer = Careful(model.parameters(), lr=0.1)
    for step in range(STEPS):
        if step == 1:
            model[0].requires_grad_(False)
        clear(model[2], SGD(model[2].parameters()))
        if step == 0:
            clear(model, optimizer)
        backward(loss_of(model))
        optimizer.step()


SOUND = (
    cleared_after_the_step,
    a_graph_gone_through_twice,
    micro_batches,
    micro_batches_thrown_away,
    two_optimizers_over_one_backward,
    each_cleared_after_its_own_step,
    adversaries,
    two_backwards_of_sam,
    frozen_from_the_start,
    frozen_later,
    sparse_gradients,
    branches_in_turns,
    dead_units,
    zeros_that_are_averaged_by_hand,
    with_closure,
    with_a_scaler,
    steps_in_hooks,
    checkpointed,
    gradients_put_there,
    gradients_put_there_before_a_backward,
    one_layer_held_by_hand,
    an_optimizer_that_passes_frozen_over,
)

ABOUT_GRADIENTS = (
    "stale gradient",
    "accumulated gradient",
    "cleared gradient",
    "no gradient",
    "parameter without gradient",
)


@pytest.mark.parametrize("clear", CLEARINGS)
@pytest.mark.parametrize("program", SOUND)
def test_a_sound_training_has_no_fault_of_its_gradients(
    program: Callable[[Clear], None], clear: Clear
) -> None:
    found = [d for d in found_in(lambda: program(clear)) if d.fault in ABOUT_GRADIENTS]

    assert found == []


def test_the_loss_of_micro_batches_of_which_one_is_used_is_that_one() -> None:
    """Eight micro-batches of which the gradients are 1 to 8; the step after four uses those of 4 and 8."""
    weight = nn.Parameter(torch.ones(1))
    with watching() as watcher:
        optimizer = SGD([weight], lr=0.0)
        for k in range(1, 9):
            optimizer.zero_grad()
            backward((weight * k).sum())
            if k % 4 == 0:
                optimizer.step()

    assert numbers(only(watcher), "loss") == [4.0, 8.0]
    assert numbers(only(watcher), "gradient_norm") == [4.0, 8.0]
    assert gradient_kinds(only(watcher)) == ["fresh", "fresh"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("clear", [by_module, by_module_to_zero])
def test_a_compiled_function_that_clears_gradients_stays_one_graph(clear: Clear) -> None:
    torch.compiler.reset()
    model = nn.Linear(3, 1)

    def cleared(inputs: Tensor) -> Tensor:
        clear(model, optimizer)
        made: Tensor = model(inputs).square().sum()
        return made

    with watching() as watcher:
        optimizer = SGD(model.parameters(), lr=0.01)
        compiled = torch.compile(cleared, backend="eager", fullgraph=True)
        for _ in range(3):
            backward(compiled(torch.ones(2, 3)))
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh"] * 3
    assert diagnose(seen(watcher)) == ()


def test_what_is_put_around_zero_grad_is_taken_back() -> None:
    def functions() -> list[object]:
        return [Optimizer.zero_grad, nn.Module.zero_grad]

    before = functions()
    with watching():
        assert all(a is not b for a, b in zip(before, functions(), strict=True))

    assert all(a is b for a, b in zip(before, functions(), strict=True))
