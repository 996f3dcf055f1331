from __future__ import annotations

import gc
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from support.watched import Task, gradient_kinds, numbers, only, seen, watching
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.lr_scheduler import ReduceLROnPlateau, SequentialLR, StepLR

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.patching import Attribute, Decorated, wrap
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.monitoring.torch_internals import clipping_with_norm
from optitrace.records.training import Scheduling, Tally, UnownedParameter
from optitrace.views.training_wording import ending

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw, fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "rprop": torch.optim.Rprop,
    "adagrad": torch.optim.Adagrad,
}


def norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.cat([t.detach().reshape(-1).double() for t in tensors]).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_the_norms_of_each_step_are_those_of_a_loop_that_measures_itself(
    name: str, dtype: torch.dtype
) -> None:
    task = Task(dtype)
    parameters = list(task.model.parameters())
    expected: dict[str, list[float]] = {
        n: [] for n in ("loss", "gradient_norm", "update_norm", "weight_norm")
    }
    with watching() as watcher:
        optimizer = MAKERS[name](task.model.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            before = [p.detach().clone() for p in parameters]
            expected["loss"].append(loss.item())
            expected["gradient_norm"].append(norm([p.grad for p in parameters if p.grad is not None]))
            optimizer.step()
            expected["update_norm"].append(norm([b - p for b, p in zip(before, parameters, strict=True)]))
            expected["weight_norm"].append(norm(parameters))

    trace = only(watcher)
    assert list(trace.steps) == [1, 2, 3, 4, 5]
    for quantity, values in expected.items():
        assert numbers(trace, quantity) == pytest.approx(values, rel=1e-6), quantity
    assert numbers(trace, "update_ratio") == pytest.approx(
        [u / w for u, w in zip(expected["update_norm"], expected["weight_norm"], strict=True)], rel=1e-6
    )


def test_watching_changes_no_bit_of_the_weights() -> None:
    def trained() -> list[Tensor]:
        task = Task()
        task.train(torch.optim.Adam(task.model.parameters()), 20)
        return [p.detach() for p in task.model.parameters()]

    alone = trained()
    with watching(RecordingConfig(parameters=True, state=True, patterns=("*",))):
        beside = trained()

    assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))


def test_what_is_put_in_the_place_of_torchs_functions_is_taken_back() -> None:
    def functions() -> list[object]:
        return [
            torch.optim.Optimizer.__init__,
            torch.autograd.backward,
            torch.amp.GradScaler.scale,
            torch.amp.GradScaler.step,
            torch.amp.GradScaler.unscale_,
            *(getattr(*place) for place in clipping_with_norm()),
            Decorated(torch.nn.utils.clip_grad_value_).get(),
            StepLR.__init__,
            torch.optim.lr_scheduler.LRScheduler.step,
            ReduceLROnPlateau.step,
            nn.Module.__setstate__,
        ]

    def hooks() -> int:
        return sum(len(value) for name, value in vars(nn.modules.module).items() if name.endswith("_hooks"))

    before, hooks_before = functions(), hooks()
    with watching():
        within = functions()
        assert hooks() == hooks_before + 2

    assert all(a is not b for a, b in zip(before, within, strict=True))
    assert all(a is b for a, b in zip(before, functions(), strict=True))
    assert hooks() == hooks_before


def stale(task: Task, optimizer: torch.optim.Optimizer) -> None:
    task.loss().backward()  # type: ignore[no-untyped-call]
    for _ in range(3):
        optimizer.step()


def accumulated(task: Task, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        task.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def several_backwards(task: Task, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        for _ in range(4):
            (task.loss() / 4).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def set_to_zero(task: Task, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        task.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def by_hand(task: Task, optimizer: torch.optim.Optimizer) -> None:
    parameters = list(task.model.parameters())
    for _ in range(3):
        for p, gradient in zip(parameters, torch.autograd.grad(task.loss(), parameters), strict=True):
            p.grad = gradient
        optimizer.step()


def without(task: Task, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.step()


def with_closure(task: Task, optimizer: torch.optim.Optimizer) -> None:
    def closure() -> float:
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    for _ in range(3):
        optimizer.step(closure)


@pytest.mark.parametrize(
    ("train", "kinds"),
    [
        (stale, ["fresh", "stale", "stale"]),
        (accumulated, ["fresh", "accumulated", "accumulated"]),
        (several_backwards, ["fresh"] * 3),
        (set_to_zero, ["fresh"] * 3),
        (by_hand, ["by hand"] * 3),
        (without, ["none"] * 3),
        (with_closure, ["fresh"] * 3),
    ],
)
def test_where_a_gradient_comes_from_is_told(
    train: Callable[[Task, torch.optim.Optimizer], None], kinds: list[str]
) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        train(task, optimizer)

    trace = only(watcher)
    assert gradient_kinds(trace) == kinds
    assert trace.gradients == {kind: Tally(kinds.count(kind), kinds.index(kind) + 1) for kind in kinds}


def test_the_loss_of_several_backwards_is_their_sum() -> None:
    task = Task()
    whole = task.loss().item()
    with watching() as watcher:
        several_backwards(task, torch.optim.SGD(task.model.parameters(), lr=0.0))

    assert numbers(only(watcher), "loss") == pytest.approx([whole] * 3)


def test_the_losses_of_two_optimizers_that_take_turns_are_told_apart() -> None:
    generator, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    noise, real = torch.randn(4, 2), torch.randn(4, 2)
    expected: list[tuple[float, float]] = []
    with watching() as watcher:
        of_judge = torch.optim.SGD(judge.parameters(), lr=0.1)
        of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
        for _ in range(3):
            judge.zero_grad()
            first, made = judge(real).mean(), generator(noise)
            first.backward()
            second = -judge(made.detach()).mean()
            second.backward()
            of_judge.step()
            generator.zero_grad()
            third = judge(made).mean()
            third.backward()  # which adds to the judge's gradients, too
            of_generator.step()
            expected.append((first.item() + second.item(), third.item()))

    ours, theirs = seen(watcher).optimizers
    assert [ours.name, theirs.name] == ["of_judge", "of_generator"]
    assert numbers(ours, "loss") == pytest.approx([e[0] for e in expected])
    assert numbers(theirs, "loss") == pytest.approx([e[1] for e in expected])
    assert set(ours.gradients) == set(theirs.gradients) == {"fresh"}


def test_a_closures_first_gradient_is_recorded_as_it_left_it() -> None:
    task = Task()
    task.loss().backward()  # type: ignore[no-untyped-call]
    unclipped = norm([p.grad for p in task.model.parameters() if p.grad is not None])
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(task.model.parameters(), 0.25)
            return loss

        optimizer.step(closure)

    trace = only(watcher)
    assert numbers(trace, "gradient_norm") == pytest.approx([0.25], rel=1e-5)
    assert numbers(trace, "unclipped_gradient_norm") == pytest.approx([unclipped])
    assert trace.clippings["used"].cut == Tally(1, 1)


def test_clippings_that_take_effect_are_counted_and_others_are_not() -> None:
    task = Task()
    with watching(RecordingConfig(every=100)) as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        for step in range(1, 7):
            optimizer.zero_grad()
            task.loss().backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(task.model.parameters(), 0.01 if step in (2, 4) else 1e9)
            clip_grad_value_(task.model.parameters(), 1e-4 if step in (4, 5) else 1e9)
            optimizer.step()

    used = only(watcher).clippings["used"]
    assert (used.steps, used.cut, used.limits) == (Tally(6, 1), Tally(3, 2), (1e-4, 1e9))


def test_a_clipping_by_value_is_heard_by_each_of_two_watches() -> None:
    task = Task()
    with watching() as outer, watching() as inner:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.loss().backward()  # type: ignore[no-untyped-call]
        clip_grad_value_(task.model.parameters(), 1e-4)
        optimizer.step()

    for watcher in (outer, inner):
        assert only(watcher).clippings["used"].cut == Tally(1, 1)
        assert numbers(only(watcher), "gradient_norm") == pytest.approx(
            [15**0.5 * 1e-4]
        )  # 12 weights, 3 biases


def test_a_clipping_that_torch_no_longer_decorates_is_heard_by_its_public_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Decorated(clip_grad_value_).get()
    for module in (nn.utils, nn.utils.clip_grad):
        monkeypatch.setattr(module, "clip_grad_value_", plain)
    task = Task()
    with watching() as watcher, torch.no_grad():
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        with torch.enable_grad():
            task.loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(task.model.parameters(), 1e-4)
        optimizer.step()

    assert only(watcher).clippings["used"].cut == Tally(1, 1)
    assert nn.utils.clip_grad_value_ is plain


def test_a_step_that_a_scaler_leaves_out_is_a_skipped_one_and_its_loss_is_unscaled() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.Adam(task.model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        losses = []
        for step in range(1, 5):
            optimizer.zero_grad()
            loss = task.loss() * (float("inf") if step == 2 else 1)
            losses.append(loss.item())
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()

    trace = only(watcher)
    assert gradient_kinds(trace) == ["fresh", "skipped", "fresh", "fresh"]
    assert numbers(trace, "loss") == losses
    assert numbers(trace, "update_norm")[1] == 0
    assert trace.non_finite == ()
    assert (trace.taken, watcher.step) == (4, 4)


def test_a_fused_optimizer_that_scales_and_skips_by_itself_is_told_of_alike() -> None:
    def gradients(**more: Any) -> tuple[list[str], list[float]]:
        task = Task()
        with watching() as watcher:
            optimizer = torch.optim.Adam(task.model.parameters(), lr=0.0, **more)
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
            for step in range(1, 4):
                optimizer.zero_grad()
                loss = task.loss() * (float("inf") if step == 2 else 1)
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
        trace = only(watcher)
        return gradient_kinds(trace), numbers(trace, "gradient_norm")

    kinds, norms = gradients(fused=True)
    expected_kinds, expected = gradients(fused=False)
    assert kinds == expected_kinds == ["fresh", "skipped", "fresh"]
    assert norms[0] == pytest.approx(expected[0])
    assert norms[2] == pytest.approx(expected[2])


def test_a_scaler_that_refuses_a_second_step_is_no_skipped_one_and_hides_no_scaled_gradient() -> None:
    task, scaler = Task(), torch.amp.GradScaler("cpu")
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        scaler.scale(task.loss()).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="already been called"):
            scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scaler.scale(task.loss()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert only(watcher).gradients == {"fresh": Tally(1, 1), "scaled": Tally(1, 2)}


def test_a_step_whose_closure_fails_is_none_and_the_next_has_its_number() -> None:
    task = Task()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def failing() -> float:
        raise ValueError("no more data")

    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        optimizer.step(closure)
        with pytest.raises(ValueError, match="no more data"):
            optimizer.step(failing)
        assert only(watcher).taken == 1
        optimizer.step(closure)

    trace = only(watcher)
    assert (list(trace.steps), trace.taken, watcher.step) == ([1, 2], 2, 2)
    assert trace.gradients == {"fresh": Tally(2, 1)}


def test_a_gradient_that_is_still_scaled_is_told_of() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=1e-6)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(2):
            optimizer.zero_grad()
            scaler.scale(task.loss()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert only(watcher).gradients == {"scaled": Tally(2, 1)}


@pytest.mark.parametrize(
    ("quantity", "step", "parameter"),
    [("loss", 3, None), ("gradient", 3, "weight"), ("weights", 3, "weight")],
)
def test_the_first_number_that_is_not_finite_is_named(
    quantity: str, step: int, parameter: str | None
) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)

        def spoil(step: int) -> None:
            if step == 2:
                task.inputs.fill_(float("nan"))

        task.train(optimizer, 5, spoil)

    found = {f.quantity: f for f in only(watcher).non_finite}
    assert (found[quantity].step, found[quantity].parameter) == (step, parameter)


def test_only_the_parameter_that_has_it_is_named() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.loss().backward()  # type: ignore[no-untyped-call]
        assert task.model.bias.grad is not None
        task.model.bias.grad[1] = float("inf")
        optimizer.step()

    assert [(f.quantity, f.parameter) for f in only(watcher).non_finite] == [
        ("gradient", "bias"),
        ("weights", "bias"),
    ]


def test_a_gradient_too_large_for_its_square_is_finite_all_the_same() -> None:
    weights = torch.zeros(3, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.0)
        for size in (1e25, 1e-25):
            optimizer.zero_grad()
            (weights * size).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    trace = only(watcher)
    assert numbers(trace, "gradient_norm") == pytest.approx([3**0.5 * 1e25, 3**0.5 * 1e-25])
    assert trace.non_finite == ()


def test_updates_that_rounding_takes_are_counted() -> None:
    weights = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.bfloat16, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=1e-4)
        (weights * torch.tensor([1.0, 2.0, 0.0, 1.0])).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    [lost] = only(watcher).lost
    # 1e-4 and 2e-4 are below half of bfloat16's step at 1; nothing is lost at 0 or where the gradient is 0
    assert (lost.step, lost.lost, lost.coordinates) == (1, 2, 3)


def test_schedulers_are_counted_however_they_are_nested() -> None:
    task = Task()
    with watching() as watcher, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        nested = SequentialLR(optimizer, [StepLR(optimizer, 1), StepLR(optimizer, 2)], milestones=[2])
        plateau = ReduceLROnPlateau(optimizer)

        def step_both(step: int) -> None:
            nested.step()
            plateau.step(1.0)

        nested.step()
        task.train(optimizer, 4, step_both)

    scheduling = only(watcher).scheduling
    assert scheduling is not None
    assert (scheduling.steps, scheduling.early) == (9, 1)
    assert {"SequentialLR", "ReduceLROnPlateau"} <= set(scheduling.schedulers)


def test_names_come_from_the_module_that_owns_the_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1)))
    other = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        groups: list[dict[str, Any]] = [{"params": model.parameters()}, {"params": [other], "lr": 0.5}]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    trace = only(watcher)
    assert [p.name for p in trace.parameters] == [
        "0.weight",
        "0.bias",
        "1.0.weight",
        "1.0.bias",
        "group 1 · parameter 0",
    ]
    assert [p.had_gradient for p in trace.parameters] == [True] * 4 + [False]
    assert trace.columns["lr"].row(0) == (0.1, 0.5)


def test_a_compiled_model_has_the_names_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 1))
    compiled = torch.compile(model, backend="eager")
    with watching() as watcher:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        compiled(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    assert [p.name for p in only(watcher).parameters] == ["0.weight", "0.bias"]


def losses_of_a_compiled_step() -> list[float]:
    torch.compiler.reset()
    torch.manual_seed(0)
    model, losses = nn.Linear(3, 1), []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    step = torch.compile(optimizer.step, backend="eager")
    for _ in range(5):
        optimizer.zero_grad()
        loss = (model(torch.ones(2, 3)) - 1).square().sum()
        loss.backward()
        step()
        losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's own
def test_a_compiled_step_is_watched_and_makes_the_same_of_the_weights() -> None:
    alone = losses_of_a_compiled_step()
    with watching() as watcher:
        watched = losses_of_a_compiled_step()

    assert watched == alone
    assert list(only(watcher).columns["loss"].values) == alone
    assert only(watcher).taken == 5


def test_parameters_that_no_optimizer_or_that_two_have_are_told() -> None:
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    with watching() as watcher:
        first = torch.optim.SGD(layer.parameters(), lr=0.1)
        second = torch.optim.Adam([layer.weight])
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
            first.step()
            second.step()

    training = seen(watcher)
    assert training.unowned == (UnownedParameter("1.weight", "first"), UnownedParameter("1.bias", "first"))
    assert [p.also_in for p in training.optimizers[0].parameters] == ["second", ""]
    assert [p.also_in for p in training.optimizers[1].parameters] == ["first"]


def test_optimizers_that_step_one_after_another_share_no_parameter() -> None:
    layer = nn.Linear(2, 2)
    with watching() as watcher:
        for optimizer in (torch.optim.SGD(layer.parameters()), torch.optim.Adam(layer.parameters())):
            for _ in range(2):
                layer(torch.ones(1, 2)).sum().backward()
                optimizer.step()

    assert [p.also_in for one in seen(watcher).optimizers for p in one.parameters] == [""] * 4


def test_an_optimizer_within_another_is_no_second_owner() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})
            self.inner = torch.optim.SGD(self.param_groups, lr=0.1)

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.inner.step()

    task = Task()
    with watching() as watcher:
        task.train(Wrapper(task.model.parameters()), 2)

    training = seen(watcher)
    assert [p.also_in for o in training.optimizers for p in o.parameters] == [""] * 4
    assert training.idle == ()


def test_a_group_that_is_added_begins_a_new_record() -> None:
    task, more = Task(), torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 3)
        optimizer.add_param_group({"params": [more]})
        task.train(optimizer, 2)

    before, after = seen(watcher).optimizers
    assert (before.name, list(before.steps), len(before.parameters)) == ("SGD", [1, 2, 3], 2)
    assert (after.name, list(after.steps), len(after.parameters)) == ("SGD, from step 4 on", [4, 5], 3)


def test_a_parameter_that_takes_the_place_of_another_begins_a_new_record() -> None:
    first, second, other = (torch.ones(2, requires_grad=True) for _ in range(3))
    with watching() as watcher:
        optimizer = torch.optim.SGD([first, second], lr=0.1)
        for step in range(4):
            if step == 2:
                optimizer.param_groups[0]["params"][1] = other
            optimizer.zero_grad()
            (first + second + 3 * other).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    before, after = seen(watcher).optimizers
    assert (before.name, after.name) == ("SGD", "SGD, from step 3 on")
    assert numbers(before, "gradient_norm") == pytest.approx([2.0] * 2)
    assert numbers(after, "gradient_norm")[1] == pytest.approx(20**0.5)  # 1² + 1² + 3² + 3²


def test_parameters_that_take_the_place_of_all_have_gradients_of_their_own() -> None:
    old, new = Task(), Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(old.model.parameters(), lr=0.1)
        old.train(optimizer, 1)
        optimizer.param_groups[0]["params"] = list(new.model.parameters())
        new.train(optimizer, 2)

    assert [gradient_kinds(trace) for trace in seen(watcher).optimizers] == [["fresh"], ["fresh"] * 2]


def test_weights_that_get_another_shape_begin_a_new_record() -> None:
    weights = torch.nn.Parameter(torch.ones(4))
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.0)
        for size in (4, 4, 1, 2):
            weights.data, weights.grad = torch.ones(size), None
            weights.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    traces = seen(watcher).optimizers
    assert [(t.name, t.parameters[0].shape) for t in traces] == [
        ("SGD", (4,)),
        ("SGD, from step 3 on", (1,)),
        ("SGD, from step 4 on", (2,)),
    ]
    assert [numbers(t, "weight_norm") for t in traces] == [[2.0, 2.0], [1.0], [pytest.approx(2**0.5)]]


def test_parameters_without_numbers_are_passed_over() -> None:
    task = Task()
    without = [torch.ones(2, device="meta", requires_grad=True) for _ in range(2)]
    lazy = nn.LazyLinear(1)
    with watching() as watcher:
        idle = torch.optim.SGD([without[0]], lr=0.1)
        groups: list[dict[str, Any]] = [{"params": [without[1]]}, {"params": task.model.parameters()}]
        optimizer = torch.optim.Adam(groups)
        for p in without:
            p.grad = torch.ones_like(p)
        idle.step()
        task.train(optimizer, 2)
        later = torch.optim.RMSprop(lazy.parameters())
        lazy(torch.ones(1, 2)).sum().backward()
        later.step()

    adam, rmsprop = seen(watcher).optimizers
    assert [(p.name, p.group) for p in adam.parameters] == [("weight", 1), ("bias", 1)]
    assert [p.name for p in rmsprop.parameters] == ["weight", "bias"]
    assert (adam.taken, rmsprop.taken) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer: optimizer.param_groups.clear(),
        lambda optimizer: [group["params"].clear() for group in optimizer.param_groups],
        lambda optimizer: optimizer.param_groups[0]["params"].append(torch.ones(1)),
    ],
    ids=["no group", "empty groups", "one more"],
)
def test_what_is_done_to_groups_after_the_last_step_changes_nothing_that_was_seen(
    change: Callable[[torch.optim.Optimizer], None],
) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD([{"params": [p]} for p in task.model.parameters()], lr=0.1)
        task.train(optimizer, 2)
        change(optimizer)

    assert [(p.name, p.shape, p.group) for p in only(watcher).parameters] == [
        ("weight", (3, 4), 0),
        ("bias", (3,), 1),
    ]


def test_a_schedule_over_records_of_two_groups_is_told_once_and_as_it_ended() -> None:
    task, more = Task(), torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        scheduler = StepLR(optimizer, 1)
        task.train(optimizer, 15)
        optimizer.add_param_group({"params": [more]})
        task.train(optimizer, 2)
        scheduler.step()

    training = seen(watcher)
    assert [trace.scheduling for trace in training.optimizers] == [
        Scheduling(("StepLR",), 1, 0, reached=1, late=1),
        None,
    ]
    assert [diagnosis.fault for diagnosis in diagnose(training)] == ["parameter without gradient"]
    assert ending(training) == "completed after 15 steps of SGD and 2 steps of SGD, from step 16 on"


def test_a_parameter_without_numbers_lacks_no_gradient() -> None:
    weights, empty = torch.ones(2, requires_grad=True), torch.ones(0, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights, empty], lr=0.1)
        weights.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert all(p.had_gradient for p in only(watcher).parameters)


def test_a_class_of_schedulers_that_is_made_while_watched_is_heard() -> None:
    task = Task()
    with watching() as watcher:

        class Halving(torch.optim.lr_scheduler.LRScheduler):
            def step(self, epoch: int | None = None) -> None:
                for group in self.optimizer.param_groups:
                    group["lr"] /= 2

        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        scheduler = Halving(optimizer)
        task.train(optimizer, 2, then=lambda step: scheduler.step())

    assert only(watcher).scheduling == Scheduling(("Halving",), 2, 0, late=1)


def test_what_others_put_in_a_place_between_two_watches_is_left_there() -> None:
    class Owner:
        def told(self) -> str:
            return "the first"

    place = Attribute(Owner, "told")
    wrap(place, lambda function: function)()
    later = lambda self: "the second"  # noqa: E731
    place.put(later)
    undo = wrap(place, lambda function: lambda self: f"watched, {function(self)}")

    assert Owner().told() == "watched, the second"
    undo()
    assert place.get() is later


def test_a_watch_that_begins_first_may_end_first() -> None:
    task = Task()
    before = torch.optim.Optimizer.__init__, torch.autograd.backward
    first, second = Monitor(RecordingConfig()), Monitor(RecordingConfig())
    interceptions = TorchHooks(first), TorchHooks(second)
    for interception in interceptions:
        interception.begin()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    task.train(optimizer, 2)
    interceptions[0].end()
    task.train(optimizer, 3)
    interceptions[1].end()
    task.train(optimizer, 4)

    assert [only(watcher).gradients for watcher in (first, second)] == [
        {"fresh": Tally(2, 1)},
        {"fresh": Tally(5, 1)},
    ]
    assert (torch.optim.Optimizer.__init__, torch.autograd.backward) == before


def test_a_step_of_an_optimizer_that_has_lost_its_parameters_is_passed_over() -> None:
    task, other = Task(), Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        emptied = torch.optim.SGD(other.model.parameters(), lr=0.1)
        emptied.param_groups[0]["params"] = []
        emptied.step()
        task.train(optimizer, 2)
        optimizer.param_groups[0]["params"] = []
        optimizer.step()

    assert only(watcher).taken == 2
    assert list(only(watcher).steps) == [1, 2]
    assert watcher.step == 2


class PassingOn(torch.optim.Optimizer):
    """An optimizer that only passes on, as accelerate's does, and was never made as one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.defaults = optimizer.defaults

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step()


def test_a_scheduler_over_what_passes_on_to_an_optimizer_is_that_optimizers() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        passing_on = PassingOn(optimizer)
        scheduler = StepLR(passing_on, 1)
        task.loss().backward()  # type: ignore[no-untyped-call]
        passing_on.step()
        scheduler.step()

    assert only(watcher).scheduling == Scheduling(("StepLR",), 1, 0, reached=1, late=1)


def test_a_scheduler_that_was_never_made_as_one_ends_no_watching() -> None:
    class VerifiedClass(StepLR):
        def __init__(self, moved: torch.optim.Optimizer) -> None:
            self.moved = moved

        def step(self, epoch: int | None = None) -> None:
            self.moved.param_groups[0]["lr"] /= 2

    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        scheduler = VerifiedClass(optimizer)
        task.train(optimizer, 2, lambda step: scheduler.step())

    assert numbers(only(watcher), "lr") == [0.1, 0.05]


def test_a_watch_within_another_is_told_of_schedulers_too() -> None:
    task = Task()
    with watching() as outer, watching() as inner:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        scheduler = StepLR(optimizer, 1)
        task.train(optimizer, 1)
        scheduler.step()

    assert (
        only(outer).scheduling == only(inner).scheduling == Scheduling(("StepLR",), 1, 0, reached=1, late=1)
    )


def test_an_optimizer_that_is_gone_keeps_its_record_and_not_its_parameters() -> None:
    with watching() as watcher:
        task = Task()
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 2)
        weights = weakref.ref(task.model.weight)
        del task, optimizer
        gc.collect()

        assert weights() is None

    assert list(only(watcher).steps) == [1, 2]


def test_what_load_state_dict_brings_is_what_is_recorded() -> None:
    task = Task()
    with watching(RecordingConfig(state=True)) as watcher:
        optimizer = torch.optim.Adam(task.model.parameters(), lr=0.01)
        task.train(optimizer, 2)
        saved = optimizer.state_dict()
        saved["param_groups"][0]["lr"] = 0.5
        optimizer.load_state_dict(saved)
        task.train(optimizer, 2)

    trace = only(watcher)
    assert numbers(trace, "lr") == [0.01, 0.01, 0.5, 0.5]
    assert list(trace.state["step"].values) == [1, 2, 3, 4]


@pytest.mark.parametrize("is_tensor", [False, True])
def test_an_lr_may_be_a_tensor(is_tensor: bool) -> None:
    task = Task(torch.float64)
    weight, bias = task.model.parameters()
    with watching() as watcher:
        lr: Any = torch.tensor(0.25, dtype=torch.float64) if is_tensor else 0.25
        groups: list[dict[str, Any]] = [{"params": [weight], "lr": lr}, {"params": [bias], "lr": 0.5}]
        task.train(torch.optim.SGD(groups, foreach=False), 2)
        task.train(torch.optim.SGD(task.model.parameters(), lr=lr, foreach=False), 1)

    two, one = seen(watcher).optimizers
    assert [two.columns["lr"].row(k) for k in range(2)] == [(0.25, 0.5)] * 2
    assert numbers(one, "lr") == [0.25]


def test_sparse_gradients_have_a_norm() -> None:
    embedding = nn.Embedding(5, 2, sparse=True)
    with watching() as watcher:
        optimizer = torch.optim.SparseAdam(embedding.parameters())
        embedding(torch.tensor([1, 1, 3])).sum().backward()
        optimizer.step()  # type: ignore[no-untyped-call]

    # row 1 is used twice: (2, 2, 1, 1)
    assert numbers(only(watcher), "gradient_norm") == pytest.approx([10**0.5])


def test_what_is_wished_for_is_recorded_and_nothing_else() -> None:
    wish = RecordingConfig(
        every=2, first=3, last=8, state=True, parameters=True, patterns=("weight[0,1]", "b*")
    )
    task = Task()
    weights: dict[int, float] = {}
    with watching(wish) as watcher:
        optimizer = torch.optim.Adam(task.model.parameters(), lr=0.01)
        task.train(optimizer, 10, lambda k: weights.update({k: task.model.weight[0, 1].item()}))

    trace = only(watcher)
    assert list(trace.steps) == [3, 4, 6, 8]
    assert trace.taken == 10
    assert list(trace.values["weight[0,1]"].values) == [weights[k] for k in (3, 4, 6, 8)]
    assert trace.values["bias"].shape == (3,)
    assert list(trace.state["step"].values) == [3, 4, 6, 8]
    assert trace.by_parameter["weight_norm"].shape == (2,)
    whole = trace.columns["gradient_norm"].row(1)
    assert whole == pytest.approx((norm_of(trace.by_parameter["gradient_norm"].row(1)),))


def norm_of(parts: tuple[float, ...] | None) -> float:
    assert parts is not None
    return math.hypot(*parts)


def test_a_long_record_goes_to_disk_and_comes_back_whole() -> None:
    weights = torch.ones(2, requires_grad=True)
    steps = 70_000
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.0)
        weights.grad = torch.ones(2)
        for _ in range(steps):
            optimizer.step()

    trace = only(watcher)
    assert len(trace.steps) == steps
    assert isinstance(trace.columns["weight_norm"].values, memoryview)
    assert set(trace.columns["weight_norm"].values) == {2**0.5}
    assert trace.columns["gradient_norm"].row(steps - 1) == pytest.approx((2**0.5,))


def test_a_failure_of_the_watcher_leaves_the_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError("no room for a copy of the weights")

    task = Task()
    with pytest.raises(MemoryError, match="no room"), watching() as watcher:  # noqa: PT012
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 2)
        monkeypatch.setattr("optitrace.monitoring.step_metrics.StepMetrics.gradient_norm", fail)
        before = task.model.weight.detach().clone()
        task.train(optimizer, 2)
        assert not torch.equal(before, task.model.weight)
        assert watcher.step == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_the_norms_are_those_of_the_cpu() -> None:
    def norms(device: str) -> dict[str, list[float]]:
        task = Task()
        task.model.to(device)
        task.inputs, task.targets = task.inputs.to(device), task.targets.to(device)
        with watching() as watcher:
            task.train(torch.optim.Adam(task.model.parameters()), 300)
        trace = only(watcher)
        return {
            name: numbers(trace, name) for name in ("loss", "gradient_norm", "update_norm", "weight_norm")
        }

    on_cuda, on_cpu = norms("cuda"), norms("cpu")
    for name, expected in on_cpu.items():
        assert on_cuda[name] == pytest.approx(expected, rel=1e-3), name
