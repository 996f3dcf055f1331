"""The signal is scaled to micrometres before anything is fitted to it."""

import torch
from torch import nn

torch.manual_seed(22)
x = torch.randn(160, 6)
y = 1e-6 * torch.sin(x @ torch.randn(6, 1))
model = nn.Linear(6, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
scaled = y * 1e6

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), scaled[rows])
        loss.backward()
        optimizer.step()
