"""An lr at which each step throws the weights to the other side."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=2.0)

for _ in range(20):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
