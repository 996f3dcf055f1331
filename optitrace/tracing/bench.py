"""The bench: an optimizer that is led by prescribed gradients, whatever its weights."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.rules.telling import gradient, start
from optitrace.tracing.series import plain
from optitrace.tracing.stepping import construct

Shape = tuple[int, ...]


class Bench:
    """Weights, and an optimizer that moves them along the gradients of `optitrace.rules.telling`.

    The optimizer is stepped as a person steps it, by ``optimizer.step()``, with all its decorators.

    Attributes:
        weights: the tensors that it moves.
        optimizer: the optimizer.
        taken: how many steps were taken.
    """

    def __init__(
        self,
        optimizer_class: type[Optimizer],
        arguments: Mapping[str, Any],
        shapes: Sequence[Shape],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        is_sparse: bool = False,
        is_reversed: bool = False,
    ) -> None:
        """Make the weights and the optimizer.

        Args:
            optimizer_class: what makes the optimizer.
            arguments: its keyword arguments.
            shapes: the shape of each tensor of weights.
            dtype: of the weights.
            device: where they are.
            is_sparse: whether gradients have the sparse layout.
            is_reversed: whether the optimizer is given the tensors in the opposite order.
        """
        self._shapes = shapes
        self._is_sparse = is_sparse
        size = sum(map(math.prod, shapes))
        self.weights = [
            w.requires_grad_() for w in _split(torch.tensor(start(size), dtype=dtype, device=device), shapes)
        ]
        given = self.weights[::-1] if is_reversed else self.weights
        with _calm(0):
            self.optimizer = construct(optimizer_class, list(given), arguments)
        self.taken = 0

    def step(self, factor: float = 1.0) -> list[Tensor]:
        """Take a step on the next gradient times `factor`; return the gradient of each tensor of weights."""
        self.taken += 1
        size = sum(map(math.prod, self._shapes))
        first = self.weights[0]
        vector = factor * torch.tensor(gradient(self.taken, size), dtype=first.dtype, device=first.device)
        gradients = _split(vector, self._shapes)
        for weights, own in zip(self.weights, gradients, strict=True):
            weights.grad = own.to_sparse() if self._is_sparse else own.clone()
        with _calm(self.taken):
            self.optimizer.step()
        return gradients

    def resumed(self, other: Bench) -> Bench:
        """Return `other`, a new bench, put where this one is by a state_dict that is saved and loaded.

        Raises:
            Exception: whatever saving and loading raise.
        """
        file = io.BytesIO()
        torch.save(self.optimizer.state_dict(), file)
        file.seek(0)
        with torch.no_grad():
            for ours, theirs in zip(self.weights, other.weights, strict=True):
                theirs.copy_(ours)
        other.optimizer.load_state_dict(torch.load(file))
        other.taken = self.taken
        return other

    def snapshot(self) -> list[Tensor]:
        """Return the weights as they are now."""
        return [weights.detach().clone() for weights in self.weights]

    def state(self, index: int = 0) -> dict[str, Tensor]:
        """Return the numbers in the state of a tensor of weights as they are now, by the class's names."""
        entries = self.optimizer.state.get(self.weights[index], {})
        return {
            str(key): numbers
            for key, value in entries.items()
            if isinstance(value, Tensor | float | int) and (numbers := plain(value)) is not None
        }


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors of numbers have this dtype for a while."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _split(vector: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    parts = torch.split(vector, [math.prod(shape) for shape in shapes])
    return [part.reshape(shape).clone() for part, shape in zip(parts, shapes, strict=True)]


@contextmanager
def _calm(seed: int) -> Iterator[None]:
    """Run a class of anyone's with the same random numbers each time, and without its warnings."""
    generator = torch.default_generator  # torch.manual_seed takes longer than a step
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        generator.set_state(before)
