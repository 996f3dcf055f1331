"""A loss of a person's own: a Python function of a tensor of weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from optitrace.errors import UsageError, quoted
from optitrace.experiment.own_module import load_name, reason

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optitrace.experiment.objective import LossFunction, Objective, Point


def names_a_function(text: str) -> bool:
    """Return whether a text is ``path/file.py:function`` or ``package.module:function``."""
    return re.fullmatch(r"[^:]+\.py:[\w.]+|[\w.]+:[A-Za-z_][\w.]*", text) is not None


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """A loss that a function of a person's own computes from weights of shape (n,).

    Attributes:
        function: where the function stands: ``path/file.py:function`` or ``package.module:function``.
        dimension: the number of weights.
        is_recorded: whether a saved trace names the function: its code is then not run.
    """

    function: str
    dimension: int = 2
    is_recorded: bool = field(default=False, compare=False)

    name: ClassVar[str] = "function"
    usual_start: ClassVar[Point | None] = None
    minima: ClassVar[tuple[Point, ...]] = ()

    @property
    def formula(self) -> str:
        """The function's name, which is all that is known of it."""
        return f"{self.function}(w)"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a trace file says of it."""
        return {"name": self.name, "function": self.function, "dimension": self.dimension}

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the function, whose result must be a scalar tensor that autograd can follow.

        Raises:
            UsageError: the function is not there, it returns something else, or a saved trace names it.
        """
        if self.is_recorded:
            raise UsageError(
                f"the loss is the function {quoted(self.function)}, and code that a saved trace names is "
                "not run; 'optitrace show FILE --rerun' runs it."
            )
        import torch

        found, _ = load_name(self.function)
        if not callable(found):
            raise UsageError(f"{quoted(self.function)} is no function; a loss is a function of the weights.")
        function: Callable[[Tensor], Any] = found

        def loss(w: Tensor) -> Tensor:
            try:
                value = function(w.reshape(-1))
            except (Exception, SystemExit) as error:
                raise UsageError(f"{quoted(self.function)} fails: {reason(error)}; mend it there.") from error
            follows = w.requires_grad and torch.is_grad_enabled()
            if follows and isinstance(value, torch.Tensor) and not value.requires_grad:
                raise UsageError(
                    f"{quoted(self.function)} does not depend on the weights; "
                    "make it of them, by functions of torch."
                )
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                raise UsageError(
                    f"{quoted(self.function)} returns {_described(value)}; a loss is a tensor of one number."
                )
            return value.reshape(())

        return loss


def recorded_function(objective: Objective) -> str:
    """Return the function that a saved trace names as its loss; empty where the loss is anything else."""
    return objective.function if isinstance(objective, OwnLoss) and objective.is_recorded else ""


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"a tensor of shape {tuple(shape)}" if shape is not None else f"a {type(value).__name__}"
