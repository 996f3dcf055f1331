"""Formats: each command writes every format that its result has, and a new one is one file."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import environment, run

WITH_JSON = ["list", "list adam", "list booth", "notebook", "diff sgd adam", "verify sgd --dtype float64"]

WITH_ROWS = ["notebook", "verify sgd --dtype float64", "compare sgd adam", "sgd", "sweep sgd -P lr=0.1,0.2"]


@pytest.mark.parametrize("command", WITH_JSON)
def test_a_file_holds_what_standard_output_would(command: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    table = run(*command.split(), "-o", str(path))
    printed = run(*command.split(), "--format", "json")

    assert (table.code, table.stderr) == (printed.code, printed.stderr)
    assert table.stdout
    if not command.startswith("notebook"):  # which has a random number
        assert path.read_text(encoding="utf-8") == printed.stdout
    json.loads(printed.stdout)


@pytest.mark.parametrize("command", WITH_ROWS)
def test_rows_are_as_wide_as_their_header(command: str) -> None:
    printed = run(*command.split(), "--format", "csv")
    header, *rows = csv.reader(printed.stdout.splitlines())

    assert printed.code in (0, 1)
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(header)}


def test_rows_of_a_verification_are_its_checks() -> None:
    rows = csv.DictReader(run("verify", "sgd", "--format", "csv").stdout.splitlines())

    assert {(row["optimizer"], row["dtype"], row["verdict"]) for row in rows} == {
        ("sgd", "float32", "agrees"),
        ("sgd", "float64", "agrees"),
    }


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("sweep sgd -P lr=0.1,0.2 -f gif", "a sweep has no format 'gif'; choose from: table, json, jsonl,"),
        ("diff sgd adam -o x.csv", "a difference has no format 'csv'; choose from: table, json."),
        ("list -f csv", "the catalogue has no format 'csv'; choose from: table, json."),
        (
            "verify -o x.html",
            "a verification has no format 'html'; choose from: table, json, csv, tsv, markdown, junit.",
        ),
        ("notebook -o x.xml", "the notebook has no format 'junit'; choose from: table, json, csv, tsv."),
        (
            "notebook -o x",
            "cannot determine the format of 'x': it has no suffix; use one of .txt, .json, .csv, .tsv.",
        ),
    ],
)
def test_a_format_that_a_result_does_not_have_is_refused_before_anything_runs(
    command: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> None:
        raise AssertionError("it was run")

    for module in ("sweep", "verify", "notebook"):
        monkeypatch.setattr(f"optitrace.cli.{module}_command.load_torch", never)
    finished = run(*command.split())

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"optitrace: {sentence}")


@pytest.mark.parametrize("command", ["list", "notebook", "verify sgd", "diff sgd adam"])
def test_a_file_that_cannot_be_written_is_known_before_anything_runs(command: str, tmp_path: Path) -> None:
    finished = run(*command.split(), "-o", str(tmp_path / "missing" / "x.json"))

    assert (finished.code, finished.stdout) == (4, "")
    assert "make it first" in finished.stderr


@pytest.mark.parametrize("command", ["list", "notebook"])
def test_colour_is_an_option_of_every_command(command: str) -> None:
    assert "\x1b[" in run(command, "--color", "always").stdout
    assert "\x1b[" not in run(command, "--color", "never").stdout


ORG = '''
from optitrace.views.formats import HasRows
from optitrace.views.formats import Writer


def write_org(result, display):
    """Yield rows as a table of Org."""
    for row in result.rows():
        yield f"| {' | '.join(map(str, row))} |\\n"


WRITERS = (Writer("org", ".org", HasRows, write_org),)
'''


def with_new_format(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line where there is one more file with a format."""
    (folder / "org.py").write_text(ORG, encoding="utf-8")
    program = (
        f"import sys; from optitrace.views import writers; writers.__path__.append({str(folder)!r})\n"
        "from optitrace.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_a_new_format_is_one_file(tmp_path: Path) -> None:
    printed = with_new_format(tmp_path, "sgd", "-n", "1", "-f", "org", "-o", "x.org").stdout

    assert printed.startswith("| step | loss | gradient_1 |")
    assert len(printed.splitlines()) == 3
    assert (tmp_path / "x.org").read_text(encoding="utf-8") == printed


@pytest.mark.parametrize("command", ["sgd", "compare", "sweep", "verify", "notebook", "show"])
def test_help_names_a_new_format_wherever_a_result_has_it(command: str, tmp_path: Path) -> None:
    shown = " ".join(with_new_format(tmp_path, command, "--help").stdout.split())

    assert re.search(r"\b(csv|tsv|org), (csv|tsv|org), (csv|tsv|org)\b", shown)
    assert ".org" in shown


def test_a_new_format_that_a_result_does_not_have_is_refused(tmp_path: Path) -> None:
    finished = with_new_format(tmp_path, "diff", "sgd", "adam", "-f", "org")

    assert finished.returncode == 2
    assert "a difference has no format 'org'" in finished.stderr
