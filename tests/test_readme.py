"""What the README shows is what the commands print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops, ImageStat

import optitrace
from optitrace.cli.app import main
from optitrace.functions import FUNCTIONS
from optitrace.rules.catalogue import OPTIMIZERS, TORCH_OPTIMIZERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"```console\n\$ optitrace (.*?)\n(.*?)```", README, re.DOTALL)
SCRIPT = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if ".backward()" in b)
RULE = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def lion" in b)
SHELLS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    re.split(r" [|>] | \|\| ", line)[0].removeprefix("optitrace ")
    for block in SHELLS
    for line in block.splitlines()
    if line.startswith("optitrace ")
]


def test_the_readme_has_examples() -> None:
    assert len(CONSOLES) >= 3
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize(("command", "shown"), CONSOLES, ids=[command for command, _ in CONSOLES])
def test_every_line_that_the_readme_shows_is_printed(
    command: str,
    shown: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if command.startswith("run "):  # which is for a process of its own
        printed = run_training(command, tmp_path).stderr.splitlines()
    else:
        main(shlex.split(command))
        printed = capsys.readouterr().out.splitlines()
    for line in shown.splitlines():
        assert line == "…" or line in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RULE, encoding="utf-8")
    if "cuda" in command:
        command = command.replace("cuda", "auto")
    if command.startswith("run "):
        assert run_training(command, tmp_path).returncode == 0
        return

    assert main(shlex.split(command)) in (0, 1)


def run_training(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of the README as one of its commands does."""
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "optitrace", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_the_rule_of_the_readme_is_the_optimizer_that_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RULE, encoding="utf-8")
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = optitrace.optimizer(f"{tmp_path}/mine.py:lion")([weight], lr=0.5, weight_decay=0.1)
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer.step()

    # w - 0.5 * (sign(0.1 * g) + 0.1 * w)
    assert weight.tolist() == pytest.approx([0.45, -2.4])


PICTURES = re.findall(r"\]\((\.pictures/(\S+))\)", README)


def test_the_readme_shows_pictures() -> None:
    assert len(PICTURES) == 2


@pytest.mark.parametrize(("shown", "name"), PICTURES)
def test_a_picture_of_the_readme_is_what_the_command_beside_it_draws(
    shown: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = [command for command in COMMANDS if command.endswith(f"-o {name}")]
    monkeypatch.chdir(tmp_path)
    main(shlex.split(command))

    assert distance(tmp_path / name, ROOT / shown) < 1


def test_another_picture_would_be_noticed() -> None:
    one, other = (ROOT / shown for shown, _ in PICTURES)

    assert distance(one, other) > 10
    assert distance(one, one) == 0


def distance(one: Path, other: Path) -> float:
    """Return how far two pictures are apart on the average, in 256ths; 256 if they differ in size.

    Another machine may round a curve, or the edge of a letter, in another way.
    """
    a, b = (Image.open(path).convert("L") for path in (one, other))
    if a.width != b.width or abs(a.height - b.height) > 4:
        return 256
    return float(ImageStat.Stat(ImageChops.difference(a, b.resize(a.size))).mean[0])


def test_the_readme_names_every_function_that_a_rule_may_call() -> None:
    assert f"`{' '.join(sorted(FUNCTIONS))}`" in README.replace("\n", " ")


def test_the_readme_names_every_optimizer() -> None:
    beyond = [name for name in OPTIMIZERS if name not in TORCH_OPTIMIZERS]
    for names in (TORCH_OPTIMIZERS, beyond):
        assert f"`{' '.join(names)}`" in README.replace("\n", " ")


def test_the_command_that_ci_runs_stands_in_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = (line for line in README.splitlines() if "python -m pytest" in line)

    assert command.startswith("python -m pip install ")
    assert "grep -m 1 'python -m pytest' README.md" in ci


def test_the_extra_that_the_readme_installs_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert "pytest" in project["optional-dependencies"]["test"]
