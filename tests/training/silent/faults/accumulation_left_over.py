"""Ten batches an epoch, four a step: two are left over and go into the next epoch's first step."""

import torch
from torch import nn

torch.manual_seed(41)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
accumulate = 4

for _ in range(8):
    for i, rows in enumerate(torch.randperm(160).split(16)):
        loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
