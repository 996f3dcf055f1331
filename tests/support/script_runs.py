"""Running training scripts under `optitrace run`, each in a process of its own that has torch already."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1] / "training" / "scripts"

PRELOADED = ["torch", "torch._dynamo", "optitrace.cli.app"]
"""What the server has imported that the processes are forked from: it takes longer than to train."""


STEPPED = """\
import sys, torch
weights = torch.ones(2, requires_grad=True)
optimizer = torch.optim.SGD([weights], lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    weights.square().sum().backward()
    optimizer.step()
print(sys.argv[1:], __name__)
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script that was run exits with, what was printed, and the training that was written, if any."""

    code: int | None
    stdout: str
    stderr: str
    written: dict[str, Any] | None


def run_script(
    text: str,
    folder: Path,
    *arguments: str,
    options: tuple[str, ...] = (),
    script: str = "",
    output: str = "",
) -> Ran:
    """Run a script of this text in a process of its own that has torch already.

    Args:
        text: of the script.
        folder: where script and output lie.
        *arguments: of the script.
        options: of optitrace run.
        script: what to call the script; its whole path if not given.
        output: what to call the file; its whole path if not given.
    """
    written_to = folder / "trace.json"
    (folder / "script.py").write_text(text, encoding="utf-8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    name = script or str(folder / "script.py")
    words = ["run", *options, "-o", output or str(written_to), name, *arguments]
    process = context.Process(target=_main, args=(words, folder, Path.cwd()))
    process.start()
    process.join(timeout=120)
    stdout, stderr = ((folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    written = json.loads(written_to.read_text(encoding="utf-8")) if written_to.exists() else None
    return Ran(process.exitcode, stdout, stderr, written)


def _main(words: list[str], folder: Path, place: Path) -> None:
    from optitrace.cli.app import main

    os.chdir(place)
    with (folder / "stdout").open("w") as sys.stdout, (folder / "stderr").open("w") as sys.stderr:
        stderr = sys.stderr
        code = main(words)
        if not stderr.closed:
            stderr.flush()
    os._exit(code)


def diagnoses_of(script: str | Path, folder: Path) -> list[dict[str, Any]]:
    """Return the diagnoses that `optitrace run` writes of a script, which must come to its end.

    Args:
        script: the name of one of `SCRIPTS`, or a path.
        folder: where to write.
    """
    path = SCRIPTS / f"{script}.py" if isinstance(script, str) else script
    output, said = folder / f"{path.stem}.json", folder / f"{path.stem}.txt"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(path, output, said))
    process.start()
    process.join(timeout=120)
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
