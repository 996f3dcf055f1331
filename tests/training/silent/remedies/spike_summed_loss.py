"""Every batch is evaluated with the mean of the losses."""

import torch
from torch import nn

torch.manual_seed(66)
x = torch.randn(20 * 64, 6)
y = torch.randint(0, 4, (20 * 64,))
model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

for _ in range(3):
    batches = torch.randperm(20 * 64).split(64)
    for rows in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
