from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optitrace import functions
from optitrace.functions import (
    FUNCTIONS,
    FunctionKind,
    Number,
    absolute,
    bfloat16,
    column_mean,
    columns,
    diagonal,
    eigenvectors,
    float32,
    is_multiple,
    largest,
    machine_epsilon,
    maximum,
    mean,
    minimum,
    norm,
    orthonormal,
    positive_share,
    rms,
    row_mean,
    row_total,
    rows,
    sign,
    sort_columns,
    sqrt,
    total,
    transpose,
    where,
)

Function = Callable[..., Any]

NUMBERS = st.floats(width=64, allow_subnormal=False)

# each function beside the one of torch that it stands for
OF_ONE: dict[Function, Function] = {sqrt: torch.sqrt, absolute: torch.abs, sign: torch.sign}
OF_TWO: dict[Function, Function] = {maximum: torch.maximum, minimum: torch.minimum}


def tensor(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def assert_same(ours: Any, theirs: torch.Tensor) -> None:
    """Allow one unit in the last place: torch's vectorized square root is not correctly rounded."""
    torch.testing.assert_close(ours, theirs, rtol=2**-52, atol=0, equal_nan=True)


@pytest.mark.parametrize(("ours", "theirs"), OF_ONE.items(), ids=lambda f: f.__name__)
@settings(deadline=None)  # the first call of torch takes its time
@given(x=NUMBERS)
def test_a_function_of_one_number_is_that_of_torch(ours: Function, theirs: Function, x: float) -> None:
    expected = theirs(tensor(x))

    assert_same(tensor(ours(x)), expected)
    assert_same(ours(tensor(x)), expected)


@pytest.mark.parametrize(("ours", "theirs"), OF_TWO.items(), ids=lambda f: f.__name__)
@settings(deadline=None)  # the first call of torch takes its time
@given(a=NUMBERS, b=NUMBERS)
def test_a_function_of_two_numbers_is_that_of_torch(
    ours: Function, theirs: Function, a: float, b: float
) -> None:
    expected = theirs(tensor(a), tensor(b))

    assert_same(tensor(ours(a, b)), expected)
    assert_same(ours(tensor(a), b), expected)
    assert_same(ours(a, tensor(b)), expected)
    assert_same(ours(tensor(a), tensor(b)), expected)


@pytest.mark.parametrize("condition", [True, False])
def test_where_takes_a_branch_of_any_kind(condition: bool) -> None:
    expected = 1.0 if condition else 2.0
    operands: list[tuple[Number, Number]] = [
        (tensor(1.0), tensor(2.0)),
        (1.0, tensor(2.0)),
        (tensor(1.0), 2.0),
    ]
    for a, b in operands:
        chosen = where(torch.tensor([condition]), a, b)
        assert isinstance(chosen, torch.Tensor)
        assert chosen.dtype == torch.float64
        assert chosen.tolist() == [expected]
    assert where(condition, 1.0, 2.0) == expected


def test_where_refuses_to_guess_a_dtype() -> None:
    with pytest.raises(TypeError, match="no dtype; make one of them a tensor"):
        where(torch.tensor([True]), 1.0, 2.0)


def test_rms_of_a_vector_is_the_root_of_the_mean_square() -> None:
    assert rms(tensor(3.0, -4.0, 0.0, 0.0)).tolist() == [2.5]  # type: ignore[union-attr]  # a tensor goes in
    assert rms(-3) == 3.0


@pytest.mark.parametrize(
    ("function", "expected", "of_minus_3"),
    [
        (total, 2.0, -3.0),
        (mean, 0.5, -3.0),
        (largest, 3.0, -3.0),
        (positive_share, 0.5, 0.0),
        (norm, 14.0**0.5, 3.0),
        (rms, 3.5**0.5, 3.0),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_reduction_is_of_one_parameter_in_each_form(
    function: Function, expected: float, of_minus_3: float
) -> None:
    numbers = (3.0, -2.0, 1.0, 0.0)
    vector = tensor(*numbers)

    assert function(-3.0) == of_minus_3
    assert function(numbers) == pytest.approx(expected)
    assert_same(function(vector), tensor(expected))
    assert_same(function(vector.reshape(2, 2)), tensor(expected).reshape(1, 1))


@pytest.mark.parametrize("function", [f for f in FUNCTIONS.values() if f.kind is FunctionKind.REDUCTION])
def test_a_reduction_never_mixes_the_parameters_of_a_batch(function: Any) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    alone = torch.stack([function.compute(vector) for vector in vectors])

    assert_same(function.compute(vectors.unsqueeze(1)), alone.unsqueeze(1))


def test_bases_are_orthonormal_and_begin_with_the_largest_eigenvalue() -> None:
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    q = eigenvectors(matrix)

    torch.testing.assert_close(q.mT @ matrix @ q, torch.diag(tensor(3.0, 1.0)))
    assert [abs(entry) for entry in q[:, 0].tolist()] == pytest.approx([0.5**0.5] * 2)
    q = orthonormal(matrix)
    torch.testing.assert_close(q.mT @ q, torch.eye(2, dtype=torch.float64))


def test_columns_are_sorted_by_falling_numbers_in_each_matrix_of_a_batch() -> None:
    batch = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[1.0, 2.0], [3.0, 6.0]]])
    by = torch.tensor([[[1.0, 2.0]], [[2.0, 1.0]]])

    assert sort_columns(batch, by).tolist() == [[[2.0, 1.0], [6.0, 3.0]], [[1.0, 2.0], [3.0, 6.0]]]
    assert diagonal(batch).tolist() == [[[1.0, 6.0]], [[1.0, 6.0]]]


@pytest.mark.parametrize(("number", "of", "expected"), [(0, 5, True), (10, 5, True), (11, 5, False)])
def test_a_number_is_a_multiple_of_another_or_not(number: int, of: int, expected: bool) -> None:
    assert is_multiple(number, of) is expected


def test_rows_and_columns_are_reduced_by_themselves() -> None:
    batch = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)

    assert row_total(batch).tolist() == [[[3.0], [9.0]], [[0.0], [4.0]]]
    assert row_mean(batch).tolist() == [[[1.5], [4.5]], [[0.0], [2.0]]]
    assert column_mean(batch).tolist() == [[[2.0, 4.0]], [[0.0, 2.0]]]


def test_the_matrix_functions_see_the_last_two_axes() -> None:
    batch = torch.arange(12, dtype=torch.float64).reshape(2, 3, 2)

    assert (rows(batch), columns(batch)) == (3, 2)
    assert transpose(batch).shape == (2, 2, 3)
    assert norm(batch).shape == (2, 1, 1)
    assert norm(batch)[0, 0, 0] == torch.linalg.matrix_norm(batch[0])


def test_bfloat16_keeps_eight_bits_and_the_dtype() -> None:
    rounded = bfloat16(tensor(1 + 2**-7, 1 + 2**-9))

    assert rounded.dtype == torch.float64
    assert rounded.tolist() == [1 + 2**-7, 1.0]


def test_float32_rounds_numbers_and_tensors_alike() -> None:
    number, rounded = float32((0.1, tensor(0.1)))

    assert number == torch.tensor(0.1, dtype=torch.float32).item()
    assert isinstance(rounded, torch.Tensor)
    assert rounded.dtype == torch.float64
    assert rounded.item() == number


def test_float32_overflows_to_infinity_as_torch_does() -> None:
    assert float32((1e39,)) == (math.inf,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_machine_epsilon_is_that_of_the_dtype(dtype: torch.dtype) -> None:
    assert machine_epsilon(torch.ones(1, dtype=dtype)) == torch.finfo(dtype).eps


def test_machine_epsilon_of_a_python_number_is_that_of_float64() -> None:
    assert machine_epsilon(1.0) == math.ulp(1.0)


def test_the_table_holds_every_function_that_a_rule_may_call() -> None:
    public = {
        name
        for name, f in vars(functions).items()
        if inspect.isfunction(f) and f.__module__ == functions.__name__ and not name.startswith("_")
    }

    assert set(FUNCTIONS) == public - {"divide", "power", "overload"}
    assert all(function.compute.__doc__ for function in FUNCTIONS.values())


def test_an_argument_that_records_is_asked_for_the_result() -> None:
    class Recording:
        def __rule_function__(self, function: Any, arguments: Any) -> Any:
            return function.name, arguments

    recording: Any = Recording()

    assert maximum(2.0, recording) == ("maximum", (2.0, recording))
