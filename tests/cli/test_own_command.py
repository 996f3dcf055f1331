from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.runs import run_process

from optitrace.cli.app import main

CLASSES = Path(__file__).parents[1] / "support" / "own_optimizers.py"


@pytest.fixture(autouse=True)
def in_a_folder_with_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CLASSES, tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


def rows(arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main([*arguments.split(), "--format", "json"]) == 0
    steps: list[dict[str, object]] = json.loads(capsys.readouterr().out)["steps"]
    return steps


def test_a_class_in_a_file_is_traced_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    first = rows("./mine.py:SignMomentum -n 2 --lr 0.1 --set steps=1", capsys)[1]

    # by hand: the sign of a tenth of the gradient (1, 2), times lr
    assert first["weights"] == pytest.approx([0.4, 0.4])
    assert first["gradient"] == [1.0, 2.0]
    assert first["state"] == {"mean": pytest.approx([0.1, 0.2]), "members": 2.0}


def test_an_installed_class_is_named_by_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    own, built_in = rows("torch.optim:SGD -n 3 --lr 0.01", capsys), rows("sgd -n 3", capsys)

    assert [row["weights"] for row in own] == [row["weights"] for row in built_in]


@pytest.mark.parametrize("name", ["NeedsClosure", "CallsClosure", "NeedsMatrix", "HasModes"])
def test_a_class_gets_what_it_needs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = rows(f"mine.py:{name} -n 2 --lr 0.1", capsys)

    # plain gradient descent: w - 0.1·(2w1, 4w2)
    assert steps[2]["weights"] == pytest.approx([0.32, 0.18])


def test_a_class_that_differentiates_the_gradient_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert rows("mine.py:NeedsGraph -n 1", capsys)[1]["weights"] == [0.0, 0.0]


def test_a_class_without_a_learning_rate_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:NoRate", "-n", "2", "--strict", "-f", "json"]) == 0

    trace = json.loads(capsys.readouterr().out)
    assert trace["outcome"] == {"status": "completed"}
    assert [row["lr"] for row in trace["steps"]] == [None, "NaN", "NaN"]


def test_help_has_the_options_of_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:SignMomentum", "--help"]) == 0

    printed = capsys.readouterr().out
    for text in (
        "Steps by the sign of a running mean, and overwrites the gradient",
        "--betas",
        "[0.9,0.99]",
        "--weight-decay",
        "--mode",
        "plain or fancy",
        "--cautious",
        "--set",
        "Hyperparameters",
        "Experiment",
        "Output",
    ):
        assert text in printed


def test_options_are_read_by_their_types(capsys: pytest.CaptureFixture[str]) -> None:
    fancy = rows("mine.py:SignMomentum -n 1 --mode fancy", capsys)[1]
    cautious = rows("mine.py:SignMomentum -n 1 --cautious", capsys)[1]
    plain = rows("mine.py:SignMomentum -n 1", capsys)[1]

    assert fancy["weights"] == cautious["weights"] == pytest.approx([0.49, 0.49])
    assert plain["weights"] == pytest.approx([0.47, 0.47])


def test_a_trace_of_ones_own_class_is_shown_without_the_class(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["mine.py:SignMomentum", "-n", "2", "-o", "t.json"]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "mine.py").unlink()

    assert main(["show", "t.json"]) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[1:10] == shown.splitlines()[1:10]


def test_a_trace_of_ones_own_class_is_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    main(["mine.py:NeedsClosure", "-n", "3", "--momentum", "0.5", "-o", "t.json"])

    assert main(["show", "t.json", "--rerun"]) == 0
    assert "the same bit for bit" in capsys.readouterr().out


def test_classes_stand_in_compare_and_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sgd:lr=0.1", "./mine.py:NeedsMatrix:lr=0.1", "-n", "5", "-f", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert "NeedsMatrix" in json.dumps(runs)
    assert main(["diff", "sgd:lr=0.1", "mine.py:NeedsClosure:lr=0.1", "-n", "5"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mine.py:SignMomentun", "there is no 'SignMomentun' in mine.py; did you mean 'SignMomentum'?"),
        ("nowhere.py:A", "there is no file 'nowhere.py'"),
        ("no_package.module:A", "there is no module 'no_package'"),
        ("mine.py:NOT_A_CLASS", "'mine.py:NOT_A_CLASS' is not an optimizer class"),
        ("mine.py:NeedsRank", "mine.py:NeedsRank has no default for rank; give it as --set rank=VALUE."),
        ("mine.py:NeedsRank --set rank=1.5", "rank must be an integer, not '1.5'"),
        ("mine.py:NeedsRank --set rank", "--set is 'rank'; it must be NAME=VALUE, such as eps=1e-6."),
        (
            "mine.py:NeedsRank --set rang=3",
            "mine.py:NeedsRank has no rang; its hyperparameters are rank, lr.",
        ),
        ("mine.py:NeedsRank --set rank=3 --set lr=1 --lr 2", "lr is given by an option and by --set; give"),
        (
            "mine.py:NoRate --schedule StepLR:step_size=1",
            "the optimizer has no lr for a schedule to move",
        ),
        (
            "mine.py:SwapsWeights",
            "the class replaces the tensors of the weights; it must update them in place",
        ),
        (
            "mine.py:DropsWeights",
            "the class replaces the tensors of the weights; it must update them in place",
        ),
        ("mine.py:Exits", "mine.py:Exits fails in step 1: SystemExit: 0 (mine.py, line"),
        (
            "mine.py:Refuses",
            "mine.py:Refuses refuses these settings: ArithmeticError: lr is never right (mine.py, line",
        ),
        ("mine.py:SignMomentum --explain", "mine.py:SignMomentum has no rule to explain its steps by"),
        ("mine.py:SignMomentum --mode wild", "mode must be plain or fancy, not 'wild'"),
        (
            "mine.py:SignMomentum --momentum 1",
            "mine.py:SignMomentum has no momentum; its hyperparameters are",
        ),
    ],
)
def test_what_goes_wrong_is_told_in_one_sentence(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("optitrace: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err.replace("\\\\n", "\\n")


def test_a_class_that_fails_later_keeps_what_was_traced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:NeedsRank", "--set", "rank=3", "-n", "5", "-o", "t.json"]) == 2

    captured = capsys.readouterr()
    reason = "mine.py:NeedsRank fails in step 3: KeyError: 'no rank\\nis left' (mine.py, line"
    assert reason in captured.err.replace("\\\\n", "\\n")
    assert "failed after step 2 of 5" in captured.out
    saved = json.loads(Path("t.json").read_text())
    assert saved["outcome"]["status"] == "failed"
    assert [row["step"] for row in saved["steps"]] == [0, 1, 2]
    assert main(["show", "t.json"]) == 0


def test_what_a_class_prints_does_not_mix_with_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:Talks", "-n", "1", "-f", "json"]) == 0

    captured = capsys.readouterr()
    assert json.loads(captured.out)["outcome"] == {"status": "completed"}
    assert "step by step" in captured.err


def test_state_of_any_kind_is_recorded_as_far_as_it_is_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:OddState", "-n", "2", "--state", "-o", "t.json"]) == 0

    first, second = (row["state"] for row in json.loads(Path("t.json").read_text())["steps"][1:])
    assert first == {
        "0": [1.0, 1.0],
        "two\\nlines": 2.0,
        "growing": [1.0, 1.0],
        "changing": [1.0, 1.0],
        "huge": "Infinity",
        "flags": [1.0, 0.0],
    }
    assert second["growing"] == second["changing"] == ["NaN", "NaN"]
    capsys.readouterr()
    assert main(["show", "t.json", "--state"]) == 0
    assert main(["mine.py:OddState", "-n", "2", "-f", "csv"]) == 0


@pytest.mark.newer_torch
def test_a_class_whose_constructor_wants_matrices_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    own, built_in = rows("torch.optim:Muon -n 2 --lr 0.01", capsys), rows("muon -n 2", capsys)

    assert own[2]["weights"] == built_in[2]["weights"]


def test_a_text_is_taken_where_the_default_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert rows("mine.py:Talks -n 1 --mood loud", capsys)


def test_a_need_that_cannot_be_met_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.py").write_text(
        "import torch\n"
        "class Odd(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        raise RuntimeError('only 2D parameters, and three of them')\n"
    )

    assert main(["odd.py:Odd"]) == 2
    assert "; it may need a matrix of weights." in capsys.readouterr().err


def test_a_module_that_fails_to_import_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")

    assert main(["broken.py:A"]) == 2
    assert "importing broken.py fails: ModuleNotFoundError: No module named" in capsys.readouterr().err


def test_a_hyperparameter_named_as_an_option_is_left_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    plain = rows("./mine.py:NamedAsOptions -n 1 --set n=1", capsys)[1]
    scaled = rows("./mine.py:NamedAsOptions -n 1 --set n=1 --set output=2", capsys)[1]

    # by hand: lr·output times the sign of the gradient
    assert plain["weights"] == pytest.approx([0.4, 0.4])
    assert scaled["weights"] == pytest.approx([0.3, 0.3])


RULES = """
from optitrace.functions import sign


def descent(w, g, t, *, lr=0.1):
    w = w - lr * sign(g)
    return (w,)
"""


def test_a_saved_trace_of_a_rule_in_a_file_is_explained_with_the_code_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    path = tmp_path / "trace.json"
    run_process(f"{tmp_path}/rules.py:descent", "--steps", "1", "-o", str(path))
    shown = run_process("show", str(path), "--rerun", "--explain", COLUMNS="200")

    assert shown.code == 0
    assert (
        "w = w − lr·sign(g) = (0.5000, 0.5000) − 0.1·sign(1.0000, 2.0000) = (0.4000, 0.4000)" in shown.stdout
    )
    assert "the same bit for bit" in shown.stdout


def test_a_name_that_a_file_does_not_have_is_told_with_the_rules_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    near, far = (run_process(f"{tmp_path}/rules.py:{name}") for name in ("descend", "xyz"))

    assert near.stderr.endswith("did you mean 'descent'?\n")
    assert far.stderr.endswith("; its optimizers are descent.\n")


NAMED_AS_OPTIONS = """\
def descent(w, g, t, b, *, lr=0.1, seed=3.0, every=1.0, is_signed: bool = False):
    b = -g if is_signed else g
    w = w - lr * seed * every * b
    return w, b
"""
"""A rule with hyperparameters that are named as options that every command has."""


def test_the_command_of_the_best_sets_what_has_no_option_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("named.py").write_text(NAMED_AS_OPTIONS)
    varied = "-P seed=1.0,2.0 -P every=0.5 -P is_signed=true,false -P lr=0.2"

    assert main(f"sweep named.py:descent {varied} -n 2 --format json".split()) == 0
    [swept] = json.loads(capsys.readouterr().out)["sweeps"]
    assert swept["command"] == "optitrace named.py:descent --lr 0.2 --set seed=2 --set every=0.5 --steps 2"
    command = swept["command"].removeprefix("optitrace ")
    assert rows(command, capsys)[-1]["weights"] == pytest.approx(swept["best"][0]["weights"])
