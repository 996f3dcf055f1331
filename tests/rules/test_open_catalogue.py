"""A rule is added by one file: it is then in lists, help, explanations and sweeps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import optitrace

LION = '''"""Rules that move by a sign."""

from optitrace.functions import Number, sign
from optitrace.rules.rule import StateEntry, rule


@rule(StateEntry("m", "exp_avg"), source="Chen et al. 2023, arXiv:2302.06675, algorithm 2")
def lion(
    w: Number, g: Number, t: int, m: Number, *,
    lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0,
) -> tuple[Number, ...]:
    """Evolved sign momentum."""
    beta1, beta2 = betas
    if weight_decay:
        w = w - lr * weight_decay * w
    w = w - lr * sign(beta1 * m + (1 - beta1) * g)
    m = beta2 * m + (1 - beta2) * g
    return w, m
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with one more file in it."""
    root = tmp_path_factory.mktemp("with_lion")
    source = Path(optitrace.__file__).parent
    shutil.copytree(source, root / "optitrace", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "optitrace" / "rules" / "families" / "sign_descent.py").write_text(LION)
    return root


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "optitrace", *arguments],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_listed_with_its_hyperparameters_and_its_state(package: Path) -> None:
    listed = run(package, "list")

    [line] = [line for line in listed.stdout.splitlines() if line.lstrip("│ ").startswith("lion")]
    assert "betas" in line
    assert "exp_avg" in line
    assert listed.returncode == 0


def test_its_entry_says_that_torch_has_no_class(package: Path) -> None:
    listed = run(package, "list", "lion")

    assert "lion: Evolved sign momentum" in listed.stdout
    assert "torch has no class for it" in listed.stdout


def test_its_help_has_its_options_and_formulas(package: Path) -> None:
    shown = run(package, "lion", "--help").stdout

    assert "m = β₂·m + (1 − β₂)·g" in shown
    assert "--betas" in shown
    assert "Decay rates of the running means" in shown
    assert "Chen et al. 2023" in shown


def test_it_is_traced_by_evaluating_it(package: Path) -> None:
    traced = run(package, "lion", "--lr", "0.01", "--steps", "2", "-f", "csv")

    assert (traced.returncode, traced.stderr) == (0, "")
    # each step moves each weight by lr, down its gradient of (1, 2)
    assert next(line for line in traced.stdout.splitlines() if line.startswith("2,")).count("0.48") == 2


def test_its_steps_are_explained(package: Path) -> None:
    explained = run(package, "lion", "--lr", "0.01", "--steps", "1", "--explain")

    assert "w = w − lr·sign(β₁·m + (1 − β₁)·g)" in explained.stdout
    assert "0.4900" in explained.stdout
    assert explained.returncode == 0


def test_it_is_swept(package: Path) -> None:
    swept = run(package, "sweep", "lion", "-P", "lr=0.01,0.05", "-P", "weight_decay=0,0.1", "--steps", "10")

    assert swept.returncode == 0
    # ten steps of 0.05 carry both weights from 0.5 to the minimum at 0
    assert "0.05" in swept.stdout
    assert "spot check" not in swept.stdout


def test_there_is_no_class_to_verify(package: Path) -> None:
    verified = run(package, "verify", "lion")

    assert verified.returncode == 2
    assert verified.stderr.splitlines()[-1].endswith(
        "torch has no class of lion, so that there is nothing to check against its rule."
    )


def test_its_reader_is_told_what_a_rule_may_contain(package: Path) -> None:
    path = package / "optitrace" / "rules" / "families" / "wrong.py"
    path.write_text(LION.replace("sign(beta1", "g.sign(beta1").replace("def lion", "def wrong"))
    shown = run(package, "wrong", "--steps", "1", "--explain")
    path.unlink()

    assert shown.returncode == 2
    assert f"{path}, line 16: a rule cannot contain 'g.sign(beta1 * m + (1 - beta1) * g)'" in shown.stderr
    assert "Traceback" not in shown.stderr
