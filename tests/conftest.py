"""What pytest collects: no training scripts, and nothing that the installed torch lacks."""

from __future__ import annotations

import inspect
from collections.abc import Generator

import pytest
import torch

collect_ignore = ["training/scripts", "training/silent"]
"""The scripts are run as a person runs them, each in a process, and never imported."""

NEWER = {
    "Muon": hasattr(torch.optim, "Muon"),
    "decoupled_weight_decay": "decoupled_weight_decay" in inspect.signature(torch.optim.Adam).parameters,
}
"""Whether the installed torch has what the catalogue has."""

LACKS = [name for name, is_there in NEWER.items() if not is_there]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that are marked for a newer torch, and those of Muon, where it is missing."""
    for item in items:
        if LACKS and (item.get_closest_marker("newer_torch") or ("Muon" in LACKS and "muon" in item.name)):
            item.add_marker(pytest.mark.skip(reason=f"torch {torch.__version__} has no {', '.join(LACKS)}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a test that fails since it asks torch for what the installed one lacks."""
    try:
        return (yield)
    except Exception as error:
        for name in LACKS:
            if any(f"{words}{name}" in str(error) for words in ("has no ", "argument '", "attribute '")):
                pytest.skip(str(error))
        raise
