from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from optitrace.analysis.sweeping.sweep import FINE, tune
from optitrace.cli.app import main
from optitrace.experiment.experiment import Experiment, design
from optitrace.tracing.tracer import trace


def at_lr(experiment: Experiment, lr: float) -> float:
    settings = MappingProxyType({**experiment.hyperparameters, "lr": lr})
    return trace(replace(experiment, hyperparameters=settings)).final_loss


def grid() -> list[float]:
    ratio = (FINE.greatest / FINE.least) ** (1 / (FINE.count - 1))
    return [FINE.least * ratio**k for k in range(FINE.count)]


def test_the_best_lr_of_gradient_descent_on_one_curvature_is_its_inverse() -> None:
    """Curvature 2: the minimum in one step at lr 1/2, which the grid has to a fortieth of a decade."""
    lr = tune(design("sgd", coefficients=(1.0,), steps=5, dtype="float64")).hyperparameters["lr"]

    assert lr == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(("name", "settings"), [("sgd", {"momentum": 0.9}), ("adam", {}), ("adagrad", {})])
def test_no_lr_of_the_grid_is_better_with_torch(name: str, settings: dict[str, float]) -> None:
    experiment = design(name, settings, steps=15, dtype="float64")

    best = tune(experiment)
    least = min(at_lr(experiment, lr) for lr in grid())
    assert trace(best).final_loss == pytest.approx(least, rel=1e-6)
    assert replace(best, hyperparameters=experiment.hyperparameters) == experiment


def test_compare_tuned_says_each_lr_and_ranks_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sgd", "adam", "--tuned", "-n", "15"]) == 0

    line = capsys.readouterr().out.splitlines()[0]
    sgd = tune(design("sgd", steps=15)).hyperparameters["lr"]
    assert line.startswith("each at its best lr of a sweep from 1e-05 to 10: ")
    assert f"{sgd:.6g} for sgd" in line
