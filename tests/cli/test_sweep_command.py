"""`sweep`: from the command line to the best settings, the files, and what is said of mistakes."""

from __future__ import annotations

import csv
import io
import json
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from support.runs import run, run_shell
from test_interruption import start, wait_until_it_steps

GRID = ("sweep", "sgd", "-P", "lr=log:1e-3:1:30", "-P", "momentum=0:0.9:10", "-n", "60")


def test_the_best_settings_are_ranked_and_torch_agrees() -> None:
    finished = run(*GRID, COLUMNS="120")
    lines = finished.stdout.splitlines()

    assert (finished.code, finished.stderr) == (0, "")
    assert lines[0] == "sgd: 300 configurations, 60 steps each"
    assert (
        lines[2] == "over lr from 0.001 to 1 in 30 log-spaced values, "
        "momentum from 0 to 0.9 in 10 evenly spaced values"
    )
    assert "momentum" in lines
    assert any(line.split()[:2] == ["rank", "lr"] for line in lines)
    assert lines[-2].startswith("spot check: 10 of 10 agree with torch.optim.SGD, worst ")
    assert lines[-1].startswith("best: optitrace sgd --lr ")


@pytest.mark.parametrize(
    "arguments",
    [
        GRID,
        ("sweep", "adam", "-P", "betas.1=0.5:0.99:20", "-P", "amsgrad=true,false", "--lr", "0.1", "-n", "30"),
        (
            "sweep",
            "sgd:nesterov=true",
            "-P",
            "momentum=0.5,0.9",
            "-P",
            "start=-1;2,1;1",
            "--dtype",
            "float64",
        ),
        ("sweep", "adam", "-P", "lr=0.01,0.1", "--objective", "rosenbrock", "-n", "50"),
    ],
)
def test_the_command_of_the_best_gives_its_loss(arguments: tuple[str, ...]) -> None:
    [swept] = json.loads(run(*arguments, "-f", "json").stdout)["sweeps"]
    program, *command = shlex.split(swept["command"])
    traced = json.loads(run(*command, "-f", "json").stdout)

    assert program == "optitrace"
    assert traced["final_loss"] == pytest.approx(swept["best"][0]["final_loss"], rel=1e-3, abs=1e-12)


def test_several_optimizers_give_the_best_of_each() -> None:
    finished = run(
        "sweep", "sgd", "adam", "rmsprop", "-P", "lr=log:1e-4:1:60", "--rank", "steps", "-n", "100"
    )
    lines = finished.stdout.splitlines()

    assert finished.code == 0
    heading = next(k for k, line in enumerate(lines) if line.startswith("best of"))
    assert sorted(line.split()[0] for line in lines[heading + 2 : heading + 5]) == ["adam", "rmsprop", "sgd"]
    assert sum(line.startswith("best: optitrace ") for line in lines) == 3


def test_the_same_seed_samples_the_same() -> None:
    sample = ("sweep", "adam", "-P", "lr=log:1e-4:1", "-P", "eps=1e-8:0.1", "--random", "50", "-f", "csv")
    first, again, other = (run(*sample, "--seed", seed).stdout for seed in ("1", "1", "2"))

    assert first == again != other
    assert len(first.splitlines()) == 51


def test_threads_change_nothing() -> None:
    assert (
        run(*GRID, "-f", "csv", "--threads", "1").stdout == run(*GRID, "-f", "csv", "--threads", "4").stdout
    )


def test_every_format_is_written_beside_the_table(tmp_path: Path) -> None:
    names = ("s.csv", "s.json", "s.jsonl", "s.tsv", "s.txt")
    finished = run(*GRID, *(word for name in names for word in ("-o", str(tmp_path / name))))
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names}

    assert finished.code == 0
    assert len(list(csv.DictReader(io.StringIO(texts["s.csv"])))) == 300
    assert len(json.loads(texts["s.json"])["configurations"]) == 300
    assert len(texts["s.jsonl"].splitlines()) == 301
    assert texts["s.tsv"].replace("\t", ",") == texts["s.csv"]
    assert texts["s.txt"].splitlines()[-2:] == finished.stdout.splitlines()[-2:]


def test_markdown_is_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "found.md"
    finished = run(*GRID, "-f", "markdown", "-o", str(path))

    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout == path.read_text(encoding="utf-8")
    assert "| rank | lr | momentum | final loss | distance |\n| ---: | " in finished.stdout
    assert finished.stdout.splitlines()[-1].startswith("best: optitrace sgd --lr ")


@pytest.mark.parametrize("columns", ["30", "40", "300"])
def test_numbers_are_whole_at_any_width(columns: str) -> None:
    [swept] = json.loads(run(*GRID, "-f", "json").stdout)["sweeps"]
    text = run(*GRID, COLUMNS=columns).stdout

    assert "…" not in text
    assert all(f"{best['lr']:.6g}" in text for best in swept["best"])


def test_ascii_output_has_nothing_else() -> None:
    assert run(*GRID, encoding="ascii").stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("sgd",), 2, "nothing is varied; say what with -P, as in -P lr=log:1e-4:1:200."),
        (("sdg", "-P", "lr=1"), 2, "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        (("sgd", "-P", "lr=log:-1:1:5"), 2, "lr=log:-1:1:5 includes -1; both ends of a"),
        (("sgd", "-P", "lrr=1"), 2, "sgd has no 'lrr'; did you mean 'lr'?"),
        (
            ("sgd", "adam", "-P", "momentum=0.1"),
            2,
            "adam has no momentum; its hyperparameters are lr, betas,",
        ),
        (("adam", "-P", "betas.0=0.5:1.5:5"), 2, "Invalid beta parameter at index 0: 1.5; leave out"),
        (("sgd", "-P", "lr=0:1:100001", "-P", "momentum=0:0.9:1001"), 2, "the sweep has 100,101,001 conf"),
        (("sgd", "sgd", "-P", "lr=1"), 2, "an optimizer is named twice; name each once."),
        (("sgd", "-P", "lr=1", "--random", "0"), 2, "random is '0'; it must be a positive integer."),
        (("sgd", "-P", "lr=1", "--seed", "x"), 2, "seed is 'x'; it must be an integer from 0"),
        (("sgd", "-P", "lr=1", "--threads", "0"), 2, "threads is '0'; it must be an integer from 1 to 1024"),
        (("sgd", "-P", "lr=1", "--rank", "los"), 2, "unknown rank 'los'"),
        (
            ("sgd", "-P", "lr=1", "--tolerance", "no"),
            2,
            "tolerance is 'no'; it must be a non-negative number",
        ),
        (("sgd", "-P", "lr=1", "-f", "xml"), 2, "unknown format 'xml'; choose from: table,"),
        (
            ("sgd", "-P", "lr=1", "-f", "markdwn"),
            2,
            "unknown format 'markdwn'; did you mean 'markdown'",
        ),
        (("sgd", "-P", "lr=1", "-o", "/nowhere/x.csv"), 4, "there is no folder '/nowhere'; make it first."),
        (("lbfgs", "-P", "lr=1", "--backend", "lokki"), 2, "unknown backend 'lokki'; did you mean 'loky'?"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    finished = run("sweep", *arguments)

    assert (finished.code, finished.stdout) == (code, "")
    assert sentence in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_help_tells_how_values_are_written() -> None:
    text = run("sweep", "--help").stdout

    assert "-P lr=log:1e-4:1:200" in text
    assert "--random" in text


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc to see what a process does")
def test_an_interrupted_sweep_gives_what_is_finished_marked() -> None:
    process = start("sweep", "adam", "-P", "lr=log:1e-4:1:90000000", "-n", "100")
    wait_until_it_steps(process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)

    assert process.returncode == 130
    assert "of 90,000,000 configurations; what is finished is shown." in stderr
    assert "interrupted: " in stdout
    assert "no configuration was finished" in stdout or "best: optitrace adam --lr " in stdout


def test_a_reader_that_has_gone_is_no_error() -> None:
    finished = run_shell("optitrace sweep sgd -P lr=0:1:30000 -n 1 -f csv | head -n 2")

    assert (finished.code, finished.stderr) == (0, "")
    assert len(finished.stdout.splitlines()) == 2


def test_a_class_of_ones_own_is_stepped_itself(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    file = tmp_path / "halving.py"
    file.write_text(
        "import torch\n"
        "class Halving(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr: float = 0.5):\n"
        "        super().__init__(params, {'lr': lr})\n"
        "    @torch.no_grad()\n"
        "    def step(self):\n"
        "        for group in self.param_groups:\n"
        "            for p in group['params']:\n"
        "                p.mul_(1 - group['lr'])\n"
    )
    finished = run("sweep", f"{file}:Halving", "-P", "lr=0.25,0.5", "-n", "2", "-f", "json")
    [swept] = json.loads(finished.stdout)["sweeps"]

    assert [best["weights"] for best in swept["best"]] == [[0.125, 0.125], [0.28125, 0.28125]]
    assert swept["spot_check"] is None
