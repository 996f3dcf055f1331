"""The limit of the norm cuts the few largest gradients only."""

import torch
from torch import nn

torch.manual_seed(24)
x = torch.randn(160, 8)
y = 5 * x[:, :1] + torch.randn(160, 1)
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=25.0)
        optimizer.step()
