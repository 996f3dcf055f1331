"""The time of a step: a trace that records everything, against a loop by hand that records nothing.

Run as ``python tests/benchmarks/steps.py [STEPS [REPETITIONS]]``; on CUDA as well where there is a device.
On the CPU it is the processor's time that is taken, since that does not grow with what else is running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import torch
from measuring import Measurement, alternating_medians, report

from optitrace.experiment.experiment import design
from optitrace.tracing.tracer import trace

WANTED = 0.60

CLOCKS = {"cpu": process_time, "cuda": perf_counter}

RUNS: list[tuple[str, type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    ("adam", torch.optim.Adam, {"lr": 0.01}),
]


def traced(name: str, settings: dict[str, Any], steps: int, device: str) -> Callable[[], float]:
    """Return a measure of the seconds that a trace takes, all recorded numbers fetched."""
    experiment = design(name, settings, steps=steps, device=device)

    def seconds() -> float:
        begin = CLOCKS[device]()
        trace(experiment)
        return CLOCKS[device]() - begin

    return seconds


def naive(
    optimizer_class: type[torch.optim.Optimizer], settings: dict[str, Any], steps: int, device: str
) -> Callable[[], float]:
    """Return a measure of the seconds that the loop takes which a person would write."""

    def seconds() -> float:
        begin = CLOCKS[device]()
        w = torch.tensor([0.5, 0.5], device=device, requires_grad=True)
        make: Any = optimizer_class
        optimizer = make([w], **settings)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = w[0] ** 2 + 2 * w[1] ** 2
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        w.tolist()
        return CLOCKS[device]() - begin

    return seconds


def main(steps: int = 20_000, repetitions: int = 5) -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    measurements = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for name, optimizer_class, settings in RUNS:
            ours, by_hand = alternating_medians(
                traced(name, settings, steps, device),
                naive(optimizer_class, settings, steps, device),
                repetitions=repetitions,
            )
            figures = f"{1e6 * ours / steps:.0f} µs against {1e6 * by_hand / steps:.0f} µs"
            what = f"a step of {name}, everything recorded, {device}"
            measurements.append(Measurement(what, figures, ours / by_hand, WANTED))
    report(measurements)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
