"""Observes what a program does with torch: functions are put around torch's, and taken away in the end.

The steps of optimizers and the making of modules are observed through torch's own global hooks. What torch
has no hook for is wrapped: the making of optimizers, copies of modules, backward, zero_grad, clipping, the
gradient scaler, and schedulers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Module
from torch.nn import utils as nn_utils
from torch.nn.modules import module as nn_module
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.experiment.user_module import reason
from optitrace.monitoring import torch_internals
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.patching import Attribute, Decorated, Wrapper, is_decorated, wrap
from optitrace.monitoring.tensor_values import local
from optitrace.monitoring.torch_internals import Dependency


class TorchHooks:
    """Reports the events of a program's optimizers to a monitor, from `begin` to `end`."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._undo: list[Callable[[], None]] = []
        self._scheduler_classes: set[type[LRScheduler]] = set()
        self._scheduler_depth = 0

    def begin(self) -> None:
        """Set each hook by itself: what torch lacks costs only what is observed by it."""
        required = filter(None, map(Dependency.report, torch_internals.REQUIRED))
        if loss := next(required, ""):
            self._monitor.unobserved(loss, is_blind=True)
            return
        for dependency in torch_internals.WITH_FALLBACK:
            self._is_missing(dependency)
        for dependency, hook in (
            (torch_internals.STEPS, self._hook_steps),
            (torch_internals.BACKWARD, self._hook_backward),
            (torch_internals.PARAMETER_REGISTRATION, self._hook_parameter_registration),
            (torch_internals.MODULE_REGISTRATION, self._hook_module_registration),
            (torch_internals.RESTORATION, self._hook_restoration),
            (torch_internals.CONSTRUCTION, self._hook_construction),
            (torch_internals.LOADING, self._hook_loading),
            (torch_internals.ZERO_GRAD, self._hook_zero_grad),
            (torch_internals.SCALER, self._hook_scaler),
            (torch_internals.CLIPPING_BY_NORM, self._hook_clipping_by_norm),
            (torch_internals.CLIPPING_BY_VALUE, self._hook_clipping_by_value),
            (torch_internals.SCHEDULERS, self._hook_schedulers),
        ):
            if not self._is_missing(dependency):
                self._attempt(dependency, hook)

    def end(self) -> None:
        """Put everything back."""
        self._undo_from(0)
        self._scheduler_classes.clear()

    def _is_missing(self, dependency: Dependency) -> bool:
        """Return whether torch lacks something, after reporting what is not observed for that."""
        if lost := dependency.report():
            self._monitor.unobserved(lost)
        return bool(lost)

    def _attempt(self, dependency: Dependency, hook: Callable[[], None]) -> None:
        begin = len(self._undo)
        try:
            hook()
        except Exception as error:  # whatever it is, the program goes on
            self._undo_from(begin)
            self._monitor.unobserved(f"{dependency.lost}: {reason(error)}.")

    def _undo_from(self, begin: int) -> None:
        while len(self._undo) > begin:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        self._undo.append(wrap(Attribute(owner, name), wrapper))

    # what torch has hooks for

    def _hook_steps(self) -> None:
        monitor, uncompiled = self._monitor, torch_internals.uncompiled
        self._undo += [
            torch_optimizer.register_optimizer_step_pre_hook(
                uncompiled(lambda optimizer, args, kwargs: monitor.before_step(optimizer, args, kwargs))
            ).remove,
            torch_optimizer.register_optimizer_step_post_hook(
                uncompiled(lambda optimizer, args, kwargs: monitor.after_step(optimizer))
            ).remove,
        ]

    def _hook_parameter_registration(self) -> None:
        self._undo.append(nn_module.register_module_parameter_registration_hook(self._registered).remove)

    def _hook_module_registration(self) -> None:
        self._undo.append(nn_module.register_module_module_registration_hook(self._registered).remove)

    def _registered(self, module: Module, name: str, given: Tensor | Module | None) -> None:
        self._monitor.module_made(module)

    # what is observed when it is done

    def _hook_restoration(self) -> None:
        """Observe modules that are copied or read from a file: nothing is registered there."""
        self._wrap(Module, "__setstate__", _then(lambda module, state: self._monitor.module_made(module)))

    def _hook_construction(self) -> None:
        self._wrap(Optimizer, "__init__", _then(lambda optimizer, *_, **__: self._monitor.made(optimizer)))

    def _hook_loading(self) -> None:
        monitor = self._monitor
        self._wrap(Optimizer, "load_state_dict", _then(lambda optimizer, *_, **__: monitor.loaded(optimizer)))
        self._wrap(Module, "load_state_dict", _then(lambda *_, **__: monitor.weights_loaded()))
        self._wrap(torch, "load", self._reading)

    def _reading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(load)
        def wrapped(f: Any, *args: Any, **kwargs: Any) -> Any:
            content = load(f, *args, **kwargs)
            self._monitor.checkpoint_read(f, content)
            return content

        return wrapped

    def _hook_zero_grad(self) -> None:
        def zeroed(owner: Optimizer | Module, *_: Any, **__: Any) -> None:
            if not torch.compiler.is_compiling():  # else the graph would break here
                self._monitor.zeroed(owner)

        for owner in (Optimizer, Module):
            self._wrap(owner, "zero_grad", _then(zeroed))

    def _hook_scaler(self) -> None:
        def unscaled(scaler: GradScaler, optimizer: Optimizer) -> None:
            if scaler.is_enabled():
                self._monitor.unscaled(optimizer)

        self._wrap(GradScaler, "scale", self._scaling)
        self._wrap(GradScaler, "unscale_", _then(unscaled))
        self._wrap(GradScaler, "step", self._scaler_step)

    def _scaling(self, scale: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(scale)
        def wrapped(scaler: GradScaler, outputs: Any) -> Any:
            scaled = scale(scaler, outputs)
            if scaler.is_enabled():
                self._monitor.scaled(scaler, outputs, scaled)
            return scaled

        return wrapped

    # what is observed before and after

    def _hook_backward(self) -> None:
        self._wrap(torch.autograd, "backward", self._backward)

    def _backward(self, backward: Callable[..., None]) -> Callable[..., None]:
        monitor = self._monitor

        @functools.wraps(backward)
        def wrapped(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if torch_internals.is_in_backward():  # as where checkpoint recomputes a segment
                backward(tensors, *args, **kwargs)
                return
            if not isinstance(tensors, (Tensor, Sequence)):  # it can be gone through only once
                tensors = tuple(tensors)
            begun = monitor.before_backward(tensors)
            is_done = False
            try:
                backward(tensors, *args, **kwargs)
                is_done = True
            finally:
                monitor.after_backward(begun, is_done)

        return wrapped

    def _scaler_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapped(scaler: GradScaler, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not scaler.is_enabled():
                return step(scaler, optimizer, *args, **kwargs)
            self._monitor.before_scaler_step(optimizer)
            is_done = False
            try:
                returned = step(scaler, optimizer, *args, **kwargs)
                is_done = True
            finally:
                self._monitor.after_scaler_step(optimizer, is_done)
            return returned

        return wrapped

    # clipping

    def _hook_clipping_by_norm(self) -> None:
        with_norm = torch_internals.clipping_with_norm()
        for module, name in with_norm:
            self._wrap(module, name, self._clipping_with_norm)
        if not any(module is nn_utils.clip_grad for module, _ in with_norm):
            self._wrap_clipping("clip_grad_norm_", self._clipping_norm)

    def _hook_clipping_by_value(self) -> None:
        self._wrap_clipping("clip_grad_value_", self._clipping_values)

    def _wrap_clipping(self, name: str, wrapper: Wrapper) -> None:
        """Wrap a function that clips, whoever imported it before; that needs the decorator that torch has."""
        clip = getattr(nn_utils.clip_grad, name)
        if is_decorated(clip):
            self._undo.append(wrap(Decorated(clip), wrapper))
        else:
            for module in (nn_utils, nn_utils.clip_grad):
                self._wrap(module, name, wrapper)

    def _clipping_norm(self, clip: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Tensor:
            clipped = _listed(parameters)
            call = self._monitor.before_clipping(clipped, float(max_norm))
            total_norm = clip(clipped, max_norm, *args, **kwargs)
            self._monitor.after_clipping(call, total_norm)
            return total_norm

        return wrapped

    def _clipping_with_norm(self, clip: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> None:
            clipped = _listed(parameters)
            call = self._monitor.before_clipping(clipped, float(max_norm))
            clip(clipped, max_norm, total_norm, *args, **kwargs)
            self._monitor.after_clipping(call, total_norm)

        return wrapped

    def _clipping_values(self, clip: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(clip)
        def wrapped(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> None:
            clipped = _listed(parameters)
            call = self._monitor.before_clipping(clipped, float(clip_value))
            largest = [
                part.abs().amax() for p in clipped if p.grad is not None and (part := local(p.grad)).numel()
            ]
            clip(clipped, clip_value, *args, **kwargs)
            if largest:
                measured = torch.stack([value.to(largest[0].device) for value in largest]).amax()
                self._monitor.after_clipping(call, measured)

        return wrapped

    # schedulers

    def _hook_schedulers(self) -> None:
        for cls in _with_subclasses(LRScheduler):
            self._wrap_scheduler(cls)

    def _wrap_scheduler(self, cls: type[LRScheduler]) -> None:
        """Wrap what a class of schedulers defines itself; one that comes later is seen when one is made."""
        if cls not in self._scheduler_classes:
            self._scheduler_classes.add(cls)
            for name, wrapper in (
                ("__init__", self._scheduler_init),
                ("step", self._scheduler_step),
                ("load_state_dict", self._scheduler_loading),
            ):
                if name in vars(cls):
                    self._wrap(cls, name, wrapper)

    def _scheduler_init(self, init: Callable[..., None]) -> Callable[..., None]:
        observed = self._outermost(init, self._monitor.scheduler_made)

        @functools.wraps(init)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> None:
            for cls in type(scheduler).__mro__:
                if issubclass(cls, LRScheduler):
                    self._wrap_scheduler(cls)
            observed(scheduler, *args, **kwargs)

        return wrapped

    def _scheduler_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return self._outermost(step, self._monitor.scheduler_stepped)

    def _scheduler_loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        return self._outermost(load, self._monitor.scheduler_loaded)

    def _outermost(
        self, function: Callable[..., Any], then: Callable[[LRScheduler], None]
    ) -> Callable[..., Any]:
        """Report when a scheduler has done something, but not when another did it as a part of its own."""

        @functools.wraps(function)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> Any:
            self._scheduler_depth += 1
            try:
                returned = function(scheduler, *args, **kwargs)
            finally:
                self._scheduler_depth -= 1
            if not self._scheduler_depth:
                then(scheduler)
            return returned

        return wrapped


def _then(report: Callable[..., None]) -> Wrapper:
    """Return a wrapper that calls a function, with the same arguments, after the one that it wraps."""

    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            returned = function(*args, **kwargs)
            report(*args, **kwargs)
            return returned

        return wrapped

    return wrapper


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _with_subclasses(cls: type[LRScheduler]) -> Iterator[type[LRScheduler]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
