"""What needs no torch does not load it, so that it is there at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.runs import environment

MAIN = "import sys; from optitrace.__main__ import main"
REPORT = "print('torch' in sys.modules, 'pydantic' in sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["sgd", "--help"], ["list"], ["list", "adam", "-f", "json"], ["--version"], ["adem"]],
)
def test_what_runs_nothing_loads_neither_torch_nor_pydantic(arguments: list[str]) -> None:
    program = f"{MAIN}\nsys.argv[1:] = {arguments}\ntry: main()\nfinally: {REPORT}"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )

    assert ended.stderr.endswith("False False\n")


@pytest.mark.parametrize(
    ("words", "position", "proposed"),
    [
        ("optitrace adaf", "1", ["adafactor", "adafactor_matrix", "adafactor_vector"]),
        ("optitrace adab", "1", ["adabelief"]),
        ("optitrace adad", "1", ["adadelta"]),
        ("optitrace adam", "1", ["adam", "adamw", "adamax", "adamp"]),
        ("optitrace sgd --mo", "2", ["--momentum"]),
        ("optitrace SGD --mo", "2", ["--momentum"]),
        ("optitrace nothing --mo", "2", []),
    ],
)
def test_completion_knows_commands_and_options_and_loads_no_torch(
    words: str, position: str, proposed: list[str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{MAIN}\ntry: main()\nfinally: {REPORT}"],
        env=environment(_OPTITRACE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stdout.split() == proposed
    assert ended.stderr.startswith("False")
