"""What `optitrace run` costs a step of a training, against the same training unwatched, in one process.

Run as ``python tests/benchmarks/run.py [PAIRS]``. An MLP of 99,670 weights is trained by Adam in batches of
64, once with a DataLoader, as trainings have one, and once with batches that cost nothing. Some hundred steps
are watched, the next as many are not, and so on; each pair of such blocks, which has one of all that is done
only now and then, gives a ratio, and their median counts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from time import perf_counter

import torch
from measuring import Measurement, report
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.row_recorder import BLOCK
from optitrace.monitoring.torch_hooks import TorchHooks

WANTED = {(1, False): 1.25, (1, True): 1.45, (10, False): 1.06}
"""The largest ratio, by how many steps there are to one that is recorded, and whether by parameter."""

BATCH, BATCHES = 64, 300
WARM_UP = 2
"""How many pairs do not count."""


def main(pairs: int = 9) -> None:
    """Measure and report."""
    measurements = []
    for what, has_loader in (("with a DataLoader", True), ("with batches for nothing", False)):
        for (every, params), wanted in WANTED.items():
            wish = RecordingConfig(every=every, parameters=params)
            ours, alone, ratio = measured(training(has_loader=has_loader), wish, pairs=pairs)
            figures = f"{1e6 * ours:.0f} µs against {1e6 * alone:.0f} µs"
            name = "every step recorded" if every == 1 else f"every {every}th step recorded"
            name += " with --params" if params else ""
            measurements.append(Measurement(f"{name}, {what}", figures, ratio, wanted))
    report(measurements)
    print(f"{torch.get_num_threads()} threads of torch")  # noqa: T201


def training(*, has_loader: bool) -> Iterator[None]:
    """Train for ever; yield after each step."""
    torch.manual_seed(0)
    images = torch.randn(BATCH * BATCHES, 784)
    labels = torch.randint(0, 10, (BATCH * BATCHES,))
    model = nn.Sequential(nn.Linear(784, 110), nn.ReLU(), nn.Linear(110, 110), nn.ReLU(), nn.Linear(110, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        if has_loader:
            yield from loader
        else:
            yield from zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True)

    while True:
        for x, y in batches():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield


def measured(steps: Iterator[None], wish: RecordingConfig, *, pairs: int) -> tuple[float, float, float]:
    """Return the median time of a step that is watched and of one that is not, and the median ratio."""
    watcher = Monitor(wish)
    size = BLOCK * wish.every

    def seconds() -> float:
        begin = perf_counter()
        for _ in range(size):
            next(steps)
        return (perf_counter() - begin) / size

    def watched_seconds() -> float:
        interception = TorchHooks(watcher)
        interception.begin()
        try:
            return seconds()
        finally:
            interception.end()

    found = [(watched_seconds(), seconds()) for _ in range(WARM_UP + pairs)][WARM_UP:]
    assert watcher.failure is None
    ours, alone = (statistics.median(times) for times in zip(*found, strict=True))
    return ours, alone, statistics.median(a / b for a, b in found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
