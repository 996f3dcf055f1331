"""Classes that end the process, print, or change torch: there is a verdict, or an exit code other than 0."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.runs import PROGRAM, Finished, environment, run

import optitrace
from optitrace.analysis.verification.separate_process import ENDS

# gradient descent, sound but for what is put in; with fast it steps twice as far
TEMPLATE = """\
import atexit, builtins, ctypes, os, signal, subprocess, sys, threading, time, torch, warnings
class Stop(BaseException): pass
{at_import}
class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, fast=False):
        {in_constructor}
        super().__init__(params, dict(lr=lr * (1 + fast)))
        self.fast = fast
    @torch.no_grad()
    def step(self, closure=None):
        {in_step}
        for group in self.param_groups:
            for p in group["params"]: p.copy_(p - group["lr"] * p.grad)
"""


@pytest.fixture
def verify(tmp_path: Path) -> Callable[..., Finished]:
    def verify(*options: str, at_import: str = "", in_constructor: str = "", in_step: str = "") -> Finished:
        path = tmp_path / "mine.py"
        places = {"at_import": at_import, "in_constructor": in_constructor, "in_step": in_step}
        path.write_text(TEMPLATE.format(**{place: code or "pass" for place, code in places.items()}))
        return run("verify", f"{path}:Mine", "--dtype", "float64", *options, COLUMNS="1000")

    return verify


def findings(finished: Finished) -> dict[str, str]:
    """Return what is said of each claim that fails."""
    found = json.loads(finished.stdout)["conformances"]
    return {c["claim"]: c["finding"] for c in found if c["outcome"] == "failed"}


def test_a_sound_class_passes(verify: Callable[..., Finished]) -> None:
    finished = verify("--rule", "sgd", "-f", "json")

    assert finished.code == 0
    assert findings(finished) == {}


@pytest.mark.parametrize(
    ("place", "code", "how"),
    [
        ("in_constructor", "if fast: exit()", "it raises SystemExit (exit code 0)"),
        ("in_constructor", "if fast: sys.exit('no kernels')", "it raises SystemExit (exit code 1)"),
        ("in_step", "if self.fast: raise SystemExit(3)", "it raises SystemExit (exit code 3)"),
        ("in_step", "if self.fast: raise Stop", "it raises Stop"),
        ("in_constructor", "if fast: os._exit(0)", "it ends the process with exit code 0"),
        ("in_step", "if self.fast: os._exit(0)", "it ends the process with exit code 0"),
        ("in_constructor", "if fast: os.abort()", "it ends the process by signal SIGABRT"),
        ("in_step", "if self.fast: ctypes.string_at(0)", "it ends the process by signal SIGSEGV"),
        ("in_step", "if self.fast: os.kill(os.getpid(), 9)", "it ends the process by signal SIGKILL"),
    ],
)
def test_an_option_that_ends_the_process_is_named_and_the_rest_is_judged(
    verify: Callable[..., Finished], place: str, code: str, how: str
) -> None:
    finished = verify("--rule", "sgd", "-f", "json", **{place: code})

    assert finished.code == 1
    assert findings(finished) == {ENDS: f"with fast=true {how}"}
    [check] = json.loads(finished.stdout)["checks"]
    assert check["verdict"] == "agrees"
    outcomes = {c["claim"]: c["outcome"] for c in json.loads(finished.stdout)["conformances"]}
    assert outcomes["a zero gradient leaves the weights unchanged"] == "passed"


@pytest.mark.parametrize(
    ("place", "code", "finding"),
    [
        ("at_import", "os._exit(0)", "importing it ends the process with exit code 0"),
        ("at_import", "ctypes.string_at(0)", "importing it ends the process by signal SIGSEGV"),
        ("in_constructor", "os._exit(0)", "it ends the process with exit code 0"),
        ("in_step", "os.abort()", "it ends the process by signal SIGABRT"),
        # the pipe that the results go through is among them
        ("in_step", "os.closerange(3, 100)", "it ends the process with exit code 1"),
    ],
)
def test_a_class_that_always_ends_the_process_fails(
    verify: Callable[..., Finished], place: str, code: str, finding: str
) -> None:
    finished = verify("--rule", "sgd", "-f", "json", **{place: code})

    assert finished.code == 1
    assert findings(finished) == {ENDS: f"{finding}; nothing else could be tried"}
    assert json.loads(finished.stdout)["passed"] is False


@pytest.mark.parametrize(
    ("place", "code", "sentence"),
    [
        ("at_import", "exit(0)", "importing mine.py fails: SystemExit: 0; "),
        ("in_step", "exit(0)", ".*mine.py:Mine cannot take a step: ProcessEndedError: it raises SystemExit"),
        ("in_step", "raise KeyboardInterrupt", ".*mine.py:Mine could not be verified: KeyboardInterrupt; "),
    ],
)
def test_a_class_that_cannot_be_tried_at_all_is_told_in_a_sentence(
    verify: Callable[..., Finished], place: str, code: str, sentence: str
) -> None:
    finished = verify(**{place: code})

    assert finished.code in (1, 2)
    assert finished.stdout == ""
    [line] = finished.stderr.splitlines()
    assert re.match(f"optitrace: {sentence}", line)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("in_step", "print('step'); sys.__stdout__.write('step'); sys.stdout.flush()"),
        ("in_step", "os.write(1, b'step')"),
        ("at_import", "subprocess.run(['echo', 'imported'])"),
        ("at_import", "sys.stdout.close(); sys.stderr.close()"),
        ("at_import", "atexit.register(os._exit, 0)"),
        ("at_import", "threading.Thread(target=time.sleep, args=(10**6,)).start()"),
        ("at_import", "warnings.simplefilter('error')"),
        ("at_import", "os.fork()"),
        ("at_import", "os.chdir('/'); sys.argv[:] = ['x', '--y']"),
        ("in_step", "torch.Tensor.double = torch.Tensor.clone = torch.allclose = None"),
        ("in_constructor", "torch.Tensor.__sub__ = torch.Tensor.sub; torch.sqrt = torch.rsqrt"),
    ],
)
def test_what_a_sound_class_prints_or_changes_does_not_reach_the_verdict(
    verify: Callable[..., Finished], place: str, code: str
) -> None:
    finished = verify("--rule", "sgd", "-f", "json", **{place: code})

    assert finished.code == 0
    assert json.loads(finished.stdout)["passed"] is True


def test_a_class_is_not_judged_by_the_torch_that_it_changes(verify: Callable[..., Finished]) -> None:
    # judged by the product that it puts into torch, which is twice as large, it would agree
    twice = "torch.Tensor.__rmul__ = lambda tensor, number: tensor.mul(2 * number)"
    finished = verify("--rule", "sgd", "-f", "json", at_import=twice)
    [check] = json.loads(finished.stdout)["checks"]

    assert finished.code == 1
    assert check["verdict"] == "departs"


WRITING = """
for number in range(3, 20):
    try: os.write(number, {message})
    except OSError: pass
"""


def test_what_a_class_writes_into_the_pipe_calls_nothing_in_the_program(
    verify: Callable[..., Finished], tmp_path: Path
) -> None:
    called = tmp_path / "called"
    names = (b"optitrace.analysis.verification.separate_process", b"subprocess.Popen")
    function = b"".join(b"\x8c" + bytes([len(name)]) + name for name in names) + b"\x93"
    arguments = pickle.dumps((["touch", str(called)],), protocol=2)[2:-1]
    message = b"\x80\x04" + function + arguments + b"R."
    finished = verify(at_import=f"exec({WRITING.format(message=message)!r})")

    assert finished.code == 1
    assert ENDS in finished.stdout
    assert not called.exists()


def test_a_question_is_answered_by_the_end_of_the_input(verify: Callable[..., Finished]) -> None:
    finished = verify("--rule", "sgd", in_constructor="if fast: input('compile it? ')")

    assert finished.code == 0
    assert "not tried: fast" in finished.stdout


def test_a_class_given_by_its_name_in_python_cannot_end_the_program(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TEMPLATE.format(at_import="os._exit(0)", in_constructor="pass", in_step="pass"))
    found = optitrace.verify(f"{path}:Mine")

    assert not found.passed
    assert [c.claim for c in found.conformances] == [ENDS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_program_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "mine.py").write_text(
        TEMPLATE.format(
            at_import=f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()) + '.')",
            in_constructor="pass",
            in_step="time.sleep(10**6)",
        )
    )
    command = [*PROGRAM, "verify", f"{tmp_path / 'mine.py'}:Mine"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        child = _written(tmp_path / "pid")
        program.send_signal(number)
        _, said = program.communicate(timeout=120)

    assert program.returncode == 130 if number == signal.SIGINT else -number
    assert said == b""
    _wait_for_the_end(child)


def _written(path: Path) -> int:
    """Return the number in a file once it is there."""
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_text().endswith(".")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text().rstrip("."))


def _wait_for_the_end(process: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{process}/stat").exists() and " Z " in Path(f"/proc/{process}/stat").read_text():
            return  # nobody in a container need collect it
        assert time.monotonic() < deadline
        time.sleep(0.05)
