from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from support.runs import run, run_process
from support.script_runs import SCRIPTS, STEPPED, run_script

from optitrace.monitoring import script_runner as running
from optitrace.records.training import Program


def test_a_state_that_cannot_be_measured_is_told_and_nothing_else_is_lost(tmp_path: Path) -> None:
    text = f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n" + STEPPED.replace(
        "torch.optim.SGD", "__import__('support.odd_state').odd_state.PackedMomentum"
    )
    ran = run_script(text, tmp_path, options=("--state",))

    assert ran.code == 0
    assert "exp_avg in the state of PackedMomentum cannot be measured and is left out: NotImp" in ran.stderr
    assert "completed after 3 steps" in ran.stderr
    assert ran.written is not None
    assert len(ran.written["optimizers"][0]["steps"]) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("none.py", "there is no script 'none.py'; name a file, or a module with -m."),
        (".", "'.' is a folder without __main__.py; name the script in it."),
        ("-m none_such", "there is no module 'none_such'; name one that can be imported from here."),
        ("-m package", "the package 'package' has no __main__; name a module in it."),
        ("-o - x.py", "standard output is the script's own; name a file, as in -o trace.json."),
        ("--from 5 --to 3 x.py", "the last step, 3, comes before the first, 5."),
        ("--from 0 x.py", "from is '0'; it must be a positive integer."),
        (
            "--watch [0] x.py",
            "cannot read the pattern '[0]'; write it as layer1.weight[0,3] or '*.bias'.",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence_before_anything_is_run(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    ran = run("run", *words.split())

    assert (ran.code, ran.stdout, ran.stderr) == (2, "", f"optitrace: {sentence}\n")


def test_a_script_has_its_arguments_and_standard_output_for_itself(tmp_path: Path) -> None:
    ran = run_script(STEPPED, tmp_path, "--epochs", "3")

    assert (ran.code, ran.stdout) == (0, "['--epochs', '3'] __main__\n")
    script, output = tmp_path / "script.py", tmp_path / "trace.json"
    assert ran.stderr.endswith(
        f"\nmore: optitrace run --params --state --verify -o {output} --plot {script} --epochs 3\n"
    )
    assert ran.written is not None
    # w = 0.8 · w from step to step, and the loss is the sum of two squares: by hand
    assert [step["loss"] for step in ran.written["optimizers"][0]["steps"]] == pytest.approx(
        [2.0, 2 * 0.8**2, 2 * 0.8**4]
    )


@pytest.mark.parametrize(
    ("ending", "code", "outcome", "last_line"),
    [
        ("sys.exit(0)", 0, {"status": "completed"}, ""),
        (
            "sys.exit(3)",
            3,
            {"status": "failed", "step": 3, "reason": "the program left with exit code 3"},
            "",
        ),
        (
            "raise ValueError('no more data')",
            1,
            {"status": "failed", "step": 3, "reason": "ValueError: no more data"},
            "ValueError: no more data",
        ),
        ("raise KeyboardInterrupt", 130, {"status": "interrupted", "step": 3}, "KeyboardInterrupt"),
    ],
)
def test_however_a_script_ends_its_exit_code_stands_and_the_training_is_written(
    ending: str, code: int, outcome: dict[str, Any], last_line: str, tmp_path: Path
) -> None:
    ran = run_script(STEPPED + ending, tmp_path)

    assert ran.code == code
    assert ran.written is not None
    assert ran.written["outcome"] == outcome
    assert len(ran.written["optimizers"][0]["steps"]) == 3
    if last_line:
        assert ran.stderr.endswith(f"{last_line}\n")
        assert f"""File "{tmp_path / "script.py"}", line 9, in <module>""" in ran.stderr
        assert "optitrace/" not in ran.stderr.partition("Traceback")[2]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "import torch\nw = torch.ones(2, requires_grad=True)\nkept = torch.optim.Adam([w])\n",
            "the program made Adam and never stepped it; call optimizer.step().",
        ),
        (
            "import torch\nw = [torch.ones(2, requires_grad=True) for _ in range(5)]\n"
            "kept = [torch.optim.Adam([p]) for p in w]\n",
            "the program made Adam, Adam 2, Adam 3 and 2 more and never stepped it; call optimizer.step().",
        ),
        (
            "import torch\n",
            "the program made no torch.optim optimizer in this process, and updates by Keras or by hand are "
            "not observed; to trace the processes that it starts, start them with torchrun -m optitrace run.",
        ),
    ],
)
@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_a_script_in_which_there_is_nothing_to_see_keeps_its_exit_code_and_is_told_so(
    options: tuple[str, ...], code: int, script: str, sentence: str, tmp_path: Path
) -> None:
    ran = run_script(script, tmp_path, options=options)

    assert (ran.code, ran.stdout, ran.written) == (code, "", None)
    path = tmp_path / "trace.json"
    assert ran.stderr == (
        f"optitrace: {sentence}\noptitrace: nothing was recorded: '{path}' was not written.\n"
    )


def test_a_script_without_torch_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('done')\n")
    words = ("-o", str(tmp_path / "a.json"), "-o", str(tmp_path / "b.csv"), str(tmp_path / "script.py"))
    ran = run_process("run", *words)

    assert (ran.code, ran.stdout) == (0, "done\n")
    assert ran.stderr == (
        "optitrace: the program did not load torch, and made no torch.optim optimizer; "
        "run a script that trains with one.\n"
        f"optitrace: nothing was recorded: '{tmp_path}/a.json' and '{tmp_path}/b.csv' were not written.\n"
    )


MADE = "import torch\nkept = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)\n"


@pytest.mark.parametrize("made", ["", "import torch\n", MADE], ids=["no torch", "no optimizer", "no step"])
@pytest.mark.parametrize(
    "leaving", ["import sys; sys.exit(0)", "raise SystemExit", "raise SystemExit(False)"]
)
def test_a_script_that_leaves_well_before_any_step_keeps_its_exit_code(
    made: str, leaving: str, tmp_path: Path
) -> None:
    ran = run_script(f"{made}{leaving}\n", tmp_path)

    assert (ran.code, ran.stdout) == (0, "")
    assert ran.stderr.startswith("optitrace: the program ")
    assert len(ran.stderr.splitlines()) == 2


def test_the_help_of_a_script_is_shown_as_its_own(tmp_path: Path) -> None:
    ran = run_script(
        "import argparse\nargparse.ArgumentParser(prog='train').parse_args()\n", tmp_path, "--help"
    )

    assert ran.code == 0
    assert ran.stdout.startswith("usage: train [-h]\n")


@pytest.mark.parametrize("made", ["", "import torch\n", MADE], ids=["no torch", "no optimizer", "no step"])
@pytest.mark.parametrize(
    ("failing", "code", "last_line"),
    [
        ("raise ValueError('no data')", 1, "ValueError: no data"),
        ("raise SystemExit('no data')", 1, "no data"),
        ("raise SystemExit(2)", 2, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_of_a_script_that_failed_before_any_step_nothing_else_is_said(
    made: str, failing: str, code: int, last_line: str, tmp_path: Path
) -> None:
    ran = run_script(f"{made}{failing}\n", tmp_path)

    assert ran.code == code
    assert "optitrace" not in ran.stderr
    assert ran.stderr.rstrip("\n").rpartition("\n")[2] == last_line


def test_strict_makes_a_fault_the_exit_code(tmp_path: Path) -> None:
    stale = STEPPED.replace("    optimizer.step()", "    optimizer.step()\n    optimizer.step()")

    assert run_script(stale, tmp_path).code == 0
    assert run_script(stale, tmp_path, options=("--strict",)).code == 1
    assert run_script(STEPPED, tmp_path, options=("--strict",)).code == 0


def test_a_remark_is_told_and_leaves_the_exit_code_under_strict(tmp_path: Path) -> None:
    text = (SCRIPTS / "clipped_under_adam.py").read_text(encoding="utf-8")
    ran = run_script(text, tmp_path, options=("--strict", "--params", "-o", str(tmp_path / "x.svg")))
    shown = run("show", str(tmp_path / "trace.json"), "--strict", "--params")

    assert (ran.code, shown.code) == (0, 0)
    for said in (ran.stderr, shown.stdout):
        assert "no faults found" in said
        assert "with Adam the clipping limit does not set the size of the steps" in said
    assert "clipping cuts the gradient of Adam in" in (tmp_path / "x.svg").read_text(encoding="utf-8")


def test_groups_of_a_run_are_those_of_its_file(tmp_path: Path) -> None:
    ran = run_script(STEPPED, tmp_path, options=("--groups",))
    shown = run("show", str(tmp_path / "trace.json"), "--groups")

    for said in (ran.stderr, shown.stdout):
        assert said.startswith("optimizer  group  names", said.index("\n\n") + 2)


def test_a_clipping_without_effect_is_told_by_a_saved_training_too(tmp_path: Path) -> None:
    text = (SCRIPTS / "clipped_after_step.py").read_text(encoding="utf-8")
    ran = run_script(text, tmp_path, options=("--strict", "--params"))
    saved = str(tmp_path / "trace.json")
    shown = run("show", saved, "--strict")

    assert (ran.code, shown.code) == (1, 1)
    for said in (ran.stderr, shown.stdout):
        assert "has no effect on the steps of SGD: it comes after step 1" in " ".join(said.split())
        assert "call it between loss.backward() and optimizer.step()" in said
        assert "unclipped" not in said
    assert run("diff", saved, saved).code == 0


def test_what_was_asked_for_is_not_offered_once_more(tmp_path: Path) -> None:
    ran = run_script(STEPPED, tmp_path, options=("--verify", "--watch", "*", "--state", "--params", "--plot"))

    assert ran.code == 0
    assert "3 steps of SGD agree with the rule" in ran.stderr
    assert "more:" not in ran.stderr


@pytest.mark.parametrize("pattern", ["weight[]", "weight[-]", "weight[1:2:0]", "weight[1:2:3:4]"])
def test_a_pattern_that_names_no_place_is_told_before_anything_is_run(pattern: str) -> None:
    ran = run("run", "--watch", pattern, __file__)

    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"optitrace: cannot read the pattern '{pattern}'; write it as layer1.weight[0,3] or '*.bias'.\n"
    )


@pytest.mark.parametrize(
    "ending",
    ["os.chdir('/')", "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"],
    ids=["elsewhere", "nowhere"],
)
def test_a_file_goes_where_the_person_was_wherever_the_script_went(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = run_script(f"{STEPPED}import os\n{ending}\n", tmp_path, output="trace.json")

    assert ran.code == 0
    assert ran.written is not None


def test_a_script_knows_its_whole_path_wherever_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = run_script(f"{STEPPED}print(sys.argv[0], __file__)\n", tmp_path, script="script.py")

    assert ran.stdout.splitlines()[-1] == f"script.py {tmp_path / 'script.py'}"


@pytest.mark.parametrize(
    ("ending", "printed"),
    [
        ("sys.stdout.close()", True),
        ("sys.stderr.close()", False),
        ("sys.stderr = None", True),
        ("sys.stderr = open('log', 'w')", True),
    ],
)
def test_a_script_may_close_or_replace_its_streams(
    ending: str, printed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = run_script(f"{STEPPED}{ending}\n", tmp_path)

    assert (ran.code, ran.stdout) == (0, "[] __main__\n")
    assert ran.written is not None
    assert ran.written["outcome"] == {"status": "completed"}
    assert ("completed after 3 steps" in ran.stderr) is printed


PYTHON = [sys.executable]


def under_both(script: str, folder: Path, **how: Any) -> list[tuple[str, int]]:
    """Return what a script prints, and its exit code, run by Python and then by optitrace run."""
    return [alone(words, script, folder, **how) for words in (PYTHON, [*PYTHON, "-m", "optitrace", "run"])]


def alone(words: Sequence[str], script: str, folder: Path, **how: Any) -> tuple[str, int]:
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "cwd": folder, **how}
    ended = subprocess.run([*words, script], **options)
    return ended.stdout, ended.returncode


def test_a_script_has_the_globals_that_python_gives_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nprint(list(globals()), globals().get('__annotations__'))\nx: int = 1\n"
        "print(__annotations__)\nsys.exit(0)\n"
    )

    python, optitrace = under_both("script.py", tmp_path)

    assert optitrace == python
    assert "'x': <class 'int'>" in python[0]


LEAVING = "import sys\nprint(sys.argv, __name__)\nsys.exit(0)\n"


def test_a_script_on_standard_input_is_run(tmp_path: Path) -> None:
    python, optitrace = under_both("/dev/stdin", tmp_path, input=LEAVING)

    assert optitrace == python == ("['/dev/stdin'] __main__\n", 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_named_pipe_is_opened_once_as_its_writer_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    opened: list[str] = []

    def is_zipfile(name: str) -> bool:
        opened.append(name)
        return False

    monkeypatch.setattr(running, "is_zipfile", is_zipfile)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(LEAVING,), daemon=True)
    writer.start()

    with pytest.raises(SystemExit):
        running.run_program(Program((str(tmp_path / "pipe"),)))
    assert opened == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_script_in_a_named_pipe_is_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(LEAVING,), daemon=True)
    writer.start()

    assert alone([*PYTHON, "-m", "optitrace", "run"], "pipe", tmp_path) == ("['pipe'] __main__\n", 0)


PACKAGED = STEPPED + "from package import other\nprint(other.__name__, __package__, __spec__.name)\n"


def test_a_package_with_a_main_of_its_own_is_run_by_its_name(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name, text in (("__init__", ""), ("other", ""), ("__main__", PACKAGED)):
        (package / f"{name}.py").write_text(text)

    python = alone([*PYTHON, "-m"], "package", tmp_path)

    assert alone([*PYTHON, "-m", "optitrace", "run", "-m"], "package", tmp_path) == python
    assert python == ("[] __main__\npackage.other package package.__main__\n", 0)


def said(folder: Path, *options: str) -> str:
    """Return what is said of three steps."""
    ran = run_script(STEPPED, folder, options=options)
    assert (ran.code, ran.stdout) == (0, "[] __main__\n")
    return ran.stderr


def test_a_plot_stands_below_the_table_and_its_words_below_it(tmp_path: Path) -> None:
    lines = said(tmp_path, "--plot").splitlines()
    table, loss, lr, ratio, end = map(
        lines.index, (ROW, "loss", "lr", "update / weight", "completed after 3 steps")
    )

    assert table < loss < lr < ratio < end
    signs = [line.count("•") for line in lines]  # a sign for each step, in each of the three panels
    assert [sum(signs[a:b]) for a, b in ((loss, lr), (lr, ratio), (ratio, end))] == [3, 3, 3]
    assert max(map(len, lines[table:end])) <= 80


ROW = "   1   2.000  0.1     2.828  0.2828   1.131    0.2500"  # w = (1, 1): the gradient is (2, 2), by hand


def test_an_optimizer_whose_parameters_have_no_numbers_is_told_as_that(tmp_path: Path) -> None:
    on_meta = "import torch\nw = torch.ones(2, device='meta', requires_grad=True)\n"
    ran = run_script(f"{on_meta}w.sum().backward()\ntorch.optim.SGD([w], lr=0.1).step()\n", tmp_path)

    assert ran.code == 0
    assert ran.stderr.startswith(
        "optitrace: the parameters of SGD are meta or lazy tensors, without numbers to trace; "
        "initialize them.\n"
    )


def test_a_table_and_its_plot_are_written_to_a_file_as_well(tmp_path: Path) -> None:
    said(tmp_path, "--plot", "-o", str(tmp_path / "table.txt"))

    lines = (tmp_path / "table.txt").read_text(encoding="utf-8").splitlines()
    assert lines.index(ROW) < lines.index("update / weight") < lines.index("completed after 3 steps")


def test_a_plot_on_an_ascii_stream_is_ascii(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(STEPPED)
    ran = run_process("run", "--plot", str(tmp_path / "script.py"), PYTHONIOENCODING="ascii")

    assert ran.code == 0
    assert "update / weight" in ran.stderr
    assert ran.stderr.isascii()


def test_precision_is_in_significant_digits(tmp_path: Path) -> None:
    assert "   1   2.0  0.1       2.8    0.28     1.1      0.25\n" in said(tmp_path, "--precision", "2")


def test_colour_in_a_pipe_is_there_if_asked_for(tmp_path: Path) -> None:
    assert "\x1b[1mSGD(lr=0.1)\x1b[0m\n" in said(tmp_path, "--color", "always")
    assert "\x1b" not in said(tmp_path)


def test_threads_of_a_script_are_counted_from_one(tmp_path: Path) -> None:
    started = "import threading\nprint(threading.Thread(target=print).name)\n"

    assert run_script(STEPPED + started, tmp_path).stdout.endswith("Thread-1 (print)\n")


def test_a_script_in_a_zip_file_is_run(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "script.zip", "w") as packed:
        packed.writestr("__main__.py", STEPPED)

    ran = run_script("", tmp_path, "a", script=str(tmp_path / "script.zip"))

    assert (ran.code, ran.stdout) == (0, "['a'] __main__\n")


def test_a_training_that_was_not_watched_to_its_end_is_marked_as_failed(tmp_path: Path) -> None:
    failing = (
        "from optitrace.monitoring import backward_tracker\nbackward_tracker.Backward = None\n"
        "optimizer.zero_grad()\nweights.square().sum().backward()\noptimizer.step()\n"
    )

    ran = run_script(STEPPED + failing, tmp_path)

    assert (ran.code, ran.stdout) == (0, "[] __main__\n")
    assert ran.written is not None
    assert ran.written["outcome"]["status"] == "failed"
    assert ran.written["outcome"]["step"] == 3
    assert ran.written["outcome"]["reason"].startswith("the watching failed: TypeError: ")
    assert "optitrace: nothing was watched after step 3: TypeError: " in ran.stderr
    assert run_script(STEPPED + failing, tmp_path, options=("--strict",)).code == 1


def test_an_optimizer_that_was_not_watched_to_its_end_is_named_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    failing = (
        "class Odd:\n    def __str__(self):\n        raise TypeError('no words')\n"
        "optimizers = [torch.optim.RMSprop([weights]) for _ in range(5)]\n"
        "for one in optimizers:\n"
        "    one.defaults['odd'] = one.param_groups[0]['odd'] = Odd()\n    one.step()\n"
        "optimizer.step()\n"
    )

    ran = run_script(STEPPED + failing, tmp_path)

    assert (ran.code, ran.stdout) == (0, "[] __main__\n")
    assert ran.written is not None
    assert [(o["name"], o["taken"]) for o in ran.written["optimizers"]] == [("optimizer", 4)]
    assert ran.written["outcome"]["reason"].startswith("the watching of RMSprop failed: TypeError: no words")
    told = [line for line in ran.stderr.splitlines() if line.startswith("optitrace: ")]
    assert told == [
        "optitrace: RMSprop was not watched: TypeError: no words.",
        "optitrace: RMSprop 2 was not watched: TypeError: no words.",
        "optitrace: RMSprop 3 was not watched: TypeError: no words.",
        "optitrace: watching 2 other optimizers failed, too.",
    ]


def test_an_empty_slice_is_no_place(tmp_path: Path) -> None:
    named = STEPPED.replace("weights = ", "module = torch.nn.Linear(2, 1)\nweights = module.weight\n_ = ")

    ran = run_script(named, tmp_path, options=("--watch", "weight[0,9:12]"))

    assert ran.code == 2
    assert "optitrace: weight has no place [0,9:12]: its shape is (1, 2); count from 0.\n" in ran.stderr
