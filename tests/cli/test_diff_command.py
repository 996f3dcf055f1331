"""`diff`: what it says of two traces, how it exits, and what it takes from where."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from support.runs import run

WIDTHS = ["30", "40", "80", "200"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return saved traces: two runs of adam, and one of them with a number changed."""
    folder = tmp_path_factory.mktemp("files")
    paths = {name: str(folder / f"{name}.json") for name in ("adam", "again", "changed", "short")}
    for name, steps in (("adam", "9"), ("again", "9"), ("short", "4")):
        run("adam", "--lr", "0.1", "-n", steps, "-o", paths[name])
    text = Path(paths["adam"]).read_text()
    Path(paths["changed"]).write_text(text.replace('"step": 5, "loss": 0.', '"step": 5, "loss": 1.', 1))
    return paths


def test_the_same_is_said_and_exits_with_0(files: dict[str, str]) -> None:
    finished = run("diff", files["adam"], files["again"])

    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.splitlines()[-1] == "A and B are the same bit for bit: 102 numbers in 9 steps"


def test_a_difference_is_said_and_exits_with_1(files: dict[str, str]) -> None:
    finished = run("diff", files["adam"], files["changed"])
    before = json.loads(Path(files["adam"]).read_text())["steps"][5]["loss"]
    after = json.loads(Path(files["changed"]).read_text())["steps"][5]["loss"]

    assert finished.code == 1
    assert (
        f"A and B first differ at step 5, in loss:\n  A  {before}\n  B  {after}\n  1 apart,"
        in finished.stdout
    )
    assert re.search(r"^loss +1 of 9 ", finished.stdout, re.MULTILINE)
    assert re.search(r"^weights +0 of 20$", finished.stdout, re.MULTILINE)


def test_the_line_of_the_rule_is_named() -> None:
    finished = run("diff", "adam", "adam:betas=0.9;0.99", "-n", "2")

    assert "betas is 0.9,0.999 in A and 0.9,0.99 in B\n" in finished.stdout
    assert "A and B first differ at step 1, in exp_avg_sq of w1:\n" in finished.stdout
    assert (
        "first line of the rule that differs for w1:\n  A  v = β₂·v + (1 − β₂)·g² = 0.999·" in finished.stdout
    )


def test_implementations_that_differ_differ_in_arithmetic_alone() -> None:
    finished = run("diff", "sgd:dtype=float32", "sgd:dtype=float64", "-n", "1")

    assert "in w1:\n" in finished.stdout
    assert "the rule makes both the same; the runs compute this line differently for w1:" in finished.stdout


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--close"], 0),
        (["--ulp", "100"], 0),
        (["--ulp", "0.01"], 1),
        (["--atol", "1e-3"], 0),
        (["--rtol", "1e-3"], 0),
        (["--rtol", "1e-12"], 1),
        (["--close", "--rtol", "0", "--atol", "0"], 1),
    ],
)
def test_tolerances_decide_what_is_the_same(options: list[str], code: int) -> None:
    assert run("diff", "sgd:dtype=float32", "sgd:dtype=float64", *options).code == code


def test_an_experiment_beside_a_saved_trace_takes_its_settings_from_it(tmp_path: Path) -> None:
    golden = str(tmp_path / "golden.json")
    settings = ["--start", "1,-2,3", "--coefficients", "1,2,3", "--gradient", "stale", "--dtype", "float64"]
    run("adam", "-n", "3", *settings, "-o", golden)

    assert run("diff", golden, "adam").code == 0
    assert run("diff", "ADAM", golden).code == 0
    assert run("diff", golden, "adam:lr=0.1").code == 1
    longer = run("diff", golden, "adam", "-n", "5", COLUMNS="200")
    assert "up to step 3, where one ends; B continues to step 5" in longer.stdout


def test_a_shorter_trace_is_not_the_same(files: dict[str, str]) -> None:
    finished = run("diff", files["short"], files["adam"])

    assert finished.code == 1
    assert "steps is 4 in A and 9 in B" in finished.stdout
    assert "the same bit for bit up to step 4, where one ends; B continues to step 9" in " ".join(
        finished.stdout.split()
    )


def test_what_only_one_has_is_said() -> None:
    finished = run("diff", "adam", "sgd", "-n", "1")

    assert "only A has step, exp_avg, exp_avg_sq\n" in finished.stdout


def test_options_are_for_both_and_a_text_overrides_them() -> None:
    assert run("diff", "sgd", "sgd:lr=0.5", "--lr", "0.5").code == 0
    assert run("diff", "sgd", "sgd:lr=0.5", "--lr", "0.4").code == 1
    assert run("diff", "sgd:steps=3", "sgd:steps=4", "-n", "9").code == 1


def test_a_sign_of_zero_is_told_as_such(files: dict[str, str], tmp_path: Path) -> None:
    texts = [
        Path(files["adam"]).read_text().replace('"gradient": [1.0,', f'"gradient": [{zero},', 1)
        for zero in ("0.0", "-0.0")
    ]
    for name, text in zip("ab", texts, strict=True):
        (tmp_path / f"{name}.json").write_text(text)

    finished = run("diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"))

    assert "  A  0.0\n  B  -0.0\n  the same number except for the sign of zero\n" in finished.stdout
    assert finished.code == 1
    assert run("diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--close").code == 0


def test_json_says_all_of_it(files: dict[str, str]) -> None:
    same = json.loads(run("diff", files["adam"], files["again"], "-f", "json").stdout)
    finished = run("diff", "sgd", "sgd:lr=0.6", "-n", "300", "-f", "json")
    data = json.loads(finished.stdout)

    assert (same["same"], same["first"], same["rule"]) == (True, None, None)
    assert finished.code == 1
    assert data["first"] == {
        "quantity": "lr",
        "step": 1,
        "coordinate": None,
        "a": 0.01,
        "b": 0.6,
        "ulps": data["first"]["ulps"],
        "dtype": "float64",
        "difference": 0.59,
    }
    assert data["settings"] == [{"name": "lr", "a": "0.01", "b": "0.6"}]
    assert data["a"] == {"name": "sgd", "experiment": "sgd:steps=300", "last_step": 300}
    assert data["quantities"][-1]["greatest"]["b"] in ("Infinity", "NaN")
    assert data["rule"]["a"].startswith("w = w - lr*g = ")


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cropped(columns: str) -> None:
    finished = run("diff", "adam:lr=0.1", "adam:lr=0.1,eps=0.1", COLUMNS=columns)
    words = run("diff", "adam:lr=0.1", "adam:lr=0.1,eps=0.1", COLUMNS="200").stdout.split()

    assert max(map(len, finished.stdout.splitlines())) <= int(columns)
    numbers = {word for word in words if re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?", word)}
    assert numbers <= set(finished.stdout.split())


def test_ascii_is_enough() -> None:
    finished = run("diff", "adam", "adam:eps=0.1", encoding="ascii")

    assert "w = w - lr*m_hat / (sqrt(v_hat) + eps)" in finished.stdout
    assert "?" not in finished.stdout


def test_standard_input_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    written = run("sgd", "-n", "2", "-f", "json").stdout
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written.encode())))

    finished = run("diff", "-", "sgd")

    assert (finished.code, finished.stdout.splitlines()[0]) == (0, "A: standard input")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["adam"], 2, "missing argument 'B'"),
        (["-", "-"], 2, "standard input can be read only once"),
        (["adan", "adam"], 2, "'adan' is neither an optimizer nor a file; did you mean 'adam'?"),
        (["sgd:lr=0.1", "sgd:momentun=1"], 2, "sgd has no momentun; did you mean 'momentum'?"),
        (["gone.json", "sgd"], 3, "cannot read 'gone.json': there is no such file."),
        (["sgd", "sgd", "--ulp", "-1"], 2, "ulp is '-1'; it must be a non-negative number."),
        (["sgd", "sgd", "--rtol", "x"], 2, "rtol is 'x'; it must be a non-negative number."),
        (["sgd", "sgd", "-f", "csv"], 2, "a difference has no format 'csv'; choose from: table, json."),
        (["sgd", "sgd:device=cuda:77"], 5, "there is no "),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, sentence: str) -> None:
    finished = run("diff", *arguments)

    assert (finished.code, finished.stdout) == (code, "")
    assert finished.stderr.startswith(f"optitrace: {sentence}")
    assert finished.stderr.count("\n") == 1
