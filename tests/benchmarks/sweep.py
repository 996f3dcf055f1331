"""A sweep against optax under jit(vmap(scan)), against the loop over torch.optim, and its peak memory.

Run as ``python tests/benchmarks/sweep.py [REPETITIONS]``; with llvmlite, as the extra ``sweep`` installs it,
since the ratios are meant for machine code. optax is left out where it is not installed. It
is given the loss in two forms: as the experiment is documented, ``w[0]**2 + 2*w[1]**2``, and as the sum
over a vector that is the fastest for it.
"""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from measuring import Measurement, report

from optitrace.analysis.sweeping.batch import program
from optitrace.analysis.sweeping.blocks import blocks_by_rule
from optitrace.analysis.sweeping.measures import Goal
from optitrace.analysis.sweeping.space import Space, lay_out
from optitrace.analysis.sweeping.sweep import sweep
from optitrace.experiment.experiment import design
from optitrace.native.machine_code import compiled

COMPILED_AND_ALL, COMPILED = 0.60, 1.00
LOOP = 1 / 1000
MEMORY = 500.0

STEPS = 100
LOOPED = 20

SWEEPS: dict[str, tuple[str, ...]] = {
    "adam": ("lr=log:1e-4:1:1000000",),
    "sgd": ("lr=log:1e-4:1:1000", "momentum=0.001:0.99:1000"),
}


def seconds(run: Callable[[], object]) -> float:
    """Return how long something takes."""
    begin = perf_counter()
    run()
    return perf_counter() - begin


def final_weights(space: Space) -> torch.Tensor:
    """Return the last weights of every configuration."""
    weights = torch.empty(space.size, len(space.base.start))
    for block in blocks_by_rule(space):
        weights[block.first : block.first + len(block)] = block.weights
    return weights


def final_weights_from_nothing(space: Space) -> torch.Tensor:
    """Return the last weights of every configuration, with nothing kept of what was compiled before."""
    program.cache_clear()
    compiled.cache_clear()
    return final_weights(space)


def optax_sweep(name: str, *, documented: bool) -> Callable[[], Any]:
    """Return the same sweep by optax, which is compiled when it is called for the first time."""
    import jax
    import jax.numpy as jnp
    import optax

    c = jnp.array([1.0, 2.0])

    def loss(w: Any) -> Any:
        return w[0] ** 2 + 2 * w[1] ** 2 if documented else (c * w * w).sum()

    def run(lr: Any, momentum: Any) -> Any:
        optimizer = optax.adam(lr) if name == "adam" else optax.sgd(lr, momentum=momentum)

        def step(carry: Any, _: None) -> Any:
            w, state = carry
            updates, state = optimizer.update(jax.grad(loss)(w), state, w)
            return (optax.apply_updates(w, updates), state), None

        w = jnp.full(2, 0.5)
        return jax.lax.scan(step, (w, optimizer.init(w)), None, length=STEPS)[0][0]

    if name == "adam":
        lr, momentum = jnp.logspace(-4, 0, 1_000_000), jnp.zeros(1_000_000)
    else:
        grid = jnp.meshgrid(jnp.logspace(-4, 0, 1000), jnp.linspace(0.001, 0.99, 1000), indexing="ij")
        lr, momentum = (axis.ravel() for axis in grid)
    compiled = jax.jit(jax.vmap(run))
    return lambda: compiled(lr, momentum).block_until_ready()


def against_optax(name: str, repetitions: int, *, documented: bool) -> list[Measurement]:
    """Measure a million configurations, in turns: each with compiling, then each once compiled."""
    space = lay_out(design(name, steps=STEPS), SWEEPS[name])
    times: dict[str, list[float]] = {"their first": [], "our first": [], "their second": [], "our second": []}
    for _ in range(repetitions):
        theirs = optax_sweep(name, documented=documented)
        runs = (theirs, lambda: final_weights_from_nothing(space), theirs, lambda: final_weights(space))
        for taken, run in zip(times.values(), runs, strict=True):
            taken.append(seconds(run))
    what = f"{name}, 1,000,000 configurations, loss {'as documented' if documented else 'as a vector sum'}"
    return [
        Measurement(
            f"{what}, {how}",
            f"{median(times[f'our {call}']):.3f} s against {median(times[f'their {call}']):.3f} s",
            median(times[f"our {call}"]) / median(times[f"their {call}"]),
            wanted,
        )
        for how, call, wanted in (
            ("both with compiling", "first", COMPILED_AND_ALL),
            ("both once compiled", "second", COMPILED),
        )
    ]


def against_loop(repetitions: int) -> Measurement:
    """Measure 10,000 configurations, against the loop over torch.optim that does some of them."""
    space = lay_out(design("adam", steps=STEPS), ["lr=log:1e-4:1:10000"])

    def loop() -> None:
        for k in range(LOOPED):
            w = torch.tensor([0.5, 0.5], requires_grad=True)
            optimizer = torch.optim.Adam([w], lr=10 ** (-4 + 4 * k / LOOPED))
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = w[0] ** 2 + 2 * w[1] ** 2
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    loop()
    final_weights(space)
    pairs = [(seconds(lambda: final_weights(space)), seconds(loop)) for _ in range(repetitions)]
    ours = median(first for first, _ in pairs)
    by_hand = median(second for _, second in pairs) / LOOPED * space.size
    figures = f"{ours:.3f} s against {by_hand:.0f} s"
    return Measurement(
        "adam, 10,000 configurations, the loop over torch.optim", figures, ours / by_hand, LOOP
    )


def memory() -> Measurement:
    """Measure the peak of a sweep of ten million configurations, over that of importing torch."""
    command = [sys.executable, __file__, "--memory"]
    extra = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Measurement(
        "adam, 10,000,000 configurations, the ten best", "peak over import torch", extra, MEMORY, "MB"
    )


def measure_memory() -> None:
    """Sweep ten million configurations and print how much the peak memory grew, in MB."""
    before = _peak()
    sweep(lay_out(design("adam", steps=10), ["lr=log:1e-4:1:10000000"]), Goal())
    print(_peak() - before)  # noqa: T201


def _peak() -> float:
    """Return this process's peak resident memory in MB; what getrusage says begins with the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        [kilobytes] = [
            line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")
        ]
        return int(kilobytes) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(repetitions: int = 5) -> None:
    """Measure and report."""
    measurements = [against_loop(repetitions), memory()]
    if importlib.util.find_spec("optax") is not None:
        for documented in (True, False):
            for name in SWEEPS:
                measurements += against_optax(name, repetitions, documented=documented)
    report(measurements)


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        measure_memory()
    else:
        main(*map(int, sys.argv[1:]))
