"""An lr at which the weights move, and get nowhere."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = 0.1 * x @ torch.randn(8, 1)

model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=2e-6)

for _ in range(30):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
