"""One backward, two optimizers: each steps on a gradient that is new to it."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
body = torch.optim.SGD(model[0].parameters(), lr=0.01, momentum=0.9)
head = torch.optim.Adam(model[2].parameters(), lr=1e-3)

for _ in range(20):
    loss = nn.functional.mse_loss(model(x), y)
    body.zero_grad()
    head.zero_grad()
    loss.backward()
    body.step()
    head.step()
