"""What the installed torch has is read without loading it."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from optitrace.rules.catalogue import OPTIMIZERS, absences


def test_a_class_that_the_installed_torch_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "__init__.py").write_text("from torch.optim.sgd import SGD as SGD\n")
    spec = ModuleSpec("torch", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("optitrace.rules.catalogue.find_spec", lambda name: spec)

    assert absences([OPTIMIZERS["sgd"], OPTIMIZERS["muon"]]) == [
        "the installed torch has no Muon; install a newer torch"
    ]


@pytest.mark.newer_torch
def test_the_installed_torch_has_every_class() -> None:
    assert absences(OPTIMIZERS.values()) == []


def test_without_torch_nothing_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optitrace.rules.catalogue.find_spec", lambda name: None)

    assert absences(OPTIMIZERS.values()) == []
