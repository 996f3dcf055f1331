"""`compare`: runs side by side, the best marked, the closing sentence, every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from support.runs import run

RACE = ("sgd", "adam", "sgd:momentum=0.9", "--lr", "0.1", "-n", "100")


def test_runs_are_ranked_and_the_best_of_each_column_is_marked() -> None:
    finished = run("compare", *RACE)
    lines = finished.stdout.splitlines()

    assert (finished.code, finished.stderr) == (0, "")
    assert lines[0] == "all at lr 0.1"
    assert [line.split()[0] for line in lines[5:8]] == ["sgd", "adam", "sgd:momentum=0.9"]
    assert lines[5].count("*") == 5
    assert "* best of its column" in lines


def test_the_closing_sentence_compares() -> None:
    finished = run("compare", *RACE)
    data = json.loads(run("compare", *RACE, "-f", "json").stdout)
    steps = {r["name"]: r["steps_to_tolerance"] for r in data["runs"]}
    times = {name: f"{count / steps['sgd']:.1f} times fewer than {name}" for name, count in steps.items()}

    assert " ".join(finished.stdout.split()).endswith(
        f"sgd reached 0.001 of the starting loss in {steps['sgd']} steps, {times['adam']}, "
        f"{times['sgd:momentum=0.9']}"
    )


def test_who_did_not_arrive_is_named() -> None:
    finished = run("compare", "sgd", "adagrad", "sgd:lr=0.001", "--lr", "0.1", "-n", "40", COLUMNS="200")

    assert finished.stdout.splitlines()[-1].endswith("times fewer than adagrad; sgd:lr=0.001 did not")


def test_where_none_arrived_the_remedy_is_told() -> None:
    finished = run("compare", "sgd", "adam", "-n", "1", COLUMNS="200")

    assert finished.stdout.splitlines()[-1] == (
        "none reached 0.001 of the starting loss in 1 step; use more --steps, or a larger --tolerance"
    )


def test_a_run_that_did_not_reach_its_target_is_named() -> None:
    runs = "sgd:lr=0.001", "sgd:lr=0.1"
    finished = run("compare", *runs, "-n", "20", "--until", "loss<0.01", COLUMNS="200")

    lines = finished.stdout.splitlines()
    assert "sgd:lr=0.001: the target loss<0.01 was not reached in 20 steps" in lines
    assert not any(line.startswith("sgd:lr=0.1: the target") for line in lines)


def test_the_tolerance_is_a_share_of_the_starting_loss() -> None:
    # the loss falls from 0.75 to 0.7009 with the first step
    share = str(0.71 / 0.75)
    data = json.loads(run("compare", "sgd", "--tolerance", share, "-f", "json").stdout)

    assert (data["tolerance"], data["runs"][0]["steps_to_tolerance"]) == (float(share), 1)


def test_unequal_lr_and_unequal_conditions_are_said() -> None:
    finished = run("compare", "sgd", "adadelta", "sgd:start=1;1,steps=3", COLUMNS="200")

    assert "learning rates differ: 0.01 for " in finished.stdout
    assert "1 for adadelta" in finished.stdout
    assert "the runs differ in start and steps\n" in finished.stdout


def test_a_run_that_diverged_says_where() -> None:
    finished = run("compare", "sgd", "sgd:lr=0.6", "-n", "300", COLUMNS="200")

    assert re.search(r"^sgd:lr=0\.6 .* step 134$", finished.stdout, re.MULTILINE)


def test_a_table_has_a_block_of_columns_for_each_run() -> None:
    finished = run("compare", "sgd", "adam", "-n", "2", "--table", "weights")
    lines = [line.split() for line in finished.stdout.splitlines()]

    assert ["step", "sgd", "sgd", "adam", "adam"] in lines
    assert ["w1", "w2", "w1", "w2"] in lines
    assert ["2", "0.4802", "0.4608", "0.4800", "0.4800"] in lines


@pytest.mark.parametrize("quantity", ["loss", "gradient", "weights"])
def test_csv_of_a_quantity_has_a_row_for_each_step_of_any_run(quantity: str) -> None:
    text = run("compare", "sgd", "adam:steps=4", "-n", "2", "--table", quantity, "-f", "csv").stdout
    header, *rows = csv.reader(io.StringIO(text))
    single = run("sgd", "-n", "2", "-f", "json").stdout
    expected = [step[quantity] for step in json.loads(single)["steps"]]

    position = header.index("sgd" if quantity == "loss" else "sgd w1")
    own = [row[position] for row in rows]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert own[3:] == ["", ""]
    for cell, value in zip(own, expected, strict=False):
        first = value if quantity == "loss" or value is None else value[0]
        assert cell == ("" if first is None else repr(first))


def test_csv_and_json_of_the_summary_say_the_same() -> None:
    rows = list(csv.DictReader(io.StringIO(run("compare", *RACE, "-f", "csv").stdout)))
    runs = json.loads(run("compare", *RACE, "-f", "json").stdout)["runs"]

    assert [{k: "" if v is None else str(v) for k, v in r.items()} for r in runs] == rows


def test_json_of_a_quantity_has_every_number() -> None:
    data = json.loads(run("compare", "sgd", "-n", "2", "--table", "gradient", "-f", "json").stdout)
    expected = json.loads(run("sgd", "-n", "2", "-f", "json").stdout)["steps"]

    assert data["runs"][0]["step"] == [0, 1, 2]
    assert data["runs"][0]["gradient"] == [step["gradient"] for step in expected]


def test_markdown_is_a_table_with_the_mark_escaped() -> None:
    finished = run("compare", "sgd", "adam", "-n", "2", "-f", "markdown")

    assert "| run | final loss | distance to minimum | " in finished.stdout
    assert re.search(r"^\| sgd \| \\\*0\.65\d\d \|", finished.stdout, re.MULTILINE)


def test_files_are_written_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("c.json", "c.csv", "c.md", "c.txt")]
    finished = run("compare", *RACE, *(word for path in paths for word in ("-o", str(path))))

    assert finished.code == 0
    for path, format in zip(paths, ("json", "csv", "markdown"), strict=False):
        assert path.read_text() == run("compare", *RACE, "-f", format).stdout
    assert "* best of its column" in paths[-1].read_text()


def test_a_saved_trace_stands_beside_experiments(tmp_path: Path) -> None:
    path = str(tmp_path / "old.json")
    run("adam", "-n", "5", "-o", path)

    finished = run("compare", path, "adam", "-n", "5", "-f", "json")

    runs = json.loads(finished.stdout)["runs"]
    assert {r["name"] for r in runs} == {path, "adam"}
    assert runs[0]["final_loss"] == runs[1]["final_loss"]


@pytest.mark.parametrize(("option", "named"), [("--tuned", "--tuned"), ("--lr=0.1", "--lr")])
def test_what_says_how_to_run_is_refused_where_nothing_is_run(
    option: str, named: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "old.json")
    run("adam", "-n", "2", "-o", path)
    finished = run("compare", path, path, option)

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == (
        f"optitrace: saved traces are not run again, so {named} changes nothing; leave it out.\n"
    )


def test_a_long_table_hides_rows_and_says_how_to_see_them() -> None:
    finished = run("compare", "sgd", "adam", "-n", "100", "--table", "loss")

    assert "61 rows are hidden; --all shows them" in finished.stdout
    assert "rows are hidden" not in run("compare", "sgd", "-n", "100", "--table", "loss", "--all").stdout


@pytest.mark.parametrize("columns", ["20", "30", "40", "80"])
def test_no_line_is_wider_than_the_terminal(columns: str) -> None:
    finished = run("compare", "sgd", "adam", "--table", "weights", "-n", "3", COLUMNS=columns)

    assert max(map(len, finished.stdout.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "missing argument 'RUN'"),
        (
            ["sgd", "--table", "los"],
            2,
            "unknown table 'los'; did you mean 'loss'? choose from: loss, gradient, weights.",
        ),
        (["sgd", "--tolerance", "2"], 2, "tolerance is '2'; it must be a share between 0 and 1"),
        (["sgd", "-f", "jsonl"], 2, "a comparison has no format 'jsonl'; choose from: table, json, csv,"),
        (["sgd", "-o", "x.jsonl"], 2, "a comparison has no format 'jsonl'; choose from: table, json, csv,"),
        (["sgd", "adan"], 2, "'adan' is neither an optimizer nor a file; did you mean 'adam'?"),
        (["sgd", "--lr", "fast"], 2, "sgd: lr must be a number, not 'fast'."),
        (["sgd", "gone.json"], 3, "cannot read 'gone.json': there is no such file."),
        (["sgd", "-o", "/no/such/folder/x.csv"], 4, "cannot write '/no/such/folder/x.csv'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, sentence: str) -> None:
    finished = run("compare", *arguments)

    assert (finished.code, finished.stdout) == (code, "")
    assert finished.stderr.startswith(f"optitrace: {sentence}")
    assert finished.stderr.count("\n") == 1
