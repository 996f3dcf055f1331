"""`show`, `diff` and `compare` with saved trainings."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.findings import FINDINGS, PARTED, REMARK
from support.made_trainings import optimizer, training, with_all
from support.runs import environment, run
from support.samples import written

import optitrace
from optitrace.errors import InputFileError
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.records.findings import TrainingFindings
from optitrace.records.training import TrainingRecord
from optitrace.views.presenters.training import TrainingPresenter


def save(path: Path, made: TrainingRecord, findings: TrainingFindings = TrainingFindings()) -> str:  # noqa: B008
    format = path.suffix.removeprefix(".")
    path.write_text(written(TrainingPresenter(made, findings), format), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return saved trainings and a trace by name."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "trace.json").write_text(optitrace.trace("sgd", steps=1).to_json(), encoding="utf-8")
    return {
        "ALL": save(folder / "all.json", with_all(), FINDINGS),
        "PARTED": save(folder / "parted.json", training(), TrainingFindings(ranks=PARTED)),
        "REMARKED": save(folder / "remarked.json", training(), TrainingFindings((REMARK,))),
        "ONE": save(folder / "one.jsonl", training()),
        "OTHER": save(folder / "other.json", training(optimizer((2.5, 2.25, 2.125)))),
        "LONG": save(folder / "long.json", training(optimizer([0.5] * 100))),
        "TRACE": str(folder / "trace.json"),
    }


def named(files: dict[str, str], *words: str) -> list[str]:
    return [files.get(word, word) for word in words]


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "tsv", "markdown"])
def test_a_saved_training_is_shown_in_any_format(files: dict[str, str], format: str) -> None:
    shown = run(*named(files, "show", "ALL", "-f", format))

    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout == written(TrainingPresenter(with_all(), FINDINGS), format)


def test_the_table_says_what_else_there_is_to_see(files: dict[str, str]) -> None:
    assert run(*named(files, "show", "ALL")).stdout.endswith(
        "\nmore: --plot, --state (step, exp_avg), --params, --groups, --format json\n"
    )
    assert run(*named(files, "show", "ALL", "--plot", "--state", "--params", "--groups")).stdout.endswith(
        "\nmore: --format json\n"
    )


def test_params_show_a_row_for_each_parameter(files: dict[str, str]) -> None:
    text = run(*named(files, "show", "ALL", "--params")).stdout

    assert "fc1.bias                0%     2.500  0.002500  0.002000  0.003000\n" in text
    every = run(*named(files, "show", "ALL", "--params", "--all")).stdout
    assert "   2  fc1.bias       2.500  0.02500   25.00  0.002500\n" in every


def test_groups_show_a_row_for_each_group(files: dict[str, str]) -> None:
    text = run(*named(files, "show", "ALL", "--groups"), COLUMNS="200").stdout

    assert "AdamW          0  *.weight (2), *.bias (2)           4   99,601" in text
    assert "float32   bfloat16, uint8  1.50 KiB\n" in text


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["--from", "98"], [98, 99, 100]),
        (["--to", "2"], [1, 2]),
        (["--from", "7", "--to", "9"], [7, 8, 9]),
        (["--from", "7", "--to", "12", "--every", "5"], [7, 10, 12]),
    ],
)
def test_from_and_to_keep_the_steps_between(
    files: dict[str, str], words: list[str], steps: list[int]
) -> None:
    data = json.loads(run(*named(files, "show", "LONG", *words, "-f", "json")).stdout)

    rows = data["optimizers"][0]["steps"]
    assert [row["step"] for row in rows] == steps
    assert [row["gradient_norm"] for row in rows] == [3.0 * step for step in steps]


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv", "tsv", "markdown", "svg"])
def test_an_optimizer_without_a_step_between_is_shown_without(files: dict[str, str], format: str) -> None:
    shown = run(*named(files, "show", "ALL", "--from", "4", "-f", format))

    assert (shown.code, shown.stderr) == (0, "")
    assert ("no step was recorded" in shown.stdout) is (format in ("table", "markdown"))


def test_what_is_found_is_found_in_all_steps_where_a_few_are_shown(files: dict[str, str]) -> None:
    text = run(*named(files, "show", "LONG", "--from", "7", "--to", "9")).stdout

    assert "\ncompleted after 100 steps\nno faults found\nmore: " in text


@pytest.mark.parametrize(
    ("every", "steps"),
    [("40", [1, 40, 80, 100]), ("99", [1, 99, 100]), ("1000", [1, 100]), ("1", range(1, 101))],
)
def test_every_keeps_the_first_step_those_and_the_last(
    files: dict[str, str], every: str, steps: list[int]
) -> None:
    data = json.loads(run(*named(files, "show", "LONG", "--every", every, "-f", "json")).stdout)

    rows = data["optimizers"][0]["steps"]
    assert [row["step"] for row in rows] == list(steps)
    assert [row["gradient_norm"] for row in rows] == [3.0 * step for step in steps]


@pytest.mark.parametrize(("every", "first"), [(1, 1), (3, 1), (7, 5), (40, 39), (200, 1)])
def test_every_keeps_what_a_run_with_the_same_would_have_and_the_last(every: int, first: int) -> None:
    own = optimizer([0.5] * (101 - first), steps=range(first, 101))
    [kept] = training(own).every_kth(every).optimizers
    wish = RecordingConfig(every=every, first=first)

    assert list(kept.steps) == [step for step in range(1, 101) if wish.takes(step) or step == 100]


def test_every_thins_all_columns_alike(files: dict[str, str]) -> None:
    rows = json.loads(run(*named(files, "show", "ALL", "--every", "9", "-f", "json")).stdout)["optimizers"][0]
    whole = json.loads(run(*named(files, "show", "ALL", "-f", "json")).stdout)["optimizers"][0]

    assert rows["steps"] == [whole["steps"][0], whole["steps"][2]]


def test_precision_is_in_significant_digits(files: dict[str, str]) -> None:
    assert (
        "   1   2.5  0.001       3.0     4.0     8.0      0.50\n"
        in run(*named(files, "show", "ONE", "--precision", "2")).stdout
    )


def test_a_long_table_is_whole_with_all(files: dict[str, str]) -> None:
    assert "each row is 3 or 4 steps; " in run(*named(files, "show", "LONG")).stdout
    assert "each row is" not in run(*named(files, "show", "LONG", "--all")).stdout


@pytest.mark.parametrize(("name", "code"), [("ALL", 1), ("PARTED", 1), ("ONE", 0), ("REMARKED", 0)])
def test_strict_asks_whether_the_training_has_a_fault(files: dict[str, str], name: str, code: int) -> None:
    assert run(*named(files, "show", name, "--strict")).code == code
    assert run(*named(files, "show", name)).code == 0


def test_a_shown_training_can_be_saved_again(files: dict[str, str], tmp_path: Path) -> None:
    again, other = tmp_path / "again.jsonl", tmp_path / "again.csv"

    assert run(*named(files, "show", "ALL", "-o", str(again), "-o", str(other))).code == 0

    assert (
        run("show", str(again), "-f", "json").stdout == run(*named(files, "show", "ALL", "-f", "json")).stdout
    )
    assert other.read_text() == run(*named(files, "show", "ALL", "-f", "csv")).stdout


def test_dash_is_standard_input(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(files["ONE"]).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert run("show", "-") == run(*named(files, "show", "ONE"))


@pytest.mark.parametrize("columns", ["30", "40", "80"])
@pytest.mark.parametrize(
    "words", [["show", "ALL", "--state"], ["show", "ALL", "--params"], ["diff", "ALL", "ONE"]]
)
def test_no_line_is_wider_than_the_terminal(files: dict[str, str], words: list[str], columns: str) -> None:
    finished = run(*named(files, *words), COLUMNS=columns)

    assert max(map(len, finished.stdout.splitlines())) <= int(columns)


def test_ascii_is_enough(files: dict[str, str]) -> None:
    text = run(*named(files, "show", "ALL", "--params"), encoding="ascii").stdout

    assert text.isascii()
    assert "name=-/head" in text


@pytest.mark.parametrize(("other", "code"), [("ONE", 0), ("OTHER", 1), ("ALL", 1)])
def test_diff_exits_with_its_answer(files: dict[str, str], other: str, code: int) -> None:
    finished = run(*named(files, "diff", "ONE", other))

    assert (finished.code, finished.stderr) == (code, "")
    assert json.loads(run(*named(files, "diff", "ONE", other, "-f", "json")).stdout)["same"] is (code == 0)


def test_diff_names_the_step_and_the_quantity(files: dict[str, str]) -> None:
    text = run(*named(files, "diff", "ONE", "OTHER")).stdout

    assert "A and B first differ at step 3, in the loss:\n  A  2.0\n  B  2.125\n  0.125 apart, " in text


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--close"], 1),
        (["--atol", "0.125"], 0),
        (["--atol", "0.12"], 1),
        (["--rtol", "0.06"], 0),
        (["--ulp", "524288"], 0),
        (["--ulp", "524287"], 1),
    ],
)
def test_tolerances_decide_what_is_the_same(files: dict[str, str], options: list[str], code: int) -> None:
    """2 and 2.125 are 2⁻³ / 2⁻²² units of float32 apart."""
    assert run(*named(files, "diff", "ONE", "OTHER", *options)).code == code


IS_A_TRAINING = "is a training, not a trace;"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "ONE", "--explain"], 2, "--explain is for traces, and this is a training; leave it out."),
        (["show", "ONE", "--theory"], 2, "--theory is for traces, and this is a training; leave it out."),
        (["show", "ONE", "--update"], 2, "--update is for traces, and this is a training; leave it out."),
        (["show", "ONE", "--rerun"], 2, "--rerun is for traces, and this is a training; leave it out."),
        (
            ["show", "ONE", "--coordinate", "1"],
            2,
            "--coordinate is for traces, and this is a training; leave",
        ),
        (
            ["show", "ONE", "--state"],
            2,
            "--state shows what this training did not record; record it with 'optitrace run --state'.",
        ),
        (
            ["show", "ONE", "--params"],
            2,
            "--params shows what this training did not record; record it with 'optitrace run --params'.",
        ),
        (["show", "TRACE", "--params"], 2, "--params is for trainings, and this is a trace; leave it out."),
        (["show", "TRACE", "--groups"], 2, "--groups is for trainings, and this is a trace; leave it out."),
        (["show", "TRACE", "--from", "2"], 2, "--from is for trainings, and this is a trace; leave it out."),
        (["show", "TRACE", "--to", "2"], 2, "--to is for trainings, and this is a trace; leave it out."),
        (
            ["show", "ONE", "--from", "4"],
            2,
            "the training has no recorded step from 4 on; choose from its steps 1 to 3.",
        ),
        (
            ["show", "ALL", "--from", "8", "--to", "9"],
            2,
            "the training has no recorded step from 8 to 9; choose from its steps 1 to 7.",
        ),
        (["show", "ONE", "--from", "3", "--to", "2"], 2, "the last step, 2, comes before the first, 3."),
        (["show", "ONE", "--from", "0"], 2, "from is '0'; it must be a positive integer."),
        (["show", "ONE", "--to", "x"], 2, "to is 'x'; it must be a positive integer."),
        (["compare", "ONE"], 2, f"'ONE' {IS_A_TRAINING} 'optitrace diff' compares two trainings."),
        (
            ["diff", "ONE", "TRACE"],
            2,
            f"'ONE' {IS_A_TRAINING} diff compares two trainings, or two traces or experiments.",
        ),
        (
            ["diff", "adam", "ONE"],
            2,
            f"'ONE' {IS_A_TRAINING} diff compares two trainings, or two traces or experiments.",
        ),
        (
            ["diff", "ONE", "OTHER", "--clip-norm", "1"],
            2,
            "trainings are not run again, so --clip-norm changes nothing; leave it out.",
        ),
        (["diff", "ONE", "gone.json"], 3, "cannot read 'gone.json': there is no such file."),
    ],
)
def test_a_mistake_is_one_line(files: dict[str, str], words: list[str], code: int, sentence: str) -> None:
    finished = run(*named(files, *words))

    assert (finished.code, finished.stdout) == (code, "")
    assert finished.stderr.startswith(f"optitrace: {sentence.replace('ONE', files['ONE'])}")
    assert finished.stderr.count("\n") == 1


def test_reading_a_training_as_a_trace_says_what_takes_it(files: dict[str, str]) -> None:
    with pytest.raises(
        InputFileError, match=r"it is a training, not a trace; 'optitrace show' and 'optitrac"
    ):
        optitrace.read(files["ONE"])


@pytest.mark.parametrize(
    "words", [["show", "ALL", "--state"], ["show", "ALL", "-f", "csv"], ["diff", "ONE", "ONE"]], ids=" ".join
)
def test_saved_trainings_need_no_torch(files: dict[str, str], words: list[str]) -> None:
    program = (
        "import sys; from optitrace.cli.app import main\n"
        f"code = main({named(files, *words)!r})\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )

    assert ended.stderr == "0 False\n"


def test_a_training_without_an_optimizer_is_shown(tmp_path: Path) -> None:
    path = save(tmp_path / "none.json", replace(training(), optimizers=()))

    assert run("show", path).stdout.startswith("train.py --epochs 3\n\ncompleted; no optimizer took a step\n")
