"""Spikes are told with their cause; noise, curricula and schedules are none."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

import pytest
import torch
from support.trainings import PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.outliers import deviation, episodes
from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.analysis.training.diagnoses.spikes import spikes
from optitrace.analysis.training.diagnoses.step_size import lagging_entry, memory_of, step_exponents
from optitrace.records.findings import Diagnosis
from optitrace.records.trace import Column
from optitrace.records.training import NonFinite, OptimizerTrace
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.optimizer import Optimizer

STEPS = 80

Columns: TypeAlias = dict[str, list[float]]


def sgd(noise: float = 0.2, *, seed: int = 0, steps: int = STEPS) -> Columns:
    """Return the columns of SGD whose loss and gradient are log-normal; an update is lr times gradient."""
    random = Random(seed)
    gradients = [2 * math.exp(noise * random.gauss(0, 1)) for _ in range(steps)]
    return {
        "loss": [math.exp(noise * random.gauss(0, 1)) for _ in range(steps)],
        "lr": [0.1] * steps,
        "gradient_norm": gradients,
        "update_norm": [0.1 * gradient for gradient in gradients],
    }


def of(columns: Columns, **changes: Any) -> OptimizerTrace:
    return stepped(steps=len(columns["loss"]), columns=columns, **changes)


def spikes_of(optimizer: OptimizerTrace) -> list[Diagnosis]:
    return [found for found in diagnose(seen(optimizer)) if found.fault == "spike"]


def at(step: int, columns: Columns, **times: float) -> Columns:
    """Multiply numbers of a step."""
    for name, factor in times.items():
        columns[name][step - 1] *= factor
    return columns


def bad_batch(columns: Columns) -> Columns:
    return at(41, columns, loss=1000, gradient_norm=1000, update_norm=1000)


def summed_loss(columns: Columns) -> Columns:
    for step in (20, 40, 60, 80):
        at(step, columns, loss=64, gradient_norm=64, update_norm=64)
    return columns


def root_of_zero(columns: Columns) -> Columns:
    return at(41, columns, gradient_norm=1e6, update_norm=1e6)


def wrong_exponent_of_lr(columns: Columns) -> Columns:
    return at(41, columns, lr=100, update_norm=100)


def clipped_bad_batch(columns: Columns) -> Columns:
    return at(41, columns, loss=1000)


def state_replaced(columns: Columns) -> Columns:
    return at(41, columns, update_norm=50)


def accumulated_once(columns: Columns) -> Columns:
    return at(41, columns, gradient_norm=40, update_norm=40)


def thrown_far(columns: Columns) -> Columns:
    at(41, columns, gradient_norm=1000, update_norm=1000)
    for step in range(42, STEPS + 1):
        at(step, columns, loss=500)
    return columns


def loss_weighed_up(columns: Columns) -> Columns:
    for step in range(41, STEPS + 1):
        at(step, columns, loss=1e4, gradient_norm=1e4)
    return at(41, columns, update_norm=40)


def two_bad_batches(columns: Columns) -> Columns:
    at(41, columns, loss=100, gradient_norm=100, update_norm=100)
    return at(70, columns, loss=900, gradient_norm=900, update_norm=900)


def bad_batch_and_wrong_lr(columns: Columns) -> Columns:
    return wrong_exponent_of_lr(at(60, columns, gradient_norm=100, update_norm=100))


def last_batch(columns: Columns) -> Columns:
    return at(79, columns, loss=1000, gradient_norm=1000, update_norm=1000)


CAUSES: Mapping[Callable[[Columns], Columns], tuple[tuple[int, str], ...]] = {
    bad_batch: ((41, r"^the gradient of step 41 of SGD is .*, as is its loss \(.* times\)"),),
    summed_loss: (
        (20, r"^the gradient of step 20 .*; so it is in 4 places, every 20 steps, .*, the last at step 80"),
    ),
    root_of_zero: ((41, r"^the gradient of step 41 of SGD is [^;]* before \([^)]*\)$"),),
    wrong_exponent_of_lr: (
        (41, r"^the lr of step 41 of SGD is 10, 100 times .* gradient is not far outside"),
    ),
    clipped_bad_batch: ((41, r"^the loss of step 41 of SGD is .*, and its gradient is not far outside$"),),
    state_replaced: ((41, r"^the update of step 41 of SGD .*, and its gradient and its lr are not$"),),
    accumulated_once: ((41, r"^the gradient of step 41 of SGD is "),),
    thrown_far: ((41, r"^the gradient of step 41 .*; the loss does not come back: .* after it"),),
    loss_weighed_up: ((41, r"^the update of step 41 .*: its gradient is .* times as large from then on"),),
    two_bad_batches: ((41, r"so it is in 2 places, the worst at step 70, the last at step 70"),),
    bad_batch_and_wrong_lr: ((41, r"^the lr of step 41"), (60, r"^the gradient of step 60")),
    last_batch: ((79, r"^the gradient of step 79"),),
}
"""Twelve causes, and what is to be said of each from which step on."""


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_each_cause_is_named_with_its_first_step(cause: Callable[[Columns], Columns], noise: float) -> None:
    found = spikes_of(of(cause(sgd(noise))))

    assert [one.step for one in found] == [step for step, _ in CAUSES[cause]]
    for one, (_, words) in zip(found, CAUSES[cause], strict=True):
        assert re.search(words, one.fact), one.fact


def test_a_spike_is_told_in_numbers_worked_out_by_hand() -> None:
    columns = sgd(0.0)  # loss 1, lr 0.1, gradient 2
    [found] = spikes_of(of(at(31, columns, gradient_norm=50, update_norm=50)))

    assert found.fact == "the gradient of step 31 of SGD is 100, 50 times the median of 30 steps before (2)"
    assert (found.count, found.severity, found.parameter) == (1, "remark", None)
    assert found.numbers == {"factor": 50, "usual": 2, "worst": 31, "last": 31}
    assert found.remedy == (
        "look at what is divided or rooted in the forward of step 31; "
        "clip_grad_norm_() with a limit of a few times 2 would have cut it"
    )


def sine(step: int) -> float:
    return 1 + 0.5 * math.sin(step / 5)


SOUND: Mapping[str, Callable[[Random, int], float]] = {
    "constant": lambda random, step: 1.0,
    "noise of a tenth": lambda random, step: random.lognormvariate(0, 0.1),
    "noise of a half": lambda random, step: random.lognormvariate(0, 0.5),
    "noise of one": lambda random, step: random.lognormvariate(0, 1),
    "noise of one and a half": lambda random, step: random.lognormvariate(0, 1.5),
    "exponential": lambda random, step: random.expovariate(1),
    "squares of normal numbers": lambda random, step: random.gauss(0, 1) ** 2,
    "sizes of normal numbers": lambda random, step: abs(random.gauss(0, 1)),
    "uniform": lambda random, step: random.random() + 1e-6,
    "few samples": lambda random, step: sum(random.gauss(0, 1) ** 2 for _ in range(4)),
    "dropout": lambda random, step: random.choice((0.5, 1, 2)) * random.lognormvariate(0, 0.3),
    "bursts": lambda random, step: 5.0 if random.random() < 0.1 else random.lognormvariate(0, 0.3),
    "descent": lambda random, step: math.exp(-step / 20) * random.lognormvariate(0, 0.2),
    "descent to nothing": lambda random, step: 0.8**step,
    "ascent": lambda random, step: math.exp(step / 20) * random.lognormvariate(0, 0.2),
    "curriculum": lambda random, step: (1 if step < 100 else 30) * random.lognormvariate(0, 0.2),
    "two curricula": lambda random, step: 10 ** (step // 100) * random.lognormvariate(0, 0.2),
    "waves": lambda random, step: sine(step) * random.lognormvariate(0, 0.1),
    "epochs": lambda random, step: (3 if step % 20 < 3 else 1) * random.lognormvariate(0, 0.2),
    "rare classes": lambda random, step: (
        (50 if random.random() < 0.03 else 1) * random.lognormvariate(0, 0.3)
    ),
    "large at first": lambda random, step: 1e4 if step < 5 else random.lognormvariate(0, 0.2),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_noise_has_no_spike(kind: str) -> None:
    for seed in range(5):
        columns = sgd(0.1, steps=300)
        random = Random(seed)
        numbers = [SOUND[kind](random, step) for step in range(300)]
        columns |= {"loss": numbers, "gradient_norm": numbers, "update_norm": [0.1 * x for x in numbers]}

        assert spikes_of(of(columns)) == []


@pytest.mark.parametrize(
    "lr",
    [
        lambda step: min(1, (step + 1) / 30),
        lambda step: 1e-3 + 0.5 * (1 + math.cos(math.pi * (step % 30) / 30)),  # warm restarts
        lambda step: 0.1 ** (step // 100),
        lambda step: 100 if step >= 150 else 1,
        lambda step: 0 if step < 20 else 1,
    ],
)
def test_a_schedule_has_no_spike(lr: Callable[[int], float]) -> None:
    columns = sgd(0.1, steps=300)
    columns["lr"] = [lr(step) for step in range(300)]
    columns["update_norm"] = [a * b for a, b in zip(columns["lr"], columns["gradient_norm"], strict=True)]

    assert spikes_of(of(columns)) == []


@pytest.mark.parametrize(("factor", "is_spike"), [(7.9, False), (8.1, True)])
def test_a_spike_is_more_than_eight_times_the_median(factor: float, is_spike: bool) -> None:
    assert bool(spikes_of(of(at(41, sgd(0.0), loss=factor)))) == is_spike


@pytest.mark.parametrize(("step", "is_spike"), [(15, False), (16, True)])
def test_the_first_fifteen_steps_have_no_spike(step: int, is_spike: bool) -> None:
    assert bool(spikes_of(of(at(step, sgd(0.0), loss=100)))) == is_spike


def test_a_spike_is_three_times_the_greatest_number_before_it() -> None:
    columns = at(30, sgd(0.0), loss=7)  # no spike itself

    assert spikes_of(of(at(41, columns, loss=20))) == []
    assert [one.step for one in spikes_of(of(at(42, columns, loss=70)))] == [42]


def test_numbers_that_cannot_be_compared_are_passed_by() -> None:
    numbers = [math.nan, 0.0, -1.0, math.inf, *[1.0] * 15, math.nan]

    assert deviation(numbers, 19, set()) is None
    found = deviation([*numbers, 10.0], 20, set())
    assert found is not None
    assert (found.usual, found.factor, found.rows, found.spread) == (1.0, 10.0, 15, 0.0)
    assert deviation([*numbers, 10.0], 20, {5}) is None  # 14 are left


def test_a_spike_that_ends_in_numbers_that_are_not_finite_is_a_fault() -> None:
    broken = of(bad_batch(sgd()), non_finite=(NonFinite("weights", 43),))
    [found] = spikes_of(broken)

    assert found.severity == "fault"
    assert "; weights not finite at step 43" in found.fact
    [late] = spikes_of(replace(broken, non_finite=(NonFinite("weights", 62),)))
    assert late.severity == "remark"


def test_a_loss_that_does_not_come_back_makes_a_fault_of_it() -> None:
    [found] = spikes_of(of(thrown_far(sgd(0.0))))

    assert found.severity == "fault"
    assert "; the loss does not come back: 500 after it (median), 1 before" in found.fact


def test_the_parameter_that_has_the_most_is_named_where_norms_of_each_were_recorded() -> None:
    norms = array("d", [1.0, 1.0] * STEPS)
    norms[2 * 40 + 1] = 1000.0
    optimizer = replace(of(bad_batch(sgd())), by_parameter={"gradient_norm": Column(norms, (2,))})
    [found] = spikes_of(optimizer)

    assert found.parameter == PARAMETERS[1].name
    assert f", the most of it in {PARAMETERS[1].name}" in found.fact


LENGTH = 3000
COURSE = (1.0, 0.6, -0.3, 1.2, 0.8)


@pytest.mark.parametrize(
    ("name", "settings", "entry", "is_shorter"),
    [
        ("Adam", {"lr": 0.001, "betas": (0.9, 0.99)}, "exp_avg_sq", True),
        ("RMSprop", {"lr": 0.001, "alpha": 0.99}, "square_avg", True),
        ("SGD", {"lr": 0.001, "momentum": 0.95}, "momentum_buffer", False),
    ],
)
def test_how_long_a_spike_is_remembered_is_what_torch_does(
    name: str, settings: dict[str, Any], entry: str, is_shorter: bool
) -> None:
    """Torch's class takes the same steps with and without the spike, until they are about as long."""
    cls = getattr(torch.optim, name)
    sizes: list[list[float]] = []
    for times in (1.0, 1000.0):
        weight = torch.full((1,), 1.0, dtype=torch.float64, requires_grad=True)
        optimizer = cls([weight], **settings)
        lengths = []
        for t in range(1, LENGTH):
            before = weight.item()
            weight.grad = torch.tensor([COURSE[t % 5] * (times if t == 101 else 1)], dtype=torch.float64)
            optimizer.step()
            lengths.append(abs(weight.item() - before))
        sizes.append(lengths)
    blocks = range(101, LENGTH - 6, 5)
    ratios = [sum(sizes[1][k : k + 5]) / sum(sizes[0][k : k + 5]) for k in blocks]
    far = [k for k, ratio in zip(blocks, ratios, strict=True) if not 0.5 < ratio < 2]

    trace = stepped(name, hyperparameters=(settings,), class_path=f"torch.optim.{name.lower()}.{name}")
    found = memory_of(trace, 100, 1.0, 1000.0)
    assert found is not None
    assert (found.entry, found.is_shorter, found.is_over) == (entry, is_shorter, True)
    assert found.steps == pytest.approx(far[-1] + 5 - 101, abs=10)


def test_plain_sgd_remembers_nothing() -> None:
    trace = stepped(hyperparameters=({"lr": 0.1},), class_path="torch.optim.sgd.SGD")

    assert memory_of(trace, 100, 1.0, 1000.0) is None
    assert memory_of(replace(trace, class_path="mine.Own"), 100, 1.0, 1000.0) is None


def test_what_remembers_a_spike_is_said_if_the_updates_bear_it_out() -> None:
    columns = at(41, sgd(0.0), gradient_norm=1000)
    for step in range(42, STEPS + 1):
        at(step, columns, update_norm=0.1)
    adam = of(columns, class_path="torch.optim.adam.Adam", hyperparameters=({"lr": 0.1},))
    [found] = spikes_of(adam)

    assert "; exp_avg_sq remembers it: by the rule, updates are less than half as long " in found.fact
    [as_long] = spikes_of(replace(adam, columns=of(at(41, sgd(0.0), gradient_norm=1000)).columns))
    assert "remembers" not in as_long.fact


def test_what_is_still_that_of_the_steps_before_is_named() -> None:
    columns = loss_weighed_up(sgd(0.0))
    rmsprop = of(columns, class_path="torch.optim.rmsprop.RMSprop", hyperparameters=({"lr": 0.1},))
    [found] = spikes_of(rmsprop)

    assert found.fact.endswith("from then on, and square_avg is still that of the steps before")


@pytest.mark.parametrize(
    ("places", "is_told"),
    [
        ((20, 37, 50, 71), True),
        ((20, 33, 45, 58, 71), False),  # five of eighty, at any time
        ((20, 32, 44, 56, 68), True),  # every twelve steps
    ],
)
def test_spikes_that_come_often_and_at_any_time_belong_to_the_data(
    places: tuple[int, ...], is_told: bool
) -> None:
    columns = sgd(0.0)
    for step in places:
        at(step, columns, loss=100)

    assert bool(spikes_of(of(columns))) == is_told


def test_an_episode_ends_where_three_steps_are_as_usual() -> None:
    columns = sgd(0.0)
    for step in (41, 44, 48):
        at(step, columns, loss=100)

    assert [episode.rows for episode in episodes(of(columns))] == [(40, 43), (47,)]
    assert [one.count for one in spikes(of(columns))] == [2]


@pytest.mark.parametrize("optimizer", TORCH_OPTIMIZERS.values(), ids=lambda optimizer: optimizer.name)
def test_every_rule_of_torch_can_be_asked_what_it_remembers(optimizer: Optimizer) -> None:
    trace = stepped(class_path=optimizer.class_path, hyperparameters=({"lr": 0.01},))
    found = memory_of(trace, 30, 1.0, 100.0)

    assert found is None or (found.steps > 0 and found.entry in optimizer.state)
    assert lagging_entry(trace, 30, 1.0, 100.0) in {"", *optimizer.state}
    assert all(math.isfinite(power) for power in step_exponents(trace).values())
