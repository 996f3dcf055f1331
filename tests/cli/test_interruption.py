"""Ctrl-C, SIGTERM and SIGHUP: a run ends in good order, and what was traced is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSCTTY

import pytest
from support.runs import PROGRAM, environment, run

from optitrace.cli.interruption import Interruption, LeftAtOnce, Terminated, raising_terminated

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc to see what a process does")

ENDING = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
SIGNALS = [(signal.SIGINT, 130), *ENDING]
ENDLESS = ("sgd", "--steps", "1000000000", "--every", "100000")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(process: subprocess.Popen[str], file: str, pattern: str) -> None:
    """Wait until a file that the system keeps of a process says something."""
    while not re.search(pattern, Path(f"/proc/{process.pid}/{file}").read_text(), re.MULTILINE):
        assert process.poll() is None
        time.sleep(0.01)


def wait_until_it_steps(process: subprocess.Popen[str]) -> None:
    """Wait until a process handles SIGTERM itself, which it does only while it steps."""
    wait_until(process, "status", r"^SigCgt:\s*\w{12}[4-7c-f]\w{3}$")
    time.sleep(0.2)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_the_run_and_what_was_traced_is_shown_and_saved(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    process = start(*ENDLESS, "-o", str(path))
    wait_until_it_steps(process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    saved = json.loads(path.read_text())
    last = saved["steps"][-1]["step"]

    assert process.returncode == code
    assert re.search(rf"^ *{last}  ", stdout, re.MULTILINE)
    assert f"interrupted after step {last} of 1000000000" in stdout
    assert (
        f"optitrace: interrupted after step {last} of 1000000000; what was traced so far is shown.\n"
        in stderr
    )
    assert saved["outcome"] == {"status": "interrupted", "step": last}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told_after_an_interruption_too(tmp_path: Path) -> None:
    path = tmp_path / "full.csv"
    path.symlink_to("/dev/full")
    process = start(*ENDLESS, "-o", str(path))
    wait_until_it_steps(process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)

    assert process.returncode == 130
    assert f"cannot write '{path}': No space left on device; choose another place." in stderr


@pytest.mark.parametrize("later", [0, 0.3])
def test_ctrl_c_while_torch_is_loaded_is_quiet(later: float) -> None:
    process = start(*ENDLESS)
    wait_until(process, "maps", "libtorch")
    time.sleep(later)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)

    assert process.returncode == 130
    assert (stdout, stderr) == ("", "") or "interrupted after step" in stderr


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_the_first_signal_asks_and_the_second_leaves_at_once(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption()
        signal.raise_signal(number)
        assert interruption()
        assert interruption.exit_code == code
        with pytest.raises(LeftAtOnce, match=f"^{code}$"):
            signal.raise_signal(number)

    assert signal.getsignal(number) is before


def test_a_second_signal_is_what_the_program_exits_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(self: Interruption) -> bool:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    monkeypatch.setattr(Interruption, "__call__", impatient)
    finished = run("sgd")

    assert (finished.code, finished.stdout, finished.stderr) == (130, "", "")


def test_a_second_signal_is_no_failure_of_the_code_that_it_comes_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(
        "import signal\n\n"
        "def loss(w):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return (w**2).sum()\n"
    )
    monkeypatch.chdir(tmp_path)
    finished = run("sgd", "--objective", "./slow.py:loss", "-o", "x.json")

    assert (finished.code, finished.stdout, finished.stderr) == (130, "", "")
    assert not Path("x.json").exists()


@pytest.mark.parametrize("number", [number for number, _ in ENDING])
def test_sigterm_and_sighup_end_a_program_as_an_exception_does_unless_the_program_sees_to_it(
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated, match=r"^$") as raised, raising_terminated():
        signal.raise_signal(number)
    assert raised.value.signal == number
    assert signal.getsignal(number) is before

    heard: list[int] = []
    with raising_terminated():
        signal.signal(number, lambda number, frame: heard.append(number))
        signal.raise_signal(number)
    with raising_terminated():
        signal.raise_signal(number)
    signal.signal(number, before)

    assert heard == [number] * 2


@pytest.mark.parametrize("number", [number for number, _ in ENDING])
def test_what_a_program_forks_is_ended_by_a_signal_as_ever(number: signal.Signals) -> None:
    with raising_terminated():
        child = os.fork()
        if not child:
            signal.raise_signal(number)
            os._exit(0)
        _, status = os.waitpid(child, 0)

    assert os.WTERMSIG(status) == number


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with raising_terminated(), Interruption() as interruption:
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.signal(signal.SIGHUP, before)

    assert not interruption()


def test_an_interruption_that_takes_over_from_a_program_leaves_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with raising_terminated():
        interruption = Interruption()
        interruption.__enter__()
    signal.raise_signal(signal.SIGTERM)
    interruption.__exit__(None, None, None)

    assert interruption.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


TRAINING = """\
import os, signal, sys, torch
number = int(sys.argv[1])
w = torch.ones(2, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    w.square().sum().backward()
    optimizer.step()
    if step == 2:
        os.kill(os.getpid(), number)
"""


@pytest.mark.parametrize(("number", "code"), ENDING)
def test_a_training_that_a_signal_ends_is_told_up_to_there(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    script, path = tmp_path / "train.py", tmp_path / "trace.json"
    script.write_text(TRAINING)
    process = start("run", "-o", str(path), str(script), str(int(number)))
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == code
    assert "interrupted after 3 steps" in stderr
    assert "Traceback" not in stderr
    assert json.loads(path.read_text())["outcome"] == {"status": "interrupted", "step": 3}


def test_a_training_whose_terminal_is_closed_is_written(tmp_path: Path) -> None:
    script, path = tmp_path / "train.py", tmp_path / "trace.json"
    script.write_text(
        TRAINING.replace("    if step == 2:", "    if step == 2:\n        time.sleep(600)").replace(
            "import os", "import time, os"
        )
    )
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "run", "-o", str(path), str(script), "0"],
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, TIOCSCTTY, 0),
    )
    os.close(theirs)
    received = b""
    while b"step 3" not in received:  # the live status
        received += os.read(ours, 4096)
    os.close(ours)

    assert process.wait(timeout=120) == 129
    assert json.loads(path.read_text())["outcome"] == {"status": "interrupted", "step": 3}
