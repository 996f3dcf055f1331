"""The capture of an optimizer's steps: what is needed to recompute them, on the device where it is."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.verification.step_check import COUNT
from optitrace.monitoring.backward_tracker import FOUND_INF, SCALE, from_scaler
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.monitoring.tensor_values import local
from optitrace.monitoring.torch_internals import compiler_file
from optitrace.monitoring.weight_sample import (
    ParameterBatch,
    SamplePlace,
    gradient_values,
    values,
)
from optitrace.rules.rule import Rule, StateEntry
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


class CaptureSink(Protocol):
    """Takes the captured steps of an optimizer."""

    def attempt(self, look: Callable[[], None]) -> None:
        """Run code that looks at a program, and that must not fail for that."""

    def add(self, step: Sequence[CapturedStep]) -> None:
        """Take all batches of a step."""


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
        self._defaults = {parameter.name: parameter.default for parameter in rule.parameters}
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
        self._initial = [self._initial_state(optimizer.param_groups[r.batch.group]) for r in self._readers]
        self._before = self._snapshots(optimizer)

    def _capture_gradients(self, optimizer: Optimizer) -> None:
        scale, found_inf = (from_scaler(optimizer, name) for name in (SCALE, FOUND_INF))
        for reader in self._readers:
            numbers, has = reader.gradient()
            group = optimizer.param_groups[reader.batch.group]
            settings = {name: _copied(group.get(name, value)) for name, value in self._defaults.items()}
            is_capturable = bool(group.get("capturable")) or _is_compiled()
            self._gradients.append(UsedGradient(numbers, has, settings, scale, found_inf, is_capturable))

    def _capture_after(self, optimizer: Optimizer) -> None:
        step, has_hooks = self._recorder.taken, has_own_hooks(optimizer)
        batches = [reader.batch for reader in self._readers]
        captured = zip(batches, self._before, self._gradients, self._snapshots(optimizer), strict=True)
        self._sink.add([CapturedStep(step, *each, has_hooks) for each in captured])
        self._before, self._gradients = [], []

    def _initial_state(self, group: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the state before the first step, by torch's names."""
        return {
            entry.key: group.get(entry.initial) if isinstance(entry.initial, str) else entry.initial
            for entry in self._rule.state
        }

    def _snapshots(self, optimizer: Optimizer) -> list[Snapshot]:
        readers = zip(self._readers, self._initial, strict=True)
        return [reader.snapshot(optimizer.state, initial) for reader, initial in readers]


class _BatchReader:
    """Reads the weights, the state and the gradient of a batch at one moment, again and again."""

    def __init__(self, rule: Rule, batch: ParameterBatch, parameters: Sequence[Tensor]) -> None:
        self.batch = batch
        self._rule = rule
        self._parameters = [parameters[place.parameter] for place in batch.places]
        self._weights = _SampledTensors(batch.places)
        self._entries = {entry.key: _SampledTensors(batch.places) for entry in rule.state if not entry.scalar}

    def snapshot(self, state: State, initial: Mapping[str, Any]) -> Snapshot:
        """Return what the weights and the state are now.

        Args:
            state: the optimizer's.
            initial: the values of state that some places do not have yet, and others have.
        """
        kept = [state.get(parameter) or {} for parameter in self._parameters]
        weights = self._weights.read([local(p) for p in self._parameters])
        entries = {
            entry.key: numbers
            for entry in self._rule.state
            if (numbers := self._entry(entry, kept, initial.get(entry.key))) is not None
        }
        counts = _counts(self._rule, kept)
        return Snapshot(weights, entries, counts, any(COUNT in entry for entry in kept))

    def gradient(self) -> tuple[Tensor, tuple[bool, ...]]:
        """Return the gradient, 0 where there is none, and which places have one."""
        gradients = [p.grad for p in self._parameters]
        numbers = [
            p.detach().new_zeros(place.count) if g is None else gradient_values(local(g), place)
            for p, g, place in zip(self._parameters, gradients, self.batch.places, strict=True)
        ]
        return torch.cat(numbers), tuple(g is not None for g in gradients)

    def _entry(self, entry: StateEntry, kept: Sequence[Mapping[str, Any]], initial: Any) -> Tensor | None:
        """Return an entry of the state at all places; None if no place has it."""
        found = [each.get(entry.key) for each in kept]
        present = [each for each in found if each is not None]
        if not present:
            return None
        if entry.scalar:
            numbers = [initial if each is None else each for each in found]
            return torch.stack([torch.as_tensor(each).detach().reshape(()) for each in numbers])
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


def _counts(rule: Rule, kept: Sequence[Mapping[str, Any]]) -> Sequence[float] | Tensor:
    """Return the numbers of the last steps: where torch keeps none, 0 before the first step and 1 after."""
    counts = [each.get(COUNT, 0.0) for each in kept]
    if any(isinstance(count, Tensor) for count in counts):
        first = next(count for count in counts if isinstance(count, Tensor))
        return torch.stack([torch.as_tensor(c, device=first.device, dtype=first.dtype) for c in counts])
    if any(COUNT in each for each in kept):
        return counts
    return [float(any(each.get(entry.key) is not None for entry in rule.state)) for each in kept]


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
