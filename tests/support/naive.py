"""The run that a person would write by hand, to hold the tracer against."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import TraceRecord


@dataclass(frozen=True)
class NaiveStep:
    """What one step used, and what it left."""

    loss: tuple[float, ...]
    gradient: tuple[float, ...]
    weights: tuple[float, ...]
    state: Mapping[str, tuple[float, ...]]


def naive_steps(experiment: Experiment) -> list[NaiveStep]:
    """Run an experiment on the documented loss with a plain torch loop."""
    name = experiment.entry.class_path.rpartition(".")[2]
    start = torch.tensor(experiment.start, dtype=getattr(torch, experiment.dtype), device=experiment.device)
    w = (start.reshape(1, -1) if name == "Muon" else start).requires_grad_()
    flags = {} if experiment.implementation == "single" else {experiment.implementation: True}
    if experiment.implementation == "single" and "foreach" in experiment.entry.implementations:
        flags = {"foreach": False}
    made = getattr(torch.optim, name)
    known = inspect.signature(made).parameters  # an older torch lacks some, which are then at their default
    settings = {name: value for name, value in experiment.hyperparameters.items() if name in known}
    optimizer = made([w], **settings, **flags)
    evaluations: list[tuple[Tensor, Tensor]] = []

    def evaluate() -> Tensor:
        if experiment.gradient == "fresh":
            optimizer.zero_grad()
        loss = w[0, 0] ** 2 + 2 * w[0, 1] ** 2 if name == "Muon" else w[0] ** 2 + 2 * w[1] ** 2
        loss.backward()  # type: ignore[no-untyped-call]
        assert w.grad is not None
        evaluations.append((loss.detach(), w.grad.clone()))
        return loss

    steps = []
    for k in range(experiment.steps):
        if name == "LBFGS":
            evaluations.clear()
            optimizer.step(evaluate)
        else:
            if experiment.gradient != "stale" or k == 0:
                evaluations.clear()
                evaluate()
            dense = w.grad
            if name == "SparseAdam":
                assert dense is not None
                w.grad = dense.to_sparse()
            optimizer.step()
            w.grad = dense
        loss, gradient = evaluations[0]
        state = {key: numbers(value) for key, value in optimizer.state[w].items() if value is not None}
        steps.append(NaiveStep(numbers(loss), numbers(gradient), numbers(w), state))
    return steps


def numbers(value: Any) -> tuple[float, ...]:
    """Return a value of a step as the numbers that a trace holds: of a list, its length."""
    if isinstance(value, Tensor):
        return tuple(map(float, value.detach().reshape(-1).tolist()))
    return (float(len(value) if isinstance(value, list) else value),)


def differences(trace: TraceRecord, steps: list[NaiveStep]) -> list[str]:
    """Return where a trace of every step has other bits than the run by hand."""
    found = []
    for k, step in enumerate(steps, start=1):
        ours: dict[str, tuple[float, ...] | None] = {
            name: column.row(k) for name, column in [*trace.columns.items(), *trace.state.items()]
        }
        theirs = {"loss": step.loss, "gradient": step.gradient, "weights": step.weights, **step.state}
        theirs["lr"] = numbers(trace.experiment.hyperparameters["lr"])
        found += [
            f"{name} of step {k}: {ours.get(name)} is not {theirs.get(name)}"
            for name in ours | theirs
            if bits(ours.get(name)) != bits(theirs.get(name))
        ]
    return found


def bits(values: tuple[float, ...] | None) -> bytes | None:
    """Return the bits of some numbers, in which NaN equals itself.

    The sign of a zero is left out: the gradient of the indexed weights in the loop is a sum with
    zeros, in which -0 becomes 0.
    """
    return None if values is None else array("d", [value + 0.0 for value in values]).tobytes()
