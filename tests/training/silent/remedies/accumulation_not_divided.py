"""Four micro-batches a step, their losses averaged."""

import torch
from torch import nn

torch.manual_seed(42)
x = torch.randn(256, 6)
y = torch.randn(256, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

for _ in range(8):
    for i, rows in enumerate(torch.randperm(256).split(16)):
        loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
