"""What `optitrace run` costs a step of a training, against the same training unwatched, in one process.

Run as ``python tests/benchmarks/run.py [PAIRS [MODEL]]``, where a model is ``mlp`` or ``gpt``. An MLP of
99,670 weights is trained by Adam in batches of 64, once with a DataLoader, as trainings have one, and once
with batches that cost nothing; and a GPT of a million weights by AdamW. Some steps are watched, the next as
many are not, and so on; each pair of such blocks gives a ratio of CPU time, and their median counts. A block
of the MLP has one of all that is done only now and then.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from time import process_time

import torch
from measuring import Measurement, report
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from optitrace.analysis.training.rule_watch import RuleWatch
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.row_recorder import BLOCK
from optitrace.monitoring.torch_hooks import TorchHooks

DEFAULT = RecordingConfig()
PARAMS = RecordingConfig(parameters=True)
EVERY_10TH = RecordingConfig(every=10)
EVERYTHING = RecordingConfig(parameters=True, state=True)

BATCH, BATCHES = 64, 300
CONTEXT, CHARACTERS, WIDTH, LAYERS = 128, 64, 144, 4
GPT_BLOCK = 4
"""How many steps of the GPT are watched between others that are not."""

WARM_UP = 2
"""How many pairs do not count."""


def main(pairs: int, model: str) -> None:
    """Measure and report."""
    measurements = []
    if model in ("", "mlp"):
        for where, has_loader in (("with a DataLoader", True), ("with batches for nothing", False)):
            for what, config, wanted in (
                ("every step recorded", DEFAULT, 1.25),
                ("every step recorded with --params", PARAMS, 1.45),
                ("every 10th step recorded", EVERY_10TH, 1.06),
            ):
                steps, size = training(has_loader=has_loader), BLOCK * config.every
                found = measured(steps, Monitor(config), size=size, pairs=pairs)
                measurements.append(_measurement(f"MLP {where}, {what}", found, wanted))
    if model in ("", "gpt"):
        for what, monitor, wanted in (
            ("every step recorded", Monitor(DEFAULT), 1.05),
            (
                "--params --state --verify",
                Monitor(EVERYTHING, make_probe=RuleWatch().make_probe),
                1.08,
            ),
        ):
            found = measured(gpt_training(), monitor, size=GPT_BLOCK, pairs=4 * pairs)
            measurements.append(_measurement(f"GPT, {what}", found, wanted))
    report(measurements)
    print(f"{torch.get_num_threads()} threads of torch")  # noqa: T201


def training(*, has_loader: bool) -> Iterator[None]:
    """Train an MLP for ever; yield after each step."""
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


class Gpt(nn.Module):
    """A decoder of characters: embeddings, causal blocks, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, WIDTH)
        self.places = nn.Parameter(torch.zeros(CONTEXT, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CHARACTERS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, text: Tensor) -> Tensor:
        """Return the scores of the characters that may come next, shape (batch, context, characters)."""
        found: Tensor = self.head(self.blocks(self.characters(text) + self.places, self.mask, is_causal=True))
        return found


def gpt_training() -> Iterator[None]:
    """Train a GPT for ever; yield after each step."""
    torch.manual_seed(0)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    text = torch.randint(0, CHARACTERS, (4, CONTEXT + 1))
    while True:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def measured(steps: Iterator[None], monitor: Monitor, *, size: int, pairs: int) -> tuple[float, float, float]:
    """Return the median CPU time of a step that is watched and of one that is not, and the median ratio.

    Args:
        steps: of the training.
        monitor: what watches it.
        size: how many steps a block has.
        pairs: how many pairs of blocks count.
    """

    def seconds() -> float:
        begin = process_time()
        for _ in range(size):
            next(steps)
        return (process_time() - begin) / size

    def watched_seconds() -> float:
        interception = TorchHooks(monitor)
        interception.begin()
        try:
            return seconds()
        finally:
            interception.end()

    found = [(watched_seconds(), seconds()) for _ in range(WARM_UP + pairs)][WARM_UP:]
    assert monitor.failure is None
    assert not monitor.failures
    ours, alone = (statistics.median(times) for times in zip(*found, strict=True))
    return ours, alone, statistics.median(a / b for a, b in found)


def _measurement(what: str, found: tuple[float, float, float], wanted: float) -> Measurement:
    ours, alone, ratio = found
    return Measurement(what, f"{1e6 * ours:,.0f} µs against {1e6 * alone:,.0f} µs", ratio, wanted)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9, sys.argv[2] if len(sys.argv) > 2 else "")
