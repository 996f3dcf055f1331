"""Whether a step is run as torch.compile has compiled it."""

from __future__ import annotations

import sys

from torch.optim import Optimizer

from optitrace.monitoring.torch_internals import compiler_file


def is_compiled() -> bool:
    """Tell, within a hook of an optimizer, whether the step around it is compiled.

    torch then computes with tensors where it otherwise has Python's numbers, as if it were capturable. What
    leads from compiled code to a hook is told by the frames above the step: torch has no word for it.
    """
    compiler = compiler_file()
    step = sys.modules[Optimizer.__module__].__file__
    if compiler is None:
        return False
    frame, is_above = sys._getframe(1), False
    while frame is not None:
        file = frame.f_code.co_filename
        if is_above and file == compiler:
            return True
        is_above = is_above or file == step
        frame = frame.f_back  # type: ignore[assignment]
    return False
