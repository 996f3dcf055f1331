"""The norms of a step against norms of tensors that are float64 throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optitrace.monitoring.norms import BUFFER, Norm
from optitrace.monitoring.step_metrics import StepMetrics

SHAPES = ((1,), (31,), (4, 8), (33,), (3, 43), (1000,))


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    """Return parameters of several shapes that have gradients."""
    made = torch.Generator().manual_seed(1)
    found = [Parameter(torch.randn(shape, generator=made, dtype=dtype)) for shape in SHAPES]
    for parameter in found:
        parameter.grad = torch.randn(parameter.shape, generator=made, dtype=dtype)
    return found


def exact(tensors: Sequence[Tensor | None]) -> list[float]:
    """Return the norm of each tensor, its squares added without any error, 0 for None."""
    numbers = [[] if t is None else t.detach().double().flatten().tolist() for t in tensors]
    return [math.sqrt(math.fsum(x * x for x in each)) for each in numbers]


def matches(found: Norm | Tensor, expected: Sequence[float]) -> bool:
    """Tell whether norms are as expected, but for the last digits of float64."""
    if isinstance(found, Norm):
        assert found.each is not None
        assert found.whole == pytest.approx(math.hypot(*expected), rel=1e-13, abs=0)
        found = torch.tensor(found.each, dtype=torch.float64)
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0)


def begin(measured: StepMetrics) -> Norm | Tensor:
    """Keep the weights and return the norms of the gradients, as a step does that has its gradient."""
    measured.remember()
    return measured.gradient_norm()


def step(given: Sequence[Parameter]) -> list[Tensor]:
    """Move weights by a hundredth of their gradient; return how: weights before minus after."""
    before = [p.detach().clone() for p in given]
    with torch.no_grad():
        for p in given:
            p.sub_(p.grad if p.grad is not None else 0.0, alpha=0.01)
    return [b - p.detach() for b, p in zip(before, given, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_are_those_of_torch_in_float64(dtype: torch.dtype) -> None:
    given = parameters(dtype)
    measured = StepMetrics(given)

    gradient = begin(measured)
    changes = step(given)
    change, weights = measured.moved()

    assert matches(gradient, exact([p.grad for p in given]))
    assert matches(weights, exact(given))
    assert matches(change, exact(changes))
    assert all(torch.equal(measured.change(k), changes[k]) for k in range(len(given)))


def test_the_weights_may_be_kept_before_there_is_a_gradient() -> None:
    given = parameters()
    measured = StepMetrics(given)

    measured.remember()
    gradient = measured.gradient_norm()
    changes = step(given)

    assert matches(gradient, exact([p.grad for p in given]))
    assert matches(measured.moved()[0], exact(changes))


def test_what_moves_weights_between_two_steps_is_no_part_of_an_update() -> None:
    given = parameters()
    measured = StepMetrics(given)
    begin(measured)
    step(given)
    measured.moved()
    for p in given:
        p.data.clamp_(-0.1, 0.1)  # which no version of the tensor counts

    begin(measured)
    changes = step(given)

    assert matches(measured.moved()[0], exact(changes))


def test_a_parameter_without_a_gradient_has_a_gradient_of_norm_0() -> None:
    given = parameters()
    given[0].grad = given[4].grad = None

    assert matches(begin(StepMetrics(given)), exact([p.grad for p in given]))


def test_without_any_gradient_the_norm_is_0() -> None:
    given = parameters()
    for p in given:
        p.grad = None

    assert matches(begin(StepMetrics(given)), [0.0] * len(given))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("index", [0, 1, 5])
def test_what_is_not_finite_shows(value: float, index: int) -> None:
    given = parameters()
    measured = StepMetrics(given)
    gradient = given[index].grad
    assert gradient is not None
    gradient.view(-1)[-1] = value

    found = begin(measured)
    step(given)

    for norm in (found, *measured.moved()):
        assert isinstance(norm, Norm)
        assert norm.each is not None
        assert [k for k, one in enumerate(norm.each) if not math.isfinite(one)] == [index]
        assert not math.isfinite(norm.whole)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_that_float32_cannot_hold_are_added(size: float) -> None:
    given = parameters()
    for p in given:
        p.data.mul_(size)
        assert p.grad is not None
        p.grad.mul_(size)
    measured = StepMetrics(given)

    gradient = begin(measured)
    changes = step(given)
    change, weights = measured.moved()

    assert matches(gradient, exact([p.grad for p in given]))
    assert matches(weights, exact(given))
    assert matches(change, exact(changes))


def sparse(gradient: Tensor) -> Tensor:
    """Return a gradient as an embedding may have it."""
    return gradient.to_sparse()


def turned(gradient: Tensor) -> Tensor:
    """Return a gradient whose numbers lie in another order in memory."""
    return gradient.T.contiguous().T


def spaced(gradient: Tensor) -> Tensor:
    """Return a gradient with other numbers between its own."""
    return torch.stack([gradient, torch.full_like(gradient, 7.0)], dim=-1)[..., 0]


@pytest.mark.parametrize("form", [sparse, turned, spaced])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_a_gradient_of_any_form_is_measured(form: Callable[[Tensor], Tensor]) -> None:
    given = parameters()
    gradient = given[4].grad
    assert gradient is not None
    expected = exact([p.grad for p in given])
    given[4].grad = form(gradient)

    assert matches(begin(StepMetrics(given)), expected)


def test_weights_that_were_put_elsewhere_are_followed() -> None:
    given = parameters()
    measured = StepMetrics(given)
    begin(measured)
    step(given)
    measured.moved()
    given[2].data = given[2].data + 1.0

    begin(measured)
    changes = step(given)

    change, weights = measured.moved()
    assert matches(change, exact(changes))
    assert matches(weights, exact(given))


def test_a_step_that_puts_weights_elsewhere_is_measured() -> None:
    given = parameters()
    measured = StepMetrics(given)
    begin(measured)
    before = [p.detach().clone() for p in given]
    for p in given:
        p.data = p.data * 0.5

    change, weights = measured.moved()

    assert matches(change, exact([b / 2 for b in before]))
    assert matches(weights, exact([b / 2 for b in before]))
    assert torch.equal(measured.change(5), before[5] / 2)


def test_weights_that_turn_into_others_are_never_read_as_what_they_were() -> None:
    given = parameters()
    measured = StepMetrics(given)
    begin(measured)
    step(given)
    measured.moved()
    given[5].grad = None
    given[5].data = torch.ones(2)

    begin(measured)
    change, weights = measured.moved()

    assert matches(weights, exact(given))
    assert matches(change, [0.0] * len(given))


@pytest.mark.parametrize(
    "turn",
    [lambda data: data[:2], lambda data: data.view(torch.float32)[: data.numel()]],
    ids=["fewer", "of another dtype"],
)
def test_weights_that_turn_into_others_in_the_same_place_are_seen(turn: Callable[[Tensor], Tensor]) -> None:
    given = parameters(torch.float64)
    given[5].data.fill_(1.0)
    given[5].grad = None
    measured = StepMetrics(given)
    begin(measured)
    step(given)
    measured.moved()
    given[5].data = turn(given[5].data)

    begin(measured)

    assert matches(measured.moved()[1], exact(given))


def test_numbers_of_any_kind_are_measured_beside_each_other() -> None:
    given = [torch.tensor([3 + 4j]), torch.tensor([5.0]), torch.tensor([2.0], dtype=torch.bfloat16)]
    measured = StepMetrics(given)
    begin(measured)

    assert matches(measured.moved()[1], [5.0, 5.0, 2.0])


def every_other(weights: Tensor) -> Tensor:
    """Return as many numbers from the same address on, one after another left out."""
    return weights.as_strided(weights.shape, (2,))


def first_again(weights: Tensor) -> Tensor:
    """Return the first number as often as there are numbers."""
    return weights[:1].expand(weights.shape)


@pytest.mark.parametrize("form", [every_other, first_again])
def test_weights_at_the_same_address_in_another_form_are_read_in_that_form(
    form: Callable[[Tensor], Tensor],
) -> None:
    weight = Parameter(torch.arange(200.0)[:100])
    measured = StepMetrics([weight])
    begin(measured)
    measured.moved()
    weight.data = form(weight.data)

    begin(measured)

    assert matches(measured.moved()[1], exact([weight]))


def test_a_step_that_leaves_fewer_weights_at_the_same_address_is_never_measured_by_what_lies_behind() -> None:
    weight = Parameter(torch.arange(100.0))
    measured = StepMetrics([weight])
    begin(measured)
    weight.data = weight.data[:3]

    with pytest.raises(RuntimeError, match="size of tensor"):
        measured.moved()


def test_weights_whose_memory_was_given_back_count_as_zeros() -> None:
    given = parameters()
    measured = StepMetrics(given)
    begin(measured)
    measured.moved()
    released = given[5]
    released.grad = None
    released.data.untyped_storage().resize_(0)

    begin(measured)
    change, weights = measured.moved()

    assert matches(change, [0.0] * len(given))
    assert matches(weights, [*exact(given[:5]), 0.0])


def test_a_gradient_whose_memory_was_given_back_counts_as_zeros() -> None:
    given = parameters()
    gradient = given[5].grad
    assert gradient is not None
    gradient.untyped_storage().resize_(0)

    assert matches(begin(StepMetrics(given)), [*exact([p.grad for p in given[:5]]), 0.0])


class Wrapped(Tensor):
    """A tensor whose numbers another one has, as a quantized or a split one may be."""

    numbers: Tensor

    @staticmethod
    def __new__(cls: type[Wrapped], inner: Tensor) -> Wrapped:
        made: Wrapped = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.numbers = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def bare(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [bare(one) for one in value]
            return value.numbers if isinstance(value, cls) else value

        return func(*bare(args), **(kwargs or {}))


def test_a_gradient_without_memory_of_its_own_is_asked_for_its_numbers() -> None:
    given = parameters()
    expected = exact([p.grad for p in given])
    gradient = given[5].grad
    assert gradient is not None
    given[5].grad = Wrapped(gradient)

    assert matches(begin(StepMetrics(given)), expected)


def test_the_squares_of_millions_are_added_with_all_digits() -> None:
    made = torch.Generator().manual_seed(1)
    weight = Parameter(torch.randn(1 << 21, generator=made))
    weight.grad = torch.randn(1 << 21, generator=made)
    measured = StepMetrics([weight])

    gradient = begin(measured)
    _, weights = measured.moved()

    assert matches(gradient, exact([weight.grad]))
    assert matches(weights, exact([weight]))


def test_tensors_that_fill_the_buffer_more_than_once_are_measured_whole() -> None:
    made = torch.Generator().manual_seed(1)
    shapes = ((BUFFER - 3,), (2, 2), (3, BUFFER), (), (0, 4), (BUFFER,), (5,))
    given = [Parameter(torch.randn(shape, generator=made)) for shape in shapes]
    for parameter in given[:5]:
        parameter.grad = torch.randn(parameter.shape, generator=made)
    measured = StepMetrics(given)

    gradient = begin(measured)
    changes = step(given)
    change, weights = measured.moved()

    assert matches(gradient, exact([p.grad for p in given]))
    assert matches(weights, exact(given))
    assert matches(change, exact(changes))


def test_the_whole_is_the_same_number_whether_each_is_measured_or_not() -> None:
    given = parameters()
    measured, measured_each = StepMetrics(given, by_parameter=False), StepMetrics(given)

    whole, both = begin(measured), begin(measured_each)

    assert isinstance(whole, Norm)
    assert isinstance(both, Norm)
    assert whole.each is None
    assert whole.whole == both.whole


def test_the_place_of_what_is_not_finite_is_found_though_only_the_whole_is_measured() -> None:
    given = parameters()
    gradient = given[4].grad
    assert gradient is not None
    gradient[0, 0] = math.inf

    norm = begin(StepMetrics(given, by_parameter=False))

    assert isinstance(norm, Norm)
    assert norm.each is not None
    assert [k for k, one in enumerate(norm.each) if not math.isfinite(one)] == [4]


def test_weights_of_eight_bits_that_lie_beside_others_are_measured() -> None:
    given = [Parameter(torch.ones(3)), Parameter(torch.full((4,), 2.0).to(torch.float8_e4m3fn), False)]
    measured = StepMetrics(given)
    begin(measured)
    given[0].data.mul_(0.5)

    change, weights = measured.moved()

    assert matches(change, [0.75**0.5, 0.0])
    assert matches(weights, [0.75**0.5, 4.0])
