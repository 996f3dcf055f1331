"""The text around a table: the experiment and its outcome."""

from __future__ import annotations

from optitrace.analysis.documented import Reproduction, as_printed
from optitrace.analysis.theory import StabilityLimit
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import Status, TraceRecord
from optitrace.rules.hyperparameter import Value, show
from optitrace.text import counted, format_number
from optitrace.views.grid import FIRST_FEW, MOST_COORDINATES


def title(experiment: Experiment) -> str:
    """Return the optimizer, its lr, and the other hyperparameters that differ from their defaults.

    >>> from optitrace.experiment.experiment import design
    >>> title(design("sgd", {"momentum": 0.1}))
    'sgd(lr=0.01, momentum=0.1)'
    """
    settings = experiment.hyperparameters
    shown = [
        setting(h.name, settings[h.name])
        for h in experiment.entry.hyperparameters
        if h.name == "lr" or settings[h.name] != h.default
    ]
    return f"{experiment.optimizer}({', '.join(shown)})"


def setting(name: str, value: Value) -> str:
    """Return a hyperparameter and its value, a tuple in parentheses.

    >>> setting("lr", 0.01), setting("betas", (0.9, 0.999))
    ('lr=0.01', 'betas=(0.9,0.999)')
    """
    shown = show(value)
    return f"{name}=({shown})" if isinstance(value, tuple) else f"{name}={shown}"


def subtitle(experiment: Experiment) -> str:
    """Return the loss, the start, the dtype, the device, and what else is not the default.

    >>> from optitrace.experiment.experiment import design
    >>> subtitle(design("sgd", gradient="stale"))
    'loss = w1² + 2·w2² from (0.5, 0.5), float32 on cpu, stale gradient'
    """
    parts = [
        f"loss = {experiment.objective.formula} from {vector(experiment.start)}",
        f"{experiment.dtype} on {experiment.device}",
    ]
    if experiment.gradient != "fresh":
        parts.append(f"{experiment.gradient} gradient")
    if experiment.implementation != "single":
        parts.append(f"{experiment.implementation} implementation")
    if experiment.noise:
        parts.append(f"noise {show(experiment.noise)} with seed {experiment.seed}")
    if experiment.clip_norm is not None:
        parts.append(f"gradient norm clipped to {show(experiment.clip_norm)}")
    if experiment.clip_value is not None:
        parts.append(f"gradient values clipped to {show(experiment.clip_value)}")
    if experiment.schedule is not None:
        parts.append(f"schedule {experiment.schedule}")
    return ", ".join(parts)


def vector(numbers: tuple[float, ...], most: int = 6) -> str:
    """Return numbers in parentheses, as short as they can be said; an ellipsis stands for the rest."""
    shown = [show(number) for number in numbers[:most]]
    return f"({', '.join([*shown, '…'] if len(numbers) > most else shown)})"


def closing(trace: TraceRecord, precision: int) -> list[str]:
    """Return the lines under every table: how the run ended, and what of it is not shown."""
    loss, *rest = ending(trace, precision)
    count = len(trace.experiment.start)
    if count <= MOST_COORDINATES:
        return [loss, *rest]
    return [
        loss,
        f"only the norm and the first {FIRST_FEW} of {count} coordinates are shown; output files have all",
        *rest,
    ]


def ending(trace: TraceRecord, precision: int) -> list[str]:
    """Return the line of the final loss, and how the run ended if not as planned."""
    loss = format_number(trace.final_loss, precision)
    lines = [f"final loss {loss} after {counted(trace.steps[-1], 'step')}"]
    outcome = trace.outcome
    if outcome.status is Status.NON_FINITE:
        verb = "are" if outcome.quantity == "weights" else "is"
        lines.append(f"step {outcome.step}: the {outcome.quantity} {verb} not finite")
    elif outcome.status is Status.TARGET_REACHED:
        lines.append(f"stopped at the target {outcome.quantity}, of {trace.experiment.steps} steps at most")
    elif outcome.status not in (Status.COMPLETED, Status.TARGET_NOT_REACHED):
        lines.append(f"{outcome.status} after step {outcome.step} of {trace.experiment.steps}")
    return lines + unreached(trace)


def unreached(trace: TraceRecord) -> list[str]:
    """Return the line that says that the target was not reached; none if it was, or there is none."""
    target, taken = trace.experiment.until, trace.steps[-1]
    if target is None or trace.outcome.status is Status.TARGET_REACHED:
        return []
    return [f"the target {target} was not reached in {counted(taken, 'step')}"]


def stability_remark(experiment: Experiment, limit: StabilityLimit) -> str:
    """Return the sentence that says from which lr on a run diverges, and what its lr is."""
    name = experiment.optimizer
    if limit.lr == 0:
        return f"{name} converges here for no lr: {limit.reason}"
    lr = show(experiment.hyperparameters["lr"])
    return f"{name} diverges here for lr > {limit.lr:.4g} (= {limit.reason}), and lr is {lr}"


def documented_remark(reproduction: Reproduction) -> str:
    """Return the line that says what the document prints for these settings, and what reproduces it."""
    cell, printed = reproduction.cell, reproduction.cell.last
    ours = as_printed(reproduction.numbers)
    return (
        f"documented cell {cell.number} prints {as_printed(printed.numbers)} after step {printed.step}; "
        f"--gradient {cell.gradient} gives {'the same' if reproduction.agrees else ours}"
    )
