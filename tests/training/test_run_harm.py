"""What a run does not do to the program: its exceptions, exit code and signals stay its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import PROGRAM, environment, run, run_process, run_shell
from support.script_runs import STEPPED, run_script

from optitrace.cli.run_ending import Ending

MUTE = """\
class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")
"""


def alone(script: str, folder: Path) -> tuple[int, str]:
    """Return what a script exits with under Python itself, and what it says."""
    (folder / "script.py").write_text(script)
    words = [sys.executable, str(folder / "script.py")]
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    "ending",
    [
        f"{MUTE}raise Mute",
        f"{MUTE}sys.exit(Mute())",
        f"{MUTE}raise ExceptionGroup('several', [Mute(), ValueError('one')])",
        "raise ValueError('\\udcff\\x1b[2J')",
        "def hook(*error): raise KeyError('hook')\nsys.excepthook = hook\nraise ValueError('own')",
        "def hook(*error): sys.exit(7)\nsys.excepthook = hook\nraise ValueError('own')",
        "sys.excepthook = None\nraise ValueError('own')",
        "try:\n    weights.backward()\nexcept RuntimeError as error:\n    raise ValueError('own') from error",
    ],
)
def test_python_and_a_run_say_the_same_of_how_a_script_ends(ending: str, tmp_path: Path) -> None:
    code, said = alone(f"{STEPPED}{ending}\n", tmp_path)

    ran = run_process("run", "-o", str(tmp_path / "trace.json"), str(tmp_path / "script.py"))

    assert ran.code == code
    table, _, own = ran.stderr.partition("\nmore: ")
    assert "failed after 3 steps" in table
    assert own.partition("\n")[2] == said
    assert json.loads((tmp_path / "trace.json").read_text())["outcome"]["status"] == "failed"


def test_what_a_closed_standard_error_cannot_be_told_changes_no_exit_code(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit('no data')\n")

    assert run_shell(f"optitrace run {tmp_path}/script.py 2>/dev/full").code == 1
    assert run_shell(f"optitrace run {tmp_path}/script.py 2>&-").code == 1


def test_an_exit_without_standard_error_prints_nothing_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    stderr = sys.stderr
    try:
        sys.stderr = None
        assert Ending(SystemExit("no data")).say() == 1
    finally:
        sys.stderr = stderr

    assert capsys.readouterr().out == ""


ALARMS = """\
import signal
class Alarm(Exception): pass
def handler(number, frame): raise Alarm
signal.signal(signal.SIGALRM, handler)
"""


def test_an_alarm_that_comes_while_the_watcher_works_ends_the_script_as_it_would(tmp_path: Path) -> None:
    script = (
        f"{ALARMS}import sys, torch\n"
        "from optitrace.monitoring.step_metrics import StepMetrics\n"
        "measure = StepMetrics.measure\n"
        "def late(*given, **more):\n    signal.raise_signal(signal.SIGALRM)\n    measure(*given, **more)\n"
        "weights = torch.ones(2, requires_grad=True)\n"
        "optimizer = torch.optim.SGD([weights], lr=0.1)\n"
        "StepMetrics.measure = late\n"
        "weights.square().sum().backward()\n"
        "try:\n    optimizer.step()\nexcept Alarm:\n    print('time is up')\n    sys.exit(3)\n"
    )

    ran = run_script(script, tmp_path)

    assert (ran.code, ran.stdout) == (3, "time is up\n")
    assert "was not watched" not in ran.stderr
    assert ran.written is not None
    assert len(ran.written["optimizers"][0]["steps"]) == 1


def test_alarms_that_go_on_after_the_script_disturb_no_report(tmp_path: Path) -> None:
    ran = run_script(
        f"{ALARMS}{STEPPED}signal.setitimer(signal.ITIMER_REAL, 0.05, 0.0005)\n",
        tmp_path,
        options=("-o", str(tmp_path / "trace.png")),
    )

    assert (ran.code, ran.stdout) == (0, "[] __main__\n")
    assert "completed after 3 steps" in ran.stderr
    assert "Alarm" not in ran.stderr
    assert ran.written is not None
    assert (tmp_path / "trace.png").exists()


def test_a_script_that_catches_its_recursion_error_is_watched_to_its_end(tmp_path: Path) -> None:
    ran = run_script(
        STEPPED + "def deeper():\n    optimizer.step()\n    deeper()\n"
        "try:\n    deeper()\nexcept RecursionError:\n    pass\noptimizer.step()\n",
        tmp_path,
        options=("--params", "--state", "--verify"),
    )

    assert ran.code == 0
    assert ran.written is not None
    assert ran.written["outcome"] == {"status": "completed"}
    assert ran.written["optimizers"][0]["taken"] > 100


def test_a_script_may_go_as_deep_as_python_lets_it(tmp_path: Path) -> None:
    counting = "def deeper(n):\n    return deeper(n - 1) if n else 'as deep'\nprint(deeper(990))\n"

    assert run_process("run", _written(counting, tmp_path)).stdout == "as deep\n"


def _written(script: str, folder: Path) -> str:
    (folder / "script.py").write_text(script)
    return str(folder / "script.py")


PRESENTER = "from optitrace.views.presenters.training import TrainingPresenter as own\n"


def test_a_fault_in_one_format_loses_neither_the_table_nor_the_other_files(tmp_path: Path) -> None:
    ours = f"{PRESENTER}def fail(*_): raise ZeroDivisionError\n"
    paths = [tmp_path / name for name in ("a.png", "b.csv", "trace.jsonl")]
    ran = run_script(
        f"{ours}own.picture = fail\n{STEPPED}",
        tmp_path,
        options=tuple(word for path in paths for word in ("-o", str(path))),
    )

    assert ran.code == 4
    assert ran.stderr.index("completed after 3 steps") < ran.stderr.index("cannot write")
    assert f"cannot write '{paths[0]}': ZeroDivisionError; choose another format.\n" in ran.stderr
    assert [path.exists() for path in paths] == [False, True, True]
    assert ran.written is not None


def test_a_table_that_cannot_be_shown_loses_no_file(tmp_path: Path) -> None:
    ours = f"{PRESENTER}def fail(*_): raise ZeroDivisionError\n"
    ran = run_script(f"{ours}own.table = fail\n{STEPPED}", tmp_path)

    assert ran.code == 0
    assert ran.stderr == (
        "optitrace: the table cannot be shown: ZeroDivisionError; "
        "a file written by -o trace.json has all of it.\n"
    )
    assert ran.written is not None


def test_a_diagnosis_that_fails_loses_nothing_and_is_no_clean_bill(tmp_path: Path) -> None:
    ours = "from optitrace.cli import run_report as own\ndef fail(*_): raise ZeroDivisionError\n"
    ran = run_script(f"{ours}own.diagnose = fail\n{STEPPED}", tmp_path)

    assert ran.code == 0
    assert "failed after 3 steps: the diagnosis failed: ZeroDivisionError" in ran.stderr
    assert "optitrace: the training could not be diagnosed: ZeroDivisionError.\n" in ran.stderr
    assert ran.written is not None
    assert ran.written["outcome"]["status"] == "failed"


def test_the_table_is_there_before_the_first_file(tmp_path: Path) -> None:
    pipe = tmp_path / "trace.json"
    os.mkfifo(pipe)
    words = [*PROGRAM, "run", "-o", str(pipe), _written(STEPPED, tmp_path)]
    with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # nobody reads the pipe, so that writing it waits
            if line.startswith("more: "):
                break
        assert process.poll() is None
        assert json.loads(pipe.read_text())["outcome"] == {"status": "completed"}
        assert process.wait(timeout=120) == 0


HOSTILE = ("line\nbreak", "\x1b[2Jescape", "\u202ereversed", "half \udcff pair", "[red]markup[/]", "=1+1")


def test_whatever_texts_a_program_has_its_files_can_be_shown(tmp_path: Path) -> None:
    script = (
        f"import torch\nnames = {HOSTILE!r}\n"
        "model = torch.nn.Module()\n"
        "for name in names:\n"
        "    model.register_parameter(name, torch.nn.Parameter(torch.ones(2)))\n"
        "for name in ('', *names):\n"
        "    encodable = name.replace('\\udcff', '\\u2028')\n"  # which the name of a class must be
        "    cls = type(encodable, (torch.optim.SGD,), {'__module__': name})\n"
        "    optimizer = cls(model.parameters(), lr=0.1, momentum=0.9)\n"
        "    optimizer.defaults[name] = optimizer.param_groups[0][name] = name\n"
        "    sum(p.square().sum() for p in model.parameters()).backward()\n"
        "    optimizer.step()\n"
        "    for p in model.parameters():\n"
        "        optimizer.state[p][name] = optimizer.state[p][3] = torch.ones(2)\n"
        "    optimizer.step()\n"
    )
    paths = {suffix: tmp_path / f"trace.{suffix}" for suffix in ("jsonl", "csv", "md", "txt", "png", "html")}
    ran = run_script(
        script,
        tmp_path,
        *HOSTILE,
        options=("--params", "--state", "--watch", "*", *(w for p in paths.values() for w in ("-o", str(p)))),
    )

    assert ran.code == 0
    assert "was not watched" not in ran.stderr
    assert not {c for c in ran.stderr if not c.isprintable() and c != "\n"}
    for path in (tmp_path / "trace.json", paths["jsonl"]):
        assert run("show", "--params", "--state", str(path)).code == 0
    assert all(path.exists() for path in paths.values())


@pytest.mark.skipif(sys.platform != "linux", reason="needs arguments of any bytes")
def test_an_argument_that_is_no_text_reaches_the_script_and_is_written(tmp_path: Path) -> None:
    path = _written(f"{STEPPED}print(ascii(sys.argv[1]))\n", tmp_path)
    ran = run_shell(rf"optitrace run -o {tmp_path}/x.json -o {tmp_path}/x.csv {path} $'\xff'")

    assert (ran.code, ran.stdout.splitlines()[-1]) == (0, r"'\udcff'")
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "x.csv").exists()
    assert run("show", str(tmp_path / "x.json")).code == 0
    assert json.loads((tmp_path / "x.json").read_text())["program"]["arguments"][1] == r"\udcff"


def test_options_behind_the_script_are_its_own_and_that_is_said(tmp_path: Path) -> None:
    script = _written(STEPPED, tmp_path)
    ran = run_process("run", "--state", script, "--strict", "--lr=1", "-o", "x.json", "--every=2", "--help")

    assert ran.stdout == "['--strict', '--lr=1', '-o', 'x.json', '--every=2', '--help'] __main__\n"
    assert ran.stderr.splitlines()[0] == (
        "optitrace: --strict, -o and --every are passed to the script; options of optitrace go before it, "
        f"as in: optitrace run --state --every 2 -o x.json --strict {script} --lr=1 --help"
    )


def test_nothing_is_said_of_options_that_only_the_script_has(tmp_path: Path) -> None:
    ran = run_process("run", _written(STEPPED, tmp_path), "--lr=1", "-n", "--help", "--", "--strict")

    assert "passed to the script" not in ran.stderr


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ((), "--params --state --verify -o trace.json --plot"),
        (("--every", "2", "--plot", "--to=-0"), ""),
        (
            ("--every", "2", "--plot", "-o", "a b.csv"),
            "--params --state --every 2 --verify -o 'a b.csv' --plot",
        ),
    ],
)
def test_the_footer_is_a_command_that_runs(options: tuple[str, ...], more: str, tmp_path: Path) -> None:
    _written(STEPPED, tmp_path)
    ran = run_shell(f"cd {tmp_path}; optitrace run {_joined(options)} script.py 'a b'")
    if not more:
        assert ran.code == 2
        return

    [footer] = [line for line in ran.stderr.splitlines() if line.startswith("more: ")]
    assert footer == f"more: optitrace run {more} script.py 'a b'"
    again = run_shell(f"cd {tmp_path}; {footer.removeprefix('more: ')}")
    assert (again.code, again.stdout) == (0, "['a b'] __main__\n")
    assert "more: " in again.stderr or "--watch" not in more


def _joined(words: tuple[str, ...]) -> str:
    return " ".join(f"'{word}'" for word in words)


def test_the_footer_names_a_weight_that_is_there_and_the_command_records_it(tmp_path: Path) -> None:
    named = STEPPED.replace("weights = ", "module = torch.nn.Linear(2, 1)\nweights = module.weight\n_ = ")
    _written(named, tmp_path)
    ran = run_shell(f"cd {tmp_path}; optitrace run script.py")
    [footer] = [line for line in ran.stderr.splitlines() if line.startswith("more: ")]

    assert "--watch 'weight[0,0]'" in footer
    again = run_shell(f"cd {tmp_path}; {footer.removeprefix('more: ')}")
    assert again.code == 0
    assert "more: " not in again.stderr
    assert "weight[0,0]" in again.stderr


def test_the_help_says_where_options_go() -> None:
    words = " ".join(run("run", "--help").stdout.split())

    assert "Options of optitrace go before the script; everything after it is passed to the script." in words


def test_an_optimizer_that_lives_until_the_interpreter_ends_leaves_no_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{STEPPED}import threading\nthreading.kept = optimizer\n")
    ended = run_process("run", str(script))

    assert ended.code == 0
    assert "completed after 3 steps" in ended.stderr
    assert "Exception ignored" not in ended.stderr
