"""Traces from Python: running an optimizer, reading a saved trace back, and explaining its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optitrace.errors import UsageError, integer
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.text import SETTINGS
from optitrace.experiment.user_class import entry_of_object
from optitrace.python.shown import ShownInNotebook
from optitrace.records import trace as tracing
from optitrace.records.reader import parse_trace, read_trace
from optitrace.records.trace import Column
from optitrace.views.presenters.trace import TracePresenter
from optitrace.views.wording import closing, title

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from optitrace.analysis.explanation import ExplainedStep
    from optitrace.rules.rule import Rule

_TEXTS = ("gradient", "implementation", "schedule", "until")
"""The settings of an experiment that are texts."""


class Trace(ShownInNotebook):
    """One run of an optimizer, step by step.

    Row 0 is the start. The row of step k holds the loss and the gradient that step k used, and the
    weights and the state after it. Printed, it is a table; in a notebook, an HTML table.

    Tensors are on the CPU in float64, which holds every recorded number exactly, whatever the dtype of
    the run. Their first axis is that of the rows, `steps`. Where a row has no value, as row 0 has no
    loss, they hold NaN.

    Attributes:
        record: the trace as recorded.
    """

    def __init__(self, record: tracing.TraceRecord) -> None:
        self.record = record

    @property
    def experiment(self) -> Experiment:
        """The program that was run."""
        return self.record.experiment

    @property
    def outcome(self) -> tracing.Outcome:
        """How the run ended."""
        return self.record.outcome

    @property
    def final_loss(self) -> float:
        """The loss at the last weights."""
        return self.record.final_loss

    @property
    def steps(self) -> list[int]:
        """The step of each row, from 0."""
        return list(self.record.steps)

    @property
    def loss(self) -> Tensor:
        """The loss that each step used, shape (rows,)."""
        return self._tensor(self.record.loss)

    @property
    def gradient(self) -> Tensor:
        """The gradient that each step used, shape (rows, coordinates)."""
        return self._tensor(self.record.gradient)

    @property
    def weights(self) -> Tensor:
        """The weights after each step, shape (rows, coordinates)."""
        return self._tensor(self.record.weights)

    @property
    def lr(self) -> Tensor:
        """The learning rate that each step used, shape (rows,)."""
        return self._tensor(self.record.lr)

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The optimizer's state after each step, by torch's names, each of shape (rows, ...)."""
        return {name: self._tensor(column) for name, column in self.record.state.items()}

    def to_json(self) -> str:
        """Return the trace as JSON, the same bytes that ``--format json`` writes."""
        return self._written("json")

    def to_csv(self) -> str:
        """Return the trace as CSV, the same bytes that ``--format csv`` writes."""
        return self._written("csv")

    def __reduce__(self) -> tuple[Callable[[bytes], Trace], tuple[bytes]]:
        """Pickle a trace as the content of its file."""
        return _unpickled, (self.to_json().encode(),)

    def __repr__(self) -> str:
        return f"<Trace of {title(self.experiment)}: {'; '.join(closing(self.record, 4))}>"

    @property
    def _presenter(self) -> TracePresenter:
        return TracePresenter(self.record)

    def _tensor(self, column: tracing.Column) -> Tensor:
        return tensor_of(column, len(self.record.steps))


def trace(
    optimizer: str | type[Optimizer] | Rule | Callable[..., Any],
    *,
    steps: int = 10,
    device: str = "cpu",
    every: int = 1,
    **settings: Any,
) -> Trace:
    """Run an optimizer and return the trace.

    >>> traced = trace("sgd", momentum=0.1, steps=2)
    >>> traced.weights[2].tolist()
    [0.47920000553131104, 0.45879998803138733]
    >>> trace("adam", lr=0.5, objective="booth", steps=500, until="loss<1e-6").outcome.quantity
    'loss<1e-06'

    Args:
        optimizer: the name of an optimizer in any letter case, of a custom class or rule (``mine.py:Lion``);
            or the class, the rule or the function itself.
        steps: how many steps to take.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        every: keep the steps that are multiples of this, the start and the last step.
        **settings: the optimizer's hyperparameters, and what else decides a run: ``gradient``,
            ``objective``, ``coefficients``, ``dimension``, ``condition``, ``rotate``, ``start``, ``dtype``,
            ``implementation``, ``noise``, ``seed``, ``clip_norm``, ``clip_value``, ``schedule``, ``until``;
            each is explained at `optitrace.experiment.experiment.Settings`.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
        DeviceError: the device is not there.
    """
    experiment = experiment_of(optimizer, steps, device, settings)
    from optitrace.tracing.tracer import trace as run

    return Trace(run(experiment, every=every))


def experiment_of(optimizer: Any, steps: int, device: str, settings: Mapping[str, Any]) -> Experiment:
    """Return the experiment that the arguments of `trace` describe.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
        DeviceError: the device is not there.
    """
    chosen = optimizer if isinstance(optimizer, str) else entry_of_object(optimizer)
    if device == "auto":
        from optitrace.tracing.devices import choose_device

        device = choose_device()
    of_experiment = {name: _setting(name, settings[name]) for name in SETTINGS if name in settings}
    hyperparameters = {name: value for name, value in settings.items() if name not in SETTINGS}
    return design(chosen, hyperparameters, steps=steps, device=device, **of_experiment)


def record_of(trace: Trace) -> tracing.TraceRecord:
    """Return the record of a trace.

    Raises:
        UsageError: it is not a trace.
    """
    if not isinstance(trace, Trace):
        raise UsageError(f"{trace!r} is not a trace; make one with trace('sgd'), or read('trace.json') one.")
    return trace.record


def read(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that was saved as JSON or JSONL.

    Raises:
        InputFileError: the file cannot be read, or is not a trace.
    """
    return Trace(read_trace(os.fspath(path)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a trace by its rule; printed, it is the text of ``--explain``.

    Attributes:
        steps: the explained steps, in order: for each the rule's lines, the parts of the weight change,
            and how far torch's weights are from the rule's, in units in the last place.
    """

    steps: tuple[ExplainedStep, ...]
    _precision: int

    def __str__(self) -> str:
        from optitrace.views.display import Display
        from optitrace.views.explanation import explained_lines

        return "\n".join(explained_lines(self.steps, Display(precision=self._precision))).rstrip("\n")


def explain(trace: Trace, *, precision: int = 4, coordinate: int | None = None) -> Explanation:
    """Explain each step of a trace by the optimizer's rule, in float64.

    >>> from optitrace import trace
    >>> print(explain(trace("sgd", steps=1)))
    step 1
      w = w − lr·g = (0.5000, 0.5000) − 0.01·(1.0000, 2.0000) = (0.4900, 0.4800)
      torch: w = (0.4900, 0.4800), (0.3, 0.4) ulp from the rule

    Args:
        trace: a trace of every step.
        precision: decimals of the numbers.
        coordinate: the coordinate, from 1, to follow as plain numbers; all, as vectors, if not given.

    Raises:
        UsageError: the trace left steps out, or there is no such coordinate.
    """
    from optitrace.analysis.explanation import explain as explain_record

    integer("precision", precision, most=17)
    explained = explain_record(record_of(trace), precision=precision, coordinate=coordinate)
    return Explanation(tuple(explained.values()), precision)


def tensor_of(column: Column, rows: int) -> Tensor:
    """Return a column as a tensor of shape (rows, ...), float64 on the CPU, NaN where there is no value."""
    import torch

    tensor = torch.full((rows, *column.shape), torch.nan, dtype=torch.float64)
    if len(column.values):
        values = torch.frombuffer(bytearray(column.values), dtype=torch.float64)
        tensor[column.first :] = values.reshape(-1, *column.shape)
    return tensor


def _unpickled(content: bytes) -> Trace:
    return Trace(parse_trace(content))


def _setting(name: str, value: Any) -> Any:
    """Return a setting of an experiment, which is a text wherever the command line takes one.

    A dtype of torch is taken for its name.
    """
    if name == "dtype":
        value = dtype_name(value)
    is_text = value is None or isinstance(value, str)
    if name in _TEXTS and not is_text:
        raise UsageError(f"{name} is {value!r}; give it as a text, as on the command line.")
    if name == "objective" and not is_text and not hasattr(value, "usual_start"):
        raise UsageError(
            f"the objective is {value!r}; give a name, an expression, or where a function stands, "
            "as 'mine.py:loss'."
        )
    return value
