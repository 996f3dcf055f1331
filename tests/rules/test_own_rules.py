"""Rules of one's own that are not rules yet: what is said of each, with file, line and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.runs import run, run_process

from optitrace.errors import UsageError
from optitrace.experiment.user_class import find_rule

HEAD = "from optitrace import rule\nfrom optitrace.rules.rule import StateEntry\n\n\n"

STATE = (
    "as state and declares {}; declare each parameter after the step number by a StateEntry, in their order."
)

CASES = {
    "too few values": (
        "def short(w, g, t, m, *, lr=0.1):\n    m = m + g\n    w = w - lr * m\n    return (w,)\n",
        "line 8: short returns w; it must return the new weights and then the state, as in 'return w, m'.",
    ),
    "too many values": (
        "def long(w, g, t, *, lr=0.1):\n    m = lr * g\n    w = w - m\n    return w, m\n",
        "line 8: long returns w and m; it must return the new weights and then the state, as in 'return w,'.",
    ),
    "the wrong order": (
        "def mixed(w, g, t, m, *, lr=0.1):\n    m = m + g\n    w = w - lr * m\n    return m, w\n",
        "line 8: mixed returns m and w; it must return the new weights and then the state, as in 'return w, ",
    ),
    "no tuple": (
        "def bare(w, g, t, *, lr=0.1):\n    w = w - lr * g\n    return w\n",
        "line 5: a rule must end by returning its weights and state.",
    ),
    "state that is not declared": (
        "@rule()\ndef silent(w, g, t, m, *, lr=0.1):\n    m = m + g\n    w = w - lr * m\n    return w, m\n",
        "line 6: silent takes m " + STATE.format("nothing"),
    ),
    "state that is not taken": (
        "@rule(StateEntry('m', 'm'))\ndef idle(w, g, t, *, lr=0.1):\n    w = w - lr * g\n    return (w,)\n",
        "line 6: idle takes nothing " + STATE.format("m"),
    ),
    "state of another name": (
        "@rule(StateEntry('m', 'm'))\ndef other(w, g, t, v, *, lr=0.1):\n    w = w - v\n    return w, v\n",
        "line 6: other takes v " + STATE.format("m"),
    ),
    "state of a switch that there is not": (
        "@rule(StateEntry('m', 'm', when='on'))\n"
        "def switched(w, g, t, m, *, lr=0.1):\n    w = w - lr * m\n    return w, m\n",
        "line 6: the state m depends on on; switched has no such hyperparameter.",
    ),
    "state of an initial value that there is not": (
        "@rule(StateEntry('m', 'm', initial='first'))\n"
        "def started(w, g, t, m, *, lr=0.1):\n    w = w - lr * m\n    return w, m\n",
        "line 6: the state m depends on first; started has no such hyperparameter.",
    ),
    "no default": (
        "def bound(w, g, t, *, lr):\n    w = w - lr * g\n    return (w,)\n",
        "line 5: lr has no default; write one, as in '*, lr=1e-3'.",
    ),
    "a function that is not a rule": (
        "def helper(x):\n    return (x,)\n",
        "line 5: helper takes x; a rule takes the weights, the gradient, the step number and then its state, "
        "as in 'def lion(w, g, t, exp_avg, *, lr=1e-4)'.",
    ),
    "a function of nothing": (
        "def nothing():\n    pass\n",
        "line 5: nothing takes nothing; a rule takes the weights, ",
    ),
}


def name_in(text: str) -> str:
    return text.partition("def ")[2].partition("(")[0]


@pytest.mark.parametrize(("text", "sentence"), CASES.values(), ids=CASES)
def test_what_is_no_rule_is_told_with_its_line_and_what_to_write(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    name = f"{path}:{name_in(text)}"
    traced = run(name, "--steps", "1")

    assert (traced.code, traced.stdout) == (2, "")
    assert traced.stderr.startswith(f"optitrace: {path}, {sentence}")
    assert traced.stderr.count("\n") == 1
    with pytest.raises(UsageError) as raised:
        find_rule(name)
    assert str(raised.value).startswith(f"{path}, {sentence}")


def test_verify_says_the_same_of_a_rule(tmp_path: Path) -> None:
    text, sentence = CASES["too few values"]
    (tmp_path / "mine.py").write_text(HEAD + text)
    finished = run("verify", "torch.optim:SGD", "--rule", f"{tmp_path}/mine.py:short")

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == f"optitrace: {tmp_path}/mine.py, {sentence}\n"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("nowhere.py:lion", "there is no file 'nowhere.py'; a name in it is written path/file.py:Name."),
        ("{}/mine.py:lino", "there is no 'lino' in {}/mine.py; did you mean 'lion'?"),
        (
            "{}/mine.py:NUMBER",
            "'{}/mine.py:NUMBER' is not a rule; write one as def lion(w, g, t, exp_avg",
        ),
        ("torch.optim:SGD", "'torch.optim:SGD' is not a rule; write one as def lion(w, g, t, exp_avg"),
        (
            "{}/mine.py:lion",
            "torch.optim:Adam keeps exp_avg, exp_avg_sq, the state of adam or adamw or nadam or radam or "
            "sparseadam, and {}/mine.py:lion keeps m; verify it against another rule.",
        ),
    ],
)
def test_a_rule_that_a_class_cannot_be_verified_against_is_one_sentence(
    rule: str, sentence: str, tmp_path: Path
) -> None:
    lion = "def lion(w, g, t, m, *, lr=0.1):\n    m = m + g\n    w = w - lr * m\n    return w, m\n"
    (tmp_path / "mine.py").write_text(f"{lion}\n\nNUMBER = 3\n")
    finished = run("verify", "torch.optim:Adam", "--rule", rule.format(tmp_path))

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"optitrace: {sentence.format(tmp_path)}")
    assert finished.stderr.count("\n") == 1


def test_the_rule_itself_is_named_by_its_dtype_where_torch_has_no_class() -> None:
    shown = run("lion", "--lr", "0.1", "--steps", "1", "--explain", "--dtype", "float64")

    # by hand: 0.5 − 0.1·sign(1), 0.5 − 0.1·sign(2)
    assert "  float64: w = (0.4000, 0.4000), " in shown.stdout
    assert "torch: w" not in shown.stdout


def test_a_saved_trace_of_a_rule_in_a_file_is_not_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def descent(w, g, t, *, lr=0.1):\n    w = w - lr * g\n    return (w,)\n"
    )
    name, trace = f"{tmp_path}/mine.py:descent", str(tmp_path / "trace.json")
    run_process(name, "--steps", "1", "-o", trace)
    shown = run("show", trace, "--explain")

    assert (shown.code, shown.stdout) == (2, "")
    assert shown.stderr == (
        f"optitrace: {name} is code that the trace names, and only --rerun runs it; "
        "add --rerun to explain by its rule.\n"
    )
