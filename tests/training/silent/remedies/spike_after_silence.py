"""The weighted loss is never off."""

import torch
from torch import nn

torch.manual_seed(64)
x = torch.randn(128, 6)
y = torch.sin(x[:, :1])
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.99)

for _ in range(120):
    rows = torch.randint(0, 128, (32,))
    weight = 1.0
    optimizer.zero_grad()
    loss = weight * nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
