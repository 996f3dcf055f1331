"""The same large batch, with the loss that is made for it."""

import torch
from torch import nn

torch.manual_seed(0)
batches = [torch.randn(16, 8) for _ in range(6)]
batches[2] = batches[2] * 1000
labels = [torch.randint(3, (16,)) for _ in range(6)]

model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for inputs, targets in zip(batches, labels, strict=True):
    loss = nn.functional.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
