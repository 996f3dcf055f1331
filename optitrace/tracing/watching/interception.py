"""The only place that puts functions of its own in the place of torch's, each of them put back in the end.

The steps of optimizers and the making of modules are seen through torch's own global hooks. What torch has no
hook for is wrapped: the making of optimizers and schedulers, copies of modules, backward, clipping, and the
gradient scaler.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Module
from torch.nn import utils as nn_utils
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from optitrace.tracing.watching.backwards import Backward
from optitrace.tracing.watching.sharding import local
from optitrace.tracing.watching.wrapping import Wrapper, wrap

_CLIPPING_BY_NORM = ((nn_utils, "clip_grads_with_norm_"), (nn_utils.clip_grad, "_clip_grads_with_norm_"))
"""What `clip_grad_norm_` calls, whoever imported that before; and its public name."""

StepArguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional arguments of a step, the optimizer first, and those by name."""


class Listener(Protocol):
    """What is told of all that optimizers do and is done to them."""

    def module_made(self, module: Module) -> None:
        """A module is given a parameter or another module, or came to be as a copy; told again and again."""

    def made(self, optimizer: Optimizer) -> None:
        """An optimizer was made."""

    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StepArguments | None:
        """A step begins; other arguments for it may be returned."""

    def after_step(self, optimizer: Optimizer) -> None:
        """A step is done."""

    def before_backward(self, tensors: Tensor | Sequence[Tensor]) -> Backward | None:
        """The gradients of these tensors are about to be computed; what is returned is given back after."""

    def after_backward(self, backward: Backward | None, is_done: bool) -> None:
        """They were computed, or that has failed."""

    def scaled(self, outputs: Any, scaled: Any) -> None:
        """A GradScaler has multiplied outputs."""

    def unscaled(self, optimizer: Optimizer) -> None:
        """A GradScaler has divided an optimizer's gradients."""

    def before_scaler_step(self, optimizer: Optimizer) -> None:
        """A GradScaler is about to step an optimizer, or to leave the step out."""

    def after_scaler_step(self, optimizer: Optimizer, is_done: bool) -> None:
        """It has done either, or has failed."""

    def before_clipping(self, parameters: Sequence[Tensor]) -> None:
        """The gradients of parameters are about to be clipped."""

    def after_clipping(self, parameters: Sequence[Tensor], measured: Tensor, limit: float) -> None:
        """They were, where what was measured, their norm or their largest value, was above the limit."""

    def scheduler_made(self, scheduler: LRScheduler) -> None:
        """A scheduler was made."""

    def scheduler_stepped(self, scheduler: LRScheduler) -> None:
        """The program has stepped a scheduler."""


class Interception:
    """Tells a listener of all that optimizers do, from `begin` to `end`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._undo: list[Callable[[], None]] = []
        self._scheduling = 0
        self._scheduler_methods: set[tuple[type[LRScheduler], str]] = set()

    def begin(self) -> None:
        """Hook and wrap."""
        told = self._listener
        self._undo += [
            register_optimizer_step_pre_hook(told.before_step).remove,
            register_optimizer_step_post_hook(
                lambda optimizer, args, kwargs: told.after_step(optimizer)
            ).remove,
            register_module_parameter_registration_hook(self._registered).remove,
            register_module_module_registration_hook(self._registered).remove,
        ]
        self._wrap(Module, "__setstate__", self._restoring)
        self._wrap(Optimizer, "__init__", self._making)
        self._wrap(torch.autograd, "backward", self._backward)
        self._wrap(GradScaler, "scale", self._scaling)
        self._wrap(GradScaler, "unscale_", self._unscaling)
        self._wrap(GradScaler, "step", self._scaler_step)
        for module, name in _CLIPPING_BY_NORM:
            self._wrap(module, name, self._clipping_norm)
        for module in (nn_utils, nn_utils.clip_grad):
            self._wrap(module, "clip_grad_value_", self._clipping_values)
        for cls in _with_subclasses(LRScheduler):
            self._see_scheduler_class(cls)

    def end(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
        self._scheduler_methods.clear()

    def _wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        self._undo.append(wrap(owner, name, wrapper))

    def _registered(self, module: Module, name: str, given: Tensor | Module | None) -> None:
        self._listener.module_made(module)

    def _restoring(self, restore: Callable[..., None]) -> Callable[..., None]:
        """Wrap what makes a module that is copied or read from a file: nothing is registered there."""

        @functools.wraps(restore)
        def wrapped(module: Module, state: Any) -> None:
            restore(module, state)
            self._listener.module_made(module)

        return wrapped

    def _making(self, init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def wrapped(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            init(optimizer, *args, **kwargs)
            self._listener.made(optimizer)

        return wrapped

    def _backward(self, backward: Callable[..., None]) -> Callable[..., None]:
        told = self._listener

        @functools.wraps(backward)
        def wrapped(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if _is_within_backward():  # a part of that, as where checkpoint computes a segment anew
                backward(tensors, *args, **kwargs)
                return
            if not isinstance(tensors, (Tensor, Sequence)):  # it can be gone through only once
                tensors = tuple(tensors)
            begun = told.before_backward(tensors)
            is_done = False
            try:
                backward(tensors, *args, **kwargs)
                is_done = True
            finally:
                told.after_backward(begun, is_done)

        return wrapped

    def _scaling(self, scale: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(scale)
        def wrapped(scaler: GradScaler, outputs: Any) -> Any:
            scaled = scale(scaler, outputs)
            if scaler.is_enabled():
                self._listener.scaled(outputs, scaled)
            return scaled

        return wrapped

    def _unscaling(self, unscale: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(unscale)
        def wrapped(scaler: GradScaler, optimizer: Optimizer) -> None:
            unscale(scaler, optimizer)
            if scaler.is_enabled():
                self._listener.unscaled(optimizer)

        return wrapped

    def _scaler_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapped(scaler: GradScaler, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not scaler.is_enabled():
                return step(scaler, optimizer, *args, **kwargs)
            self._listener.before_scaler_step(optimizer)
            is_done = False
            try:
                returned = step(scaler, optimizer, *args, **kwargs)
                is_done = True
            finally:
                self._listener.after_scaler_step(optimizer, is_done)
            return returned

        return wrapped

    def _clipping_norm(self, clip: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> None:
            clipped = _listed(parameters)
            self._listener.before_clipping(clipped)
            clip(clipped, max_norm, total_norm, *args, **kwargs)
            self._listener.after_clipping(clipped, total_norm, float(max_norm))

        return wrapped

    def _clipping_values(self, clip: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> None:
            clipped = _listed(parameters)
            self._listener.before_clipping(clipped)
            largest = [
                part.abs().amax() for p in clipped if p.grad is not None and (part := local(p.grad)).numel()
            ]
            clip(clipped, clip_value, *args, **kwargs)
            if largest:
                measured = torch.stack([value.to(largest[0].device) for value in largest]).amax()
                self._listener.after_clipping(clipped, measured, float(clip_value))

        return wrapped

    def _see_scheduler_class(self, cls: type[LRScheduler]) -> None:
        """Wrap what a class of schedulers has of its own; one that came later is seen when one is made."""
        for name, wrapper in (("__init__", self._scheduler_making), ("step", self._scheduler_step)):
            if name in vars(cls) and (cls, name) not in self._scheduler_methods:
                self._wrap(cls, name, wrapper)
                self._scheduler_methods.add((cls, name))

    def _scheduler_making(self, init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> None:
            for cls in type(scheduler).__mro__:
                if issubclass(cls, LRScheduler):
                    self._see_scheduler_class(cls)
            self._scheduling += 1
            try:
                init(scheduler, *args, **kwargs)
            finally:
                self._scheduling -= 1
            if not self._scheduling:
                self._listener.scheduler_made(scheduler)

        return wrapped

    def _scheduler_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> Any:
            self._scheduling += 1
            try:
                returned = step(scheduler, *args, **kwargs)
            finally:
                self._scheduling -= 1
            if not self._scheduling:
                self._listener.scheduler_stepped(scheduler)
            return returned

        return wrapped


def _is_within_backward() -> bool:
    """Tell whether this thread computes gradients just now; torch has no public word for it."""
    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _with_subclasses(cls: type[LRScheduler]) -> Iterator[type[LRScheduler]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
