"""A little noise is added to the weights every ten steps, as a regulariser."""

import torch
from torch import nn

torch.manual_seed(18)
x = torch.randn(128, 6)
y = torch.cos(x[:, :1])
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for step in range(50):
    rows = torch.randint(0, 128, (32,))
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
    if step % 10 == 9:
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.01 * torch.randn_like(p))
