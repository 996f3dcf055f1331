from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from support.runs import PROGRAM, environment, run, run_shell

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(columns: int, *arguments: str, **changes: str) -> str:
    """Return what a terminal of so many columns gets from a run."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    clean = environment(**changes)
    for name in ("COLUMNS", "LINES", *(name for name, value in changes.items() if value == "")):
        clean.pop(name, None)
    process = subprocess.Popen([*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=clean)
    os.close(theirs)
    received = b""
    while chunk := _read(ours):
        received += chunk
    assert process.wait(timeout=300) == 0
    os.close(ours)
    return received.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def test_a_terminal_of_30_columns_gets_lines_that_fit_and_no_colour_where_none_is_wanted() -> None:
    text = on_terminal(30, "adam", "-n", "3", "--state")

    assert max(len(ANSI.sub("", line)) for line in text.splitlines()) <= 30
    assert "…" not in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", text)
    assert "0.7203" in text


def test_a_terminal_gets_colour_and_its_width() -> None:
    text = on_terminal(100, "sgd", "-n", "140", "--lr", "0.6", "--every", "70", NO_COLOR="")

    assert "\x1b[1msgd(lr=0.6)\x1b[0m" in text
    assert re.search(r"\x1b\[31m *inf\x1b", text)
    assert ANSI.sub("", text).startswith("sgd(lr=0.6)\nloss = w1² + 2·w2² from (0.5, 0.5)")


def test_a_dumb_terminal_gets_no_escape_codes() -> None:
    assert "\x1b" not in on_terminal(80, "sgd", "-n", "1", TERM="dumb", NO_COLOR="")


@pytest.mark.parametrize(("color", "has_codes"), [("always", True), ("never", False), ("auto", False)])
def test_a_pipe_gets_escape_codes_only_where_they_are_asked_for(color: str, has_codes: bool) -> None:
    colored = run("sgd", "--color", color)

    assert ("\x1b[1m" in colored.stdout) is has_codes
    assert ANSI.sub("", colored.stdout) == run("sgd").stdout


def test_a_pipe_without_a_width_gets_whole_lines() -> None:
    text = run("adam", "--state", "--update", COLUMNS="").stdout

    assert text.count("\nstep ") == 1
    assert "documented" not in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437"])
@pytest.mark.parametrize(
    "line",
    [
        "sgd -n 70 --state --update --explain --theory",
        "sgd --lr 0.6 -n 300",
        "adam --format markdown",
        "adafactor --explain -n 2",
        "list",
        "list adam",
        "notebook",
        "--help",
        "rprop --help",
        "muon --help",
    ],
)
def test_any_encoding_can_show_everything(line: str, encoding: str) -> None:
    finished = run(*line.split(), encoding=encoding)

    assert (finished.code, finished.stderr) == (0, "")
    assert "?" not in finished.stdout
    if encoding == "ascii":
        assert finished.stdout.isascii()


def test_a_message_is_spelled_in_ascii_where_nothing_else_can_be_shown() -> None:
    assert (
        run("w²", encoding="ascii").stderr
        == "optitrace: unknown optimizer 'w^2'; 'optitrace list' shows all.\n"
    )


def test_the_plainest_locale_is_enough() -> None:
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    finished = run_shell("optitrace sgd -n 1", **plain)

    assert (finished.code, finished.stderr) == (0, "")
    assert "loss = w1^2 + 2*w2^2 from (0.5, 0.5)" in finished.stdout


def test_a_reader_that_goes_early_costs_nothing_and_files_are_written(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    finished = run_shell(f"optitrace sgd -n 20000 --format csv -o {path} | head -1")

    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.startswith("step,loss")
    assert len(path.read_text().splitlines()) == 20002


@pytest.mark.parametrize("command", ["--help", "sgd --help", "list", "--version"])
def test_a_reader_of_help_may_go_early_too(command: str) -> None:
    finished = run_shell(f"optitrace {command} | true")

    assert (finished.code, finished.stderr) == (0, "")


CLOSED = "optitrace: cannot write to standard output: it is closed; write to a file with --output.\n"
FULL = "optitrace: cannot write to standard output: No space left on device; write to a file with --output.\n"


@pytest.mark.parametrize(
    ("place", "sentence"), [(">&-", CLOSED), pytest.param(">/dev/full", FULL, id="full")]
)
@pytest.mark.parametrize("command", ["sgd -n 1", "sgd --help", "list"])
def test_a_standard_output_that_takes_nothing_is_told_in_a_line(
    command: str, place: str, sentence: str
) -> None:
    finished = run_shell(f"optitrace {command} {place}")

    assert (finished.code, finished.stderr) == (4, sentence)


def test_files_are_written_even_if_standard_output_takes_nothing(tmp_path: Path) -> None:
    finished = run_shell(f"optitrace sgd -n 1 -o {tmp_path}/x.csv >&-")

    assert finished.code == 4
    assert (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(("command", "code"), [("sgd -n 1", 0), ("adem", 2), ("sgd -o /missing/x.csv", 4)])
@pytest.mark.parametrize("place", ["2>&-", "2>/dev/full"])
def test_a_standard_error_that_takes_nothing_changes_nothing_else(
    command: str, code: int, place: str
) -> None:
    finished = run_shell(f"optitrace {command} {place}")

    assert (finished.code, finished.stderr) == (code, "")
    assert finished.stdout == run(*command.split()).stdout


def test_an_argument_that_is_no_text_is_told_in_a_line() -> None:
    finished = run_shell(r"optitrace $'ad\xff\nam'")

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == (
        "optitrace: unknown optimizer 'ad\\udcff\\nam'; did you mean 'adam'? 'optitrace list' shows all.\n"
    )
