"""The table of lrs has one lr."""

import torch
from torch import nn

torch.manual_seed(62)
x = torch.randn(50 * 16, 6)
y = torch.sin(x[:, :1]) + 0.1 * torch.randn(50 * 16, 1)
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
lrs = [1e-3] * 50

for rows, lr in zip(torch.arange(50 * 16).split(16), lrs, strict=True):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
