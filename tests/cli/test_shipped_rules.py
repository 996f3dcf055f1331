"""Rules that installed packages ship through entry points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import ROOT, Finished, environment, run_process

RULES = """\
from optitrace import rule
from optitrace.functions import sign


@rule(source="Nobody 2026", classes=("fancy.optim.Descent", "fancy.optim.Ascent"))
def descent(w, g, t, *, lr=0.1):
    '''Descent by the sign of the gradient.'''
    w = w - lr * sign(g)
    return (w,)


def no_rule(x):
    return x
"""

CLASSES = """\
import torch


class Descent(torch.optim.Optimizer):
    sign = -1

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=self.sign * group["lr"])


class Ascent(Descent):
    sign = 1
"""

TRAINING = """\
import torch
from fancy.optim import Ascent, Descent

weights = torch.ones(2, requires_grad=True)
for kind in (Descent, Ascent):
    optimizer = kind([weights])
    for _ in range(3):
        optimizer.zero_grad()
        weights.square().sum().backward()
        optimizer.step()
"""


def install(folder: Path, entry_points: str) -> None:
    """Put a package that ships rules into a folder, as an installer does."""
    for name, text in (("__init__", ""), ("rules", RULES), ("optim", CLASSES)):
        (folder / "fancy").mkdir(exist_ok=True)
        (folder / "fancy" / f"{name}.py").write_text(text)
    information = folder / "fancy_optim-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: fancy-optim\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[optitrace.rules]\n{entry_points}")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    install(folder, "Fancy = fancy.rules:descent\nadam = fancy.rules:descent\n")
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    install(
        folder,
        "gone = fancy.nothing:descent\nlost = fancy.rules:ascent\n"
        "odd = fancy rules\nwrong = fancy.rules:no_rule\n",
    )
    return folder


REASONS = {
    "gone": "there is no module 'fancy.nothing' here or among the installed packages; ",
    "lost": "there is no 'ascent' in fancy.rules; did you mean 'descent'?",
    "odd": "its entry point is 'fancy rules'; write package.module:function.",
    "wrong": "{0}/fancy/rules.py, line 12: ",
}


def run_with(folder: Path, *arguments: str) -> Finished:
    return run_process(*arguments, PYTHONPATH=f"{ROOT}:{folder}", COLUMNS="200")


def test_a_shipped_rule_is_a_command_in_any_letter_case(sound: Path) -> None:
    traced = run_with(sound, "FANCY", "--steps", "1", "--explain")

    assert (traced.code, traced.stderr) == (0, "")
    assert (
        "w = w − lr·sign(g) = (0.5000, 0.5000) − 0.1·sign(1.0000, 2.0000) = (0.4000, 0.4000)" in traced.stdout
    )


def test_a_shipped_rule_stands_in_lists_under_the_name_of_its_package(sound: Path) -> None:
    listed, shown = run_with(sound, "list", "-f", "json"), run_with(sound, "--help").stdout

    [fancy] = [each for each in json.loads(listed.stdout) if each["name"] == "fancy"]
    assert fancy["source"] == "Nobody 2026"
    [line] = [line for line in shown.split("Optimizers of fancy-optim", 1)[1].splitlines() if "fancy" in line]
    assert "Descent by the sign of the gradient" in line
    assert "source: Nobody 2026" in run_with(sound, "list", "fancy").stdout


def test_a_rule_of_the_catalogue_keeps_its_name(sound: Path) -> None:
    assert "betas" in run_with(sound, "list", "adam").stdout


@pytest.mark.parametrize("command", ["compare fancy sgd", "diff fancy sgd", "sweep fancy -P lr=0.1,0.2"])
def test_a_shipped_rule_stands_wherever_a_name_does(command: str, sound: Path) -> None:
    assert run_with(sound, *command.split()).code in (0, 1)
    assert run_with(sound, *command.replace("fancy", "fanci").split()).stderr.startswith(
        "optitrace: 'fanci' is neither an optimizer nor a file; did you mean 'fancy'?"
        if "sweep" not in command
        else "optitrace: unknown optimizer 'fanci'; did you mean 'fancy'?"
    )


@pytest.mark.parametrize("rule", [[], ["--rule", "fancy"]])
def test_the_classes_of_a_package_are_verified_by_the_rule_that_it_ships(
    rule: list[str], sound: Path
) -> None:
    found = run_with(sound, "verify", "fancy.optim:Descent", "--dtype", "float64", *rule)
    departing = run_with(sound, "verify", "fancy.optim:Ascent", "--dtype", "float64", *rule)

    assert found.code == 0, found.stderr
    assert "fancy.optim:Descent agrees with the rule of fancy.rules:descent" in found.stdout
    assert departing.code == 1
    assert "fancy.optim:Ascent departs from the rule of fancy.rules:descent" in departing.stdout


def test_the_classes_of_a_package_are_verified_in_a_training_by_the_rule_that_it_ships(
    sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(TRAINING)
    ran = run_with(sound, "run", "--verify", str(tmp_path / "train.py"))

    assert ran.code == 1
    assert "3 steps of Descent agree with the rule" in ran.stderr
    assert "Ascent departs from the rule of fancy.rules:descent at step 1" in ran.stderr


@pytest.mark.parametrize("command", [["list"], ["--help"]])
def test_an_entry_point_that_is_broken_costs_one_sentence(command: list[str], broken: Path) -> None:
    shown = run_with(broken, *command)

    assert shown.code == 0
    assert "lion" in shown.stdout
    said = shown.stdout + shown.stderr
    for name, reason in REASONS.items():
        sentence = f"the rule '{name}' of the package fancy-optim cannot be used: {reason.format(broken)}"
        assert said.count(sentence) == 1


@pytest.mark.parametrize("name", list(REASONS))
def test_the_command_of_an_entry_point_that_is_broken_is_one_sentence(name: str, broken: Path) -> None:
    finished = run_with(broken, name, "--steps", "1")

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(
        f"optitrace: the rule '{name}' of the package fancy-optim cannot be used: "
    )
    assert REASONS[name].format(broken) in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["sgd", "lion --help", "verify --help", "list lion", "--version"])
def test_a_name_of_the_catalogue_looks_for_no_entry_points(command: str, broken: Path) -> None:
    program = (
        "import sys; from optitrace.__main__ import main\n"
        "from optitrace.rules.catalogue import shipped_rules\n"
        "try: main()\n"
        "finally: print(shipped_rules.cache_info().currsize, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *command.split()],
        env=environment(PYTHONPATH=f"{ROOT}:{broken}"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr.endswith("0\n")
