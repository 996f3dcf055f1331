from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from optitrace.tracing.series import BLOCK, DeviceSeries, HostSeries, series_like

floats = st.floats(width=32)
pairs = st.tuples(floats, floats)


def on_host(like: Tensor) -> HostSeries:
    series = series_like(like)
    assert isinstance(series, HostSeries)
    return series


@pytest.mark.parametrize("make", [on_host, DeviceSeries])
@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (torch.tensor(0.1), (), 0.10000000149011612),
        (torch.tensor(0.1, dtype=torch.float64), (), 0.1),
        (torch.tensor(7), (), 7.0),
        (torch.tensor([0.5, -2.0]), (2,), [0.5, -2.0]),
        (torch.tensor([[1, 2], [3, 4]]), (4,), [1.0, 2.0, 3.0, 4.0]),
        (torch.tensor([0.1], dtype=torch.bfloat16), (1,), [0.10009765625]),
        (torch.tensor([0.1], dtype=torch.float16), (1,), [0.0999755859375]),
        (
            torch.tensor([5e-324, 1.7976931348623157e308], dtype=torch.float64),
            (2,),
            [5e-324, 1.7976931348623157e308],
        ),
        (torch.tensor([[[1.5]]]).expand(1, 2, 1), (2,), [1.5, 1.5]),
    ],
    ids=str,
)
def test_a_value_is_kept_exactly_whatever_its_dtype_and_shape(
    make: Callable[[Tensor], Any], value: Tensor, shape: tuple[int, ...], expected: Any
) -> None:
    series = make(value)
    series.add(value)

    assert series.shape == shape
    assert series.take() == [expected]


@pytest.mark.parametrize("make", [on_host, DeviceSeries])
def test_a_value_is_copied_before_the_optimizer_overwrites_it(make: Callable[[Tensor], Any]) -> None:
    weights = torch.tensor([1.0, 2.0])
    series = make(weights)
    series.add(weights)
    weights.zero_()

    assert series.take() == [[1.0, 2.0]]


@pytest.mark.parametrize("make", [on_host, DeviceSeries])
def test_a_scalar_may_come_as_a_tensor_and_then_as_a_number(make: Callable[[Tensor], Any]) -> None:
    series = make(torch.tensor(0.25))
    for value in (torch.tensor(0.25), 1.0, 2, torch.tensor(3, dtype=torch.int64)):
        series.add(value)

    assert series.take() == [0.25, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("make", [on_host, DeviceSeries])
def test_a_new_block_begins_empty_and_without_gaps(make: Callable[[Tensor], Any]) -> None:
    series = make(torch.tensor(1.0))
    series.skip()
    series.take()

    assert (series.take(), series.gaps) == ([], set())


@pytest.mark.parametrize("make", [on_host, DeviceSeries])
def test_a_gap_is_not_a_number_and_is_told_from_a_value_that_is_none_either(
    make: Callable[[Tensor], Any],
) -> None:
    series = make(torch.zeros(2))
    series.add(torch.full((2,), math.nan))
    series.skip()

    assert series.gaps == {1}
    assert [[math.isnan(number) for number in value] for value in series.take()] == [[True, True]] * 2


def test_a_number_is_kept_as_a_number_and_a_list_as_its_length() -> None:
    number, several = series_like(2), series_like([None, None])
    number.add(3)
    several.add([1.0, torch.zeros(2), None])

    assert (number.shape, number.take()) == ((), [3.0])
    assert (several.shape, several.take()) == ((), [3.0])


def test_tensors_in_the_hosts_memory_are_read_there() -> None:
    assert isinstance(series_like(torch.zeros(2)), HostSeries)


def test_tensors_elsewhere_stay_there() -> None:
    assert isinstance(series_like(torch.zeros(2, device="meta")), DeviceSeries)


@given(st.lists(st.one_of(st.none(), pairs), max_size=40))
def test_a_series_on_a_device_holds_what_one_on_the_host_does(
    values: list[tuple[float, float] | None],
) -> None:
    like = torch.zeros(2)
    host, device = on_host(like), DeviceSeries(like)
    for value in values:
        for series in (host, device):
            series.skip() if value is None else series.add(torch.tensor(value))

    assert host.gaps == device.gaps
    assert str(host.take()) == str(device.take())


def test_a_series_on_a_device_holds_a_whole_block_and_then_another() -> None:
    series = DeviceSeries(torch.tensor(0))
    blocks = []
    for block in range(2):
        for k in range(BLOCK):
            series.add(torch.tensor(block * BLOCK + k))
        blocks.append(series.take())

    assert blocks == [[float(k) for k in range(BLOCK)], [float(k) for k in range(BLOCK, 2 * BLOCK)]]
