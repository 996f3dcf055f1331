from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import Any

import pytest
from support.naive import differences, naive_steps

from optitrace.experiment.experiment import GRADIENTS, design
from optitrace.experiment.settings import DTYPES
from optitrace.records.trace import Column, TraceRecord
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.discriminating_cases import cases_of
from optitrace.tracing.tracer import trace

TELLING = {o.name: cases_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}
"""The settings under which a rule is told from a wrong one, by the name of the rule."""

STEPS = 6

RUNS = [
    pytest.param(name, implementation, gradient, id=f"{name} {implementation} {gradient}")
    for name, optimizer in TORCH_OPTIMIZERS.items()
    for implementation in optimizer.implementations
    for gradient in GRADIENTS
    if (name, gradient) != ("lbfgs", "stale")
]

TELLING_RUNS = [
    pytest.param(name, settings, id=f"{name} {settings}")
    for name, several in TELLING.items()
    for settings in several
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "implementation", "gradient"), RUNS)
def test_a_trace_has_the_bits_of_a_loop_by_hand(
    name: str, implementation: str, gradient: str, dtype: str
) -> None:
    experiment = design(name, steps=STEPS, gradient=gradient, dtype=dtype, implementation=implementation)

    assert differences(trace(experiment), naive_steps(experiment)) == []


@pytest.mark.parametrize(("name", "settings"), TELLING_RUNS)
def test_a_trace_has_the_bits_of_a_loop_by_hand_at_telling_settings(
    name: str, settings: dict[str, Any]
) -> None:
    experiment = design(name, settings, steps=2 * STEPS, dtype="float64", start=(-0.75, 1.25))

    assert differences(trace(experiment), naive_steps(experiment)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 1},
        {"line_search_fn": "strong_wolfe", "max_iter": 2},
        {"lr": 0.1, "history_size": 2, "max_iter": 3},
        {"tolerance_grad": 1.0},
    ],
    ids=str,
)
def test_lbfgs_has_the_bits_of_a_loop_by_hand_though_its_state_changes_kind(settings: dict[str, Any]) -> None:
    experiment = design("lbfgs", settings, steps=STEPS, start=(1.5, -0.25))

    assert differences(trace(experiment), naive_steps(experiment)) == []


@pytest.mark.parametrize("start", [(0.0, 0.5), (0.5, 0.0), (0.0, 0.0), (-0.0, 0.5)], ids=str)
def test_sparseadam_has_the_bits_of_a_loop_by_hand_where_gradients_are_zero(
    start: tuple[float, float],
) -> None:
    experiment = design("sparseadam", steps=STEPS, start=start)

    assert differences(trace(experiment), naive_steps(experiment)) == []


def test_a_diverging_trace_has_the_bits_of_a_loop_by_hand() -> None:
    experiment = design("sgd", {"lr": 0.6}, steps=300)
    traced = trace(experiment)

    assert math.isnan(traced.final_loss)
    assert differences(traced, naive_steps(experiment)) == []


def damaged(traced: TraceRecord, quantity: str, index: int) -> TraceRecord:
    """Return a trace one of whose numbers is the next that there is."""
    column = traced.columns.get(quantity) or traced.state[quantity]
    values = array("d", column.values)
    values[index] = math.nextafter(values[index], math.inf)
    wrong = Column(values, column.shape, column.first)
    if quantity in traced.state:
        return replace(traced, state={**traced.state, quantity: wrong})
    return replace(traced, columns={**traced.columns, quantity: wrong})


@pytest.mark.parametrize(
    ("quantity", "index", "place"),
    [
        ("loss", 2, "loss of step 3"),
        ("gradient", 2, "gradient of step 2"),
        ("weights", 3, "weights of step 1"),
        ("lr", 0, "lr of step 1"),
        ("momentum_buffer", 5, "momentum_buffer of step 3"),
    ],
)
def test_one_bit_that_differs_from_the_loop_by_hand_is_noticed(quantity: str, index: int, place: str) -> None:
    experiment = design("sgd", {"momentum": 0.9}, steps=3)
    [difference] = differences(damaged(trace(experiment), quantity, index), naive_steps(experiment))

    assert difference.startswith(f"{place}: ")


def test_a_state_entry_that_is_not_recorded_is_noticed() -> None:
    experiment = design("sgd", {"momentum": 0.9}, steps=1)
    [difference] = differences(replace(trace(experiment), state={}), naive_steps(experiment))

    assert difference == "momentum_buffer of step 1: None is not (1.0, 2.0)"
