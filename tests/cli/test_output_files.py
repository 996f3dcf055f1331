from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import run

from optitrace.cli.output_files import write_file

FORMATS = {"txt": "table", "json": "json", "jsonl": "jsonl", "csv": "csv", "tsv": "tsv", "md": "markdown"}


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "tsv", "markdown"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_a_format_is_all_that_stands_on_standard_output(optimizer: str, format: str) -> None:
    finished = run(optimizer, "--format", format)
    lines = finished.stdout.splitlines()

    assert (finished.code, finished.stderr) == (0, "")
    if format == "json":
        assert json.loads(finished.stdout)["experiment"]["optimizer"] == optimizer
    elif format == "jsonl":
        assert [json.loads(line).get("step") for line in lines] == [None, *range(11)]
    elif format == "markdown":
        assert lines[0].startswith(f"**{optimizer}(")
    else:
        assert [line.split("\t" if format == "tsv" else ",")[0] for line in lines] == [
            "step",
            *map(str, range(11)),
        ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_has_what_its_format_has_on_standard_output(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"trace.{suffix.upper()}"
    shown = run("adam", "-o", str(path))
    printed = run("adam", "--format", FORMATS[suffix])

    assert (shown.code, shown.stdout) == (0, run("adam").stdout)
    assert path.read_bytes().decode() == (shown if suffix == "txt" else printed).stdout.partition("more:")[0]


def test_several_files_are_written(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "a.json"]
    finished = run("sgd", *(word for path in paths for word in ("-o", str(path))))

    assert finished.code == 0
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize(
    "command",
    [
        "sgd",
        "compare sgd adam",
        "sweep sgd -P lr=0.1,0.2",
        "show trace.json",
        "run train.py",
        "./own.py:VerifiedClass",
    ],
)
@pytest.mark.parametrize(
    ("paths", "fact"),
    [
        (("a.json", "b.csv", "a.json"), "the output 'a.json' is named twice"),
        (("a.json", "./a.json"), "the output 'a.json' is named twice"),
        (("folder/../a.json", "a.json"), "the outputs 'folder/../a.json' and 'a.json' are one file"),
        (("a.json", "link.json"), "the outputs 'a.json' and 'link.json' are one file"),
    ],
)
def test_one_file_is_named_once(
    command: str, paths: tuple[str, ...], fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.json").symlink_to("a.json")
    (tmp_path / "own.py").write_text("from torch.optim import SGD as VerifiedClass\n")
    (tmp_path / "train.py").write_text("raise ValueError\n")
    assert run("sgd", "-o", "trace.json").code == 0
    verb, *words = command.split()
    outputs = [word for path in paths for word in ("-o", path)]

    finished = run(verb, *outputs, *words)

    assert (finished.code, finished.stdout, finished.stderr) == (2, "", f"optitrace: {fact}; name it once.\n")
    assert not (tmp_path / "a.json").exists()


def test_a_device_may_be_named_twice() -> None:
    assert run("sgd", "-f", "csv", "-o", "/dev/null", "-o", "/dev/null").code == 0


def test_a_dash_is_standard_output_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("sgd", "-f", "csv", "-o", "-") == run("sgd", "-f", "csv")
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_that_names_no_format_takes_the_format_asked_for(tmp_path: Path) -> None:
    finished = run("sgd", "--format", "csv", "-o", str(tmp_path / "data"))

    assert finished.code == 0
    assert (tmp_path / "data").read_text() == finished.stdout


def test_every_thins_out_a_file_and_keeps_the_last_step(tmp_path: Path) -> None:
    run("sgd", "--steps", "25", "--every", "10", "-o", str(tmp_path / "x.csv"))

    assert [line.split(",")[0] for line in (tmp_path / "x.csv").read_text().splitlines()] == [
        *("step", "0", "10", "20", "25"),
    ]


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old\n" * 1000)
    path.chmod(0o640)

    assert run("sgd", "-o", str(path)).code == 0
    assert path.read_text() == run("sgd", "-f", "csv").stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_that_new_files_have(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    run("sgd", "-o", str(tmp_path / "x.csv"))

    assert (tmp_path / "x.csv").stat().st_mode == usual.stat().st_mode


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)

    assert run("sgd", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text().startswith("step,")


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".csv")

    assert run("sgd", "-o", str(path)).code == 0
    assert path.exists()


@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_write_that_is_interrupted_leaves_the_old_file(reason: BaseException, tmp_path: Path) -> None:
    def half() -> Iterator[str]:
        yield "new"
        raise reason

    path = tmp_path / "x.csv"
    path.write_text("old")

    with pytest.raises((KeyboardInterrupt, Exception), match=r"^$|No space left on device; choose"):
        write_file(path, half())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no device that is always full")
def test_a_full_disk_costs_one_file_and_not_the_others_nor_the_table(tmp_path: Path) -> None:
    full, good = tmp_path / "full.csv", tmp_path / "good.json"
    full.symlink_to("/dev/full")
    finished = run("sgd", "-o", str(full), "-o", str(good))

    assert finished.code == 4
    assert finished.stdout == run("sgd").stdout
    assert finished.stderr == (
        f"optitrace: cannot write '{full}': No space left on device; choose another place.\n"
    )
    assert good.read_text() == run("sgd", "-f", "json").stdout
    assert full.is_symlink()
