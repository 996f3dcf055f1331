"""The checkpoints that a program reads: which optimizer and scheduler states they hold, and what it loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

from torch import Tensor

from optitrace.errors import printable
from optitrace.records.training import UnloadedState

DEPTH = 3
"""How deep the states of a checkpoint lie in dictionaries, at most."""

Shapes = list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _SavedState:
    """The state of an optimizer in a file.

    Attributes:
        file: the name of the file.
        shapes: of the parameters that it is for.
        step: how many steps the optimizer had taken; 0 if it does not count them.
        rates: the lr that each group began with.
        has_weights: whether weights were loaded since it was read.
    """

    file: str
    shapes: Shapes
    step: int
    rates: tuple[float, ...]
    has_weights: bool = False


class CheckpointTracker:
    """Remembers what checkpoints hold, but none of their tensors, until the program loads it."""

    def __init__(self) -> None:
        self.scheduler_epoch = 0
        self._states: list[_SavedState] = []

    def read(self, file: Any, content: Any) -> None:
        """Record that the program has read a file."""
        for each in _dictionaries(content, DEPTH):
            if _is_optimizer_state(each):
                self._states.append(_saved_state(_name(file), each))
            elif "_step_count" in each and isinstance(epoch := each.get("last_epoch"), int):
                self.scheduler_epoch = max(self.scheduler_epoch, epoch)

    def weights_loaded(self) -> None:
        """Record that the program has loaded the weights of a module."""
        self._states = [replace(state, has_weights=True) for state in self._states]

    def optimizer_loaded(self) -> None:
        """Record that the program has loaded the state of an optimizer: it knows what the file holds."""
        self._states = []

    def scheduler_loaded(self) -> None:
        """Record that the program has loaded the state of a scheduler."""
        self.scheduler_epoch = 0

    def unloaded(self, parameters: Sequence[Tensor]) -> UnloadedState | None:
        """Return the state of a file that fits an optimizer of some parameters that begins without one."""
        shapes = [tuple(parameter.shape) for parameter in parameters]
        for state in self._states:
            if state.has_weights and state.shapes == shapes:
                return UnloadedState(state.file, state.step, state.rates)
        return None


def _dictionaries(content: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    """Yield all dictionaries within others, down to a depth; those of an optimizer's state are one."""
    if isinstance(content, Mapping):
        yield content
        if depth and not _is_optimizer_state(content):
            for value in content.values():
                yield from _dictionaries(value, depth - 1)
    elif isinstance(content, list | tuple) and depth:
        for value in content:
            yield from _dictionaries(value, depth - 1)


def _is_optimizer_state(found: Mapping[Any, Any]) -> bool:
    """Return whether a dictionary is what `Optimizer.state_dict` returns of one that has a state."""
    state, groups = found.get("state"), found.get("param_groups")
    return isinstance(state, Mapping) and isinstance(groups, list) and any(map(_tensors, state.values()))


def _saved_state(file: str, found: Mapping[str, Any]) -> _SavedState:
    state, groups = found["state"], found["param_groups"]
    order = [index for group in groups for index in group.get("params", ())]
    shapes: Shapes = []
    step = 0
    for index in order:
        entries = state.get(index) or {}
        tensors = _tensors(entries)
        shapes.append(tuple(tensors[0].shape) if tensors else ())
        step = max(step, int(entries.get("step", 0)))
    rates = tuple(float(group.get("initial_lr", group.get("lr", nan))) for group in groups)
    return _SavedState(file, shapes, step, rates)


def _tensors(entries: Any) -> list[Tensor]:
    """Return the tensors of a parameter's state that are no single number of the whole."""
    values = entries.items() if isinstance(entries, Mapping) else ()
    return [value for name, value in values if isinstance(value, Tensor) and name != "step"]


def _name(file: Any) -> str:
    """Return what a file is called that may be open, or in memory."""
    name = file if isinstance(file, str | Path) else getattr(file, "name", "")
    return printable(Path(name).name) if isinstance(name, str | Path) and str(name) else "a buffer"
