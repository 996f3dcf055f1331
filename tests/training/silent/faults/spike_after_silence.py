"""A loss is off for long, and the mean square forgets: its return makes an update ten times as long."""

import torch
from torch import nn

torch.manual_seed(64)
x = torch.randn(128, 6)
y = torch.sin(x[:, :1])
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.99)

for step in range(120):
    rows = torch.randint(0, 128, (32,))
    weight = 1e-4 if step < 90 else 1.0
    optimizer.zero_grad()
    loss = weight * nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
