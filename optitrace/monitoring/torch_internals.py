"""Private and optional names of torch that watching depends on, each with its fallback.

torch promises none of them, and a release may lack one. That costs the one fact that depends on it; it must
cost the watched program nothing. Each is looked up when it is used, never when this module is imported.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Dependency:
    """Names of torch that an observation needs.

    Attributes:
        lost: what is not observed where one of them is missing.
        module: where they are: ``torch._C``.
        names: the names in the module; one may be an attribute of another: ``Tensor._version``.
    """

    lost: str
    module: str
    names: tuple[str, ...]

    def report(self) -> str:
        """Return the sentence that says what is lost, and why; empty if nothing is missing."""
        missing = [name for name in self.names if not exists(self.module, name)]
        if not missing:
            return ""
        return f"{self.lost}: torch {torch.__version__} has no {self.module}.{missing[0]}."


_NOTHING = "no optimizer is observed"

STEPS = Dependency(
    _NOTHING,
    "torch.optim.optimizer",
    ("register_optimizer_step_pre_hook", "register_optimizer_step_post_hook"),
)

BACKWARD = Dependency(_NOTHING, "torch.autograd", ("backward",))

VERSION = Dependency(_NOTHING, "torch", ("Tensor._version",))
"""The number of changes of a tensor, from which it is told where a gradient comes from; see `version`."""

_NAMES = "parameters may be named by number"
"""The modules that exist when an optimizer takes its first step are found without any of these."""

PARAMETER_REGISTRATION = Dependency(
    _NAMES, "torch.nn.modules.module", ("register_module_parameter_registration_hook",)
)

MODULE_REGISTRATION = Dependency(
    _NAMES, "torch.nn.modules.module", ("register_module_module_registration_hook",)
)

RESTORATION = Dependency(_NAMES, "torch.nn.modules.module", ("Module.__setstate__",))

CONSTRUCTION = Dependency(
    "optimizers that never take a step are not reported", "torch.optim", ("Optimizer.__init__",)
)

LOADING = Dependency(
    "the loading of checkpoints is not observed",
    "torch",
    ("load", "optim.Optimizer.load_state_dict", "nn.Module.load_state_dict"),
)

SCALER = Dependency(
    "GradScaler is not observed: losses and gradients may be scaled, and skipped steps are missing",
    "torch.amp.grad_scaler",
    ("GradScaler.scale", "GradScaler.unscale_", "GradScaler.step"),
)

ZERO_GRAD = Dependency(
    "that zero_grad() cleared gradients is not told from clearing them by hand",
    "torch",
    ("optim.Optimizer.zero_grad", "nn.Module.zero_grad"),
)

SCHEDULERS = Dependency(
    "learning rate schedulers are not observed",
    "torch.optim.lr_scheduler",
    ("LRScheduler.__init__", "LRScheduler.step"),
)

CLIPPING_BY_NORM = Dependency(
    "gradient clipping by norm is not observed", "torch.nn.utils.clip_grad", ("clip_grad_norm_",)
)

CLIPPING_BY_VALUE = Dependency(
    "gradient clipping by value is not observed", "torch.nn.utils.clip_grad", ("clip_grad_value_",)
)

GRAPH_TASK = Dependency(
    "a backward within another, as of reentrant checkpointing, counts as a separate one",
    "torch._C",
    ("_current_graph_task_id",),
)
"""See `is_in_backward`."""

COMPILATION = Dependency(
    "the step of an optimizer may not be observed where torch.compile compiles it",
    "torch._compile",
    ("_disable_dynamo",),
)
"""See `uncompiled`."""

REQUIRED = (STEPS, BACKWARD, VERSION)
"""What is said without one of these would be false, so that nothing is observed then."""

WITH_FALLBACK = (GRAPH_TASK, COMPILATION)
"""Those that no hook is set by: there is a function here that does without."""

version: Callable[[Tensor], int] = operator.attrgetter("_version")
"""Returns how often a tensor was changed in place."""

_NO_TASK = -1
"""What torch calls no backward."""


def is_in_backward() -> bool:
    """Return whether this thread computes a backward just now; false if torch does not say."""
    current: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: _NO_TASK)
    return current() != _NO_TASK


def is_nested_step(optimizer: Optimizer) -> bool:
    """Return, in a hook of a step, whether a step of the same optimizer is underway around it.

    torch wraps the step of a class when its first optimizer is made, so that a subclass that calls
    ``super().step()`` runs through two wrappers where both classes are used, and through one elsewhere.
    """
    file, wrappers = sys.modules[Optimizer.__module__].__file__, 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and wrappers < 2:
        is_wrapper = frame.f_code.co_filename == file and frame.f_locals.get("self") is optimizer
        wrappers, frame = wrappers + is_wrapper, frame.f_back
    return wrappers > 1


def uncompiled(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Keep torch.compile from compiling a hook; the hook itself if torch has no name for that.

    The public `torch.compiler.disable` imports the compiler at once, which is too early.
    """
    disable = getattr(sys.modules.get("torch._compile"), "_disable_dynamo", None)
    return hook if disable is None else disable(hook)


def clipping_with_norm() -> Sequence[tuple[Any, str]]:
    """Return the functions that scale gradients by a norm that is known already, as (module, name).

    If the private one is among them, `torch.nn.utils.clip_grad_norm_` calls it, whoever imported that before.
    torch 2.5 has neither.
    """
    utils = torch.nn.utils
    known = ((utils, "clip_grads_with_norm_"), (utils.clip_grad, "_clip_grads_with_norm_"))
    return [(module, name) for module, name in known if name in vars(module)]


def foreach_norm(tensors: Sequence[Tensor], dtype: torch.dtype) -> Sequence[Tensor]:
    """Return the norm of each dense tensor, added in a dtype.

    They are computed one by one, which takes longer, where torch has nothing for lists.
    """
    at_once = getattr(torch, "_foreach_norm", None)
    if at_once is not None:
        return at_once(tensors, 2, dtype)  # type: ignore[no-any-return]
    return [torch.linalg.vector_norm(tensor, dtype=dtype) for tensor in tensors]


def foreach_copy_(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each tensor into another one, one by one where torch has nothing for lists."""
    at_once = getattr(torch, "_foreach_copy_", None)
    if at_once is not None:
        at_once(targets, sources)
    else:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)


def own_parameters(module: Module) -> Mapping[str, Tensor | None] | None:
    """Return the parameters that a module has itself; None if it is not initialized, or torch hides them."""
    return vars(module).get("_parameters")


def user_modules(module: Module) -> Mapping[str, Module | None]:
    """Return the modules that a module has itself; none if it is not initialized, or torch hides them."""
    return vars(module).get("_modules") or {}


def is_flattened(parameter: Tensor) -> bool:
    """Return whether a parameter is this process's part of one that FSDP1 has split."""
    return hasattr(parameter, "_fsdp_flattened")


def compiler_file() -> str | None:
    """Return the file of what calls compiled code; None if no compiler is loaded, or it is elsewhere."""
    return getattr(sys.modules.get("torch._dynamo.eval_frame"), "__file__", None)


def exists(module: str, name: str) -> bool:
    """Return whether a module has a name, which may be an attribute of another: ``Tensor._version``."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is not getattr(object, part, None)  # what every class has
