"""What `optitrace run` tells of the silent faults, and of the sound trainings: python judge.py [NAME …].

A fault that is found in a sound training, or in one whose fault was removed, is a false alarm.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]

from support.script_runs import diagnoses_of  # noqa: E402 - found where the line above says
from support.silent_faults import scripts, sentence, verdict  # noqa: E402


def main(names: list[str]) -> None:
    """Print what is told, missed and falsely alarmed at, of all scripts or of those that are named."""
    verdicts: dict[str, list[str]] = {"told": [], "near": [], "missed": []}
    alarms: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("faults", "sound", "remedies"):
            for script in scripts(kind):
                if names and script.stem not in names:
                    continue
                found = diagnoses_of(script, Path(folder))
                label = f"{kind}/{script.stem}"
                if kind == "faults":
                    told = verdict(script.stem, found)
                    verdicts[told].append(script.stem)
                    label = f"{told} {label}"
                elif faults := [sentence(one) for one in found if one["severity"] == "fault"]:
                    alarms += [f"{label}: {fault}" for fault in faults]
                    label = f"false alarm {label}"
                _write([label, *map(_line, found)])
    _write([f"{told} {len(those)}: {' '.join(those)}" for told, those in verdicts.items()])
    _write([f"false alarms {len(alarms)}", *alarms])


def _line(diagnosis: dict[str, Any]) -> str:
    return f"    {diagnosis['severity']} {sentence(diagnosis)}"


def _write(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
