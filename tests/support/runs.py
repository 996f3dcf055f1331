"""Running the command line: in this process where that tells enough, and else in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import optitrace

ROOT = Path(optitrace.__file__).parents[1]

FIXED = {"COLUMNS": "80", "LINES": "50", "NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
"""What of the environment every run has."""

UNSET = ("GITHUB_ACTIONS", "FORCE_COLOR", "TERMINAL_WIDTH", "PYTHONUNBUFFERED", "PYTHONIOENCODING")
"""What of the environment no run has: Python, Typer and rich look at it."""

PROGRAM = (sys.executable, "-m", "optitrace")


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: what it exits with, and what it has printed."""

    code: int
    stdout: str
    stderr: str


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a run: this one's, fixed where output depends on it."""
    return {name: value for name, value in os.environ.items() if name not in UNSET} | FIXED | changes


def run(*arguments: str, encoding: str = "utf-8", **changes: str) -> Finished:
    """Run a command line in this process, with streams in an encoding."""
    from optitrace.cli.app import main

    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    clean = environment(**changes)
    with patch.dict(os.environ, clean, clear=True), redirect_stdout(stdout), redirect_stderr(stderr):
        code = main(arguments)
    texts = []
    for stream in (stdout, stderr):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        texts.append(stream.buffer.getvalue().decode(encoding))
    return Finished(code, *texts)


def run_process(*arguments: str, **changes: str) -> Finished:
    """Run a command line in a process of its own."""
    return _run([*PROGRAM, *arguments], changes)


def run_shell(script: str, **changes: str) -> Finished:
    """Run a line of bash, in which `optitrace` is the program."""
    prelude = f'set -o pipefail; optitrace() {{ {" ".join(PROGRAM)} "$@"; }}; '
    return _run(["bash", "-c", prelude + script], changes)


def _run(command: list[str], changes: Mapping[str, str]) -> Finished:
    ended = subprocess.run(
        command,
        env=environment(**changes),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr)
