"""What the README shows is what the commands print."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from optitrace.cli.app import main
from optitrace.rules.catalogue import OPTIMIZERS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"```console\n\$ optitrace (.*?)\n(.*?)```", README, re.DOTALL)
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
    command: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(shlex.split(command))

    printed = capsys.readouterr().out.splitlines()
    for line in shown.splitlines():
        assert line == "…" or line in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "cuda" in command:
        command = command.replace("cuda", "auto")

    assert main(shlex.split(command)) in (0, 1)


def test_the_readme_names_every_optimizer() -> None:
    assert re.search(f"`{' '.join(OPTIMIZERS)}`", README.replace("\n", " "))


def test_the_command_that_ci_runs_stands_in_the_readme() -> None:
    ci = (Path(__file__).parent.parent / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = (line for line in README.splitlines() if "python -m pytest" in line)

    assert command.startswith("python -m pip install ")
    assert "grep -m 1 'python -m pytest' README.md" in ci


def test_the_extra_that_the_readme_installs_is_there() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

    assert "pytest" in project["optional-dependencies"]["test"]
