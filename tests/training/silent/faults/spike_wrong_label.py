"""One target is typed without its decimal point: a single sample moves the last layer far."""

import torch
from torch import nn

torch.manual_seed(61)
x = torch.randn(60 * 16, 6)
y = 2 + torch.tanh(x @ torch.randn(6, 1))
y[40 * 16 + 3] = 21_700.0
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for rows in torch.arange(60 * 16).split(16):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
