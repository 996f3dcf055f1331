"""Frozen half-way, and its gradient is cleared to None: it stays where it is."""

import torch
from torch import nn

torch.manual_seed(32)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-2)

for step in range(40):
    if step == 20:
        model[0].requires_grad_(False)
    rows = torch.randint(0, 160, (32,))
    optimizer.zero_grad(set_to_none=True)
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
