"""Showing, comparing and writing a long saved training, against the time that json.load takes for its file.

Run as ``python tests/benchmarks/training.py [STEPS [REPETITIONS]]``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from measuring import Measurement, alternating_medians, report

from optitrace.analysis.diff_report import diff_trainings
from optitrace.analysis.tolerance import EXACT
from optitrace.records.findings import TrainingFindings
from optitrace.records.reader import SavedTraining, read_saved
from optitrace.records.trace import Column, Outcome, Versions
from optitrace.records.training import (
    NamedTraining,
    OptimizerTrace,
    Program,
    Tally,
    TrainingRecord,
    WatchedParameter,
)
from optitrace.views.display import Display
from optitrace.views.presenters.training import TrainingPresenter
from optitrace.views.writers.text_formats import write_csv, write_table

NOTHING = TrainingFindings()


def long_training(steps: int) -> TrainingRecord:
    """Return a training of one optimizer, with as many different numbers as there are."""
    columns = {
        name: Column(array("d", ((k + 1) ** -0.5 / (place + 3) for k in range(steps))), ())
        for place, name in enumerate(quantity.name for quantity in OptimizerTrace.QUANTITIES)
    }
    columns["gradient"] = Column(array("d", [0.0] * steps), ())
    adam = OptimizerTrace(
        name="Adam",
        class_path="torch.optim.adam.Adam",
        hyperparameters=({"lr": 0.001},),
        parameters=(WatchedParameter("weight", (300, 300), "float32"),),
        taken=steps,
        steps=array("q", range(1, steps + 1)),
        columns=columns,
        gradients={"fresh": Tally(steps, 1)},
    )
    return TrainingRecord(Program(("train.py",)), Versions("0", "0", "0"), Outcome(), (adam,))


def read(path: Path) -> TrainingRecord:
    """Return the training of a file."""
    saved = read_saved(str(path))
    assert isinstance(saved, SavedTraining)
    return saved.training


def show(path: Path) -> None:
    """Read a training and make its table."""
    list(write_table(TrainingPresenter(read(path), NOTHING), Display()))


def compare(path: Path) -> None:
    """Read a training twice and compare the two."""
    a, b = (NamedTraining("", read(path)) for _ in range(2))
    assert diff_trainings(a, b, lambda dtypes: EXACT).are_same


def write(path: Path) -> None:
    """Read a training and write it as CSV."""
    for _ in write_csv(TrainingPresenter(read(path), NOTHING), Display()):
        pass


def load(path: Path) -> None:
    """Read a file as JSON."""
    with path.open() as file:
        json.load(file)


def timed(action: Callable[[Path], None], path: Path) -> Callable[[], float]:
    """Return a measure of the seconds that something takes."""

    def seconds() -> float:
        begin = perf_counter()
        action(path)
        return perf_counter() - begin

    return seconds


def main(steps: int = 100_000, repetitions: int = 5) -> None:
    """Measure and report."""
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "training.json")
        path.write_text("".join(TrainingPresenter(long_training(steps), NOTHING).json(Display())))
        for action, wanted in ((show, 3.0), (compare, 6.0), (write, 9.0)):
            ours, plain = alternating_medians(timed(action, path), timed(load, path), repetitions=repetitions)
            figures = f"{ours:.2f} s against {plain:.2f} s"
            what = f"{steps} steps, {action.__name__}"
            measurements.append(Measurement(what, figures, ours / plain, wanted))
    report(measurements)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
