"""zero_grad() stands in the loop over the micro-batches: only the last of four is used."""

import torch
from torch import nn

torch.manual_seed(40)
x = torch.randn(256, 6)
y = torch.randn(256, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
accumulate = 4

for _ in range(8):
    for i, rows in enumerate(torch.randperm(256).split(16)):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
