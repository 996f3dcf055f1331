"""The last batch of the data is evaluated with the sum of the losses: a gradient 64 times as large."""

import torch
from torch import nn

torch.manual_seed(66)
x = torch.randn(20 * 64, 6)
y = torch.randint(0, 4, (20 * 64,))
model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

for _ in range(3):
    batches = torch.randperm(20 * 64).split(64)
    for i, rows in enumerate(batches):
        reduction = "sum" if i == len(batches) - 1 else "mean"
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows], reduction=reduction)
        loss.backward()
        optimizer.step()
