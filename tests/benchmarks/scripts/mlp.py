"""An MLP of 99,670 weights is trained by Adam in batches of 64; the median time of a step is printed.

Run as ``python mlp.py [loader]``: with ``loader`` the batches come from a DataLoader, without from a tensor.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH, BATCHES, EPOCHS, WARM_UP = 64, 300, 4, 200

torch.manual_seed(0)
images = torch.randn(BATCH * BATCHES, 784)
labels = torch.randint(0, 10, (BATCH * BATCHES,))
model = nn.Sequential(nn.Linear(784, 110), nn.ReLU(), nn.Linear(110, 110), nn.ReLU(), nn.Linear(110, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True)


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch."""
    if sys.argv[1:] == ["loader"]:
        yield from loader
    else:
        yield from zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True)


times: list[float] = []
last = time.perf_counter()
for _ in range(EPOCHS):
    for x, y in batches():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        now = time.perf_counter()
        times.append(now - last)
        last = now
print(statistics.median(times[WARM_UP:]))  # noqa: T201
