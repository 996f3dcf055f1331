"""Pictures from the command line: written beside the table, refused before a run where they cannot be."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from PIL import Image
from support.runs import PROGRAM, environment, run, run_process, run_shell

BEGINNINGS = {
    "png": b"\x89PNG",
    "svg": b"<?xml",
    "pdf": b"%PDF",
    "gif": b"GIF8",
    "html": b"<!DOCTYPE html>",
}
"""How a file of each format begins."""

STILLS = ("png", "svg", "pdf")
PICTURES = (*STILLS, "gif", "html")
SWEEP = ("sweep", "sgd", "-P", "lr=log:1e-3:1:30", "-n", "30")


@pytest.mark.parametrize("format", PICTURES)
def test_a_picture_is_written_beside_the_table_by_its_suffix(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{format.upper()}"
    finished = run("sgd", "--momentum", "0.9", "-o", str(path))

    assert finished == run("sgd", "--momentum", "0.9")
    assert path.read_bytes().startswith(BEGINNINGS[format])


@pytest.mark.parametrize("format", PICTURES)
@pytest.mark.parametrize("command", [("compare", "sgd", "adam"), ("compare", "sgd", "sgd:coefficients=1;3")])
def test_a_comparison_is_pictured(command: tuple[str, ...], format: str, tmp_path: Path) -> None:
    path = tmp_path / f"runs.{format}"
    finished = run(*command, "-o", str(path))

    assert finished == run(*command)
    assert path.read_bytes().startswith(BEGINNINGS[format])


@pytest.mark.parametrize("format", STILLS)
def test_a_sweep_is_pictured(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"sweep.{format}"
    finished = run(*SWEEP, "-o", str(path))

    assert finished == run(*SWEEP)
    assert path.read_bytes().startswith(BEGINNINGS[format])


@pytest.mark.parametrize("format", PICTURES)
def test_a_saved_trace_has_the_picture_of_its_run(format: str, tmp_path: Path) -> None:
    fresh, saved, again = (tmp_path / name for name in (f"a.{format}", "trace.json", f"b.{format}"))
    run("adam", "--objective", "booth", "-o", str(fresh), "-o", str(saved))
    run("show", str(saved), "-o", str(again))

    assert fresh.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("format", ["svg", "html"])
def test_a_picture_that_is_text_is_printed(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{format}"
    printed = run("sgd", "-f", format, "-o", str(path))

    assert (printed.code, printed.stderr) == (0, "")
    assert printed.stdout == path.read_text(encoding="utf-8")
    assert run(*SWEEP, "-f", "svg").stdout.startswith("<?xml")
    assert run("compare", "sgd", "adam", "-f", format).stdout.encode().startswith(BEGINNINGS[format])


def test_a_picture_that_is_no_text_is_printed_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.png"
    finished = run_shell(f"optitrace sgd -f png > {path}")

    assert (finished.code, finished.stderr) == (0, "")
    assert Image.open(io.BytesIO(path.read_bytes())).format == "PNG"


@pytest.mark.parametrize("command", [("sgd",), ("compare", "sgd", "adam"), SWEEP])
def test_a_picture_that_is_no_text_is_not_for_a_terminal(command: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [*PROGRAM, *command, "-f", "png"],
        env=environment(),
        stdout=theirs,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    os.close(theirs)
    os.close(ours)

    assert ended.returncode == 2
    assert ended.stderr == (
        "optitrace: png cannot be shown in a terminal; write it with --output FILE.png.\n"
    )


@pytest.mark.parametrize("command", [("sgd",), ("compare", "sgd", "adam"), SWEEP])
def test_without_matplotlib_nothing_is_run_and_one_sentence_says_how_to_get_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name == "matplotlib" else ModuleSpec(name, None)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr("optitrace.views.formats.find_spec", find)
    monkeypatch.setattr("optitrace.tracing.tracer.trace", never)
    finished = run(*command, "-o", str(tmp_path / "a.csv"), "-o", str(tmp_path / "run.svg"))

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == (
        "optitrace: svg is drawn by matplotlib, which is not installed; "
        "pip install 'optitrace[plot]' installs it.\n"
    )
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert run(*command).code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("sweep", "sgd", "-P", "lr=0.1,0.2", "-o", "x.gif"),
            "a sweep has no format 'gif'; "
            "choose from: table, json, jsonl, csv, tsv, markdown, png, svg, pdf.",
        ),
        (
            ("sweep", "sgd:momentum=0.9", "-P", "nesterov=true,false", "-o", "x.svg"),
            "no svg can be drawn of what is varied here; vary one or two numbers, or write csv.",
        ),
        (
            ("sweep", "sgd", "-P", "lr=.1,.2", "-P", "momentum=0,.5", "-P", "dampening=0,.5", "-f", "svg"),
            "no svg can be drawn of what is varied here; vary one or two numbers, or write csv.",
        ),
        (
            ("sgd", "--explain", "-f", "svg"),
            "svg cannot include an explanation or theory; use table, json, jsonl.",
        ),
        (
            ("sgd", "-o", "x.jpg"),
            "cannot determine the format of 'x.jpg': '.jpg' is not a known suffix; use one of "
            ".txt, .json, .jsonl, .csv, .tsv, .md, .png, .svg, .pdf, .gif, .html.",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = run(*arguments)

    assert (finished.code, finished.stdout, finished.stderr) == (2, "", f"optitrace: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["svg", "html"])
@pytest.mark.parametrize(
    "settings",
    [
        ("--coefficients", "0,1e308"),
        ("--coefficients", "0,-1e308"),
        ("--start", "0,1e308"),
        ("--start", "1e308,-1e308"),
        ("--start", "1e308", "--coefficients", "0"),
        ("--start", "1e-320", "--coefficients", "1e-320"),
    ],
)
def test_numbers_at_the_ends_of_what_a_float_holds_are_pictured(
    settings: tuple[str, ...], format: str
) -> None:
    finished = run("sgd", *settings, "--dtype", "float64", "--steps", "0", "-f", format)

    assert finished.stdout.encode().startswith(BEGINNINGS[format])
    assert finished.stderr == ""


def test_a_hundred_thousand_steps_are_a_small_picture(tmp_path: Path) -> None:
    paths = [tmp_path / f"run.{format}" for format in PICTURES]
    finished = run(
        *("sgd", "--lr", "0.05", "--noise", "2", "-n", "100000"),
        *(word for path in paths for word in ("-o", str(path))),
    )

    assert finished.code == 0
    assert max(path.stat().st_size for path in paths) < 1_000_000


def test_a_full_disk_costs_a_picture_and_not_the_table(tmp_path: Path) -> None:
    full = tmp_path / "full.png"
    full.symlink_to("/dev/full")
    finished = run("sgd", "-o", str(full))

    assert finished.code == 4
    assert finished.stdout == run("sgd").stdout


@pytest.mark.parametrize("arguments", [(), ("-o", "run.csv"), ("-f", "json")])
def test_matplotlib_is_loaded_for_pictures_alone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys; from optitrace.__main__ import main\n"
        f"sys.argv[1:] = ['sgd', *{arguments}]\n"
        "try: main()\nfinally: print('matplotlib' in sys.modules, file=sys.stderr)"
    )

    def loads(code: str) -> str:
        command = [sys.executable, "-c", code]
        ended = subprocess.run(
            command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return ended.stderr

    assert loads(program) == "False\n"
    assert loads(program.replace("'sgd', ", "'sgd', '-o', 'run.svg', ")) == "True\n"


def test_pyplot_which_keeps_state_is_never_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from optitrace.cli.app import main\n"
        f"main(['sgd', *(w for f in {PICTURES} for w in ('-o', '{tmp_path}/x.' + f))])\n"
        "print('matplotlib.pyplot' in sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )

    assert ended.stderr == "False\n"


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.svg", "b.svg")]
    for path, seed in zip(paths, ("1", "2"), strict=True):
        run_process("sgd", "--momentum", "0.9", "-o", str(path), PYTHONHASHSEED=seed, TZ="Asia/Tokyo")

    assert paths[0].read_bytes() == paths[1].read_bytes()
