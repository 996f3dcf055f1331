"""Running a script on two ranks: as a person does, and sooner, in processes that have torch already."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.script_runs import PRELOADED, SCRIPTS

SCRIPT = str(SCRIPTS / "distributed" / "ranks.py")


@dataclass(frozen=True)
class Ran:
    """How the ranks ended, what they printed, and the trainings that were written, by rank."""

    code: int | None
    stdout: str
    stderr: str
    written: dict[int, Any]

    @property
    def ranks(self) -> dict[str, Any]:
        """What rank 0 found out about the ranks."""
        found: dict[str, Any] = self.written[0]["ranks"]
        return found


def torchrun(how: str, folder: Path, *options: str) -> Ran:
    """Run the script as a person does."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "optitrace"]
    ran = subprocess.run(
        [sys.executable, *start, *_arguments(how, folder, *options)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (folder / "trace.rank0.json").exists(), ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr, _written(folder))


def launched(how: str, folder: Path) -> Ran:
    """Run the script as torchrun does, in processes that have torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_launch, args=(_arguments(how, folder), folder / "logs"))
    process.start()
    process.join(timeout=90)
    if process.is_alive():
        process.terminate()
    stdout, stderr = (
        "".join(p.read_text() for p in folder.rglob(name)) for name in ("stdout.log", "stderr.log")
    )
    assert (folder / "trace.rank0.json").exists(), (stdout, stderr)
    return Ran(process.exitcode, stdout, stderr, _written(folder))


def _arguments(how: str, folder: Path, *options: str) -> list[str]:
    return ["run", *options, "-o", str(folder / "trace.json"), SCRIPT, how]


def _written(folder: Path) -> dict[int, Any]:
    files = {rank: folder / f"trace.rank{rank}.json" for rank in (0, 1)}
    return {rank: json.loads(file.read_text()) for rank, file in files.items() if file.exists()}


def _launch(arguments: list[str], logs: Path) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="ranks",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        start_method="fork",  # so that they have what this process has
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ALL),
    )
    try:
        elastic_launch(config, _work)(arguments)
    except ChildFailedError:
        sys.exit(1)


def _work(arguments: list[str]) -> None:
    from optitrace.cli.app import main

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as in a process that torchrun starts
    sys.exit(main(arguments))
