"""A whole process: the documented momentum run by optitrace, against a script that does it with torch.

Run as ``python tests/benchmarks/startup.py [REPETITIONS]``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

from measuring import Measurement, alternating_medians, report

WANTED = 0.50

OPTITRACE = [sys.executable, "-m", "optitrace", "sgd", "--momentum", "0.1", "--steps", "2"]

SCRIPT = """
import torch

w = torch.tensor([0.5, 0.5], requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.01, momentum=0.1)
for step in range(2):
    optimizer.zero_grad()
    loss = w[0] ** 2 + 2 * w[1] ** 2
    loss.backward()
    optimizer.step()
    print(step + 1, loss.item(), w.grad.tolist(), w.tolist())
"""


def process(command: list[str]) -> Callable[[], float]:
    """Return a measure of the seconds that a process takes."""

    def seconds() -> float:
        begin = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return perf_counter() - begin

    return seconds


def main(repetitions: int = 9) -> None:
    """Measure and report."""
    ours, plain = alternating_medians(
        process(OPTITRACE), process([sys.executable, "-c", SCRIPT]), repetitions=repetitions
    )
    figures = f"{ours:.2f} s against {plain:.2f} s"
    report([Measurement("whole process, 2 steps of sgd", figures, ours / plain, WANTED)])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
