"""What `optitrace run` costs a step of a training, against the script alone: medians of steps, in turns.

Run as ``python tests/benchmarks/run.py [REPETITIONS]``. The script is `scripts/mlp.py`, once with a
DataLoader, as trainings have one, and once with batches that cost nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from measuring import Measurement, report

SCRIPT = str(Path(__file__).parent / "scripts" / "mlp.py")
WANTED = {1: 1.05, 10: 1.02}
"""The largest ratio, by how many steps there are to one that is recorded."""


def step_seconds(arguments: list[str], kind: list[str]) -> float:
    """Return the median time of a step of the script."""
    command = [sys.executable, *arguments, SCRIPT, *kind]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return float(ended.stdout)


def main(repetitions: int = 5) -> None:
    """Measure and report."""
    measurements = []
    for what, kind in (("with a DataLoader", ["loader"]), ("with batches for nothing", [])):
        ways = {0: [], 1: ["-m", "optitrace", "run"], 10: ["-m", "optitrace", "run", "--every", "10"]}
        seconds: dict[int, list[float]] = {every: [] for every in ways}
        for _ in range(repetitions):
            for every, arguments in ways.items():
                seconds[every].append(step_seconds(arguments, kind))
        alone = statistics.median(seconds[0])
        for every, wanted in WANTED.items():
            ours = statistics.median(seconds[every])
            figures = f"{1e6 * ours:.0f} µs against {1e6 * alone:.0f} µs"
            name = "every step recorded" if every == 1 else f"every {every}th step recorded"
            measurements.append(Measurement(f"{name}, {what}", figures, ours / alone, wanted))
    report(measurements)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
