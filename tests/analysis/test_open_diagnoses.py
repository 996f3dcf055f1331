"""A diagnosis is added by one file: it is then found in trainings and in the list of diagnoses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.runs import run

from optitrace.analysis.training.diagnoses.registry import diagnosis_checks

GROUPS = """
from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer


@of_an_optimizer("two groups", 500)
def two_groups(optimizer):
    \"\"\"An optimizer with more than one parameter group.\"\"\"
    if len(optimizer.hyperparameters) > 1:
        yield Finding(f"{optimizer.name} has two groups", "make it of one", severity="remark")
"""

TRAIN = """
import torch

weight, bias = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.02}], lr=0.01)
for _ in range(3):
    optimizer.zero_grad()
    (weight.square().sum() + bias.square().sum()).backward()
    optimizer.step()
"""


def with_new_diagnosis(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line where there is one more file with a diagnosis."""
    (folder / "groups.py").write_text(GROUPS, encoding="utf-8")
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    program = (
        "import sys; from optitrace.analysis.training import diagnoses\n"
        f"diagnoses.__path__.append({str(folder)!r})\n"
        "from optitrace.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_it_is_found_in_a_training(tmp_path: Path) -> None:
    ran = with_new_diagnosis(tmp_path, "run", "train.py")

    assert ran.returncode == 0, ran.stderr
    assert "SGD has two groups\n  make it of one\n" in ran.stderr


def test_it_is_in_the_list(tmp_path: Path) -> None:
    listed = with_new_diagnosis(tmp_path, "list", "--diagnoses")

    assert listed.returncode == 0, listed.stderr
    assert "two-groups" in listed.stdout
    assert "An optimizer with more than one parameter group." in listed.stdout


def test_every_fault_is_listed_once_with_a_sentence() -> None:
    listed = json.loads(run("list", "--diagnoses", "--format", "json").stdout)
    faults = [check.fault for checks in diagnosis_checks() for check in checks]

    assert [each["fault"] for each in listed] == faults
    assert len(set(faults)) == len(faults)
    assert all(each["summary"].endswith(".") for each in listed)


def test_the_list_of_diagnoses_is_of_all() -> None:
    finished = run("list", "adam", "--diagnoses")

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == "optitrace: --diagnoses lists all faults; leave out 'adam'.\n"
