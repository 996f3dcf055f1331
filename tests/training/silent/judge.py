"""What `optitrace run` tells of the silent faults, and of the sound trainings: python judge.py [NAME …].

A fault is told if a diagnosis has its severity, its step and, where there is one, its parameter, and one of
the words by which its cause is known; it is near if only the words and the severity are right. A fault that
is found in a sound training or in a remedy is a false alarm.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))  # the package of this checkout

PRELOADED = ["torch", "torch._dynamo", "optitrace.cli.app"]
"""What the processes are forked from: to import it takes longer than to train."""

Found: TypeAlias = list[dict[str, Any]]
"""The diagnoses of one training."""


def diagnoses_of(script: Path, folder: Path) -> Found:
    """Return the diagnoses that `optitrace run` writes of a script."""
    output, said = folder / "training.json", folder / "said.txt"
    output.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(script, output, said))
    process.start()
    process.join(timeout=120)
    if process.exitcode != 0:
        raise RuntimeError(f"{script} ends with {process.exitcode}\n{said.read_text()}")
    found: Found = json.loads(output.read_text())["diagnoses"]
    return found


def _run(script: Path, output: Path, said: Path) -> None:
    import torch

    from optitrace.cli.app import main

    torch.set_num_threads(1)  # for tensors this small more of them are slower
    with said.open("w") as sys.stdout:
        sys.stderr = sys.stdout
        code = main(["run", "-o", str(output), str(script)])
        sys.stdout.flush()
    os._exit(code)


def verdict(expected: dict[str, Any], found: Found) -> str:
    """Return how well a fault is told: ``told``, ``near`` or ``missed``."""
    named = [
        diagnosis
        for diagnosis in found
        if diagnosis["severity"] in expected["severity"]
        and re.search(expected["words"], _text(diagnosis), re.I)
    ]
    if any(_is_placed(expected, diagnosis) for diagnosis in named):
        return "told"
    return "near" if named else "missed"


def _is_placed(expected: dict[str, Any], diagnosis: dict[str, Any]) -> bool:
    """Say whether step and parameter are right; where none is expected, any is."""
    steps = [step for step in (expected.get("step"), *expected.get("also", [])) if step is not None]
    text = _text(diagnosis)
    is_step = not steps or diagnosis["step"] in steps
    names = expected.get("parameter", [])
    return is_step and (not names or diagnosis["parameter"] in names or any(name in text for name in names))


def _text(diagnosis: dict[str, Any]) -> str:
    fact, remedy = diagnosis.get("fact") or diagnosis.get("cause", ""), diagnosis.get("remedy", "")
    return f"{diagnosis.get('fault') or diagnosis.get('code')}: {fact}; {remedy}"


def _line(diagnosis: dict[str, Any]) -> str:
    return f"    {diagnosis['severity']} {_text(diagnosis)}"


def main(names: list[str]) -> None:
    """Print what is told, missed and falsely alarmed at, of all scripts or of those that are named."""
    expected = tomllib.loads((HERE / "expected.toml").read_text())
    verdicts: dict[str, list[str]] = {"told": [], "near": [], "missed": []}
    alarms: list[str] = []
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for kind in ("faults", "sound", "remedies"):
            for script in sorted((HERE / kind).glob("*.py")):
                name = script.stem
                if names and name not in names:
                    continue
                found = diagnoses_of(script, Path(temporary))
                label = f"{kind}/{name}"
                if kind == "faults":
                    told = verdict(expected[name], found)
                    verdicts[told].append(name)
                    label = f"{told} {label}"
                elif faults := [diagnosis for diagnosis in found if diagnosis["severity"] == "fault"]:
                    alarms += [f"{label}: {_text(diagnosis)}" for diagnosis in faults]
                    label = f"false alarm {label}"
                lines += [label, *map(_line, found)]
    lines += [f"{told} {len(those)}: {' '.join(those)}" for told, those in verdicts.items()]
    lines += [f"false alarms {len(alarms)}", *alarms]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
