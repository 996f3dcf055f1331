"""Running training scripts under `optitrace run`, each in a process of its own that has torch already."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"

PRELOADED = ["torch", "torch._dynamo", "optitrace.cli.app"]
"""What the server has imported that the processes are forked from: it takes longer than to train."""


def diagnoses_of(script: str, folder: Path) -> list[dict[str, Any]]:
    """Return the diagnoses that `optitrace run` writes of a script, which must come to its end."""
    output, said = folder / f"{script}.json", folder / f"{script}.txt"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(SCRIPTS / f"{script}.py", output, said))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0, said.read_text()
    found: list[dict[str, Any]] = json.loads(output.read_text())["diagnoses"]
    return found


def _run(script: Path, output: Path, said: Path) -> None:
    import torch

    from optitrace.cli.app import main

    torch.set_num_threads(1)  # for tensors this small more of them are slower
    with said.open("w") as sys.stdout:
        sys.stderr = sys.stdout
        code = main(["run", "-o", str(output), str(script)])
    os._exit(code)
