"""A batch in which one feature is constant is divided by its deviation of nearly 0."""

import torch
from torch import nn

torch.manual_seed(65)
x = torch.randn(50 * 16, 4)
y = x[:, :1] * 2 + 0.1 * torch.randn(50 * 16, 1)
x[25 * 16 : 26 * 16, 2] = 0.7 + 1e-4 * torch.randn(16)
x[25 * 16, 2] = 0.9
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)

for rows in torch.arange(50 * 16).split(16):
    batch = x[rows]
    deviation = (batch - batch.median(0).values).abs().median(0).values
    inputs = (batch - batch.median(0).values) / (deviation + 1e-8)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(inputs), y[rows])
    loss.backward()
    optimizer.step()
