"""Code that a saved trace names: it is neither imported nor run, unless a person asks for that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.runs import run

import optitrace
from optitrace.analysis.loss_grid import terrain
from optitrace.errors import UsageError
from optitrace.records.reader import read_trace
from optitrace.views.pictures.run_scenes import trace_scene

HARMLESS = """\
from torch.optim import SGD


class VerifiedClass(SGD):
    pass


def loss(w):
    return (w**2).sum()
"""

HARMFUL = "from pathlib import Path\n\nPath('ran').touch()\n" + HARMLESS
"""The same, with a trace of its own in the folder when it is imported."""

WEIGHTS_TAKE_CODE = (
    "optitrace: the loss around the weights is not drawn: it takes the code of 'mine.py:loss'; "
    "'optitrace show FILE --rerun' runs it.\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with traces whose optimizer or loss is code in it, and with that code changed since."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(HARMLESS)
    for name, optimizer in (
        ("function", "sgd"),
        ("class", "./mine.py:VerifiedClass"),
        ("both", "./mine.py:VerifiedClass"),
    ):
        objective = () if name == "class" else ("--objective", "mine.py:loss")
        assert run(optimizer, "-n", "3", "--lr", "0.1", *objective, "-o", f"{name}.json").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in tmp_path.glob("*.json"):
        path.rename(elsewhere / path.name)
    (elsewhere / "mine.py").write_text(HARMFUL)
    monkeypatch.chdir(elsewhere)
    return elsewhere


@pytest.mark.parametrize("name", ["function", "class", "both"])
@pytest.mark.parametrize(
    "command",
    [
        "show {0}",
        "show {0} --plot",
        "show {0} --state --update -f json",
        "show {0} -f html",
        "show {0} -o x.png -o x.svg -o x.gif -o x.txt --plot",
        "compare {0} {0} --plot",
        "compare {0} sgd --plot",
        "compare {0} -o x.png -o x.html",
        "diff {0} {0}",
    ],
)
def test_a_saved_trace_is_shown_without_the_code_that_it_names(command: str, name: str, folder: Path) -> None:
    finished = run(*command.format(f"{name}.json").split())

    assert finished.code == 0
    assert "Traceback" not in finished.stderr
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("command", "stderr"),
    [
        ("show function.json --plot", WEIGHTS_TAKE_CODE),
        ("show function.json -f svg", WEIGHTS_TAKE_CODE),
        ("compare both.json function.json -o x.png", WEIGHTS_TAKE_CODE),
        ("show function.json", ""),
        ("show class.json --plot", ""),
        ("compare function.json sgd --plot", ""),
    ],
)
def test_what_is_not_drawn_is_said(command: str, stderr: str, folder: Path) -> None:
    assert run(*command.split()).stderr == stderr


def test_the_path_is_drawn_from_what_is_saved(folder: Path) -> None:
    saved = read_trace("function.json")
    plane = trace_scene(saved, terrain([saved])).panels[0]
    [line] = plane.lines

    assert plane.contour is None or plane.contour.levels == ()
    assert [point for stroke in line.strokes for point in stroke.points] == [
        saved.weights.row(row) for row in range(4)
    ]


def test_rerun_names_the_files_before_it_runs_them(folder: Path) -> None:
    (folder / "mine.py").write_text(f"import sys\nprint('mine.py runs', file=sys.stderr)\n{HARMFUL}")
    finished = run("show", "both.json", "--rerun", "--plot")

    assert finished.code == 0
    assert "the same bit for bit" in finished.stdout
    assert [line for line in finished.stderr.splitlines() if "mine.py" in line] == [
        "optitrace: --rerun runs the code of './mine.py', which the saved trace names.",
        "optitrace: --rerun runs the code of 'mine.py', which the saved trace names.",
        "mine.py runs",
    ]
    assert (folder / "ran").exists()


def test_rerun_of_an_optimizer_of_torch_names_no_file(folder: Path) -> None:
    assert run("sgd", "-n", "2", "-o", "sgd.json").code == 0

    assert run("show", "sgd.json", "--rerun").stderr == ""


def test_an_experiment_beside_a_saved_trace_runs_the_loss_of_that_on_request(folder: Path) -> None:
    refused = run("diff", "function.json", "sgd")

    assert (refused.code, refused.stdout, refused.stderr) == (
        2,
        "",
        "optitrace: the loss of 'function.json' is the function 'mine.py:loss', and code that a saved trace "
        "names is not run; --rerun runs it.\n",
    )
    assert not (folder / "ran").exists()

    asked = run("diff", "function.json", "sgd:lr=0.1", "--rerun")

    assert (asked.code, asked.stderr) == (
        0,
        "optitrace: --rerun runs the code of 'mine.py', which the saved trace names.\n",
    )
    assert (folder / "ran").exists()


@pytest.mark.parametrize(
    "command",
    [
        "diff function.json sgd --objective mine.py:loss",
        "diff function.json sgd:lr=0.1,objective=mine.py:loss",
        "compare function.json sgd --objective mine.py:loss --plot",
    ],
)
def test_code_that_the_command_line_names_is_run(command: str, folder: Path) -> None:
    finished = run(*command.split())

    assert finished.stderr == ""
    assert (folder / "ran").exists()


def test_a_loss_of_its_own_beside_a_saved_trace_runs_nothing_of_that(folder: Path) -> None:
    run("diff", "function.json", "sgd:objective=booth")

    assert not (folder / "ran").exists()


@pytest.mark.parametrize("objective", ["booth", "w1**2 + sin(w2)"])
def test_a_loss_by_name_or_by_expression_is_drawn(objective: str, folder: Path) -> None:
    arguments = ("sgd", "-n", "3", "--objective", objective)
    fresh = run(*arguments, "-f", "svg")
    assert run(*arguments, "-o", "t.json").code == 0

    assert run("show", "t.json", "-f", "svg") == fresh


def test_a_trace_that_is_read_in_python_evaluates_no_function_either(folder: Path) -> None:
    objective = optitrace.read("function.json").experiment.objective

    with pytest.raises(UsageError, match=r"'mine\.py:loss', and code that a saved trace names is not run"):
        objective.loss(torch.float32, torch.device("cpu"))
    assert json.loads(Path("function.json").read_text())["experiment"]["objective"] == objective.settings
