"""A long warm-up and a cosine after it, chained, with as many steps as the run has."""

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

torch.manual_seed(58)
x = torch.randn(192, 6)
y = torch.randn(192, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
parts = [LinearLR(optimizer, start_factor=0.01, total_iters=24), CosineAnnealingLR(optimizer, T_max=72)]
scheduler = SequentialLR(optimizer, parts, milestones=[24])

for _ in range(4):
    for rows in torch.randperm(192).split(8):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()
