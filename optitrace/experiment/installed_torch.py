"""What the installed torch has, read without loading it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from optitrace.rules.optimizer import Optimizer


def absences(optimizers: Iterable[Optimizer]) -> list[str]:
    """Return a sentence for each optimizer that the installed torch lacks; none where there is no torch.

    The classes are the names that stand in ``torch/optim/__init__.py``: to load torch takes longer than all
    that is told of them.
    """
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        names = set(re.findall(r"\w+", (Path(folder) / "optim" / "__init__.py").read_text(encoding="utf-8")))
        classes = {
            optimizer.class_path.rpartition(".")[2]: None for optimizer in optimizers if optimizer.class_path
        }
        return [
            f"the installed torch has no {name}; a newer torch has" for name in classes if name not in names
        ]
    return []
