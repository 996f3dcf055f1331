"""A batch of corrupted labels: its gradient stays in the momentum of 0.98 for the rest of the run."""

import torch
from torch import nn

torch.manual_seed(63)
x = torch.randn(60 * 16, 5)
y = x @ torch.randn(5, 1) + 0.1 * torch.randn(60 * 16, 1)
y[30 * 16 : 31 * 16] = 400.0
model = nn.Linear(5, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.98)

for rows in torch.arange(60 * 16).split(16):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
