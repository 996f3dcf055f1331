"""The lr is lowered by ReduceLROnPlateau when the held-out loss no longer falls, to a floor."""

import torch
from torch import nn

torch.manual_seed(56)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=0.01)

for _ in range(10):
    for rows in torch.arange(128).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        scheduler.step(nn.functional.mse_loss(model(x[128:]), y[128:]))
