"""What pytest collects: no training scripts, and nothing that the installed torch lacks."""

from __future__ import annotations

import inspect

import pytest
import torch

collect_ignore = ["training/scripts"]
"""The scripts are run as a person runs them, each in a process, and never imported."""

NEWER = {
    "muon": hasattr(torch.optim, "Muon"),  # torch 2.9
    "decoupled_weight_decay": "decoupled_weight_decay" in inspect.signature(torch.optim.Adam).parameters,
}
"""Whether the installed torch has what tests need that have its name in theirs, or in that of a case."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need what the installed torch lacks."""
    for item in items:
        for word, is_there in NEWER.items():
            if not is_there and word in item.name.lower():
                item.add_marker(pytest.mark.skip(reason=f"torch {torch.__version__} has no {word}"))
