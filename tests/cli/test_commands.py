from __future__ import annotations

import json
import re

import pytest
from support.runs import run, run_process

from optitrace.analysis.documented import results
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.version import __version__

LONGEST_OPTION = 20
"""How much of the name of an option a help of 80 columns shows at least."""


@pytest.mark.parametrize("name", ["SGD", "Sgd", "AdamW", "LBFGS", "SparseAdam"])
def test_an_optimizer_is_found_in_any_letter_case(name: str) -> None:
    assert run(name, "-n", "1") == run(name.lower(), "-n", "1")
    assert run("list", name) == run("list", name.lower())


def test_the_package_runs_as_a_module() -> None:
    finished = run_process("sgd", "--momentum", "0.1", "--steps", "2")

    assert finished == run("sgd", "--momentum", "0.1", "--steps", "2")
    assert finished.code == 0
    assert "   2  0.7009    0.9800    1.9200   0.4792   0.4588\n" in finished.stdout


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_help_of_an_optimizer_has_three_panels_and_all_its_hyperparameters(optimizer: str) -> None:
    finished = run(optimizer, "--help")

    assert (finished.code, finished.stderr) == (0, "")
    panels = re.findall(r"^╭─ (\S+) ─", finished.stdout, re.MULTILINE)
    assert panels == ["Hyperparameters", "Experiment", "Output"]
    for hyperparameter in OPTIMIZERS[optimizer].hyperparameters:
        option = f"--{hyperparameter.name.replace('_', '-')}"
        assert re.search(rf"^│ {option[:LONGEST_OPTION]}", finished.stdout, re.MULTILINE)


def test_the_help_of_the_program_lists_every_command_in_two_panels() -> None:
    finished = run("--help")
    panels = re.findall(r"^╭─ (\S+) ─", finished.stdout, re.MULTILINE)

    assert finished.code == 0
    assert [panel for panel in panels if panel != "Options"] == ["Commands", "Optimizers"]
    for name in (*OPTIMIZERS, "list", "notebook"):
        assert re.search(rf"^│ {name}  ", finished.stdout, re.MULTILINE)
    assert "optitrace sgd --momentum 0.1 --steps 2" in finished.stdout


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in ("show", "list", "compare", "verify", "sweep", "run"))]
)
def test_help_shows_no_type_of_python(command: tuple[str, ...]) -> None:
    finished = run(*command, "--help")

    assert finished.code == 0
    assert not re.search(r"<(str|bool|int|list\[)", finished.stdout)


def test_no_argument_is_a_request_for_help() -> None:
    assert run() == run("--help")


@pytest.mark.parametrize("verb", ["list", "notebook"])
def test_every_command_has_help(verb: str) -> None:
    finished = run(verb, "--help")

    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.lstrip().startswith(f"Usage: optitrace {verb}")


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"optitrace {__version__}\n"


def test_the_examples_of_the_help_run() -> None:
    examples = run("--help").stdout.partition(" Examples ")[2]
    lines = re.findall(r"^ *optitrace (.*?)(?: -o \S+| > \S+)? *$", examples, re.MULTILINE)
    runs = [line.split() for line in lines if line.split()[0] in OPTIMIZERS]

    assert len(runs) >= 3
    for arguments in runs:
        assert run(*arguments).code == 0


def test_list_has_every_optimizer_and_every_default() -> None:
    words = run("list").stdout.replace(",", "").split()

    for optimizer in OPTIMIZERS.values():
        assert optimizer.name in words
        assert {word.partition("=")[0] for word in words} >= {h.name for h in optimizer.hyperparameters}


def test_list_as_json_is_an_array_with_an_object_for_each_optimizer() -> None:
    catalogue = json.loads(run("list", "--format", "json").stdout)

    assert [optimizer["name"] for optimizer in catalogue] == list(OPTIMIZERS)
    assert catalogue[0]["hyperparameters"] == {
        "lr": 0.01,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "maximize": False,
    }
    assert json.loads(run("list", "--format", "json", "adam").stdout) == [
        catalogue[list(OPTIMIZERS).index("adam")]
    ]


def test_notebook_exits_with_0_as_all_results_agree() -> None:
    finished = run("notebook")

    assert (finished.code, finished.stderr) == (0, "")
    assert re.search(r"\n(\d+) of \1 results agree with the document\n$", finished.stdout)
    assert len(json.loads(run("notebook", "--format", "json").stdout)) == len(results())


def test_notebook_exits_with_1_if_a_result_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optitrace.analysis.documented.agrees", lambda ours, printed: False)
    finished = run("notebook")

    assert finished.code == 1
    assert "NO" in finished.stdout


@pytest.mark.parametrize("arguments", [(), ("--strict",)])
def test_a_divergence_is_a_result_and_a_failure_only_where_asked(arguments: tuple[str, ...]) -> None:
    finished = run("sgd", "--lr", "0.6", "--steps", "300", *arguments)

    assert (finished.code, finished.stderr) == (1 if arguments else 0, "")
    assert "is not finite" in finished.stdout
    assert "sgd diverges here for lr > 0.5" in finished.stdout


def test_strict_says_nothing_of_a_run_that_stays_finite() -> None:
    assert run("sgd", "--strict").code == 0
    assert run("sgd", "--strict", "--until", "loss<0.74").code == 0


@pytest.mark.parametrize("arguments", [(), ("--strict",)])
def test_a_target_that_was_not_reached_is_said_and_a_failure_only_where_asked(
    arguments: tuple[str, ...],
) -> None:
    finished = run("sgd", "-n", "3", "--until", "loss<1e-9", *arguments)

    assert (finished.code, finished.stderr) == (1 if arguments else 0, "")
    assert "the target loss<1e-09 was not reached in 3 steps" in finished.stdout.splitlines()


def test_a_run_that_diverges_is_said_to_miss_its_target_too() -> None:
    lines = run("sgd", "--lr", "0.6", "-n", "300", "--until", "loss<1e-9").stdout.splitlines()

    assert "step 134: the loss is not finite" in lines
    assert "the target loss<1e-09 was not reached in 300 steps" in lines


@pytest.mark.parametrize(
    "arguments", [("sgd",), ("adam", "--state"), ("sgd", "-f", "json"), ("lbfgs", "-f", "csv")]
)
def test_the_same_run_prints_the_same_bytes(arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == run(*arguments)
