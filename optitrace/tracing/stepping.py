"""Making a torch optimizer and stepping it, without the second that torch's wrappers take to load.

torch decorates `Optimizer.step` and `Optimizer.add_param_group` for torch.compile, and the first call
of either imports `torch._dynamo`, which takes longer than all else. The plain functions stand under
the decorators, as ``__wrapped__``; under `torch.no_grad` they do what the decorated ones do, bit for
bit. Where one cannot be found, or where hooks want to see the step, the ordinary way is taken.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from optitrace.errors import UsageError, printable
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.user_class import is_user_class
from optitrace.experiment.user_module import error_text, load_name, reason
from optitrace.rules.optimizer import Optimizer as Entry
from optitrace.rules.reader import read
from optitrace.rules.rule import Needs
from optitrace.tracing.reference_optimizer import ReferenceOptimizer, reference_class

Step = Callable[..., Any]
"""A step: takes the closure, if the optimizer wants one, and changes the weights in place."""

_GLOBAL_HOOKS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
"""Where torch keeps the hooks around the steps of all optimizers; private."""

_OWN_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
"""Where an optimizer keeps those around its own; private."""

_UNKNOWN = "unknown"
"""Stands for hooks where torch has no such name: there may be some."""

SIGNS: Mapping[Needs, str] = {
    "closure": r"closure|'NoneType' object is not callable",
    "create_graph": r"create_graph|does not require grad|grad_fn|through the graph",
    "matrix": r"\b2-?d\b|ndim|dimension|matrix|matrices|\bdim\b|too many indices|not enough values to unpack",
}
"""Patterns of error messages that indicate a need of a class."""

NAMED: Mapping[Needs, str] = {
    "closure": "a closure that evaluates the loss again",
    "create_graph": "gradients made with create_graph=True",
    "matrix": "a matrix of weights",
}
"""The names of needs in messages."""


def make_optimizer(experiment: Experiment, weights: Tensor) -> Optimizer:
    """Return the experiment's optimizer over the weights.

    Raises:
        UsageError: torch refuses the settings, or the installed torch lacks the class or a setting.
    """
    optimizer_class = _find_class(experiment.entry)
    known = inspect.signature(optimizer_class).parameters
    implementation = {
        flag: experiment.implementation == flag for flag in ("foreach", "fused") if flag in known
    }
    settings = {
        h.name: experiment.hyperparameters[h.name]
        for h in experiment.entry.hyperparameters
        if h.name in known or experiment.hyperparameters[h.name] != h.default
    }
    if missing := settings.keys() - known.keys():
        raise UsageError(
            f"{optimizer_class.__name__} of torch {torch.__version__} has no {', '.join(sorted(missing))}; "
            "install a newer torch."
        )
    try:
        return construct(optimizer_class, [weights], {**settings, **implementation})
    except (Exception, SystemExit) as error:
        if experiment.custom is not None:
            raise UserClassError(experiment.optimizer, error) from error
        if not isinstance(error, ValueError | TypeError | RuntimeError):
            raise
        raise UsageError(
            f"torch refuses these settings of {experiment.optimizer}: {printable(str(error)).rstrip('.')}."
        ) from error


def construct(optimizer_class: type[Optimizer], parameters: Any, arguments: Mapping[str, Any]) -> Optimizer:
    """Return ``optimizer_class(parameters, **arguments)``, in train mode where it has modes.

    Parameters are mostly a list of tensors; some classes want groups, or a module.
    """
    if not _is_plain(optimizer_class):
        optimizer = optimizer_class(parameters, **arguments)
        if all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval")):
            optimizer.train()  # type: ignore[attr-defined]  # schedulefree's refuse to step otherwise
        return optimizer
    optimizer = optimizer_class.__new__(optimizer_class)
    plain = inspect.unwrap(optimizer_class.add_param_group)
    optimizer.__dict__["add_param_group"] = MethodType(plain, optimizer)
    optimizer_class.__init__(optimizer, parameters, **arguments)
    del optimizer.__dict__["add_param_group"]
    return optimizer


def plain_step(optimizer: Optimizer) -> Step:
    """Return a function that does what ``optimizer.step`` does, to be called under `torch.no_grad`."""
    if not _is_plain(type(optimizer)) or _has_global_hooks() or has_own_hooks(optimizer):
        return optimizer.step
    step: Step = MethodType(inspect.unwrap(type(optimizer).step), optimizer)
    return step


def has_own_hooks(optimizer: Optimizer) -> bool:
    """Return whether a program has put hooks around an optimizer's steps; also true if torch does not say."""
    return any(getattr(optimizer, name, _UNKNOWN) for name in _OWN_HOOKS)


def note_step(optimizer: Optimizer) -> None:
    """Record that a step was taken, as torch's wrapper of ``step`` does: a scheduler warns otherwise."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def torch_class(class_path: str) -> type[Optimizer] | None:
    """Return a class by its path: ``torch.optim.Adam``; None if the installed torch lacks it."""
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name, None)


def absence(entry: Entry) -> str:
    """Return the clause that says that torch has no class of an optimizer; empty if it has one."""
    if not entry.class_path:
        return f"torch has no class of {entry.name}, so that there is nothing to check against its rule"
    if torch_class(entry.class_path) is not None:
        return ""
    return f"torch {torch.__version__} has no {entry.class_path.rpartition('.')[2]}; install a newer torch"


class UserClassError(UsageError):
    """A custom optimizer class failed, when it was made or in a step.

    Attributes:
        need: what the class is likely to need; empty where nothing can be told.
    """

    def __init__(self, name: str, error: BaseException, step: int = 0) -> None:
        self.need = likely_need(error) if step < 2 else ""
        guess = f"; it may need {NAMED[self.need]}" if self.need else "; fix it there"
        when = f"fails in step {step}" if step else "refuses these settings"
        super().__init__(f"{name} {when}: {reason(error)} ({_place(error)}){guess}.")


def likely_need(error: BaseException) -> Needs:
    """Return what an optimizer that fails so is likely to need; empty where nothing can be told."""
    for need, sign in SIGNS.items():
        if re.search(sign, error_text(error), re.IGNORECASE):
            return need
    return ""


def _find_class(entry: Entry) -> type[Optimizer]:
    if entry.rule is not None and not entry.class_path:
        read(entry.rule)  # says what cannot be read, if anything
        return reference_class(entry.rule)
    if is_user_class(entry.class_path):
        own: type[Optimizer] = load_name(entry.class_path)[0]
        return own
    found = torch_class(entry.class_path)
    if found is None:
        raise UsageError(f"{absence(entry)}.")
    return found


def _is_plain(optimizer_class: type[Optimizer]) -> bool:
    """Return whether a class is stepped without its decorators: torch's own, and the rule's."""
    is_torch_own = optimizer_class.__module__.split(".")[:2] == ["torch", "optim"]
    is_class = isinstance(optimizer_class, type)  # a guarded class is a function
    return is_torch_own or (is_class and issubclass(optimizer_class, ReferenceOptimizer))


def _has_global_hooks() -> bool:
    return any(getattr(torch_optimizer, name, _UNKNOWN) for name in _GLOBAL_HOOKS)


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
