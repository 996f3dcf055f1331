"""Norms of gradients, updates, weights and states, and the weight norms that ranks compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from optitrace.monitoring.tensor_values import is_sharded, numbers
from optitrace.monitoring.torch_internals import foreach_copy_, foreach_norm
from optitrace.records.trace import Numbers
from optitrace.tracing.series import GrowingColumn

BUFFER = 1 << 17
"""How many numbers are converted to float64 at a time: 1 MiB."""

_ZERO = torch.zeros(())


class Norm(NamedTuple):
    """The norm of some tensors.

    Attributes:
        whole: of all together.
        each: of each one; None if that was not measured.
    """

    whole: float
    each: Sequence[float] | None


class NormMeter:
    """Measures norms in float64 of tensors in the host's memory that have certain shapes.

    The numbers are converted to float64 in a buffer that is used again for every measurement: torch would
    convert them, too, each time into new memory.
    """

    def __init__(self, shapes: Sequence[torch.Size], *, by_tensor: bool) -> None:
        """Prepare the buffer.

        Args:
            shapes: of the tensors.
            by_tensor: whether to measure each one, beside all together.
        """
        self._shapes = list(shapes)
        self._by_tensor = by_tensor
        self._groups = list(_groups(self._shapes))

    def fits(self, tensors: Sequence[Tensor | None]) -> bool:
        """Return whether tensors have the shapes, as far as there are any."""
        return all(
            tensor is None or tensor.shape == shape
            for tensor, shape in zip(tensors, self._shapes, strict=True)
        )

    def norm(self, tensors: Sequence[Tensor | None]) -> Norm:
        """Return the norm of real tensors that fit; None counts as zeros.

        If it is not finite, each one is measured, too.
        """
        pieces = [
            piece
            for tensor, shape in zip(tensors, self._shapes, strict=True)
            for piece in _pieces(tensor, shape)
        ]
        norm = self._norm(pieces, by_tensor=self._by_tensor)
        return norm if math.isfinite(norm.whole) else self._norm(pieces, by_tensor=True)

    def _norm(self, pieces: Sequence[Tensor], *, by_tensor: bool) -> Norm:
        whole, each = 0.0, [0.0] * len(self._shapes)
        for group in self._groups:
            foreach_copy_(group.views, pieces[group.first : group.first + len(group.views)])
            whole += torch.dot(group.line, group.line).item()
            if by_tensor:
                for place, line in zip(group.places, group.lines, strict=True):
                    each[place] += torch.dot(line, line).item()
        return Norm(math.sqrt(whole), list(map(math.sqrt, each)) if by_tensor else None)


class _Group(NamedTuple):
    """Tensors, or pieces of large ones, that are converted together.

    Attributes:
        line: their part of the buffer, shape (numbers,).
        lines: the part of each, shape (numbers of it,).
        views: the same in the shape of each.
        places: which tensor each is, or is a piece of.
        first: the place of the first one among the pieces of all tensors.
    """

    line: Tensor
    lines: Sequence[Tensor]
    views: Sequence[Tensor]
    places: Sequence[int]
    first: int


def _groups(shapes: Sequence[torch.Size]) -> Iterator[_Group]:
    """Yield groups of tensors in their order; they share one buffer."""
    groups: list[list[tuple[int, Sequence[int]]]] = []
    used = [BUFFER]
    for place, shape in enumerate(shapes):
        size = shape.numel()
        for piece in (
            [shape] if size <= BUFFER else [(min(BUFFER, size - k),) for k in range(0, size, BUFFER)]
        ):
            if used[-1] + math.prod(piece) > BUFFER:
                groups.append([])
                used.append(0)
            groups[-1].append((place, piece))
            used[-1] += math.prod(piece)
    buffer = torch.empty(max(used[1:], default=0), dtype=torch.float64)
    first = 0
    for group, size in zip(groups, used[1:], strict=True):
        lines = torch.split(buffer[:size], [math.prod(piece) for _, piece in group])
        views = [line.view(piece) for line, (_, piece) in zip(lines, group, strict=True)]
        yield _Group(buffer[:size], lines, views, [place for place, _ in group], first)
        first += len(group)


def _pieces(tensor: Tensor | None, shape: torch.Size) -> Sequence[Tensor]:
    """Return a tensor, or the pieces of a large one; zeros for None."""
    if tensor is None:
        return [_ZERO] * max(1, math.ceil(shape.numel() / BUFFER))
    return [tensor] if tensor.numel() <= BUFFER else torch.split(tensor.reshape(-1), BUFFER)


def norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Return the norm of each tensor, 0 for None, shape (tensors,), in float64 where the device is the host.

    They stay on an accelerator until a block of steps is read, so that no step waits for it.

    Args:
        tensors: of any layouts and dtypes.
        device: where the norms are gathered.
    """
    present = [numbers(tensor) for tensor in tensors if tensor is not None]
    found = _norms_of_numbers(present, device)
    if len(present) == len(tensors):
        return found
    every = found.new_zeros(len(tensors))
    every[[tensor is not None for tensor in tensors]] = found
    return every


def total(norms: Sequence[float]) -> float:
    """Return the norm of a whole from those of its parts.

    >>> total([3.0, 4.0])
    5.0
    """
    return math.hypot(*norms)


def _norms_of_numbers(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    if not tensors:
        return torch.zeros(0, dtype=dtype, device=device)
    if all(map(torch.is_floating_point, tensors)):
        each = foreach_norm(tensors, dtype)
    else:
        each = [torch.linalg.vector_norm(t if t.is_complex() else t.to(dtype)).to(dtype) for t in tensors]
    if any(norm.device != device for norm in each):
        each = [norm.to(device) for norm in each]
    return torch.stack(list(each))


@dataclass(frozen=True, slots=True)
class WeightNorms:
    """The norms of the weights of one optimizer.

    Attributes:
        optimizer: its name.
        parameters: the name of each parameter.
        shapes: the shape of each.
        is_sharded: whether any of them is here in part only, the rest being with other processes.
        taken: how many steps the optimizer took.
        numbers: row after row, each a step and the norms of the parameters after it. The first row is that
            before the first step, and its step is 0, or how many had been taken when the parameters changed.
    """

    optimizer: str
    parameters: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    is_sharded: bool
    taken: int
    numbers: Numbers

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 1 + len(self.parameters)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers) // self.width

    def step(self, row: int) -> int:
        """Return the step of a row."""
        return int(self.numbers[row * self.width])

    def bytes(self, begin: int, end: int) -> bytes:
        """Return the rows from one up to another as they are in memory."""
        return self.numbers[begin * self.width : end * self.width].tobytes()


class WeightRecord:
    """Gathers the norms of the weights of one optimizer, from before its first step on."""

    def __init__(self, parameters: Sequence[Tensor], *, taken: int) -> None:
        """Measure the weights as they are now.

        Args:
            parameters: the optimizer's.
            taken: how many steps it has taken.
        """
        self._start: Tensor | None = norms([p.detach() for p in parameters], parameters[0].device)
        self._taken = taken
        self._is_sharded = any(map(is_sharded, parameters))
        self._shapes = tuple(tuple(p.shape) for p in parameters)
        self._storage = GrowingColumn((1 + len(parameters),))

    def add(self, step: int, each: Sequence[float]) -> None:
        """Add the norms after a step."""
        self._read_start()
        self._storage.extend([step, *each])

    def norms(self, optimizer: str, parameters: Sequence[str], taken: int) -> WeightNorms:
        """Return what was gathered so far.

        Args:
            optimizer: its name.
            parameters: the names of its parameters.
            taken: how many steps it has taken.
        """
        self._read_start()
        numbers = self._storage.column().values
        return WeightNorms(optimizer, tuple(parameters), self._shapes, self._is_sharded, taken, numbers)

    def _read_start(self) -> None:
        """Read the first row as late as can be: an accelerator is waited for then."""
        if self._start is not None:
            self._storage.extend([self._taken, *self._start.tolist()])
            self._start = None
