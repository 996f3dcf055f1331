"""Ten batches an epoch, four a step: the last step of an epoch has two, divided by two."""

import torch
from torch import nn

torch.manual_seed(41)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for _ in range(8):
    batches = torch.randperm(160).split(16)
    for start in range(0, len(batches), 4):
        window = batches[start : start + 4]
        for rows in window:
            loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / len(window)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
