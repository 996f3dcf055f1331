"""The same distance with a small number under the root."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for i in range(12):
    anchor, other = torch.randn(2, 16, 8)
    if i == 7:
        other[3] = anchor[3]
    a, b = model(anchor), model(other)
    loss = (((a - b) ** 2).sum(1) + 1e-8).sqrt().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
