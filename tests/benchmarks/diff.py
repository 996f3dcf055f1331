"""The difference of two long JSON traces, against the time that json.load takes for both.

Run as ``python tests/benchmarks/diff.py [STEPS [REPETITIONS]]``. The traces are equal, differ in one bit,
or, as float32 and float64, differ everywhere.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from measuring import Measurement, alternating_medians, report

from optitrace.analysis.diff_report import report_differences
from optitrace.analysis.tolerance import EXACT
from optitrace.experiment.experiment import design
from optitrace.records.reader import read_trace
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.records.writer import json_chunks
from optitrace.tracing.tracer import trace

WANTED = 3.00


def saved_traces(steps: int, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write the traces; return the files of each pair."""
    runs = {dtype: trace(design("adam", steps=steps, dtype=dtype)) for dtype in ("float32", "float64")}
    runs["one bit"] = _with_one_bit_turned(runs["float32"])
    paths = {name: folder / f"{name}.json" for name in runs}
    for name, path in paths.items():
        path.write_text("".join(json_chunks(runs[name])))
    first = paths["float32"]
    return {
        "equal": (first, first),
        "one bit apart": (first, paths["one bit"]),
        "different everywhere": (first, paths["float64"]),
    }


def ours(files: tuple[Path, Path]) -> Callable[[], float]:
    """Return a measure of the seconds that reading and comparing two traces takes."""

    def seconds() -> float:
        begin = perf_counter()
        a, b = (NamedTrace(path.name, read_trace(str(path))) for path in files)
        report_differences(a, b, EXACT)
        return perf_counter() - begin

    return seconds


def loading(files: tuple[Path, Path]) -> Callable[[], float]:
    """Return a measure of the seconds that json.load takes for two files."""

    def seconds() -> float:
        begin = perf_counter()
        for path in files:
            with path.open() as file:
                json.load(file)
        return perf_counter() - begin

    return seconds


def main(steps: int = 100_000, repetitions: int = 5) -> None:
    """Measure and report."""
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        for what, files in saved_traces(steps, Path(folder)).items():
            diff, load = alternating_medians(ours(files), loading(files), repetitions=repetitions)
            figures = f"{diff:.2f} s against {load:.2f} s"
            measurements.append(Measurement(f"{steps} steps, {what}", figures, diff / load, WANTED))
    report(measurements)


def _with_one_bit_turned(original: TraceRecord) -> TraceRecord:
    """Return a trace whose middle weight is the next number of float64."""
    values = original.weights.values[:]
    middle = len(values) // 2
    values[middle] += abs(values[middle]) * 2.0**-52
    return replace(
        original, columns={**original.columns, "weights": replace(original.weights, values=values)}
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
