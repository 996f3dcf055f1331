"""The targets are in metres, the signal in micrometres: gradients far below Adam's eps."""

import torch
from torch import nn

torch.manual_seed(22)
x = torch.randn(160, 6)
y = 1e-6 * torch.sin(x @ torch.randn(6, 1))
model = nn.Linear(6, 1)
with torch.no_grad():
    model.weight.mul_(1e-6)
    model.bias.zero_()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-7)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / 1000
        loss.backward()
        optimizer.step()
