"""Sweeps by the rule: what torch gives of each configuration, whatever is run together with it."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.sweeps import BEYOND, GRIDS, everything, space

from optitrace.analysis.sweeping.batch import MixedConditionError, Swept
from optitrace.analysis.sweeping.classes import measured
from optitrace.analysis.sweeping.measures import RANKS, Goal
from optitrace.analysis.sweeping.space import Space, columns, configuration, configurations
from optitrace.errors import UsageError
from optitrace.experiment.landscapes import LANDSCAPES
from optitrace.rules import source_patching
from optitrace.tracing.tracer import trace

TOLERANCE = {"float32": 2e-5, "float64": 2e-6}
"""Of the largest weight; in float64 some of torch's state is float32 nevertheless."""


def all_configurations(swept: Space) -> list[Any]:
    return configurations(swept, columns(swept, 0, swept.size))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [*GRIDS, *BEYOND])
def test_every_configuration_ends_where_torch_ends(optimizer: str, dtype: str) -> None:
    swept = space(optimizer, dtype=dtype)
    weights = everything(swept)["weights"]
    chosen = range(0, swept.size, max(1, swept.size // 12))

    for number in chosen:
        traced = trace(swept.experiment(configuration(swept, number)))
        torchs = traced.weights.row(len(traced.steps) - 1)
        assert torchs is not None
        assert weights[number].tolist() == pytest.approx(
            torchs, abs=TOLERANCE[dtype] * max(map(abs, traced.weights.values))
        )


@pytest.mark.parametrize("optimizer", [*GRIDS, *BEYOND])
def test_neither_the_chunk_nor_the_threads_change_a_bit(optimizer: str) -> None:
    swept = space(optimizer)
    whole = everything(swept, threads=1)

    for chunk, threads in ((1, 2), (7, 3), (33, 2), (10_000, 1)):
        parts = everything(swept, chunk=chunk, threads=threads)
        assert all(torch.equal(parts[name].nan_to_num(-1), whole[name].nan_to_num(-1)) for name in whole)


def test_a_rule_is_parsed_by_no_thread_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    original = source_patching.definition

    def definition(function: Any) -> Any:
        parsed.append(threading.current_thread())
        return original(function)

    source_patching.extent.cache_clear()
    monkeypatch.setattr(source_patching, "definition", definition)
    everything(space("adafactor"), threads=4, chunk=2)

    assert set(parsed) == {threading.main_thread()}


@pytest.mark.parametrize("steps", [1, 6])
def test_a_quadratic_off_the_axes_is_torchs(steps: int) -> None:
    swept = space("adam", ["lr=0.01,0.1"], dimension=3, condition=10.0, rotate=3, steps=steps)
    weights = everything(swept)["weights"]

    for ours, settings in zip(weights.tolist(), all_configurations(swept), strict=True):
        traced = trace(swept.experiment(settings))
        assert ours == pytest.approx(traced.weights.row(len(traced.steps) - 1), abs=1e-5)


def test_coefficients_off_the_axes_are_not_varied() -> None:
    with pytest.raises(
        UsageError, match="the coefficients of a rotated quadratic cannot be varied; leave out --rotate"
    ):
        space("sgd", ["coefficients.0=1,3"], rotate=3)


@pytest.mark.parametrize("gradient", ["fresh", "stale", "accumulated"])
def test_each_gradient_protocol_is_torchs(gradient: str) -> None:
    swept = space("adam", ["lr=0.01,0.1", "betas.0=0.5,0.9"], gradient=gradient)
    weights = everything(swept)["weights"]

    for ours, settings in zip(weights.tolist(), all_configurations(swept), strict=True):
        traced = trace(swept.experiment(settings))
        assert ours == pytest.approx(traced.weights.row(len(traced.steps) - 1), abs=1e-5)


@pytest.mark.parametrize(
    "axes",
    [
        ["start.0=-1:1:5", "lr=0.1"],
        ["start=1;2,0.5;0.5"],
        ["coefficients.1=1:4:4"],
        ["coefficients.0=0,1"],
        ["coefficients=3;1"],
    ],
)
def test_the_start_and_the_coefficients_can_be_varied(axes: list[str]) -> None:
    swept = space("sgd", axes)
    found = everything(swept)

    for ours, loss, settings in zip(
        found["weights"].tolist(), found["final_loss"].tolist(), all_configurations(swept), strict=True
    ):
        traced = trace(swept.experiment(settings))
        assert ours == pytest.approx(traced.weights.row(len(traced.steps) - 1), abs=1e-6)
        assert loss == pytest.approx(traced.final_loss, abs=1e-6)


def test_another_loss_is_differentiated_by_autograd() -> None:
    swept = space("adam", ["lr=0.001,0.01"], objective=LANDSCAPES["rosenbrock"])
    weights = everything(swept)["weights"]

    for ours, settings in zip(weights.tolist(), all_configurations(swept), strict=True):
        traced = trace(swept.experiment(settings))
        assert ours == pytest.approx(traced.weights.row(len(traced.steps) - 1), abs=1e-5)


@pytest.mark.parametrize("rank", RANKS)
def test_the_measures_are_those_of_the_trace(rank: str) -> None:
    goal = Goal(rank, tolerance=1e-3)
    swept = space("sgd", ["lr=log:0.01:0.6:20", "momentum=0,0.5"], steps=40)
    found = everything(swept, goal)

    for number, settings in enumerate(all_configurations(swept)):
        _, measures = measured(trace(swept.experiment(settings)), goal)
        ours = {name: float(found[name][number]) for name in measures}
        assert ours == pytest.approx(measures, rel=1e-4, abs=1e-6)


def test_sgd_is_counted_by_its_stability_limit() -> None:
    outcomes = everything(space("sgd", ["lr=0.1,0.45,0.501,0.6"], steps=400))["outcome"]

    # 2 / 4, the largest curvature, is the limit
    assert outcomes.tolist() == [0, 0, 2, 2]


def test_a_start_at_the_minimum_has_converged_after_no_step() -> None:
    found = everything(space("sgd", ["lr=0.1,0.2"], start=[0, 0]), Goal("steps"))

    assert found["steps"].tolist() == [0, 0]


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    axes = ["lr=log:1e-4:1", "betas.1=0.5:0.999", "amsgrad=true,false"]
    drawn = space("adam", axes, samples=500)
    again, other = (replace(drawn, seed=seed) for seed in (7, 8))

    assert all_configurations(drawn) == all_configurations(again)
    assert all_configurations(drawn) != all_configurations(other)


def test_a_drawn_configuration_does_not_depend_on_the_others() -> None:
    few, many = (space("adam", ["lr=log:1e-4:1", "eps=1e-8:1e-2"], samples=n) for n in (10, 1000))

    assert all_configurations(few) == all_configurations(many)[:10]


def test_samples_fill_the_range_evenly() -> None:
    drawn = space("sgd", ["lr=log:1e-4:1", "momentum=0:0.9"], samples=20_000)
    lr, momentum = columns(drawn, 0, drawn.size)

    assert ((lr >= 1e-4) & (lr < 1)).all()
    for share in (lr.log10() / 4 + 1, momentum / 0.9):
        counts = torch.histc(share, 10, 0, 1)
        assert (counts - 2000).abs().max() < 5 * math.sqrt(2000)


def test_a_grid_is_every_combination_in_order_the_last_axis_fastest() -> None:
    swept = space("sgd", ["lr=0.1:0.3:3", "momentum=0,0.9", "nesterov=false"])

    assert [tuple(c.values()) for c in all_configurations(swept)] == list(
        itertools.product((0.1, 0.2, 0.3), (0, 0.9), (False,))
    )


def test_a_range_has_round_numbers_and_exact_ends() -> None:
    swept = space("sgd", ["lr=log:1e-6:0.1:6"])

    assert [c["lr"] for c in all_configurations(swept)] == [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1]


def test_numbers_too_small_to_be_rounded_in_decimals_are_as_they_come() -> None:
    # 10^36, which would move their twelve digits before the point, is no float
    swept = space("adam", ["eps=1e-25:9e-25:9"])

    assert [c["eps"] for c in all_configurations(swept)] == [1e-25 + 8e-25 * (k / 8) for k in range(8)] + [
        9e-25
    ]


def test_a_swept_number_is_exact_among_numbers_and_rounded_among_weights() -> None:
    beta = torch.tensor([[0.999]], dtype=torch.float64).as_subclass(Swept)
    weights = torch.ones(1, 2)

    assert float((1 - beta) ** 1) == 1 - 0.999
    assert (beta * weights).dtype == torch.float32
    assert torch.equal((1 - beta**3) * weights, (1 - 0.999**3) * weights)


BRANCHING = """\
def branching(w, g, t, b, *, lr=0.1, momentum=0.9, warmup=3.0):
    if momentum > 0.5:
        b = momentum * b + g
    else:
        b = g
    scale = t / warmup if t < warmup else 1.0
    w = w - lr * scale * b
    return w, b
"""
"""A rule whose conditions compare numbers, one of them with the number of the step."""


def test_configurations_of_which_an_if_holds_are_run_apart_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "branching.py").write_text(BRANCHING)
    monkeypatch.chdir(tmp_path)
    swept = space(
        "branching.py:branching", ["momentum=0.1,0.9,0.4", "warmup=1,2.5,4", "lr=0.1:0.2:3"], steps=5
    )
    weights = everything(swept)["weights"].tolist()
    drawn = space("branching.py:branching", ["momentum=0:1"], samples=20, steps=5)

    for number, found in enumerate(all_configurations(swept)):
        traced = trace(swept.experiment(found))
        assert weights[number] == pytest.approx(traced.weights.row(5), rel=1e-5)
    assert len(everything(drawn, chunk=7)["weights"]) == 20


def test_a_comparison_that_differs_says_of_which_it_holds() -> None:
    beta = torch.tensor([[0.9], [0.1]], dtype=torch.float64).as_subclass(Swept)

    assert bool(beta)
    assert bool(beta > 0.05)
    assert not bool(beta > 0.95)
    with pytest.raises(MixedConditionError, match="a condition holds of some configurations alone") as caught:
        bool(beta > 0.5)
    assert caught.value.holds.tolist() == [True, False]
