"""Pictures for a command: what is to be known before a run, and the picture of what came of it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from optitrace.analysis.comparison import Comparison
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.training.findings import TrainingFindings
from optitrace.cli import terminal
from optitrace.cli.output_files import OutputFile
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import OutputError, UsageError, quoted
from optitrace.experiment.objectives import recorded_function
from optitrace.records.trace import Trace
from optitrace.records.training import Training
from optitrace.views.formats import PICTURES
from optitrace.views.pictures.optional_dependency import check_pictures

if TYPE_CHECKING:
    from rich.text import Text

    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import Sweep
    from optitrace.views.pictures.scene import Scene

BINARY = ("png", "pdf", "gif")
"""The formats that are no text."""


def check_formats(format: str | None, files: Sequence[OutputFile]) -> None:
    """See that pictures can be drawn, and that none goes to a terminal that is no text.

    Raises:
        UsageError: they cannot, or one does.
    """
    if format in BINARY and terminal.is_terminal(sys.stdout):
        raise UsageError(f"{format} is no text that a terminal shows; write it with --output FILE.{format}.")
    check_pictures([*([format] if format else []), *(file.format for file in files)])


def check_plot(format: str | None) -> None:
    """See that a format has a place for a plot; None stands for a table.

    Raises:
        UsageError: it has none.
    """
    if format not in (None, "table"):
        raise UsageError(f"{format} has no place for a plot; leave out --plot, or --format.")


def check_sweep_pictures(spaces: Sequence[Space], formats: Sequence[str]) -> None:
    """See that a picture of what is varied can be drawn, if one is asked for.

    Raises:
        UsageError: it cannot.
    """
    from optitrace.analysis.sweeping.loss_map import drawn_axes

    asked = [format for format in formats if format in PICTURES]
    if asked and any(drawn_axes(space) is None for space in spaces):
        raise UsageError(
            f"no {asked[0]} can be drawn of what is varied here; vary one or two numbers, or write csv."
        )


def say_what_is_not_drawn(traces: Sequence[Trace], *, plots: bool, formats: Collection[str]) -> None:
    """Say that the loss is not drawn where it takes code that saved traces alone name.

    Args:
        traces: what is shown.
        plots: whether a plot in characters is asked for.
        formats: the formats that are written.
    """
    functions = [recorded_function(trace.experiment.objective) for trace in traces]
    if all(functions) and (plots or any(format in PICTURES for format in formats)):
        terminal.say(
            f"the loss around the weights is not drawn: it takes the code of {quoted(functions[0])}; "
            "'optitrace show FILE --rerun' runs it."
        )


def print_picture(content: bytes, format: str) -> None:
    """Print a picture on standard output.

    Raises:
        OutputError: standard output cannot be written to.
    """
    if format in BINARY:
        terminal.print_bytes(content)
    else:
        terminal.print_text([content.decode()])


def picture_of_trace(trace: Trace, format: str, precision: int) -> bytes:
    """Return the picture of a run, as a file of a format."""
    from optitrace.views.pictures.files import picture
    from optitrace.views.pictures.numbers import trace_numbers

    scene = _scene_of_trace(trace, precision)
    numbers = partial(trace_numbers, trace, precision=precision)
    return picture(scene, format, trace.steps, numbers)


def picture_of_comparison(comparison: Comparison, format: str, precision: int) -> bytes:
    """Return the picture of several runs, as a file of a format."""
    from optitrace.views.pictures.files import picture
    from optitrace.views.pictures.numbers import compare_numbers
    from optitrace.views.side_by_side import all_steps

    runs: Sequence[NamedTrace] = comparison.traces
    scene = _scene_of_comparison(comparison)
    numbers = partial(compare_numbers, runs, precision=precision)
    return picture(scene, format, all_steps(runs), numbers)


def picture_of_training(training: Training, findings: TrainingFindings, format: str, precision: int) -> bytes:
    """Return the picture of a training, as a file of a format.

    Raises:
        OutputError: no optimizer took a step.
    """
    from optitrace.views.pictures.files import picture
    from optitrace.views.pictures.training_scene import all_recorded_steps, training_numbers, training_scene

    if not _has_steps(training):
        raise OutputError("cannot draw the training: no step was recorded; record more of it.")
    scene = training_scene(training, findings)
    numbers = partial(training_numbers, training, precision=precision)
    return picture(scene, format, all_recorded_steps(training), numbers)


def picture_of_sweeps(sweeps: Sequence[Sweep], format: str) -> bytes:
    """Return the picture of the sweeps of one or several optimizers, as a file of a format.

    Raises:
        OutputError: no configuration was finished.
    """
    from optitrace.views.pictures.files import picture
    from optitrace.views.pictures.sweep_scene import sweep_scene

    scene = sweep_scene(sweeps)
    if scene is None:
        raise OutputError("cannot draw the sweep: no configuration was finished; run it for longer.")
    return picture(scene, format)


def plot_of_trace(trace: Trace, *, width: int | None = None, ascii_only: bool = False) -> Text:
    """Return the picture of a run in characters."""
    from optitrace.views.pictures.characters.plot import plot

    return plot(_scene_of_trace(trace), width=width, ascii_only=ascii_only)


def plot_of_comparison(comparison: Comparison, *, width: int | None = None, ascii_only: bool = False) -> Text:
    """Return the picture of several runs in characters."""
    from optitrace.views.pictures.characters.plot import plot

    return plot(_scene_of_comparison(comparison), width=width, ascii_only=ascii_only)


def plot_of_training(
    training: Training, findings: TrainingFindings, *, width: int | None = None, ascii_only: bool = False
) -> Text | None:
    """Return the picture of a training in characters; None if no step was recorded, which is no picture."""
    if not _has_steps(training):
        return None
    from optitrace.views.pictures.characters.plot import plot
    from optitrace.views.pictures.training_scene import training_scene

    return plot(training_scene(training, findings), width=width, ascii_only=ascii_only)


def _scene_of_trace(trace: Trace, precision: int = 4) -> Scene:
    from optitrace.analysis.loss_grid import terrain
    from optitrace.views.pictures.trace_scene import trace_scene

    load_torch()
    return trace_scene(trace, terrain([trace]), precision)


def _scene_of_comparison(comparison: Comparison) -> Scene:
    from optitrace.analysis.loss_grid import terrain
    from optitrace.views.pictures.compare_scene import compare_scene

    load_torch()
    return compare_scene(comparison, terrain([run.trace for run in comparison.traces]))


def _has_steps(training: Training) -> bool:
    return any(optimizer.steps for optimizer in training.optimizers)
