"""Adam's moments are kept from epoch to epoch."""

import torch
from torch import nn

torch.manual_seed(2)
x = torch.randn(120, 5)
y = x @ torch.randn(5, 2) + 0.2 * torch.randn(120, 2)

model = nn.Sequential(nn.Linear(5, 20), nn.GELU(), nn.Linear(20, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

for _ in range(4):
    for rows in torch.randperm(120).split(12):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
