"""optitrace from Python: the same runs as from a shell, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.text import SETTINGS
from optitrace.tracing import trace as tracing
from optitrace.views.formats import chunks
from optitrace.views.grid import Look
from optitrace.views.wording import closing, title

if TYPE_CHECKING:
    from rich.console import RenderableType
    from torch import Tensor
    from torch.optim import Optimizer

    from optitrace.analysis.explanation import ExplainedStep
    from optitrace.analysis.verification import check


class Trace:
    """One run of an optimizer, step by step.

    Row 0 is the start. The row of step k holds the loss and the gradient that step k used, and the
    weights and the state after it. Printed, it is a table; in a notebook, an HTML table.

    Tensors are on the CPU in float64, which holds every recorded number exactly, whatever the dtype of
    the run. Their first axis is that of the rows, `steps`. Where a row has no value, as row 0 has no
    loss, they hold NaN.

    Attributes:
        record: the trace as the rooms of this package pass it on.
    """

    def __init__(self, record: tracing.Trace) -> None:
        self.record = record

    @property
    def experiment(self) -> Experiment:
        """What was run."""
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
        return "".join(chunks(self.record, "json", Look()))

    def to_csv(self) -> str:
        """Return the trace as CSV, the same bytes that ``--format csv`` writes."""
        return "".join(chunks(self.record, "csv", Look()))

    def __str__(self) -> str:
        return "".join(chunks(self.record, "table", Look())).removesuffix("\n")

    def __repr__(self) -> str:
        return f"<Trace of {title(self.experiment)}: {'; '.join(closing(self.record, 4))}>"

    def __rich__(self) -> RenderableType:
        from optitrace.views.table import render

        return render(self.record, Look())

    def _repr_html_(self) -> str:
        from optitrace.views.html import html_table

        return html_table(self.record, Look())

    def _tensor(self, column: tracing.Column) -> Tensor:
        import torch

        rows = len(self.record.steps)
        tensor = torch.full((rows, *column.shape), torch.nan, dtype=torch.float64)
        if column.values:
            values = torch.frombuffer(column.values, dtype=torch.float64).reshape(-1, *column.shape)
            tensor[column.first :] = values
        return tensor


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the rule made each number of a trace; printed, it is the text of ``--explain``.

    Attributes:
        steps: the explained steps, in order: for each the rule's lines, the parts of the weight change,
            and how far torch's weights are from the rule's, in units in the last place.
    """

    steps: tuple[ExplainedStep, ...]
    _precision: int

    def __str__(self) -> str:
        from optitrace.views.explanation import explained_lines

        return "\n".join(explained_lines(self.steps, self._precision, None)).rstrip("\n")


def explain(trace: Trace, *, precision: int = 4, coordinate: int | None = None) -> Explanation:
    """Explain each step of a trace by the optimizer's rule, in float64.

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

    explained = explain_record(trace.record, precision=precision, coordinate=coordinate)
    return Explanation(tuple(explained.values()), precision)


def trace(optimizer: str, *, steps: int = 10, device: str = "cpu", every: int = 1, **settings: Any) -> Trace:
    """Run an optimizer and return what it did.

    >>> traced = trace("sgd", momentum=0.1, steps=2)
    >>> traced.weights[2].tolist()
    [0.47920000553131104, 0.45879998803138733]
    >>> trace("adam", lr=0.5, objective="booth", steps=500, until="loss<1e-6").outcome.quantity
    'loss<1e-06'

    Args:
        optimizer: a name of torch.optim, in any letter case.
        steps: how many steps to take.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        every: keep the steps that are multiples of this, the start and the last step.
        **settings: the optimizer's hyperparameters, and what else decides a run: ``gradient``,
            ``objective``, ``coefficients``, ``dimension``, ``condition``, ``rotate``, ``start``, ``dtype``,
            ``implementation``, ``noise``, ``seed``, ``clip_norm``, ``clip_value``, ``schedule``, ``until``;
            each is explained at `optitrace.experiment.experiment.design`.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
        DeviceError: the device is not there.
    """
    if device == "auto":
        from optitrace.tracing.devices import choose_device

        device = choose_device()
    of_experiment = {name: settings.pop(name) for name in SETTINGS if name in settings}
    experiment = design(optimizer, settings, steps=steps, device=device, **of_experiment)
    from optitrace.tracing.tracer import trace as run

    return Trace(run(experiment, every=every))


class Verification:
    """What came out of verifying. Printed, it is a table with what departs and why below.

    Attributes:
        record: the findings as the rooms of this package pass them on.
    """

    def __init__(self, record: check.Verification) -> None:
        self.record = record

    @property
    def passed(self) -> bool:
        """Whether nothing departs from its rule and no claim fails."""
        return self.record.passed

    @property
    def checks(self) -> tuple[check.Check, ...]:
        """Each optimizer held against its rule, in each implementation and dtype."""
        return self.record.checks

    @property
    def conformances(self) -> tuple[check.Conformance, ...]:
        """Each class of one's own held against what every good optimizer does."""
        return self.record.conformances

    def to_json(self) -> str:
        """Return the findings as JSON, the same bytes that ``--format json`` writes."""
        from optitrace.views.verify_table import verify_json

        return verify_json(self.record)

    def __str__(self) -> str:
        from optitrace.views.plain import plain_text

        return plain_text(self.__rich__()).removesuffix("\n")

    def __repr__(self) -> str:
        return f"<Verification: {'passed' if self.passed else 'failed'}>"

    def __rich__(self) -> RenderableType:
        from optitrace.views.verify_table import verify_table

        return verify_table(self.record)


def verify(
    *optimizers: str | type[Optimizer],
    rule: str | None = None,
    dtypes: Sequence[str] = ("float32", "float64"),
    implementation: str = "",
    device: str = "cpu",
    **hyperparameters: Any,
) -> Verification:
    """Hold every step of torch's optimizers, or of classes of one's own, against the rules.

    >>> verify("adam", implementation="single").passed
    True

    Args:
        *optimizers: names of the catalogue, classes, or names of classes such as ``mine.py:Adam``; all
            of torch if none.
        rule: the optimizer whose rule the classes of one's own are to follow; where there is none, they
            are held against what every good optimizer does alone.
        dtypes: ``float32``, ``float64``, or both.
        implementation: the only one of ``single``, ``foreach`` and ``fused`` to be tried.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        **hyperparameters: of the classes of one's own, those that are to have these values throughout.

    Raises:
        UsageError: a name is not known, or a class cannot be verified so.
        DeviceError: the device is not there.
    """
    from optitrace.analysis.verification import verify as verifying
    from optitrace.analysis.verification.subject import find_rule
    from optitrace.experiment.own_class import OwnClass, is_own, load
    from optitrace.rules.catalogue import OPTIMIZERS, find
    from optitrace.tracing.devices import choose_device

    named = [o for o in optimizers or OPTIMIZERS if isinstance(o, str)]
    own = [OwnClass.of(o) for o in optimizers if not isinstance(o, str)] + [
        load(o) for o in named if is_own(o)
    ]
    scope = verifying.Scope(tuple(dtypes), implementation, choose_device() if device == "auto" else device)
    its_rule = find_rule(rule) if rule else None
    classes = [verifying.Own(each, hyperparameters, its_rule) for each in own]
    chosen = [find(name) for name in named if not is_own(name)]
    return Verification(verifying.verify(chosen, classes, scope))
