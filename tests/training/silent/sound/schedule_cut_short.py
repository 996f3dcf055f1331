"""Warm restarts: a cosine begun anew every ten steps."""

import torch
from torch import nn

torch.manual_seed(52)
x = torch.randn(192, 6)
y = torch.randn(192, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, eta_min=5e-4)

for _ in range(5):
    for rows in torch.randperm(192).split(24):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()
