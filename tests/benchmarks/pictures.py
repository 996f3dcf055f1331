"""A run of 100,000 steps as a picture: the seconds that drawing takes, and the size of the file.

Run as ``python tests/benchmarks/pictures.py [STEPS]``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from time import process_time

from measuring import Measurement, report

from optitrace.experiment.experiment import design
from optitrace.records.trace import TraceRecord
from optitrace.tracing.tracer import trace
from optitrace.views.display import Display
from optitrace.views.formats import find_writer, is_picture, writers_of
from optitrace.views.presenters.trace import TracePresenter

SECONDS = 5.0

MEGABYTES = 1.0

PICTURES = [name for name, writer in writers_of(TracePresenter).items() if is_picture(writer)]


def drawn(run: TraceRecord, format: str) -> bytes:
    """Return the picture of a run, the loss around it and all."""
    written = find_writer(format, TracePresenter).write(TracePresenter(run), Display())
    return b"".join(part.encode() if isinstance(part, str) else part for part in written)


def timed(draw: Callable[[], bytes], repetitions: int = 5) -> tuple[float, bytes]:
    """Return the median of the seconds of a processor that drawing takes, and what was drawn."""
    seconds = []
    for _ in range(repetitions):
        begin = process_time()
        content = draw()
        seconds.append(process_time() - begin)
    return statistics.median(seconds), content


def main(steps: int = 100_000) -> None:
    """Measure and report: a path that runs to and fro all the time, and one that settles."""
    noisy = trace(design("sgd", {"lr": 0.05}, noise=2.0, steps=steps))
    smooth = trace(design("adam", {"lr": 1e-3}, objective="rosenbrock", steps=steps))
    measurements = []
    for name, run in (("noisy", noisy), ("smooth", smooth)):
        for format in PICTURES:
            seconds, content = timed(partial(drawn, run, format))
            what = f"{steps:,} {name} steps as {format}"
            measurements.append(Measurement(what, "seconds to draw", seconds, SECONDS, "s"))
            measurements.append(Measurement(what, "size", len(content) / 1e6, MEGABYTES, "MB"))
    report(measurements)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
