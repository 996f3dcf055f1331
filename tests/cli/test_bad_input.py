"""Bad input: one sentence, 'fact; remedy', on standard error and nothing on standard output."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.runs import run

SGD = "its hyperparameters are lr, momentum, dampening, weight_decay, nesterov, maximize."
NUMBERS = "it must be numbers separated by commas, such as 0.5,0.5."
SUFFIXES = "use one of .txt, .json, .jsonl, .csv, .tsv, .md, .png, .svg, .pdf, .gif, .html."

MISTAKES = [
    # names
    ("adem", "unknown optimizer 'adem'; did you mean 'adam'? 'optitrace list' shows all."),
    ("zzz", "unknown optimizer 'zzz'; 'optitrace list' shows all."),
    ("''", "unknown optimizer ''; 'optitrace list' shows all."),
    ("list adem", "unknown optimizer 'adem'; did you mean 'adam'? 'optitrace list' shows all."),
    ("'ad\nam'", r"unknown optimizer 'ad\nam'; did you mean 'adam'? 'optitrace list' shows all."),
    ("'\udcff'", r"unknown optimizer '\udcff'; 'optitrace list' shows all."),
    # options
    ("sgd --betas 0.9,0.99", f"sgd has no betas; {SGD}"),
    ("sgd --no-amsgrad", f"sgd has no amsgrad; {SGD}"),
    ("sgd --momentun 0.9", "sgd has no option '--momentun'; did you mean '--momentum'?"),
    ("sgd -x", "sgd has no option '-x'; 'optitrace sgd --help' shows all."),
    ("sgd --lr", "option '--lr' requires an argument; see 'optitrace sgd --help'."),
    (
        "sgd --nesterov=1",
        "option '--nesterov' does not take a value; see 'optitrace sgd --help'.",
    ),
    ("sgd 0.1", "got unexpected extra argument (0.1); see 'optitrace sgd --help'."),
    ("list a b", "got unexpected extra argument (b); see 'optitrace list --help'."),
    ("notebook --formal", "notebook has no option '--formal'; did you mean '--format'?"),
    (
        "--momentum 0.1 sgd",
        "'--momentum' is not an option of optitrace itself; options of an optimizer follow its name, "
        "as in 'optitrace sgd --lr 0.1'.",
    ),
    # values of hyperparameters
    ("sgd --lr fast", "sgd: lr must be a number, not 'fast'."),
    ("sgd --lr ''", "sgd: lr must be a number, not ''."),
    ("sgd --lr nan", "sgd: lr is nan; it must be finite."),
    ("sgd --momentum inf", "sgd: momentum is inf; it must be finite."),
    ("sgd --lr '\udcff'", r"sgd: lr must be a number, not '\udcff'."),
    ("adam --betas 0.9", "adam: betas must be 2 numbers such as 0.1,0.2, not '0.9'."),
    ("adam --betas 0.9,0.99,1", "adam: betas must be 2 numbers such as 0.1,0.2, not '0.9,0.99,1'."),
    (
        "sgd --nesterov",
        "torch refuses these settings of sgd: Nesterov momentum requires a momentum and zero dampening.",
    ),
    # values of the experiment
    ("sgd --steps -1", "steps is '-1'; it must be a non-negative integer."),
    ("sgd --steps 2.5", "steps is '2.5'; it must be a non-negative integer."),
    ("sgd --steps many", "steps is 'many'; it must be a non-negative integer."),
    ("sgd --every 0", "every is '0'; it must be a positive integer."),
    ("sgd --coordinate ''", "coordinate is ''; it must be a positive integer."),
    ("sgd --precision 18", "precision is '18'; it must be an integer from 0 to 17."),
    ("sgd --dtype int8", "unknown dtype 'int8'; choose from: float32, float64, bfloat16, float16."),
    ("sgd --device meta", "unknown device 'meta'; choose from: cpu, cuda, cuda:N (such as cuda:1), auto."),
    (
        "sgd --gradient frsh",
        "unknown gradient protocol 'frsh'; did you mean 'fresh'? choose from: fresh, stale, accumulated.",
    ),
    (
        "sgd --implementation fast",
        "unknown implementation 'fast'; choose from: single, foreach, fused, auto.",
    ),
    (
        "rmsprop --implementation fused",
        "torch has no fused implementation of rmsprop; it has single and foreach.",
    ),
    (
        "lbfgs --gradient stale",
        "lbfgs evaluates the loss and its gradient itself, several times in a step, so no step can use "
        "a stale gradient; use 'fresh' or 'accumulated'.",
    ),
    (
        "sgd --start 1",
        "the start has 1 coordinates and the quadratic 2 coefficients; give as many of one as of the other.",
    ),
    ("sgd --start ''", f"start is ''; {NUMBERS}"),
    ("sgd --start a,b", f"start is 'a,b'; {NUMBERS}"),
    ("sgd --start 1,nan", "a coordinate of the start is nan; all must be finite."),
    ("sgd --coefficients 1,", f"coefficients is '1,'; {NUMBERS}"),
    ("sgd --coefficients inf", "a coefficient of the quadratic is inf; all must be finite."),
    # output
    (
        "sgd --format xml",
        "unknown format 'xml'; "
        "choose from: table, json, jsonl, csv, tsv, markdown, png, svg, pdf, gif, html.",
    ),
    ("list --format xml", "unknown format 'xml'; choose from: table, json."),
    ("notebook --format xml", "unknown format 'xml'; choose from: table, json, csv, tsv."),
    ("sgd --color red", "unknown color 'red'; choose from: auto, always, never."),
    (
        "sgd -o trace.yaml",
        f"cannot determine the format of 'trace.yaml': '.yaml' is not a known suffix; {SUFFIXES}",
    ),
    ("sgd -o trace", f"cannot determine the format of 'trace': it has no suffix; {SUFFIXES}"),
    ("sgd -o ''", f"cannot determine the format of '': it has no suffix; {SUFFIXES}"),
]
"""A command line in the words of a shell, and the sentence that it gets."""


@pytest.mark.parametrize(("line", "sentence"), MISTAKES)
def test_a_mistake_is_told_in_one_sentence(line: str, sentence: str) -> None:
    finished = run(*(word.strip("'") for word in re.findall(r"'[^']*'|[^' ]+", line)))

    assert (finished.code, finished.stdout, finished.stderr) == (2, "", f"optitrace: {sentence}\n")


def test_a_long_value_is_not_repeated_at_length() -> None:
    finished = run("sgd", "--steps", "9" * 5000)

    assert finished.code == 2
    assert len(finished.stderr) < 300
    assert finished.stderr.endswith("...{}'; it must be a non-negative integer.\n".format("9" * 98))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "missing/x.csv",
            "cannot write '{0}/missing/x.csv': there is no folder '{0}/missing'; make it first.",
        ),
        ("", "cannot write '{0}': it is a folder; name a file in it, such as '{0}/trace.csv'."),
        ("x" * 300 + ".csv", "cannot write *: File name too long; choose another place."),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_run(
    path: str, sentence: str, tmp_path: Path
) -> None:
    finished = run("sgd", "-o", str(tmp_path / path))

    assert (finished.code, finished.stdout) == (4, "")
    exactly = re.escape(f"optitrace: {sentence.format(tmp_path)}\n").replace(r"\*", ".*")
    assert re.fullmatch(exactly, finished.stderr)


def test_a_name_that_is_too_long_is_told_before_the_run_by_any_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, function in (
        ("exists", os.path.exists),
        ("is_dir", os.path.isdir),
        ("is_file", os.path.isfile),
    ):
        monkeypatch.setattr(Path, name, function)  # as Python 3.14 has them
    finished = run("sgd", "-o", str(tmp_path / ("x" * 300 + ".csv")))

    assert (finished.code, finished.stdout) == (4, "")
    assert finished.stderr.endswith(": File name too long; choose another place.\n")


@pytest.mark.parametrize("forbidden", ["folder", "file"])
def test_a_place_without_permission_is_told_before_the_run(
    forbidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    closed = {"folder": tmp_path, "file": path}[forbidden]
    monkeypatch.setattr("os.access", lambda asked, mode: str(asked) != str(closed))

    finished = run("sgd", "-o", str(path))

    assert (finished.code, finished.stdout) == (4, "")
    assert finished.stderr == (
        f"optitrace: cannot write '{path}': there is no permission to; choose another place.\n"
    )


def test_a_device_that_is_not_there_exits_with_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    finished = run("sgd", "--device", "cuda")

    assert (finished.code, finished.stdout) == (5, "")
    assert re.fullmatch(
        r"optitrace: there is no CUDA device for 'cuda' \(torch .* finds none\); use the device cpu\.\n",
        finished.stderr,
    )


def test_no_step_shows_just_the_start() -> None:
    finished = run("sgd", "--steps", "0")

    assert (finished.code, finished.stderr) == (0, "")
    rows = finished.stdout.partition("─\n")[2]
    assert rows.startswith(
        "   0                             0.5000   0.5000\n\nfinal loss 0.7500 after 0 steps"
    )


def test_a_link_into_no_folder_is_told_before_the_run(tmp_path: Path) -> None:
    link = tmp_path / "x.csv"
    link.symlink_to(tmp_path / "missing" / "x.csv")
    finished = run("sgd", "-o", str(link))

    assert (finished.code, finished.stdout) == (4, "")
    assert finished.stderr == (
        f"optitrace: cannot write '{link}': there is no folder '{tmp_path / 'missing'}'; make it first.\n"
    )
