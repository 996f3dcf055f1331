"""Changes of an optimizer's weights and state between its steps, by anything but a step.

What a step leaves is what the next one begins with, unless the program changes it meanwhile. torch counts
the changes of a tensor in place, so that a state that was changed or replaced is known without reading it.
Weights are often written through ``p.data``, which is not counted: a few numbers of each are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import Parameter

from optitrace.experiment.float_formats import FORMATS, dtype_name
from optitrace.monitoring.parameters import shown_name
from optitrace.monitoring.torch_internals import version
from optitrace.records.training import WEIGHTS, StateChange, Tally, one_more

State: TypeAlias = Mapping[Tensor, Mapping[str, Any]]
"""An optimizer's state, by parameter."""

SAMPLE = 32
"""How many weights of a parameter are compared, at most."""

MOST_SAMPLED = 256
"""Of how many parameters, evenly spread where an optimizer has more."""

MOST_READ = 4096
"""How many numbers of a tensor are read, at most, to see whether a coarser dtype has all of them."""

FEWEST_DIFFERENT = 8
"""How many different numbers must be among them: fewer, such as zeros and ones, any dtype may have."""

COARSER = {torch.float32: (torch.bfloat16, torch.float16), torch.float64: (torch.float32,)}
"""The dtypes that a checkpoint may have been rounded to, by the one that its numbers are kept in."""

How: TypeAlias = Literal["loaded", "written", "replaced"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What all changes have in common that are counted together."""

    quantity: str
    how: How
    became: str
    with_weights: bool
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What the last step of an optimizer has left beside a state.

    Attributes:
        weights: a few of each parameter.
    """

    weights: Tensor


class ContinuityTracker:
    """Compares what each step begins with to what the one before it has left. It waits for no accelerator."""

    def __init__(self, parameters: Sequence[Tensor], names: Sequence[str]) -> None:
        """Begin before a step that is the first to be seen.

        Args:
            parameters: those of the optimizer.
            names: of each.
        """
        self._parameters = parameters
        self._names = names
        self._weights = _WeightSample(parameters)
        self._marks: _Marks | None = None
        self._keys: list[tuple[int, str]] = []
        self._is_loaded = False
        self._changes: dict[_Kind, tuple[Tally, int]] = {}

    @property
    def changes(self) -> tuple[StateChange, ...]:
        """The changes so far, those alike as one, by their first steps."""
        found = (
            StateChange(
                kind.quantity,
                kind.how,
                kind.became,
                steps,
                last,
                () if len(kind.places) == len(self._names) else tuple(self._names[k] for k in kind.places),
                kind.with_weights,
            )
            for kind, (steps, last) in self._changes.items()
        )
        return tuple(sorted(found, key=lambda change: change.steps.first))

    @property
    def left(self) -> Left | None:
        """What the last step has left; None if it left no state, or none was seen."""
        known = self._weights.known
        return Left(known) if known is not None and self._marks is not None and self._marks.ids else None

    def read_weights(self) -> Tensor:
        """Return a few weights of each parameter as they are now, as far as they can be read."""
        return self._weights.read()

    def goes_on_from(self, left: Left) -> bool:
        """Return whether the weights are now what a step of another optimizer has left of the same ones."""
        return torch.equal(left.weights, self._weights.read())

    def loaded(self) -> None:
        """Record that the program has called `load_state_dict` of the optimizer."""
        self._is_loaded = True

    @torch.no_grad()
    def before_step(self, step: int, state: State) -> None:
        """Compare the weights and the state that a step begins with; of the first, what was loaded."""
        written = set() if self._weights.is_left_as_is() else self._weights.changed()
        if written:
            self._note(step, WEIGHTS, "written", "", sorted(written), with_weights=True)
        if self._marks is None and not self._is_loaded:
            return
        if (now := _Marks.of(self._parameters, state)) != self._marks:
            self._note_state(step, state, now, written)

    def after_step(self, state: State, *, is_next_recorded: bool) -> None:
        """Remember what a step has left: the weights if the next one is recorded, as that takes its time."""
        if is_next_recorded:
            self._weights.remember()
        else:
            self._weights.known = None
        marks = _Marks.of(self._parameters, state)
        if self._marks is None or marks.ids != self._marks.ids:
            self._keys = _keys(self._parameters, state)
        self._marks, self._is_loaded = marks, False

    def _note_state(self, step: int, state: State, marks: _Marks, written: set[int]) -> None:
        before = {} if self._marks is None else self._marks.by_key(self._keys)
        now = marks.by_key(_keys(self._parameters, state))
        alike: dict[tuple[str, How, str, bool], list[int]] = {}
        for key in dict.fromkeys((*before, *now)):
            if before.get(key) == now.get(key):
                continue
            place, entry = key
            became = _became(state[self._parameters[place]][entry]) if key in now else "nothing"
            is_same_tensor = key in now and key in before and now[key][0] == before[key][0]
            how: How = "loaded" if self._is_loaded else "written" if is_same_tensor else "replaced"
            alike.setdefault((entry, how, became, place in written), []).append(place)
        for (entry, how, became, with_weights), places in alike.items():
            self._note(step, shown_name(str(entry)), how, became, places, with_weights=with_weights)

    def _note(
        self, step: int, quantity: str, how: How, became: str, places: Sequence[int], *, with_weights: bool
    ) -> None:
        kind = _Kind(quantity, how, became, with_weights, tuple(places))
        steps, _ = self._changes.get(kind, (None, 0))
        self._changes[kind] = one_more(steps, step), step


class _WeightSample:
    """Some weights of each parameter in the host's memory.

    Attributes:
        known: as they were when they were last remembered; None before that.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        every = -(-len(parameters) // MOST_SAMPLED) if parameters else 1
        self._places = [k for k in range(0, len(parameters), every) if _is_readable(parameters[k])]
        self._tensors = [parameters[k] for k in self._places]
        self._addresses: list[int] = []
        self._views: list[Tensor] = []
        self.known: Tensor | None = None

    def remember(self) -> None:
        """Keep the weights as they are now."""
        self.known = self.read()

    def is_left_as_is(self) -> bool:
        """Return whether the weights are bit for bit what they were, as far as they were remembered."""
        known = self.known
        return known is None or torch.equal(known, self.read()) or not self.changed()

    def changed(self) -> set[int]:
        """Return the places of the parameters that have other weights now."""
        if self.known is None:
            return set()
        now = self.read()
        same = (now == self.known) | (now.isnan() & self.known.isnan())
        each = torch.split(same, [view.numel() for view in self._views])
        return {place for place, is_same in zip(self._places, each, strict=True) if not is_same.all()}

    def read(self) -> Tensor:
        """Return the weights as they are now."""
        addresses = [tensor.data_ptr() for tensor in self._tensors]
        if addresses != self._addresses or not self._views:
            self._addresses = addresses
            self._views = [_spread(tensor.detach(), SAMPLE) for tensor in self._tensors]
        return torch.cat(self._views) if self._views else torch.empty(0)


def _is_readable(parameter: Tensor) -> bool:
    """Return whether weights can be read without waiting, and always stand where the tensor begins."""
    is_plain = type(parameter) in (Tensor, Parameter) and parameter.layout is torch.strided
    return is_plain and parameter.is_cpu and parameter.is_contiguous() and parameter.numel() > 0


def _spread(tensor: Tensor, count: int) -> Tensor:
    """Return a view of some numbers of a contiguous tensor, evenly spread."""
    flat = tensor.view(-1)
    return flat[:: -(-len(flat) // count)]


class _Marks(NamedTuple):
    """Which tensors an optimizer's state has, and how often each was changed.

    Attributes:
        ids: of the tensors, parameter after parameter.
        versions: how often each was changed.
    """

    ids: list[int]
    versions: list[int]

    @classmethod
    def of(cls, parameters: Sequence[Tensor], state: State) -> _Marks:
        """Return the marks of a state as it is now."""
        entries: list[Any] = []
        for parameter in parameters:
            entries += (state.get(parameter) or _NOTHING).values()
        tensors = [entry for entry in entries if isinstance(entry, Tensor)]
        return cls(list(map(id, tensors)), list(map(version, tensors)))

    def by_key(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], tuple[int, int]]:
        """Return the tensor and the number of its changes, by the place of its parameter and its name."""
        return dict(zip(keys, zip(self.ids, self.versions, strict=True), strict=True))


_NOTHING: Mapping[str, Any] = {}
"""The state of a parameter that has none."""


def _keys(parameters: Sequence[Tensor], state: State) -> list[tuple[int, str]]:
    """Return the place of the parameter and the name of each tensor of a state, in the order of `_Marks`."""
    return [
        (place, name)
        for place, parameter in enumerate(parameters)
        for name, entry in (state.get(parameter) or _NOTHING).items()
        if isinstance(entry, Tensor)
    ]


def _became(entry: Tensor) -> str:
    """Return what all numbers of a changed entry are: ``zero``, or the coarser dtype that has them all."""
    if not entry.is_cpu or entry.layout is not torch.strided or not entry.numel():
        return ""
    if not entry.any():
        return "zero"
    sample = _spread(entry.detach().contiguous(), MOST_READ)
    if len(torch.unique(sample[sample != 0])) < FEWEST_DIFFERENT:
        return ""
    for dtype in COARSER.get(entry.dtype, ()):
        if torch.equal(sample.to(dtype).to(entry.dtype), sample) and dtype_name(dtype) in FORMATS:
            return dtype_name(dtype)
    return ""
