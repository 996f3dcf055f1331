"""Batches of four, noisy labels, dropout: the loss jumps about, and nothing is wrong."""

import torch
from torch import nn

torch.manual_seed(60)
x = torch.randn(320, 6)
y = x @ torch.randn(6, 1) + 1.0 * torch.randn(320, 1)
model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.4), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for rows in torch.randperm(320).split(4):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
