"""The limit of the norm is one that the largest gradients meet."""

import torch
from torch import nn

torch.manual_seed(25)
x = torch.randn(160, 8)
y = torch.randint(0, 2, (160,))
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.35)
        optimizer.step()
