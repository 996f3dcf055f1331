"""Signals while a file is written: it is whole or absent, nothing temporary stays, and results are shown."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.runs import environment, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has other signals")

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]

WHILE_WRITING = """\
import os, signal, sys
from optitrace.cli.app import main

fsync = os.fsync

def interrupted(descriptor):
    {action}
    fsync(descriptor)

os.fsync = interrupted
sys.exit(main(sys.argv[1:]))
"""
"""A program that does something in the midst of writing each file: all is written, and not yet in place."""

TRAINING = """\
import torch
w = torch.ones(2, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    w.square().sum().backward()
    optimizer.step()
"""

COMMANDS = {
    "sgd -n 3": "final loss",
    "compare sgd adam -n 3": "best of its column",
    "sweep sgd -P lr=0.1,0.2 -n 3": "best: optitrace sgd --lr",
    "show trace.json": "final loss",
    "show training.json": "completed after 3 steps",
    "run {o} train.py": "completed after 3 steps",
}
"""The commands that write files, and what each shows of its result."""


def start(action: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WHILE_WRITING.format(action=action), *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".optitrace")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, in which a trace, a training and a script are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAINING)
    assert run("sgd", "-n", "3", "-o", "trace.json").code == 0
    assert run("run", "-o", "training.json", "train.py").code == 0
    return tmp_path


def arguments_of(command: str, *paths: str) -> list[str]:
    """Return a command that writes files."""
    outputs = [word for path in paths for word in ("-o", path)]
    words = command.split()
    place = words.index("{o}") if "{o}" in words else len(words)
    return [*words[:place], *outputs, *words[place + 1 :]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_files_are_written_costs_nothing(
    number: signal.Signals, code: int, command: str, folder: Path
) -> None:
    arguments = arguments_of(command, "x.md")
    process = start(f"os.kill(os.getpid(), {number:d})", *arguments)
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == code
    assert COMMANDS[command] in (stderr if command.startswith("run") else stdout)
    assert "Traceback" not in stderr
    assert temporary_files(folder) == []
    interrupted = Path("x.md").read_text()
    assert run(*arguments).code == 0
    assert Path("x.md").read_text() == interrupted


def test_every_file_is_written_though_the_signal_comes_with_the_first(folder: Path) -> None:
    once = f"os.kill(os.getpid(), {signal.SIGTERM:d}); os.fsync = fsync"
    process = start(once, *arguments_of("sgd -n 3", "a.json", "b.csv", "c.txt"))
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 143
    assert "interrupted after step 3 of 3; what was traced so far is shown." in stderr
    assert json.loads(Path("a.json").read_text())["outcome"] == {"status": "completed"}
    assert Path("b.csv").read_text().count("\n") == 5
    assert Path("c.txt").read_text().splitlines()[0] in stdout


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("before", [None, "what stood there before"])
def test_a_second_signal_leaves_the_file_as_it_was(
    before: str | None, number: signal.Signals, code: int, folder: Path
) -> None:
    path = folder / "x.json"
    if before is not None:
        path.write_text(before)
    twice = f"os.kill(os.getpid(), {number:d}); os.kill(os.getpid(), {number:d})"
    process = start(twice, *arguments_of("sgd -n 3", "x.json"))
    stdout, stderr = process.communicate(timeout=120)

    assert (process.returncode, stderr) == (code, "")
    assert "final loss" in stdout
    assert (path.read_text() if path.exists() else None) == before
    assert temporary_files(folder) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(folder: Path) -> None:
    for path in ("x.json", "x.json", "y.json"):
        process = start(f"os.kill(os.getpid(), {signal.SIGKILL:d})", *arguments_of("sgd -n 3", path))
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        assert not Path(path).exists()
    of_both = temporary_files(folder)
    assert len(of_both) == 2  # the second for x.json has removed that of the first

    assert run(*arguments_of("sgd -n 3", "x.json")).code == 0
    [of_the_other] = temporary_files(folder)
    assert run(*arguments_of("adam -n 3", "y.json")).code == 0

    assert of_the_other in of_both
    assert temporary_files(folder) == []
    assert {"x.json", "y.json"} <= set(os.listdir(folder))


def test_what_another_process_is_writing_is_left_to_it(folder: Path) -> None:
    process = start("print('writing', flush=True); sys.stdin.readline()", *arguments_of("adam", "x.json"))
    assert process.stdout is not None
    while process.stdout.readline() not in ("writing\n", ""):
        pass
    assert len(temporary_files(folder)) == 1
    assert run(*arguments_of("sgd", "x.json")).code == 0
    assert json.loads(Path("x.json").read_text())["experiment"]["optimizer"] == "sgd"
    assert len(temporary_files(folder)) == 1
    _, stderr = process.communicate("\n", timeout=120)

    assert (process.returncode, stderr) == (0, "optitrace: to see this again: optitrace show x.json\n")
    assert json.loads(Path("x.json").read_text())["experiment"]["optimizer"] == "adam"
    assert temporary_files(folder) == []


def test_a_terminal_that_is_closed_ends_a_run_as_sighup_does(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "import os, pathlib, signal, time\n\n"
        "def loss(w):\n"
        "    if not pathlib.Path('closed').exists():\n"
        "        pathlib.Path('begun').touch()\n"
        "        while not pathlib.Path('closed').exists():\n"
        "            os.sched_yield()\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return (w**2).sum()\n"
    )
    terminal, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "optitrace", "sgd", "--objective", "slow.py:loss", "-o", "x.json"],
        env=environment(),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.close(terminal)
    (folder / "closed").touch()

    assert process.wait(timeout=120) == 129
    assert json.loads(Path("x.json").read_text())["outcome"]["status"] == "interrupted"


def test_results_are_shown_before_their_files_are_written(folder: Path) -> None:
    for command, result in COMMANDS.items():
        process = start("print('writing', flush=True); sys.exit(7)", *arguments_of(command, "x.md"))
        stdout, stderr = process.communicate(timeout=120)
        shown = stderr if command.startswith("run") else stdout.partition("writing")[0]

        assert result in shown
        assert temporary_files(folder) == []


def test_files_are_written_though_results_cannot_be_shown(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "optitrace", *arguments_of("sgd -n 3", "x.json")],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 4
    assert "cannot write to standard output: No space left on device; write to a file with --output." in (
        ended.stderr
    )
    assert json.loads(Path("x.json").read_text())["outcome"] == {"status": "completed"}
