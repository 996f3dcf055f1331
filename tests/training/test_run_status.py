"""The live line of `optitrace run`, beside what a program prints on the same terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from time import sleep

import pytest

from optitrace.cli import run_status
from optitrace.cli.run_status import CLEAR, RunStatus


class Stream(io.StringIO):
    """One of the streams that lead to a terminal."""

    def __init__(self, screen: list[str]) -> None:
        super().__init__()
        self.screen = screen

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        self.screen.append(text)
        return len(text)


@contextmanager
def status_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Show a line at once, on a terminal that is standard output and standard error; give what it gets."""
    monkeypatch.setattr(run_status, "INTERVAL", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    screen: list[str] = []
    with (
        redirect_stdout(Stream(screen)),
        redirect_stderr(Stream(screen)),
        RunStatus(lambda passed: "step 7"),
    ):
        yield screen


def wait_for_line(screen: list[str]) -> None:
    seen = len(screen)
    for _ in range(1000):
        if f"{CLEAR}step 7" in screen[seen:]:
            return
        sleep(0.005)
    raise AssertionError("the line was never shown")


def test_the_line_is_gone_before_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    with status_on_a_terminal(monkeypatch) as screen:
        wait_for_line(screen)
        sys.stdout.write("epoch 1")
        sys.stdout.write("\n")
        wait_for_line(screen)

    at = screen.index("epoch 1")
    assert screen[at - 1] == CLEAR
    assert screen[at : at + 2] == ["epoch 1", "\n"]
    assert screen[-1] == CLEAR


def test_what_the_program_has_begun_of_a_line_is_not_wiped_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with status_on_a_terminal(monkeypatch) as screen:
        wait_for_line(screen)
        sys.stdout.write("epoch 1: ")
        sleep(0.05)
        sys.stderr.write("done\n")
        wait_for_line(screen)

    at = screen.index("epoch 1: ")
    assert screen[at : at + 2] == ["epoch 1: ", "done\n"]


def test_a_program_may_close_the_stream_that_the_line_is_shown_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with status_on_a_terminal(monkeypatch) as screen:
        wait_for_line(screen)
        sys.stderr.close()
        sys.stdout.write("on\n")

    assert screen[-1] == "on\n"


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_take_a_line_away_is_shown_none(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_status, "INTERVAL", 0.001)
    monkeypatch.setenv("TERM", term)
    screen: list[str] = []
    with redirect_stderr(Stream(screen)), RunStatus(lambda passed: "step 7"):
        sleep(0.05)

    assert screen == []
