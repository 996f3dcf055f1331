"""Peak memory: a long run whose rows are thinned and written to a file, against a run of 10 steps.

Run as ``python tests/benchmarks/memory.py [STEPS]``. One run of each is enough: memory is not shared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Measurement, report

WANTED = 60.0
SHORT = 10


def peak_memory(steps: int, folder: str) -> float:
    """Return the peak resident memory of a run, in MB."""
    file = str(Path(folder) / f"{steps}.csv")
    command = [sys.executable, "-m", "optitrace", "sgd", "-n", str(steps), "--every", "1000", "-o", file]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, and kibibytes elsewhere
    return usage.ru_maxrss * unit / 1e6


def main(steps: int = 1_000_000) -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        long, short = peak_memory(steps, folder), peak_memory(SHORT, folder)
    figures = f"{long:.0f} MB against {short:.0f} MB"
    report([Measurement(f"{steps} steps of sgd beyond {SHORT}", figures, long - short, WANTED, "MB")])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
