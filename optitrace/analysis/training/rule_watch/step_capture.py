"""The capture of an optimizer's steps: the tensors needed to recompute them, on their device."""

from __future__ import annotations

import ast
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.verification.step_check import COUNT
from optitrace.monitoring.backward_tracker import FOUND_INF, SCALE, from_scaler
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.monitoring.tensor_values import local
from optitrace.monitoring.torch_internals import compiler_file
from optitrace.monitoring.update_rule import default_settings, read_setting
from optitrace.monitoring.weight_sample import (
    ParameterBatch,
    SamplePlace,
    gradient_values,
    values,
)
from optitrace.rules.rule import Rule, StateEntry
from optitrace.rules.source_patching import definition, extent
from optitrace.text import listed
from optitrace.tracing.stepping import has_own_hooks

State = Mapping[Tensor, Mapping[str, Any]]
"""An optimizer's state, by parameter."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights and the state of a batch, as torch has them.

    Attributes:
        weights: shape (coordinates,).
        state: the entries by torch's names, shape (coordinates,), or (places,) for what is one number
            for a whole parameter; those that no place has are not there.
        counts: the number of the last step of each place, as far as it is kept: see `_counts`.
        is_counted: whether it is kept.
    """

    weights: Tensor
    state: Mapping[str, Tensor]
    counts: Sequence[float] | Tensor
    is_counted: bool


@dataclass(frozen=True, slots=True)
class UsedGradient:
    """The gradient of a batch as a step uses it, and the hyperparameters of that step.

    Attributes:
        numbers: the gradient, shape (coordinates,).
        has: which places have one; torch leaves the others as they are.
        settings: every hyperparameter of the rule.
        scale: divisor of the gradient in the optimizer; None if there is none.
        found_inf: not zero if the optimizer skips the step; None if it never does.
        is_capturable: whether torch computes with tensors where it otherwise has Python's numbers.
    """

    numbers: Tensor
    has: tuple[bool, ...]
    settings: Mapping[str, Any]
    scale: Tensor | None
    found_inf: Tensor | None
    is_capturable: bool


@dataclass(frozen=True, slots=True)
class CapturedStep:
    """One batch in one step.

    Attributes:
        step: the step's number, as the training has it.
        batch: which weights.
        before: weights and state before the step.
        gradient: used by the step.
        after: weights and state after it.
        has_hooks: whether the program has hooks around the steps, which may change all of these.
    """

    step: int
    batch: ParameterBatch
    before: Snapshot
    gradient: UsedGradient
    after: Snapshot
    has_hooks: bool

    @property
    def is_skipped(self) -> bool:
        """Whether the optimizer skipped the step, as a GradScaler asked for; this waits for a device."""
        found = self.gradient.found_inf
        return found is not None and bool(found)


COUNTERS = (COUNT, "k")
"""What optimizers that count the steps of a parameter group, not of each parameter, call that count."""


def unreadable(rule: Rule, optimizer: Optimizer) -> str:
    """Return a clause that says why no step of an optimizer can be recomputed; empty if any can."""
    groups = optimizer.param_groups
    shared = [entry.key for entry in rule.state if entry.scalar and any(entry.key in g for g in groups)]
    if shared and extent(rule) != "weight" and any(len(group["params"]) > 1 for group in groups):
        return (
            f"it computes {listed(shared)} from all parameters of a group together, which is verified only "
            "where a group has a single parameter"
        )
    kept = [each for each in optimizer.state.values() if each]
    is_counted = any(COUNT in each for each in kept) or any(_counter(group) is not None for group in groups)
    if _needs_count(rule) and kept and not is_counted:
        return "it took steps before that it does not count, and the rule needs their number"
    return ""


class CaptureSink(Protocol):
    """Takes the captured steps of an optimizer."""

    def attempt(self, look: Callable[[], None]) -> None:
        """Run code whose failure must not affect the program."""

    def add(self, step: Sequence[CapturedStep]) -> None:
        """Take all batches of a step."""

    def end(self, why: str) -> None:
        """Take no more steps, for a reason that a clause gives."""


class StepCapture:
    """Captures each step of one optimizer, as a probe of its recorder; it never waits for an accelerator."""

    def __init__(
        self,
        rule: Rule,
        optimizer: Optimizer,
        recorder: SegmentRecorder,
        batches: Sequence[ParameterBatch],
        sink: CaptureSink,
    ) -> None:
        """Begin before a step.

        Args:
            rule: of the optimizer.
            optimizer: is not kept alive by this.
            recorder: its recorder.
            batches: the weights to capture.
            sink: takes every step.
        """
        self._optimizer = weakref.ref(optimizer)
        self._recorder = recorder
        self._sink = sink
        self._rule = rule
        self._defaults = default_settings(rule, type(optimizer))
        self._readers = [_BatchReader(rule, batch, recorder.members.parameters) for batch in batches]
        self._initial: list[Mapping[str, Any]] = []
        self._before: list[Snapshot] = []
        self._gradients: list[UsedGradient] = []

    def before(self) -> None:
        """Capture the weights and the state before a step."""
        self._before, self._gradients = [], []
        self._look(self._capture_before)

    def during(self) -> None:
        """Capture the gradient, and the hyperparameters as they are now."""
        if self._before:
            self._look(self._capture_gradients)

    def after(self) -> None:
        """Capture the weights and the state after a step."""
        if self._gradients:
            self._look(self._capture_after)

    def _look(self, at: Callable[[Optimizer], None]) -> None:
        optimizer = self._optimizer()
        if optimizer is not None:
            self._sink.attempt(lambda: at(optimizer))

    def _capture_before(self, optimizer: Optimizer) -> None:
        self._initial = [self._initial_state(optimizer, r.batch.group) for r in self._readers]
        self._before = self._snapshots(optimizer)

    def _capture_gradients(self, optimizer: Optimizer) -> None:
        scale, found_inf = (from_scaler(optimizer, name) for name in (SCALE, FOUND_INF))
        for reader in self._readers:
            numbers, has = reader.gradient()
            group = optimizer.param_groups[reader.batch.group]
            settings = {
                name: _copied(read_setting(optimizer, group, name, value))
                for name, value in self._defaults.items()
            }
            is_capturable = bool(group.get("capturable")) or _is_compiled()
            self._gradients.append(UsedGradient(numbers, has, settings, scale, found_inf, is_capturable))

    def _capture_after(self, optimizer: Optimizer) -> None:
        step, has_hooks = self._recorder.taken, has_own_hooks(optimizer)
        batches, snapshots = [reader.batch for reader in self._readers], self._snapshots(optimizer)
        if missing := self._missing(snapshots):
            self._sink.end(
                f"it does not keep {listed(missing)}, the state of {self._rule.name}; name the state of the "
                "rule as the class does"
            )
            return
        captured = zip(batches, self._before, self._gradients, snapshots, strict=True)
        self._sink.add([CapturedStep(step, *each, has_hooks) for each in captured])
        for reader, gradient in zip(self._readers, self._gradients, strict=True):
            reader.count(gradient.has)
        self._before, self._gradients = [], []

    def _missing(self, after: Sequence[Snapshot]) -> list[str]:
        """Return the entries of the rule's state that the optimizer does not keep after a step."""
        return list(
            dict.fromkeys(
                entry.key
                for used, snapshot in zip(self._gradients, after, strict=True)
                if any(used.has) and used.found_inf is None
                for entry in self._rule.state
                if entry.exists(used.settings) and entry.key not in snapshot.state
            )
        )

    def _initial_state(self, optimizer: Optimizer, number: int) -> Mapping[str, Any]:
        """Return the state of a parameter group before its first step, by torch's names."""
        group = optimizer.param_groups[number]
        return {
            entry.key: read_setting(optimizer, group, entry.initial, self._defaults[entry.initial])
            if isinstance(entry.initial, str)
            else entry.initial
            for entry in self._rule.state
        }

    def _snapshots(self, optimizer: Optimizer) -> list[Snapshot]:
        return [
            reader.snapshot(optimizer.state, optimizer.param_groups[reader.batch.group], initial)
            for reader, initial in zip(self._readers, self._initial, strict=True)
        ]


class _BatchReader:
    """Reads the weights, the state and the gradient of a batch at one moment, again and again."""

    def __init__(self, rule: Rule, batch: ParameterBatch, parameters: Sequence[Tensor]) -> None:
        self.batch = batch
        self._rule = rule
        self._parameters = [parameters[place.parameter] for place in batch.places]
        self._weights = _SampledTensors(batch.places)
        self._entries = {entry.key: _SampledTensors(batch.places) for entry in rule.state if not entry.scalar}
        self._taken = [0] * len(batch.places)

    def snapshot(self, state: State, group: Mapping[str, Any], initial: Mapping[str, Any]) -> Snapshot:
        """Return what the weights and the state are now.

        Args:
            state: the optimizer's.
            group: the parameter group, which may have some of the state.
            initial: the values of state that some places do not have yet, and others have.
        """
        kept = [state.get(parameter) or {} for parameter in self._parameters]
        weights = self._weights.read([local(p) for p in self._parameters])
        entries = {
            entry.key: numbers
            for entry in self._rule.state
            if (numbers := self._entry(entry, kept, group, initial.get(entry.key))) is not None
        }
        return Snapshot(weights, entries, self._counts(kept, group), any(COUNT in entry for entry in kept))

    def count(self, has: Sequence[bool]) -> None:
        """Count a step of the places that have a gradient, for optimizers that do not count themselves."""
        self._taken = [taken + is_stepped for taken, is_stepped in zip(self._taken, has, strict=True)]

    def gradient(self) -> tuple[Tensor, tuple[bool, ...]]:
        """Return the gradient, 0 where there is none, and which places have one."""
        gradients = [p.grad for p in self._parameters]
        numbers = [
            p.detach().new_zeros(place.count) if g is None else gradient_values(local(g), place)
            for p, g, place in zip(self._parameters, gradients, self.batch.places, strict=True)
        ]
        return torch.cat(numbers), tuple(g is not None for g in gradients)

    def _counts(
        self, kept: Sequence[Mapping[str, Any]], group: Mapping[str, Any]
    ) -> Sequence[float] | Tensor:
        """Return the numbers of the last steps: those that the optimizer counts, or else our own count.

        Where the rule asks only whether a step is the first, it is the first that has no state.
        """
        counts = [each.get(COUNT, 0.0) for each in kept]
        if any(isinstance(count, Tensor) for count in counts):
            first = next(count for count in counts if isinstance(count, Tensor))
            return torch.stack([torch.as_tensor(c, device=first.device, dtype=first.dtype) for c in counts])
        if any(COUNT in each for each in kept):
            return counts
        if not _needs_count(self._rule):
            return [
                float(any(each.get(entry.key) is not None for entry in self._rule.state)) for each in kept
            ]
        if (counter := _counter(group)) is not None:
            return [counter] * len(kept)
        # state that was emptied begins anew
        self._taken = [
            n if each or not self._rule.state else 0 for n, each in zip(self._taken, kept, strict=True)
        ]
        return list(map(float, self._taken))

    def _entry(
        self, entry: StateEntry, kept: Sequence[Mapping[str, Any]], group: Mapping[str, Any], initial: Any
    ) -> Tensor | None:
        """Return an entry of the state at all places; None if no place has it."""
        found = [each.get(entry.key, group.get(entry.key) if entry.scalar else None) for each in kept]
        present = [each for each in found if each is not None]
        if not present:
            return None
        if entry.scalar:
            numbers = [initial if each is None else each for each in found]
            return torch.stack([_as_scalar(each) for each in numbers])
        first = torch.as_tensor(present[0])
        tensors = [
            first.new_full(place.shape, float(initial or 0.0)) if each is None else local(each)
            for each, place in zip(found, self.batch.places, strict=True)
        ]
        shapes = [place.shape for place in self.batch.places]
        return self._entries[entry.key].read(tensors) if [t.shape for t in tensors] == shapes else None


class _SampledTensors:
    """The numbers of some tensors at places, one after the other.

    The views of them are kept as long as the tensors stay where they are in memory, which the views hold.
    """

    def __init__(self, places: Sequence[SamplePlace]) -> None:
        self._places = places
        self._addresses: list[int] = []
        self._views: list[Tensor] = []

    def read(self, tensors: Sequence[Tensor]) -> Tensor:
        if not all(tensor.layout is torch.strided and tensor.is_contiguous() for tensor in tensors):
            return torch.cat([values(*each) for each in zip(tensors, self._places, strict=True)])
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            self._addresses = addresses
            self._views = [values(*each) for each in zip(tensors, self._places, strict=True)]
        return torch.cat(self._views)


@cache
def _needs_count(rule: Rule) -> bool:
    """Return whether a rule needs more of a step's number than whether it is the first."""
    if rule.torch is not None and not rule.torch.counts_steps:
        return False
    function = definition(rule.function)
    number = function.args.args[2].arg
    return any(isinstance(node, ast.Name) and node.id == number for node in ast.walk(function))


def _counter(group: Mapping[str, Any]) -> float | None:
    """Return how many steps a parameter group has taken; None if it does not count them."""
    counts = (group.get(name) for name in COUNTERS)
    return next((float(count) for count in counts if isinstance(count, int | float | Tensor)), None)


def _as_scalar(value: Any) -> Tensor:
    """Return a number as a tensor of shape (); one of Python's keeps its digits."""
    return (
        torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
        .detach()
        .reshape(())
    )


def _copied(value: Any) -> Any:
    """Return a hyperparameter as it is now; schedulers fill those that are tensors anew."""
    if isinstance(value, Tensor):
        return value.item() if value.device.type == "cpu" else value.detach().reshape(()).clone()
    return tuple(_copied(each) for each in value) if isinstance(value, list | tuple) else value


def _is_compiled() -> bool:
    """Return, within a hook of an optimizer, whether torch.compile has compiled the step around it.

    torch then computes with tensors where it otherwise has Python's numbers, as if it were capturable. Only
    the frames above the step show that compiled code leads to a hook: torch has no function for it.
    """
    compiler = compiler_file()
    step = sys.modules[Optimizer.__module__].__file__
    if compiler is None:
        return False
    frame, is_above = sys._getframe(1), False
    while frame is not None:
        file = frame.f_code.co_filename
        if is_above and file == compiler:
            return True
        is_above = is_above or file == step
        frame = frame.f_back  # type: ignore[assignment]
    return False
