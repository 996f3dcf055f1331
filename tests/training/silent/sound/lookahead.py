"""Lookahead by hand: every five steps the weights go half-way back to the slow ones."""

import torch
from torch import nn

torch.manual_seed(14)
x = torch.randn(128, 6)
y = x @ torch.randn(6, 1) + 0.3 * torch.randn(128, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
slow = [p.detach().clone() for p in model.parameters()]

for step in range(1, 41):
    rows = torch.randint(0, 128, (32,))
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
    if step % 5 == 0:
        with torch.no_grad():
            for p, s in zip(model.parameters(), slow, strict=True):
                s.lerp_(p, 0.5)
                p.copy_(s)
