"""Loading torch for one short command: most of such a command's time."""

from __future__ import annotations

import gc
import warnings


def load_torch() -> None:
    """Import torch in a third less time, and set it up for tensors of a few numbers.

    The garbage collector would go through half a million new objects many times and free none of
    them; frozen, they are not gone through at the end of the process either.
    """
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
            import torch
    finally:
        gc.freeze()
        gc.enable()
    torch.set_num_threads(1)
