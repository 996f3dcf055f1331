"""A training that is killed can be read up to its last block, and followed until then."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.made_trainings import with_all
from support.runs import PROGRAM, environment, run, run_process
from support.script_runs import STEPPED, run_script
from support.watched import Task, watching

from optitrace.cli import following, run_part
from optitrace.cli.run_part import RunPart
from optitrace.cli.run_report import Rank
from optitrace.errors import InputFileError
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.records.reader import SavedTraining, read_saved
from optitrace.records.trace import Outcome, Status
from optitrace.records.training import Program, TrainingRecord
from optitrace.records.writer import jsonl_chunks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files have no such locks")

ENDLESS = """\
import itertools, sys, torch
torch.set_num_threads(1)
weights = torch.ones(2, requires_grad=True)
optimizer = torch.optim.SGD([weights], lr=0.1)
for step in itertools.count(1):
    optimizer.zero_grad()
    weights.square().sum().backward()
    optimizer.step()
    print(step, flush=True)
"""


@pytest.fixture(autouse=True)
def write_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_part, "INTERVAL", 0.0)
    monkeypatch.setattr(run_part, "LONGEST_INTERVAL", 0.0)
    monkeypatch.setattr(following, "INTERVAL", 0.0)


def part_in(folder: Path) -> RunPart:
    return RunPart(folder / "run.jsonl", Program(("train.py",)), Rank(), lambda monitor: {})


def recorded(folder: Path, steps: int, part: RunPart | None = None, **config: Any) -> RunPart:
    """Return what has written a training of some steps that has not ended."""
    part, task = part or part_in(folder), Task()
    with watching(RecordingConfig(**config), when_recorded=part):
        task.train(torch.optim.Adam(task.model.parameters(), lr=0.1), steps)
    assert part.failure == ""
    return part


def read(path: Path) -> SavedTraining:
    saved = read_saved(str(path))
    assert isinstance(saved, SavedTraining)
    return saved


def heads(path: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if "schema" in line]


def test_blocks_are_read_as_the_training_that_was_written_at_once(tmp_path: Path) -> None:
    whole, task, part = tmp_path / "whole.jsonl", Task(), part_in(tmp_path)
    with watching(RecordingConfig(parameters=True, state=True), when_recorded=part) as watcher:
        task.train(torch.optim.Adam(task.model.parameters(), lr=0.1), 5)
    running = watcher.training(Program(("train.py",)), Outcome(Status.RUNNING, 5))
    whole.write_text("".join(jsonl_chunks(running)))

    assert len(heads(part.path)) == 5
    found, expected = (_unsettled(read(path).training) for path in (part.path, whole))
    assert found == expected


def _unsettled(training: TrainingRecord) -> TrainingRecord:
    """Return a training without how many backwards steps have used: the last step is not counted yet."""
    return replace(training, optimizers=tuple(replace(one, backwards=()) for one in training.optimizers))


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_last_line_that_was_cut_short_is_left_out(cut: int, tmp_path: Path) -> None:
    path = recorded(tmp_path, 6).path
    lines = path.read_bytes().splitlines(keepends=True)
    *_, last_head = [k for k, line in enumerate(lines) if line.startswith(b'{"schema"')]

    path.write_bytes(b"".join(lines[:last_head]) + lines[last_head][:cut])
    saved = read(path)

    [optimizer] = saved.training.optimizers
    assert (list(optimizer.steps), optimizer.taken) == ([1, 2, 3, 4, 5], 5)
    assert saved.training.outcome == Outcome(Status.INTERRUPTED, 5)


def test_a_line_that_is_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path, 3).path
    lines = path.read_bytes().splitlines(keepends=True)

    path.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", *lines[4:]]))

    with pytest.raises(InputFileError, match=r"line 4, column 40: it ends in the middle"):
        read_saved(str(path))


def test_the_file_of_a_completed_training_may_not_end_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(jsonl_chunks(with_all()))[:-10])

    with pytest.raises(InputFileError, match="it ends in the middle, so it was probably cut short"):
        read_saved(str(path))


def test_an_optimizer_that_gets_another_name_has_it_in_all_rows(tmp_path: Path) -> None:
    part, first, second = part_in(tmp_path), Task(), Task()
    with watching(when_recorded=part) as watcher:
        fast = torch.optim.SGD(first.model.parameters(), lr=0.1)
        first.train(fast, 2)
        slow = torch.optim.SGD(second.model.parameters(), lr=0.01)
        second.train(slow, 2)
        names = watcher.names()

    found = read(part.path).training.optimizers
    assert names["SGD"] != "SGD"
    assert [optimizer.name for optimizer in found] == list(names.values())
    assert [list(optimizer.steps) for optimizer in found] == [[1, 2], [1, 2]]


def test_what_is_recorded_later_does_not_depend_on_the_part(tmp_path: Path) -> None:
    part = part_in(tmp_path)

    assert adversarial(when_recorded=part) == adversarial()
    assert len(heads(part.path)) == 6


def test_what_a_step_has_not_used_is_not_called_wasted_before_others_could_use_it(tmp_path: Path) -> None:
    part = part_in(tmp_path)
    adversarial(when_recorded=part)

    for head in heads(part.path):
        for optimizer in head["optimizers"]:
            assert all(count["wasted"] == 0 for count in optimizer["backwards"])


def adversarial(**more: Any) -> str:
    """Return what is recorded of two networks, one of which steps on what the other has cleared."""
    torch.manual_seed(0)
    generator, critic = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    with watching(**more) as watcher:
        of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
        of_generator = torch.optim.Adam(generator.parameters())
        for _ in range(3):
            critic(generator(torch.randn(8, 4))).mean().backward()
            of_critic.zero_grad()
            critic(generator(torch.randn(8, 4)).detach()).mean().backward()
            of_critic.step()
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 0.1)
            of_generator.step()
            of_generator.zero_grad()
            of_critic.zero_grad()
    written = "".join(jsonl_chunks(watcher.training(Program(), Outcome())))
    return re.sub(r'"seconds_per_step": [^,]+, ', "", written)


def test_a_part_whose_program_runs_is_running_and_else_interrupted(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        during = read(tmp_path / "run.jsonl.part")
    killed = run_process("show", str(tmp_path / "run.jsonl"))

    assert during.training.outcome.status is Status.RUNNING
    assert read(tmp_path / "run.jsonl.part").training.outcome.status is Status.INTERRUPTED
    assert process.returncode == -signal.SIGKILL
    assert killed.code == 0
    assert "interrupted after " in killed.stdout


def test_following_reports_the_steps_until_the_training_ends_and_then_shows_it(tmp_path: Path) -> None:
    with running(tmp_path) as training, follower_in(tmp_path) as follower:
        assert follower.stderr is not None
        first = follower.stderr.readline()
        is_going_on = follower.poll() is None
        training.kill()
        shown, _ = follower.communicate(timeout=120)

    assert first.startswith(b"optitrace: SGD: step ")
    assert is_going_on
    assert follower.returncode == 0
    assert b"interrupted after " in shown


def test_who_follows_can_leave_while_the_training_continues(tmp_path: Path) -> None:
    with running(tmp_path) as training, follower_in(tmp_path) as follower:
        assert follower.stderr is not None
        follower.stderr.readline()
        follower.send_signal(signal.SIGINT)
        shown, said = follower.communicate(timeout=120)
        is_going_on = training.poll() is None

    assert is_going_on
    assert (follower.returncode, shown) == (130, b"")
    assert said.endswith(b"optitrace: interrupted; the training continues.\n")


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a training without an end, whose first step is written when this begins."""
    (folder / "script.py").write_text(ENDLESS)
    words = [*PROGRAM, "run", "-o", "run.jsonl", "script.py"]
    with subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def follower_in(folder: Path) -> subprocess.Popen[bytes]:
    words = [*PROGRAM, "show", "--follow", "run.jsonl"]
    return subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_following_a_training_that_has_ended_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(jsonl_chunks(with_all())))

    assert run("show", "--follow", str(path)) == run("show", str(path))


def test_standard_input_cannot_be_followed() -> None:
    ran = run("show", "--follow", "-")

    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == "optitrace: --follow needs a file, and - is standard input; name the file.\n"


def test_a_part_is_found_by_the_name_of_its_training_and_diagnosed(tmp_path: Path) -> None:
    task, part = Task(), part_in(tmp_path)
    with watching(when_recorded=part):
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        for _ in range(3):  # without zero_grad
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    shown = run("show", str(tmp_path / "run.jsonl"))
    allowed = run("show", "--allow", "accumulated-gradient", str(part.path))

    assert (shown.code, allowed.code) == (0, 0)
    assert shown.stderr.startswith(f"optitrace: there is no '{tmp_path / 'run.jsonl'}' yet; '{part.path}' is")
    assert "was not\ncleared (2 of 3 steps)" in shown.stdout
    assert "interrupted after 3 steps" in shown.stdout
    assert "(2 of 3 steps)" not in allowed.stdout


def test_a_part_beside_a_training_is_named(tmp_path: Path) -> None:
    part, path = recorded(tmp_path, 1).path, tmp_path / "run.jsonl"
    path.write_text("".join(jsonl_chunks(with_all())))

    shown = run("show", str(path))

    assert "no more data" in shown.stdout
    assert shown.stderr == (
        f"optitrace: '{part}' is from another run, which has not written '{path}'; show it by its name.\n"
    )


def test_other_commands_name_the_part_of_a_training_that_is_not_there(tmp_path: Path) -> None:
    part = recorded(tmp_path, 1).path

    ran = run("diff", str(tmp_path / "run.jsonl"), str(part))

    assert ran.code == 3
    assert f"what was recorded before the training ended is in '{part}'." in ran.stderr


def test_the_part_is_gone_once_the_training_is_written(tmp_path: Path) -> None:
    ran = run_script(STEPPED, tmp_path, options=("-o", str(tmp_path / "run.jsonl")))

    assert ran.code == 0
    assert read(tmp_path / "run.jsonl").training.outcome == Outcome()
    assert sorted(path.name for path in tmp_path.glob("run.jsonl*")) == ["run.jsonl"]


def test_a_program_that_exits_at_once_leaves_what_was_written(tmp_path: Path) -> None:
    ran = run_script(
        f"{STEPPED}import os; os._exit(7)", tmp_path, options=("-o", str(tmp_path / "run.jsonl"))
    )

    assert ran.code == 7
    saved = read(tmp_path / "run.jsonl.part")
    assert saved.training.outcome.status is Status.INTERRUPTED
    assert list(saved.training.optimizers[0].steps)[:1] == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork")
def test_a_forked_process_writes_nothing(tmp_path: Path) -> None:
    part, task = part_in(tmp_path), Task()
    with watching(when_recorded=part):
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 2)
        before = part.path.read_bytes()
        if not (child := os.fork()):
            task.train(optimizer, 2)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    assert part.path.read_bytes() == before


def test_only_files_of_jsonl_are_written_while_the_training_goes_on(tmp_path: Path) -> None:
    script = f"{STEPPED}import os; print(os.listdir({str(tmp_path)!r}))"

    assert ".part" not in run_script(script, tmp_path).stdout
    options = ("-o", str(tmp_path / "run.jsonl"))
    assert "run.jsonl.part" in run_script(script, tmp_path, options=options).stdout


def test_a_part_that_cannot_be_written_costs_one_sentence(tmp_path: Path) -> None:
    part = tmp_path / "run.jsonl.part"
    part.mkdir()
    ran = run_script(STEPPED, tmp_path, options=("-o", str(tmp_path / "run.jsonl")))

    assert ran.code == 0
    assert read(tmp_path / "run.jsonl").training.outcome == Outcome()
    assert ran.stderr.endswith(
        f"optitrace: '{part}' was not written to the end of the training: Is a directory.\n"
    )


def test_the_part_stays_if_the_training_cannot_be_written(tmp_path: Path) -> None:
    whole, part = tmp_path / "run.jsonl", tmp_path / "run.jsonl.part"
    ran = run_script(f"{STEPPED}import os; os.mkdir({str(whole)!r})", tmp_path, options=("-o", str(whole)))

    assert ran.code == 4
    assert f"optitrace: what was recorded until shortly before the end is in '{part}'.\n" in ran.stderr
    assert read(part).training.outcome.status is Status.INTERRUPTED


@pytest.mark.parametrize("fault", ["full", "removed", "replaced", "closed", "own"])
def test_nothing_follows_a_block_that_could_not_be_written(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, task = part_in(tmp_path), Task()
    why = "another program removed, replaced or closed it"
    with watching(when_recorded=part) as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 2)
        before = part.path.read_bytes()
        with monkeypatch.context() as patch:
            if fault == "full":
                why = "No space left on device"
                patch.setattr(os, "write", _half_written)
            elif fault == "own":
                why = "AttributeError: no names"
                patch.setattr(Monitor, "names", _without_names)
            elif fault == "closed":
                os.close(part._part._file)  # type: ignore[arg-type]
            else:
                part.path.unlink()
            if fault == "replaced":
                part.path.write_bytes(before)
            task.train(optimizer, 1)
        task.train(optimizer, 2)

    assert part.failure == f"'{part.path}' was not written to the end of the training: {why}."
    assert not watcher.failures
    if fault != "removed":
        assert part.path.read_bytes().startswith(before)
        [read_back] = read(part.path).training.optimizers
        assert list(read_back.steps) == [1, 2]


_write = os.write


def _half_written(file: int, content: bytes) -> int:
    if len(content) > 100:
        return _write(file, content[:100])
    raise OSError(28, os.strerror(28))


def _without_names(monitor: Monitor) -> dict[str, str]:
    raise AttributeError("no names")


def test_a_step_of_another_thread_delays_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, task = part_in(tmp_path), Task()
    with watching(when_recorded=part) as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "training_so_far", _changed_meanwhile)
            task.train(optimizer, 1)
        assert "dictionary changed size" in part.failure
        task.train(optimizer, 1)

    assert part.failure == ""
    assert not watcher.failures
    assert len(read(part.path).training.optimizers[0].steps) == 2


def _changed_meanwhile(*_: Any, **__: Any) -> Any:
    raise RuntimeError("dictionary changed size during iteration")


def test_a_new_run_replaces_the_part_of_a_killed_one(tmp_path: Path) -> None:
    recorded(tmp_path, 5)

    assert len(read(recorded(tmp_path, 2).path).training.optimizers[0].steps) == 2


def test_a_run_removes_its_own_part_alone(tmp_path: Path) -> None:
    part = recorded(tmp_path, 1)
    other = recorded(tmp_path, 2)

    part.remove()
    assert other.path.exists()
    other.remove()
    assert not other.path.exists()


def test_no_block_is_due_before_the_interval_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_part, "LONGEST_INTERVAL", 1e6)
    monkeypatch.setattr(run_part, "INTERVAL", 1e6)

    assert len(heads(recorded(tmp_path, 5).path)) == 1
