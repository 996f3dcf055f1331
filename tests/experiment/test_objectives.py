from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.experiment.landscapes import LANDSCAPES
from optitrace.experiment.objective import Objective, Quadratic, rotation, spread
from optitrace.experiment.objectives import (
    NAMES,
    as_settings,
    as_short_settings,
    choose_objective,
    find_objective,
    objective_of,
)

CPU = torch.device("cpu")


def value(objective: Objective, *weights: float) -> float:
    return objective.loss(torch.float64, CPU)(torch.tensor(weights, dtype=torch.float64)).item()


def gradient(objective: Objective, *weights: float) -> list[float]:
    w = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(objective.loss(torch.float64, CPU)(w), w)
    return [float(g) for g in found.unbind()]


# gradients worked out by hand
DERIVATIVES: dict[str, Callable[[float, float], tuple[float, ...]]] = {
    "rosenbrock": lambda a, b: (-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)),
    "beale": lambda a, b: (
        2 * (1.5 - a + a * b) * (b - 1)
        + 2 * (2.25 - a + a * b**2) * (b**2 - 1)
        + 2 * (2.625 - a + a * b**3) * (b**3 - 1),
        2 * (1.5 - a + a * b) * a + 4 * (2.25 - a + a * b**2) * a * b + 6 * (2.625 - a + a * b**3) * a * b**2,
    ),
    "booth": lambda a, b: (
        2 * (a + 2 * b - 7) + 4 * (2 * a + b - 5),
        4 * (a + 2 * b - 7) + 2 * (2 * a + b - 5),
    ),
    "himmelblau": lambda a, b: (
        4 * a * (a * a + b - 11) + 2 * (a + b * b - 7),
        2 * (a * a + b - 11) + 4 * b * (a + b * b - 7),
    ),
    "rastrigin": lambda a, b: (
        2 * a + 20 * math.pi * math.sin(2 * math.pi * a),
        2 * b + 20 * math.pi * math.sin(2 * math.pi * b),
    ),
    "ackley": lambda a, b: tuple(
        2 * x / math.sqrt((a * a + b * b) / 2) * math.exp(-0.2 * math.sqrt((a * a + b * b) / 2))
        + math.pi
        * math.sin(2 * math.pi * x)
        * math.exp((math.cos(2 * math.pi * a) + math.cos(2 * math.pi * b)) / 2)
        for x in (a, b)
    ),
    "saddle": lambda a, b: (2 * a, -2 * b),
    "plateau": lambda a, b: (a * math.exp(-(a * a + b * b) / 2), b * math.exp(-(a * a + b * b) / 2)),
}
POINTS = [(0.5, -0.3), (-1.2, 1.0), (2.2, 0.7)]


def test_every_landscape_has_a_gradient_by_hand() -> None:
    assert DERIVATIVES.keys() == LANDSCAPES.keys()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_gradient_is_the_one_by_hand(name: str, point: tuple[float, float]) -> None:
    assert gradient(LANDSCAPES[name], *point) == pytest.approx(DERIVATIVES[name](*point), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in LANDSCAPES if LANDSCAPES[name].minima])
def test_the_known_minima_are_the_least_values_around(name: str) -> None:
    for minimum in LANDSCAPES[name].minima:
        least = value(LANDSCAPES[name], *minimum)
        assert least == pytest.approx(0, abs=1e-14)
        for k in range(8):
            near = (minimum[0] + 0.01 * math.cos(k), minimum[1] + 0.01 * math.sin(k))
            assert value(LANDSCAPES[name], *near) > least


@pytest.mark.parametrize("name", LANDSCAPES)
def test_usual_starts_and_minima_lie_within_the_bounds(name: str) -> None:
    landscape = LANDSCAPES[name]
    assert landscape.usual_start is not None
    for point in (landscape.usual_start, *landscape.minima):
        assert all(low <= x <= high for x, (low, high) in zip(point, landscape.bounds, strict=True))


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("rosenbrock", (-1.2, 1.0), 24.2),
        ("beale", (1.0, 1.0), 14.203125),
        ("booth", (0.0, 0.0), 74.0),
        ("himmelblau", (0.0, 0.0), 170.0),
        ("rastrigin", (1.0, 1.0), 2.0),
        ("ackley", (0.0, 0.0), 0.0),
        ("saddle", (1.0, 2.0), -3.0),
        ("plateau", (0.0, 0.0), 0.0),
    ],
)
def test_values_are_those_of_the_literature(name: str, point: tuple[float, float], expected: float) -> None:
    assert value(LANDSCAPES[name], *point) == pytest.approx(expected, abs=1e-12)


def test_a_rotated_quadratic_has_the_same_curvatures_off_the_axes() -> None:
    objective = Quadratic((1.0, 2.0, 5.0), rotation=7)
    # of a quadratic, the columns of the Hessian are the gradients at the unit vectors
    hessian = torch.tensor([gradient(objective, *unit) for unit in torch.eye(3).tolist()])

    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx([2.0, 4.0, 10.0])
    assert hessian[0, 1].abs() > 0.1
    assert value(objective, 1.0, 0.0, -1.0) == pytest.approx(
        value(Quadratic((1.0, 2.0, 5.0)), *objective.principal((1.0, 0.0, -1.0)))
    )


def test_a_rotation_is_orthogonal_and_the_same_for_the_same_seed() -> None:
    q = rotation(5, 3)

    assert torch.allclose(q @ q.mT, torch.eye(5, dtype=torch.float64), atol=1e-14)
    assert torch.equal(q, rotation(5, 3))
    assert not torch.equal(q, rotation(5, 4))


def test_coefficients_are_spread_logarithmically_up_to_one() -> None:
    assert spread(4, 1000.0) == pytest.approx((0.001, 0.01, 0.1, 1.0))
    assert spread(1, 50.0) == (1.0,)


def test_a_dimension_and_a_condition_make_a_quadratic() -> None:
    objective = choose_objective(None, dimension=100, condition=1e4, rotate=2)

    assert isinstance(objective, Quadratic)
    assert objective.dimension == 100
    assert max(objective.curvatures) / min(objective.curvatures) == pytest.approx(1e4)
    assert objective.rotation == 2
    assert "100 coordinates, u = w rotated by seed 2" in objective.formula


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_in_any_letter_case_and_read_back_from_a_file(name: str) -> None:
    objective = find_objective(name.upper())

    assert objective.name == name
    assert objective_of(objective.settings) == objective
    settings = as_settings(objective)
    assert choose_objective(settings.pop("objective", None), **settings) == objective


@pytest.mark.parametrize("dimension", [2, 7, 100, 1000])
@pytest.mark.parametrize("condition", [1.0, 3.0, 7.7, 1e3, 1e6])
@pytest.mark.parametrize("seed", [None, 4])
def test_a_quadratic_of_many_weights_is_said_in_few_words(
    dimension: int, condition: float, seed: int | None
) -> None:
    made = choose_objective(None, dimension=dimension, condition=condition, rotate=seed)

    settings = as_short_settings(made)
    assert choose_objective(None, **settings) == made
    assert settings.get("dimension") == (dimension if dimension > 6 else None)


def test_many_coefficients_that_no_condition_makes_are_all_said() -> None:
    odd = Quadratic((*[1.0] * 9, 2.0))

    assert as_short_settings(odd) == {"coefficients": odd.coefficients}
    assert as_short_settings(Quadratic((0.0,) * 9)) == {"coefficients": (0.0,) * 9}
    assert as_short_settings(Quadratic((-1.0,) * 9)) == {"coefficients": (-1.0,) * 9}


def test_an_expression_is_read_back_from_a_file() -> None:
    objective = find_objective(" w1**2 + sin(w2) ")

    assert objective.settings == {"name": "expression", "expression": "w1**2 + sin(w2)"}
    assert objective_of(objective.settings) == objective


def test_a_function_has_as_many_weights_as_its_start_has_coordinates() -> None:
    assert choose_objective("./losses.py:bowl", coordinates=3).dimension == 3
    assert choose_objective("./losses.py:bowl", coordinates=3, dimension=4).dimension == 4
    assert design("sgd", objective="./losses.py:bowl", start=(1.0, 2.0, 3.0)).objective.dimension == 3


def test_a_function_of_ones_own_is_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "losses.py").write_text("def bowl(w):\n    return (w**2).sum()\n\nthree = 3\n")
    monkeypatch.chdir(tmp_path)
    objective = choose_objective("./losses.py:bowl", dimension=3)

    assert value(objective, 1.0, 2.0, 3.0) == 14.0
    assert gradient(objective, 1.0, 2.0, 3.0) == [2.0, 4.0, 6.0]
    assert objective.formula == "./losses.py:bowl(w)"
    assert objective_of(objective.settings) == objective
    with pytest.raises(UsageError, match=r"'\./losses\.py:three' is not a function"):
        find_objective("./losses.py:three").loss(torch.float64, CPU)
    with pytest.raises(UsageError, match=r"there is no 'cup' in \./losses\.py"):
        find_objective("./losses.py:cup").loss(torch.float64, CPU)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return w", r"returns a tensor of shape \(2,\); a loss is a tensor of one number"),
        ("return 1.0", "returns a float; a loss is a tensor of one number"),
        ("return w[5]", r"'strange\.py:f' fails: IndexError: .*; fix it there"),
        ("raise SystemExit(3)", r"'strange\.py:f' fails: SystemExit: 3; fix it there"),
    ],
)
def test_a_function_that_is_no_loss_is_refused(
    body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange.py").write_text(f"def f(w):\n    {body}\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=message):
        value(find_objective("strange.py:f"), 1.0, 2.0)


def test_a_function_that_forgets_the_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lost.py").write_text("import torch\n\ndef f(w):\n    return torch.ones(())\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        UsageError, match=r"'lost\.py:f' does not depend on the weights; compute it from them"
    ):
        gradient(find_objective("lost.py:f"), 1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:f", "there is no file 'nowhere.py'"),
        ("nopackage.module:f", "there is no module 'nopackage'"),
    ],
)
def test_a_function_that_is_not_there_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_objective(text).loss(torch.float64, CPU)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"text": "rosenbrok"},
            r"unknown objective 'rosenbrok'; did you mean 'rosenbrock'\? choose from: quad",
        ),
        ({"text": "booth", "rotate": 1}, "rotate is a setting of the quadratic, not of this loss; leave it"),
        ({"text": "w1**2", "coefficients": (1.0,)}, "coefficients is a setting of the quadratic"),
        ({"text": None, "coefficients": (1.0,), "dimension": 3}, "coefficients define the quadratic"),
        ({"text": None, "dimension": 0}, "the dimension is 0; it must be an integer from 1 to"),
        ({"text": "./f.py:f", "dimension": 0}, "the dimension is 0; it must be an integer from 1 to"),
        (
            {"text": None, "dimension": 10**11},
            "the dimension is 100000000000; it must be an integer from 1 to",
        ),
        (
            {"text": None, "rotate": 2**63},
            r"rotate is 9223372036854775808; it must be an integer from 0 to 2",
        ),
        ({"text": None, "rotate": -1}, "rotate is -1; it must be an integer from 0 to 2"),
        ({"text": None, "condition": 0.5}, "the condition number is 0.5; it must be at least 1"),
        ({"text": None, "condition": math.nan}, "the condition number is nan; it must be"),
    ],
)
def test_settings_that_make_no_objective_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_objective(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "cubic"}, "unknown objective 'cubic'; choose from: quadratic"),
        ({"name": "quadratic"}, "the objective quadratic needs coefficients, which is not there"),
        ({"name": "expression"}, "the objective expression needs expression, which is not there"),
    ],
)
def test_a_file_that_speaks_of_no_objective_is_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        objective_of(settings)
