"""Traces to show: real ones of every optimizer, and made-up ones of any numbers."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st
from rich.console import Console, RenderableType

from optitrace.experiment.experiment import design
from optitrace.records.trace import Column, Outcome, TraceRecord, Versions
from optitrace.tracing.tracer import trace
from optitrace.views.display import Display
from optitrace.views.formats import Presenter, find_writer


@cache
def traced(optimizer: str, steps: int = 3, every: int = 1, **settings: Any) -> TraceRecord:
    """Return the trace of a real run; settings that are no hyperparameters are the experiment's."""
    own = {name: settings.pop(name) for name in ("coefficients", "start", "gradient") if name in settings}
    return trace(design(optimizer, settings, steps=steps, **own), every=every)


def made_up(
    steps: Sequence[int],
    numbers: Sequence[float],
    coordinates: int = 2,
    state: Mapping[str, tuple[int, ...]] | None = None,
) -> TraceRecord:
    """Return a trace whose columns take the numbers in turn; `state` gives the shape of each entry."""

    def column(shape: tuple[int, ...], first: int) -> Column:
        count = (len(steps) - first) * (shape[0] if shape else 1)
        return Column(array("d", (numbers[k % len(numbers)] for k in range(max(0, count)))), shape, first)

    vector = (coordinates,)
    return TraceRecord(
        experiment=design("sgd", coefficients=(1.0,) * coordinates, steps=steps[-1]),
        versions=Versions("0", "0", "0"),
        outcome=Outcome(),
        steps=array("q", steps),
        columns={
            "loss": column((), 1),
            "gradient": column(vector, 1),
            "weights": column(vector, 0),
            "lr": column((), 1),
        },
        state={name: column(shape, 1) for name, shape in (state or {}).items()},
        final_loss=numbers[0],
    )


NUMBERS = st.floats(allow_subnormal=True) | st.sampled_from([0.0, -0.0, 1e-5, 5e-324, 9999999.5, 1e300])

STATE_NAMES = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"), min_size=1, max_size=40).filter(
    lambda name: name not in ("step", "loss", "gradient", "weights", "update")
)


@st.composite
def any_trace(draw: st.DrawFn) -> TraceRecord:
    """Draw a trace of any numbers, of up to five coordinates, and of steps with up to 13 digits."""
    coordinates = draw(st.integers(1, 5))
    shapes = st.sampled_from([(), (coordinates,)])
    later = st.lists(st.integers(1, 9 * 10**12), max_size=6, unique=True).map(sorted)
    return made_up(
        steps=[0, *draw(later)],
        numbers=draw(st.lists(NUMBERS, min_size=1, max_size=12)),
        coordinates=coordinates,
        state=draw(st.dictionaries(STATE_NAMES | st.just("step"), shapes, max_size=3)),
    )


def written(result: Presenter, format: str, display: Display = Display()) -> str:  # noqa: B008 (it is frozen)
    """Return a result in a format that is text."""
    return "".join(map(str, find_writer(format, type(result)).write(result, display)))


def printed(renderable: RenderableType, width: int) -> str:
    """Return what a terminal of this width shows."""
    file = io.StringIO()
    Console(file=file, width=width, height=50, color_system=None, highlight=False).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
