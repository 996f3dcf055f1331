from __future__ import annotations

import torch
from torch import nn

from optitrace.monitoring.weight_sample import (
    MOST_WHOLE,
    SAMPLE,
    SamplePlace,
    choose,
    values,
)


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(shape)) for shape in shapes]


def test_every_parameter_has_its_share_of_the_sample() -> None:
    places = choose([parameters((100, 100), (100,)), parameters((3,), (0,))], "weight")

    assert [(place.parameter, place.count) for place in places] == [(0, 21), (1, 21), (2, 3)]


def test_a_small_model_is_looked_at_whole() -> None:
    group = parameters((30, 40), (40,), ())

    places = choose([group], "weight", 1241)
    assert places == [
        SamplePlace(0, (30, 40), 0, 1, 1200),
        SamplePlace(1, (40,), 0, 1, 40),
        SamplePlace(2, (), 0, 1, 1),
    ]
    assert all(place.is_whole for place in places)
    assert [place.is_whole for place in choose([group], "weight", 1240)] == [False, True, True]


def test_no_place_leads_out_of_its_parameter() -> None:
    shapes = [(1,), (2,), (63,), (64,), (65,), (127,), (7, 11), (512, 512)]
    for place in choose([parameters(*shapes)], "weight"):
        last = place.start + place.stride * (place.count - 1)

        assert 0 <= place.start <= last < torch.Size(place.shape).numel()


def test_of_too_many_parameters_some_of_each_group_are_looked_at() -> None:
    groups = [parameters(*[(5,)] * 200), parameters((5,)), parameters((5,), (5,))]
    places = choose(groups, "weight")

    assert len(places) == sum(place.count for place in places) == SAMPLE
    assert {200, 201, 202} < {place.parameter for place in places}


def test_the_same_parameters_have_the_same_places() -> None:
    shapes = [(30, 40), (40,)] * 50

    assert choose([parameters(*shapes)], "weight") == choose([parameters(*shapes)], "weight")


def test_frozen_parameters_come_last() -> None:
    frozen, trained = parameters(*[(5,)] * 100), parameters(*[(5,)] * 100)
    for parameter in frozen:
        parameter.requires_grad_(False)

    assert min(place.parameter for place in choose([[*frozen, *trained]], "weight")) >= 100


def test_a_rule_that_must_see_them_whole_has_the_smallest_parameters_of_its_shape() -> None:
    group = parameters((MOST_WHOLE,), (8,), (3, 4), (2, 2, 2), (100, 100))

    assert choose([group], "vector") == [SamplePlace(1, (8,), 0, 1, 8)]
    assert choose([group], "matrix") == [SamplePlace(2, (3, 4), 0, 1, 12)]


def test_the_numbers_at_a_place_do_not_depend_on_the_layout() -> None:
    tensor = torch.arange(120.0).reshape(2, 3, 4, 5)
    place = SamplePlace(0, (2, 3, 4, 5), 7, 11, 9)
    expected = [7.0, 18.0, 29.0, 40.0, 51.0, 62.0, 73.0, 84.0, 95.0]
    part = torch.arange(240.0)[120:].reshape(2, 3, 4, 5)

    assert values(tensor, place).tolist() == expected
    assert values(tensor.to(memory_format=torch.channels_last), place).tolist() == expected
    assert values(part, place).tolist() == [120 + number for number in expected]


def test_a_sparse_tensor_is_zero_where_it_has_nothing() -> None:
    dense = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    place = SamplePlace(0, (3, 3), 1, 2, 4)  # the numbers 1, 3, 5 and 7

    assert values(dense.to_sparse(2), place).tolist() == [1.0, 0.0, 2.0, 3.0]
    assert values(dense.to_sparse(1), place).tolist() == [1.0, 0.0, 2.0, 3.0]
