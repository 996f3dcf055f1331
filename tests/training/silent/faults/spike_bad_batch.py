"""One batch in a unit a thousand times smaller: the loss, the gradient and Adam's memory of it."""

import torch
from torch import nn

torch.manual_seed(60)
x = torch.randn(60 * 16, 6)
y = x @ torch.randn(6, 1) + 0.1 * torch.randn(60 * 16, 1)
x[36 * 16 : 37 * 16] *= 1000
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for rows in torch.arange(60 * 16).split(16):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
