"""`show`: a saved trace is shown as it was when it was fresh, without torch and without a run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import environment, run

from optitrace.version import __version__

LOOKS = [
    [],
    ["--state"],
    ["--update", "--precision", "8"],
    ["--every", "7"],
    ["--every", "7", "--format", "json"],
    ["--all"],
    ["--explain", "--every", "1"],
    ["--format", "json"],
    ["--format", "jsonl"],
    ["--format", "csv"],
    ["--format", "tsv"],
    ["--format", "markdown", "--state"],
    ["--color", "always"],
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("saved") / "trace.json")
    assert run("adam", "--lr", "0.1", "-n", "80", "-o", path).code == 0
    return path


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_a_saved_trace_is_shown_as_a_fresh_one(saved: str, look: list[str]) -> None:
    fresh = run("adam", "--lr", "0.1", "-n", "80", *look)
    shown = run("show", saved, *look)

    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.partition("\nmore: ")[0] == fresh.stdout.partition("\nmore: ")[0]


def test_a_shown_trace_can_be_saved_again(saved: str, tmp_path: Path) -> None:
    again, other = tmp_path / "again.jsonl", tmp_path / "again.csv"

    assert run("show", saved, "-o", str(again), "-o", str(other)).code == 0

    assert run("show", str(again), "-f", "json").stdout == run("show", saved, "-f", "json").stdout
    assert other.read_text() == run("show", saved, "-f", "csv").stdout


def test_strict_asks_whether_the_saved_run_diverged(tmp_path: Path) -> None:
    path = str(tmp_path / "diverged.json")
    run("sgd", "--lr", "0.6", "-n", "300", "-o", path)

    assert run("show", path).code == 0
    assert run("show", path, "--strict").code == 1


def test_strict_asks_whether_the_saved_run_reached_its_target(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    run("sgd", "-n", "3", "--until", "loss<1e-9", "-o", str(path))

    assert json.loads(path.read_text())["outcome"]["status"] == "target not reached"
    assert run("show", str(path)).code == 0
    assert run("show", str(path), "--strict").code == 1


def test_a_run_that_saved_a_trace_says_how_to_show_it_again(tmp_path: Path) -> None:
    path = tmp_path / "my trace.json"
    finished = run("sgd", "-n", "2", "-o", str(tmp_path / "t.csv"), "-o", str(path))

    assert finished.stderr == f"optitrace: to see this again: optitrace show '{path}'\n"
    assert run("sgd", "-n", "2", "-o", str(tmp_path / "t.csv")).stderr == ""


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    written = run("sgd", "-n", "2", "-f", "jsonl").stdout
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written.encode())))

    assert run("show", "-", "-f", "csv") == run("sgd", "-n", "2", "-f", "csv")


@pytest.mark.parametrize(
    "command",
    [
        ["show", "FILE", "--state"],
        ["show", "FILE", "--explain"],
        ["diff", "FILE", "FILE"],
        ["compare", "FILE"],
    ],
    ids=" ".join,
)
def test_saved_traces_need_no_torch(saved: str, command: list[str]) -> None:
    arguments = [saved if word == "FILE" else word for word in command]
    program = (
        "import sys; from optitrace.cli.app import main\n"
        f"code = main({arguments!r})\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )

    assert ended.stderr == "0 False\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file"),
        ("", "it is empty"),
        (
            "step,loss\n",
            "line 1: it is not JSON; traces are read back from '-o FILE.json' or '-o FILE.jsonl'",
        ),
        ('{"schema": 7}', "its schema is 7, and optitrace"),
        (
            '{"schema": 2, "experiment": 0}',
            f"its schema is 2, and optitrace {__version__} reads only schema 1; a newer version",
        ),
        (
            '{"schema": 3, "program": 0}',
            f"its schema is 3, and optitrace {__version__} reads schemas 1 to 2; a newer version",
        ),
        ('{"schema": 1', "line 1, column 12: it ends in the middle, so it was probably cut short"),
    ],
)
def test_a_file_that_is_no_trace_is_one_line_and_exit_3(
    content: str | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)

    finished = run("show", str(path))

    assert (finished.code, finished.stdout) == (3, "")
    assert finished.stderr.startswith(f"optitrace: cannot read '{path}': {sentence}")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "missing argument 'FILE'; 'optitrace show --help' shows what it takes."),
        (["FILE", "--every", "0"], "every is '0'; it must be a positive integer."),
        (["FILE", "--format", "jason"], "unknown format 'jason'; did you mean 'json'?"),
        (["FILE", "--explain", "--every", "2"], "an explanation needs every step"),
        (["FILE", "--coordinate", "3"], "there is no coordinate 3; the weights have 1 to 2."),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(saved: str, arguments: list[str], sentence: str) -> None:
    finished = run("show", *(saved if word == "FILE" else word for word in arguments))

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"optitrace: {sentence}")
