from __future__ import annotations

import io
import re
from itertools import chain
from typing import get_args
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from support.runs import run

from optitrace.rules.catalogue import OPTIMIZERS

HELP = "".join(run(name, "--help").stdout for name in OPTIMIZERS)

OPTIONS = sorted({*re.findall(r"│ (--[a-z0-9-]+)", HELP)} - {"--output"})

FLAGS = ["--state", "--update", "--all", "--strict", "--explain", "--theory", "--nesterov", "--no-nesterov"]

ODD = [
    *("", " ", "0", "-0", "1", "-1", "2", "0.5", "1e-320", "1e308", "-1e308", "1e999", "nan", "inf", "0x10"),
    *("1_0", "٣", "none", "true", "0.9,0.99", "1,2", "1,2,3", "1e30,1e30", "0,0", ",", "1;2", "(1,2)", "-"),
    *("fresh", "stale", "accumulated", "float64", "float16", "bfloat16", "cpu", "cuda:7", "meta", "auto"),
    *("single", "foreach", "fused", "json", "jsonl", "csv", "tsv", "markdown", "always", "never"),
    *("rosenbrock", "w1**2 + sin(w2)", "w1 +", "10**10**10", "StepLR:step_size=1", "loss<1e-3", "mine.py:f"),
    *("strong_wolfe", "original", "--", "--help", "-n", "[bold]", "{}", "%s", "\n", "\udcff", "🙂"),
]

VALUES = st.sampled_from(ODD) | st.text(max_size=8)

WORDS = st.one_of(
    st.tuples(st.sampled_from(OPTIONS), VALUES).map(list),
    st.sampled_from(FLAGS).map(lambda flag: [flag]),
    VALUES.map(lambda value: [value]),
)

COMMANDS = st.sampled_from(
    [*OPTIMIZERS] * 3 + ["list", "show", "diff", "compare", "--version", "ADAMW", "adem", ""]
)

NUMBERS = ["0", "1", "-1", "0.5", "0.9999", "1.5", "1e-320", "1e308", "-1e308", "1e30", "3", "none"]

CHOICES = {
    "dtype": ["float32", "float64", "float16", "bfloat16"],
    "gradient": ["fresh", "stale", "accumulated"],
    "implementation": ["single", "foreach", "fused"],
    "format": ["table", "json", "csv", "markdown", "svg", "html"],
    "precision": ["0", "17"],
    "every": ["1", "2"],
}


def numbers(count: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(NUMBERS), min_size=count, max_size=count).map(",".join)


@st.composite
def own_options(draw: st.DrawFn) -> list[str]:
    """Draw a command of an optimizer with options that it has, and numbers that may go too far."""
    optimizer = draw(st.sampled_from([*OPTIMIZERS.values()]))
    words = [optimizer.name]
    for hyperparameter in draw(st.lists(st.sampled_from(optimizer.hyperparameters), max_size=4)):
        words.append(f"--{hyperparameter.name.replace('_', '-')}")
        if hyperparameter.type is not bool:
            is_tuple = isinstance(hyperparameter.default, tuple)
            words.append(draw(numbers(len(get_args(hyperparameter.type)) if is_tuple else 1)))
    coordinates = draw(st.integers(1, 3))
    for name in draw(st.sets(st.sampled_from(["start", "coefficients"]))):
        words += [f"--{name}", draw(numbers(coordinates))]
    for name in draw(st.sets(st.sampled_from(sorted(CHOICES)))):
        words += [f"--{name}", draw(st.sampled_from(CHOICES[name]))]
    return words + draw(st.lists(st.sampled_from(FLAGS[:6]), max_size=3))


def check(*arguments: str) -> None:
    """Run a command line with nothing to read; fail for anything but a result or one sentence."""
    with patch("sys.stdin", io.TextIOWrapper(io.BytesIO())):
        finished = run(*arguments)
    assert finished.code in {0, 1, 2, 3, 4, 5}
    if finished.code in {2, 3, 4, 5}:
        assert finished.stdout == ""
        assert finished.stderr.startswith("optitrace: ")
        assert finished.stderr.count("\n") == 1
        assert finished.stderr.endswith((".\n", "?\n"))
    else:
        assert finished.stderr == ""


@settings(deadline=None, max_examples=200)
@given(command=COMMANDS, words=st.lists(WORDS, max_size=5), steps=st.sampled_from(["0", "1", "3", "-1", "x"]))
def test_no_arguments_end_in_a_traceback(command: str, words: list[list[str]], steps: str) -> None:
    check(command, *chain(*words), "--steps", steps)


@settings(deadline=None, max_examples=200)
@given(words=own_options(), steps=st.sampled_from(["0", "1", "3"]))
def test_no_numbers_end_in_a_traceback(words: list[str], steps: str) -> None:
    check(*words, "--steps", steps)
