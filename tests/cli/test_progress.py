from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from optitrace.cli.progress import STRIDE, Progress


class Stderr(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(*, terminal: bool) -> str:
    """Return what a run of 10 million steps shows until it ends early."""
    with (
        redirect_stderr(Stderr(terminal=terminal)) as stderr,
        Progress(10_000_000, lambda: False) as progress,
    ):
        for _ in range(3 * STRIDE):
            assert progress() is False
    return stderr.getvalue()


@pytest.fixture(autouse=True)
def _terminal_of_40_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "40", "LINES": "20", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


def test_a_person_sees_how_many_steps_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optitrace.cli.progress.PATIENCE", 0)
    text = shown(terminal=True)

    assert f"{3 * STRIDE}/10000000" in text
    assert "-:--:--" in text
    assert "…" not in text


def test_the_bar_is_taken_away_and_the_cursor_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optitrace.cli.progress.PATIENCE", 0)
    text = shown(terminal=True)

    assert text.endswith("\x1b[1A\x1b[2K")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_short_run_shows_nothing() -> None:
    assert shown(terminal=True) == ""


def test_a_pipe_or_a_file_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optitrace.cli.progress.PATIENCE", 0)

    assert shown(terminal=False) == ""


def test_the_answer_is_passed_on() -> None:
    assert Progress(10, lambda: True)() is True
