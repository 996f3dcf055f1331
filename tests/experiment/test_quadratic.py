from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from optitrace.errors import UsageError
from optitrace.experiment.objective import Quadratic

CPU = torch.device("cpu")
coordinates = st.floats(-1e3, 1e3, width=32)


def evaluated(quadratic: Quadratic, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and the gradient at some weights."""
    w = weights.clone().requires_grad_()
    loss = quadratic.loss(w.dtype, CPU)(w)
    [gradient] = torch.autograd.grad(loss, [w])
    return loss.detach(), gradient


def test_the_default_is_the_documented_loss() -> None:
    assert Quadratic() == Quadratic((1.0, 2.0))


@pytest.mark.parametrize(
    ("coefficients", "formula"),
    [
        ((1.0,), "w1²"),
        ((1.0, 2.0), "w1² + 2·w2²"),
        ((-1.0, -1.0), "−w1² − w2²"),
        ((-0.5, 0.0), "−0.5·w1² + 0·w2²"),
        ((0.1, 1e-9, 1e20), "0.1·w1² + 1e-09·w2² + 1e+20·w3²"),
        ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), "w1² + 2·w2² + 3·w3² + 4·w4² + 5·w5² + 6·w6²"),
    ],
)
def test_the_formula_is_what_a_person_would_write(coefficients: tuple[float, ...], formula: str) -> None:
    assert Quadratic(coefficients).formula == formula


def test_the_formula_of_many_coordinates_shows_some_and_says_how_many_there_are() -> None:
    formula = Quadratic(tuple(map(float, range(1, 1001)))).formula

    assert formula.startswith("Σ cᵢ·wᵢ², c = (1, 2, 3, 4, 5, …")
    assert formula.endswith("), 1000 coordinates")


@pytest.mark.parametrize(
    ("coefficients", "curvatures"), [((1.0, 2.0), (2.0, 4.0)), ((-3.0,), (-6.0,)), ((0.0, 0.5), (0.0, 1.0))]
)
def test_the_curvature_is_twice_the_coefficient(
    coefficients: tuple[float, ...], curvatures: tuple[float, ...]
) -> None:
    assert Quadratic(coefficients).curvatures == curvatures


def test_the_curvature_is_the_second_derivative() -> None:
    quadratic = Quadratic((1.0, -2.0, 0.0, 7.5))
    loss = quadratic.loss(torch.float64, CPU)
    hessian = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        loss, torch.rand(4, dtype=torch.float64)
    )

    assert torch.equal(hessian, torch.diag(torch.tensor(quadratic.curvatures, dtype=torch.float64)))


def test_the_loss_and_its_gradient_come_out_by_hand() -> None:
    loss, gradient = evaluated(Quadratic((1.0, 2.0, -4.0)), torch.tensor([0.5, -1.0, 0.25]))

    # 0.25 + 2 - 0.25, and 2·c·w
    assert loss.item() == 2.0
    assert gradient.tolist() == [1.0, -4.0, -2.0]


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_the_loss_of_a_vector_and_of_a_row_is_a_scalar(shape: tuple[int, ...]) -> None:
    loss, gradient = evaluated(Quadratic((1.0, 1.0, 1.0)), torch.ones(shape))

    assert (loss.shape, loss.item(), gradient.shape) == (torch.Size(()), 3.0, torch.Size(shape))


@given(coordinates, coordinates, st.sampled_from([torch.float32, torch.float64]))
def test_the_documented_loss_has_the_bits_of_the_documented_formula(
    first: float, second: float, dtype: torch.dtype
) -> None:
    weights = torch.tensor([first, second], dtype=dtype)
    w = weights.clone().requires_grad_()
    expected = w[0] ** 2 + 2 * w[1] ** 2
    [expected_gradient] = torch.autograd.grad(expected, [w])
    loss, gradient = evaluated(Quadratic(), weights)

    assert torch.equal(loss, expected.detach())
    assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("coefficients", [(), (math.inf,), (1.0, math.nan)])
def test_a_quadratic_without_finite_coefficients_is_refused(coefficients: tuple[float, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"^(the quadratic has no coefficients|a coefficient of the quadratic is)"
    ):
        Quadratic(coefficients)
