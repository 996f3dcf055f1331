"""What the terms of a rule do in the dtype of the weights, against torch's optimizers with and without."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from support.watched import only, watching
from torch import Tensor, nn

from optitrace.monitoring import term_effects
from optitrace.records.training import OptimizerTrace, StalledCounter, StuckState, Tally, TermEffect
from optitrace.tracing.step_replay import ReplayInput, ReplayOutput, replay

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
LRS = (1e-1, 1e-3, 1e-5, 1e-7, 1e-12)
DECAYS = (0.03, 4e-3, 1.5e-4)
"""In each dtype one product with an lr is between the least and the greatest half ulp of a weight."""

GRID = list(product(DTYPES, LRS, DECAYS))
STEPS = 4
INSPECTED = (1, 2, 4)

Make = Callable[[nn.Module], torch.optim.Optimizer]


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(20)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)).to(dtype)


def differentiate(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 16, generator=generator).to(next(model.parameters()).dtype)
    (model(x) - x[:, :1]).square().mean().backward()


def watched(dtype: torch.dtype, make: Make, steps: int = STEPS) -> OptimizerTrace:
    model = network(dtype)
    with watching() as watcher:
        optimizer = make(model)
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            differentiate(model, step)
            optimizer.step()
    return only(watcher)


def brute_force(dtype: torch.dtype, make: Make, term: str, neutral: Any) -> list[int]:
    """Return how many weights another optimizer without the term makes different, in each inspected step."""
    model = network(dtype)
    optimizer, counts = make(model), []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        differentiate(model, step)
        other_model, other = copy.deepcopy((model, optimizer))
        for parameter, twin in zip(model.parameters(), other_model.parameters(), strict=True):
            assert parameter.grad is not None
            twin.grad = parameter.grad.clone()
        for group in other.param_groups:
            group[term] = neutral
        optimizer.step()
        other.step()
        pairs = zip(model.parameters(), other_model.parameters(), strict=True)
        counts.append(sum(int((a != b).sum()) for a, b in pairs))
    return [counts[step - 1] for step in INSPECTED]


def effect_of(trace: OptimizerTrace, term: str) -> TermEffect:
    [effect] = [each for each in trace.effects if each.term == term]
    return effect


def decaying(lr: float, decay: float) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, eps=1e-3)


def until_it_acts(counts: list[int]) -> list[int]:
    """Return the counts up to the first that is not 0: a term that has acted is not looked at again."""
    return counts[: next((k for k, count in enumerate(counts) if count), len(counts)) + 1]


def agreeing(grid: list[tuple[torch.dtype, float, float]]) -> int:
    """Return in how many cells what is recorded of weight decay is what torch gives with and without it."""
    agree = 0
    for dtype, lr, decay in grid:
        make = decaying(lr, decay)
        counts = until_it_acts(brute_force(dtype, make, "weight_decay", 0.0))
        effects = [e for e in watched(dtype, make).effects if e.term == "weight_decay"]
        found = [(e.changed, e.steps.count, e.idle.count if e.idle else 0, e.weights) for e in effects]
        agree += found == [(max(counts), len(counts), counts.count(0), 577)]
    return agree


def test_weight_decay_changes_as_many_weights_as_in_torch_in_60_of_60_cells() -> None:
    assert len(GRID) == 60
    assert agreeing(GRID) == 60


def test_the_grid_has_cells_of_all_kinds() -> None:
    counts = [brute_force(dtype, decaying(lr, decay), "weight_decay", 0.0) for dtype, lr, decay in GRID]

    assert sum(max(each) == 0 for each in counts) >= 30  # dead
    assert sum(max(each) > 550 for each in counts) >= 15  # alive
    assert sum(0 < max(each) < 550 for each in counts) >= 2  # near half an ulp


def test_a_replay_in_another_dtype_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(optimizer: Any, inputs: list[ReplayInput], groups: Any) -> list[ReplayOutput]:
        exact = [
            ReplayInput(each.group, each.weights.double(), each.gradient.double(), {}) for each in inputs
        ]
        return replay(optimizer, exact, groups)

    monkeypatch.setattr(term_effects, "replay", damaged)

    assert agreeing([cell for cell in GRID if cell[0] is torch.bfloat16]) <= 5  # of 15


@pytest.mark.parametrize(
    ("term", "neutral", "make"),
    [
        ("weight_decay", 0.0, lambda m: torch.optim.SGD(m.parameters(), lr=1e-3, weight_decay=1e-4)),
        ("momentum", 0.0, lambda m: torch.optim.SGD(m.parameters(), lr=1e-3, momentum=0.9)),
        ("nesterov", False, lambda m: torch.optim.SGD(m.parameters(), lr=1e-3, momentum=0.9, nesterov=True)),
        ("eps", 0.0, lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3, eps=1e-3)),
        ("centered", False, lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3, centered=True)),
        ("amsgrad", False, lambda m: torch.optim.Adam(m.parameters(), betas=(0.9, 0.1), amsgrad=True)),
        ("lr_decay", 0.0, lambda m: torch.optim.Adagrad(m.parameters(), lr=1e-2, lr_decay=0.1)),
        ("lambd", 0.0, lambda m: torch.optim.ASGD(m.parameters(), lr=1e-2, lambd=1.0)),
    ],
)
def test_every_term_changes_as_many_weights_as_in_torch(term: str, neutral: Any, make: Make) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        effect = effect_of(watched(dtype, make), term)
        counts = brute_force(dtype, make, term, neutral)

        assert effect.changed in counts
        assert effect.steps == Tally(len(until_it_acts(counts)), 1)


def stepped(
    weights: Tensor, gradients: list[Tensor], make: Callable[[list[Tensor]], torch.optim.Optimizer]
) -> OptimizerTrace:
    """Return what is seen of steps that use prescribed gradients."""
    weights = weights.requires_grad_()
    with watching() as watcher:
        optimizer = make([weights])
        for gradient in gradients:
            weights.grad = gradient.clone()
            optimizer.step()
    return only(watcher)


def test_eps_dominates_the_weights_whose_gradient_is_smaller() -> None:
    # Adam's first step is lr·g/(|g| + eps): below half of lr where |g| < eps
    gradient = torch.tensor([1.0, 2e-8, 0.5e-8, 1e-12])
    effect = effect_of(stepped(torch.ones(4), [gradient], lambda w: torch.optim.Adam(w, lr=0.1)), "eps")

    assert (effect.value, effect.share, effect.dominated) == (1e-8, 0.5, ())


def test_a_parameter_is_dominated_where_nearly_all_that_move_are() -> None:
    gradient = torch.tensor([1e-12] * 18 + [1.0, 0.0, 0.0])  # the last two do not move
    trace = stepped(torch.ones(21), [gradient], lambda w: torch.optim.Adam(w, lr=0.1))

    assert effect_of(trace, "eps").dominated == ("group 0 · parameter 0",)
    assert effect_of(trace, "eps").share == pytest.approx(18 / 19)


def test_amsgrad_is_idle_as_long_as_the_second_moment_grows() -> None:
    def amsgrad(weights: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, betas=(0.9, 0.1), amsgrad=True)

    growing = [torch.full((3,), float(size)) for size in (1, 2, 3, 4)]
    trace = stepped(torch.ones(3), growing, amsgrad)
    assert effect_of(trace, "amsgrad").idle == Tally(3, 1)

    trace = stepped(torch.ones(3), growing[::-1], amsgrad)
    assert effect_of(trace, "amsgrad").idle == Tally(1, 1)
    assert effect_of(trace, "amsgrad").changed == 3


@pytest.mark.parametrize(("weights", "gradient", "lr"), [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, 0.0)])
def test_a_step_that_cannot_show_an_effect_is_not_looked_at(
    weights: float, gradient: float, lr: float
) -> None:
    trace = stepped(
        torch.full((3,), weights),
        [torch.full((3,), gradient)],
        lambda w: torch.optim.AdamW(w, lr=lr, weight_decay=0.1),
    )

    assert trace.effects == ()


def test_a_parameter_without_a_gradient_is_not_looked_at() -> None:
    weights = [torch.ones(2, requires_grad=True), torch.ones(5, requires_grad=True)]
    with watching() as watcher:
        optimizer = torch.optim.AdamW(weights, lr=0.1, weight_decay=0.1)
        weights[0].grad = torch.ones(2)
        optimizer.step()

    assert effect_of(only(watcher), "weight_decay").weights == 2


def test_groups_and_dtypes_are_told_apart() -> None:
    first, second = torch.ones(2, requires_grad=True), torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    groups: list[dict[str, Any]] = [
        {"params": [first, second], "weight_decay": 0.01},
        {"params": [torch.ones(4, requires_grad=True)]},
    ]
    with watching() as watcher:
        optimizer = torch.optim.SGD(groups, lr=0.01)
        first.grad, second.grad = torch.ones(2), torch.ones(3, dtype=torch.bfloat16)
        optimizer.step()

    found = [(e.term, e.group, e.dtype, e.weights) for e in only(watcher).effects]
    assert found == [("weight_decay", 0, "float32", 2), ("weight_decay", 0, "bfloat16", 3)]


def test_of_a_large_model_a_sample_is_looked_at() -> None:
    trace = stepped(torch.ones(5000), [torch.ones(5000)], lambda w: torch.optim.AdamW(w))
    effect = effect_of(trace, "weight_decay")

    assert (effect.weights, effect.is_sampled, effect.changed) == (4096, True, 4096)


def test_only_inspected_steps_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> list[ReplayOutput]:
        calls.append(1)
        return replay(*arguments)

    monkeypatch.setattr(term_effects, "replay", counted)
    trace = watched(torch.float32, decaying(1e-6, 1e-3), steps=20)

    assert effect_of(trace, "weight_decay").steps == Tally(5, 1)  # 1, 2, 4, 8, 16
    assert effect_of(trace, "eps").steps == Tally(1, 1)
    assert (
        len(calls) == 5 * 2 + 1
    )  # as it is and without weight decay, which never acts, and once without eps


def test_a_sound_training_is_left_alone_once_each_term_has_acted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> list[ReplayOutput]:
        calls.append(1)
        return replay(*arguments)

    monkeypatch.setattr(term_effects, "replay", counted)
    watched(torch.float32, decaying(1e-3, 0.01), steps=20)

    assert len(calls) == 3


def test_nothing_is_said_of_a_step_that_is_not_the_optimizers_alone() -> None:
    weights = torch.ones(3, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.AdamW([weights], lr=0.1)

        def halve(*_: Any) -> None:
            with torch.no_grad():
                weights.mul_(0.5)

        optimizer.register_step_post_hook(halve)
        weights.grad = torch.ones(3)
        optimizer.step()

    assert only(watcher).effects == ()


def test_nothing_is_said_of_an_optimizer_without_a_rule() -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    trace = stepped(torch.ones(3), [torch.ones(3)], lambda w: Own(w, lr=0.1, weight_decay=0.1))

    assert trace.effects == ()


def test_a_step_that_a_program_has_put_in_place_of_torchs_is_not_called_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_step, calls = inspect.unwrap(torch.optim.AdamW.step), []

    def step(optimizer: torch.optim.Optimizer) -> None:
        calls.append(1)
        with torch.no_grad():
            own_step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    trace = watched(torch.float32, decaying(1e-3, 0.01))

    assert len(calls) == trace.taken == 4
    assert trace.effects == ()


def test_what_cannot_be_replayed_costs_the_effects_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> list[ReplayOutput]:
        raise RuntimeError("no copy can be made")

    monkeypatch.setattr(term_effects, "replay", failing)
    trace = watched(torch.float32, decaying(1e-3, 0.01))

    assert (trace.effects, trace.taken) == ((), 4)


def test_a_step_that_is_left_out_is_not_looked_at() -> None:
    weights = torch.ones(3, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.AdamW([weights], lr=0.1, fused=True)
        optimizer.found_inf, optimizer.grad_scale = torch.ones(()), torch.ones(())  # type: ignore[attr-defined]
        weights.grad = torch.ones(3)
        optimizer.step()

    assert only(watcher).effects == ()


def test_what_the_state_begins_with_is_no_term_of_a_step() -> None:
    trace = watched(
        torch.float32, lambda m: torch.optim.Adagrad(m.parameters(), initial_accumulator_value=0.1, eps=0.0)
    )

    assert trace.effects == ()


def test_neither_weights_nor_state_nor_random_numbers_are_touched() -> None:
    def train(make: Make) -> list[Tensor]:
        model = network(torch.bfloat16)
        optimizer = make(model)
        for step in range(1, 5):
            optimizer.zero_grad()
            differentiate(model, step)
            optimizer.step()
        state = [entry for each in optimizer.state.values() for entry in each.values()]
        return [*model.parameters(), *state, torch.rand(3)]

    make = decaying(1e-2, 0.1)
    alone = train(make)
    with watching():
        seen = train(make)

    assert all(torch.equal(one, other) for one, other in zip(alone, seen, strict=True))


def test_a_second_moment_that_cannot_fall_is_recorded() -> None:
    def adam(beta2: float) -> Make:
        return lambda model: torch.optim.Adam(model.parameters(), betas=(0.9, beta2))

    [stuck] = watched(torch.bfloat16, adam(0.999)).stuck

    assert stuck == StuckState("exp_avg_sq", "bfloat16", stuck.fall, Tally(2, 2), 2)
    assert stuck.fall == pytest.approx(0.001)  # 1 - beta2
    assert watched(torch.bfloat16, adam(0.95)).stuck == ()


def test_in_float32_and_where_nothing_is_to_fall_no_state_is_stuck() -> None:
    assert watched(torch.float32, lambda m: torch.optim.Adam(m.parameters())).stuck == ()
    assert watched(torch.bfloat16, lambda m: torch.optim.Adagrad(m.parameters())).stuck == ()
    assert watched(torch.bfloat16, lambda m: torch.optim.Rprop(m.parameters())).stuck == ()


def counted_from(value: float, dtype: torch.dtype, steps: int) -> OptimizerTrace:
    """Return what is seen of steps that begin with a loaded counter."""
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.Adam([weights])
        weights.grad = torch.ones(2)
        optimizer.state[weights] = {
            "step": torch.tensor(value, dtype=dtype),
            "exp_avg": torch.zeros(2),
            "exp_avg_sq": torch.zeros(2),
        }
        for _ in range(steps):
            optimizer.step()
    return only(watcher)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (254.0, torch.bfloat16, StalledCounter(256.0, "bfloat16", Tally(5, 3))),  # 8 significant bits
        (2046.0, torch.float16, StalledCounter(2048.0, "float16", Tally(5, 3))),  # 11 bits
        (254.0, torch.float32, None),
        (2.0, torch.bfloat16, None),
    ],
)
def test_a_counter_that_stays_is_recorded_from_the_step_on_that_leaves_it(
    value: float, dtype: torch.dtype, expected: StalledCounter | None
) -> None:
    assert counted_from(value, dtype, 7).stalled == expected
