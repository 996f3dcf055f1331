"""Prescribed runs: an optimizer that is stepped on prescribed gradients, whatever its weights."""

from __future__ import annotations

import io
import math
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.rules.discriminating_cases import gradient, start
from optitrace.tracing.series import plain
from optitrace.tracing.stepping import construct

Shape = tuple[int, ...]

Change: TypeAlias = Callable[[Tensor], Tensor]
"""A transformation of the initial weights and of every gradient of a run."""


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def as_group(weights: list[Tensor]) -> Any:
    """Return parameters in a group that says that Muon's step is meant for them, as its authors ask for."""
    return [{"params": weights, "use_muon": True}]


def as_module(weights: list[Tensor]) -> Any:
    """Return a module that has these parameters, for a class that asks for the model."""
    return torch.nn.ParameterList(weights)


def as_optimizer(weights: list[Tensor]) -> Any:
    """Return an optimizer of these parameters, for a class that wraps one."""
    return torch.optim.SGD(weights, lr=0.1, momentum=0.9)


class PrescribedRun:
    """An optimizer that is stepped on prescribed gradients.

    Those are from `optitrace.rules.discriminating_cases`. The optimizer is stepped as a person steps it, by
    ``optimizer.step()``, with all its decorators.

    Attributes:
        weights: the tensors that it moves.
        optimizer: the optimizer.
        taken: the number of steps taken.
    """

    def __init__(
        self,
        optimizer_class: type[Optimizer],
        arguments: Mapping[str, Any],
        shapes: Sequence[Shape],
        *,
        dtype: torch.dtype | Sequence[torch.dtype] = torch.float64,
        device: torch.device | str = "cpu",
        is_sparse: bool = False,
        order: Sequence[int] | None = None,
        frozen: Collection[int] = (),
        change: Change = _unchanged,
        lr_factor: float = 1.0,
        has_loss: bool = False,
        has_graph: bool = False,
        given_as: Callable[[list[Tensor]], Any] = list,
        seed: int = 0,
    ) -> None:
        """Make the weights and the optimizer.

        Args:
            optimizer_class: what makes the optimizer.
            arguments: its keyword arguments.
            shapes: the shape of each tensor of weights.
            dtype: of the weights; one for each tensor where they differ.
            device: where they are.
            is_sparse: whether gradients have the sparse layout.
            order: which tensors the optimizer is given, by index, and in which order; all, if not given.
            frozen: the tensors, by index, that get no gradient.
            change: what is done to the first weights and to every gradient, such as to mirror them.
            lr_factor: what the lr is multiplied by between two steps, as a scheduler does.
            has_loss: whether a step gets a closure, which returns the loss that has these gradients.
            has_graph: whether gradients can be differentiated: the loss has the second derivative 1.
            given_as: returns what the class is given of the weights.
            seed: of the random numbers that the class draws, if it draws any.
        """
        self._shapes = shapes
        self._is_sparse = is_sparse
        self._frozen = frozen
        self._change = change
        self._lr_factor = lr_factor
        self._has_loss = has_loss
        self._has_graph = has_graph
        self._seed = seed
        self._device = device
        self._dtypes = [dtype] * len(shapes) if isinstance(dtype, torch.dtype) else dtype
        self.weights = [torch.nn.Parameter(w) for w in self._tensors(start)]
        given = self.weights if order is None else [self.weights[index] for index in order]
        # what torch's own classes draw, they draw from torch
        self._seeded = nullcontext if optimizer_class.__module__.startswith("torch.") else _seeded
        with _calm(seed), self._seeded(seed):
            self.optimizer = construct(optimizer_class, given_as(list(given)), arguments)
        self.taken = 0

    def step(self, factor: float = 1.0) -> list[Tensor]:
        """Take a step on the next gradient times `factor`; return the gradient of each tensor of weights."""
        self.taken += 1
        gradients = [factor * own for own in self._tensors(partial(gradient, self.taken))]
        self._give(gradients)
        if self.taken > 1 and self._lr_factor != 1:
            self._move_lr()
        with _calm(self._seed + self.taken), self._seeded(self._seed + self.taken):
            if self._has_loss:
                self.optimizer.step(partial(self._loss, gradients))  # type: ignore[arg-type]
            else:
                self.optimizer.step()
        return gradients

    def resumed(self, other: PrescribedRun, *, weights_only: bool = True) -> PrescribedRun:
        """Return `other`, a new bench, put where this one is by a state_dict that is saved and loaded.

        Args:
            other: the new bench.
            weights_only: whether the file is read as `torch.load` does by itself, without any objects.

        Raises:
            Exception: whatever saving and loading raise.
        """
        file = io.BytesIO()
        torch.save(self.optimizer.state_dict(), file)
        file.seek(0)
        with torch.no_grad():
            for ours, theirs in zip(self.weights, other.weights, strict=True):
                theirs.copy_(ours)
        other.optimizer.load_state_dict(torch.load(file, weights_only=weights_only))
        other.taken = self.taken
        return other

    def snapshot(self) -> list[Tensor]:
        """Return the weights as they are now."""
        return [weights.detach().clone() for weights in self.weights]

    def state(self, index: int = 0, of_group: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the numbers in the state of a tensor of weights as they are now, by the class's names.

        Args:
            index: of the tensor.
            of_group: what is kept in its group, the first one.

        Returns:
            The numbers by name; of a list each with its place behind a dot.
        """
        entries = dict(self.optimizer.state.get(self.weights[index], {}))
        entries |= {key: value for key, value in self.optimizer.param_groups[0].items() if key in of_group}
        return {
            str(key): numbers for key, value in _numbers(entries) if (numbers := plain(value)) is not None
        }

    def _tensors(self, numbers: Callable[[int], list[float]]) -> list[Tensor]:
        """Return as many numbers as there are weights, in tensors of their shapes and dtypes."""
        sizes = [math.prod(shape) for shape in self._shapes]
        vector = torch.tensor(numbers(sum(sizes)), dtype=torch.float64)
        return [
            self._change(part.reshape(shape).to(self._device, dtype, copy=True))
            for part, shape, dtype in zip(torch.split(vector, sizes), self._shapes, self._dtypes, strict=True)
        ]

    def _give(self, gradients: Sequence[Tensor]) -> None:
        for index, (weights, own) in enumerate(zip(self.weights, gradients, strict=True)):
            if index not in self._frozen:
                weights.grad = own.to_sparse() if self._is_sparse else own.clone()
                if self._has_graph:
                    weights.grad = own + (weights - weights.detach())

    def _loss(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the loss that has these gradients, as a closure does: it is linear in the weights."""
        self._give(gradients)
        return torch.stack(
            [(g * w.detach()).sum() for g, w in zip(gradients, self.weights, strict=True)]
        ).sum()

    def _move_lr(self) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group.get("lr"), int | float | Tensor):
                group["lr"] = group["lr"] * self._lr_factor


def _numbers(entries: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor | float]]:
    """Yield the entries of a state that are numbers, and those in its lists."""
    for key, value in entries.items():
        if isinstance(value, Tensor | float | int):
            yield str(key), value
        elif isinstance(value, list | tuple):
            yield from _numbers({f"{key}.{place}": each for place, each in enumerate(value)})


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype while entered."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _calm(seed: int) -> Iterator[None]:
    """Run user code with the same random numbers each time, and without its warnings."""
    generator = torch.default_generator  # torch.manual_seed takes longer than a step
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        generator.set_state(before)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let Python and numpy, where it is loaded, draw the same random numbers each time."""
    numpy = sys.modules.get("numpy")
    before = random.getstate(), numpy and numpy.random.get_state()
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        if numpy:
            numpy.random.set_state(before[1])
