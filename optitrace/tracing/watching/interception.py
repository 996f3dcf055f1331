"""Hearing what a program does with torch: functions are put around torch's, and taken away in the end.

The steps of optimizers and the making of modules are seen through torch's own global hooks. What torch has no
hook for is wrapped: the making of optimizers, copies of modules, backward, zero_grad, clipping, and the
gradient scaler; and schedulers, see `SchedulerInterception`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

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
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from optitrace.tracing.watching.listener import Listener
from optitrace.tracing.watching.scheduler_interception import SchedulerInterception
from optitrace.tracing.watching.sharding import local
from optitrace.tracing.watching.wrapping import Attribute, Decorated, Wrapper, is_decorated, wrap

_CLIPPING_BY_NORM = ((nn_utils, "clip_grads_with_norm_"), (nn_utils.clip_grad, "_clip_grads_with_norm_"))
"""What `clip_grad_norm_` calls, whoever imported that before; and its public name."""

_NO_TASK = -1
"""What torch calls no backward."""

_graph_task: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: _NO_TASK)
"""Tells which backward this thread is in just now; torch has no public word for it."""

_uncompiled: Callable[[Callable[..., Any]], Callable[..., Any]]
_uncompiled = getattr(torch._compile, "_disable_dynamo", lambda hook: hook)
"""Keeps a hook out of a compiled step; torch's public word for it imports the compiler at once: too early."""


class Interception:
    """Tells a listener of all that optimizers do, from `begin` to `end`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._undo: list[Callable[[], None]] = []
        self._schedulers = SchedulerInterception(listener)

    def begin(self) -> None:
        """Hook and wrap."""
        told = self._listener
        self._undo += [
            register_optimizer_step_pre_hook(
                _uncompiled(lambda optimizer, args, kwargs: told.before_step(optimizer, args, kwargs))
            ).remove,
            register_optimizer_step_post_hook(
                _uncompiled(lambda optimizer, args, kwargs: told.after_step(optimizer))
            ).remove,
            register_module_parameter_registration_hook(self._registered).remove,
            register_module_module_registration_hook(self._registered).remove,
        ]
        self._wrap(Module, "__setstate__", self._restoring)
        self._wrap(Optimizer, "__init__", self._making)
        self._wrap(torch.autograd, "backward", self._backward)
        self._wrap(Optimizer, "zero_grad", self._zeroing)
        self._wrap(Module, "zero_grad", self._zeroing)
        self._wrap(GradScaler, "scale", self._scaling)
        self._wrap(GradScaler, "unscale_", self._unscaling)
        self._wrap(GradScaler, "step", self._scaler_step)
        for module, name in _CLIPPING_BY_NORM:
            self._wrap(module, name, self._clipping_norm)
        if is_decorated(nn_utils.clip_grad_value_):
            self._undo.append(wrap(Decorated(nn_utils.clip_grad_value_), self._clipping_values))
        else:  # then whoever imported it before is not heard
            for module in (nn_utils, nn_utils.clip_grad):
                self._wrap(module, "clip_grad_value_", self._clipping_values)
        self._schedulers.begin()

    def end(self) -> None:
        """Put everything back."""
        self._schedulers.end()
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        self._undo.append(wrap(Attribute(owner, name), wrapper))

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
            if _graph_task() != _NO_TASK:  # a part of that, as where checkpoint computes a segment anew
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

    def _zeroing(self, zero_grad: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(zero_grad)
        def wrapped(owner: Optimizer | Module, *args: Any, **kwargs: Any) -> None:
            zero_grad(owner, *args, **kwargs)
            if not torch.compiler.is_compiling():  # else the graph would break here
                self._listener.zeroed(owner)

        return wrapped

    def _scaling(self, scale: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(scale)
        def wrapped(scaler: GradScaler, outputs: Any) -> Any:
            scaled = scale(scaler, outputs)
            if scaler.is_enabled():
                self._listener.scaled(scaler, outputs, scaled)
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
            call = self._listener.before_clipping(clipped, float(max_norm))
            clip(clipped, max_norm, total_norm, *args, **kwargs)
            self._listener.after_clipping(call, total_norm)

        return wrapped

    def _clipping_values(self, clip: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> None:
            clipped = _listed(parameters)
            call = self._listener.before_clipping(clipped, float(clip_value))
            largest = [
                part.abs().amax() for p in clipped if p.grad is not None and (part := local(p.grad)).numel()
            ]
            clip(clipped, clip_value, *args, **kwargs)
            if largest:
                measured = torch.stack([value.to(largest[0].device) for value in largest]).amax()
                self._listener.after_clipping(call, measured)

        return wrapped


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
