"""A layer is frozen after a backward, whose gradient stays and moves it in each step after."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)
model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for step in range(12):
    if step == 1:
        model[0].requires_grad_(False)
    model[1].zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
