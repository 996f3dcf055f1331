"""The gradient is computed once, outside of the loop that steps."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

loss = nn.functional.mse_loss(model(x), y)
optimizer.zero_grad()
loss.backward()
for _ in range(20):
    optimizer.step()
