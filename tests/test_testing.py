"""Assertions and the pytest plugin for who ships an optimizer."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from optitrace.errors import UsageError
from optitrace.testing import assert_follows_rule

CLASSES = """
import torch
from torch.optim import SGD

class Descent(SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)

class Ascent(SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr, maximize=True)
"""


class Ascent(torch.optim.SGD):
    def __init__(self, params: torch.optim.optimizer.ParamsT, lr: float = 0.01) -> None:
        super().__init__(params, lr, maximize=True)


def test_a_class_that_follows_its_rule_passes() -> None:
    assert_follows_rule(torch.optim.SGD, rule="sgd", dtypes=["float64"], implementation="single")


def test_a_class_that_departs_fails_with_the_report() -> None:
    with pytest.raises(AssertionError, match="the sign of lr·gradient is wrong in the step"):
        assert_follows_rule(Ascent, rule="sgd", dtypes=["float64"])


def test_a_rule_that_is_not_known_is_no_failure_of_the_class() -> None:
    with pytest.raises(UsageError, match="unknown optimizer 'adem'"):
        assert_follows_rule(Ascent, rule="adem")


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder with the plugin, as it is installed or, if it is not, by its name."""
    installed = any(each.value == "optitrace.pytest_plugin" for each in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "optitrace.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_plugin_verifies_a_class_as_one_more_test(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CLASSES)
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    done = run_pytest(tmp_path, "--optitrace", "mine.py:Descent", "--optitrace-rule", "sgd", "-v")

    assert done.returncode == 0, done.stdout
    assert "optitrace[mine.py:Descent] PASSED" in done.stdout
    assert "2 passed" in done.stdout


def test_the_plugin_shows_the_report_of_a_class_that_departs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CLASSES)
    done = run_pytest(
        tmp_path,
        *("--optitrace", "mine.py:Ascent", "--optitrace", "mine.py:Descent"),
        *("--optitrace-rule", "sgd"),
    )

    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "the sign of lr·gradient is wrong in the step" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_plugin_says_in_a_sentence_what_cannot_be_verified(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--optitrace", "mine.py:Descent")

    assert done.returncode == 1
    assert "there is no file 'mine.py'; a name in it is written path/file.py:Name." in done.stdout
    assert "Traceback" not in done.stdout


def test_a_rule_without_a_class_is_a_usage_error(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--optitrace-rule", "sgd")

    assert done.returncode == 4
    assert "--optitrace-rule needs --optitrace CLASS" in done.stderr
