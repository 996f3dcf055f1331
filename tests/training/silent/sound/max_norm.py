"""Each row of the first layer is projected to a norm of at most one after each step."""

import torch
from torch import nn

torch.manual_seed(16)
x = torch.randn(128, 9)
y = torch.randint(0, 4, (128,))
model = nn.Sequential(nn.Linear(9, 20), nn.ReLU(), nn.Dropout(0.3), nn.Linear(20, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.8)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        with torch.no_grad():
            model[0].weight.copy_(model[0].weight.renorm(2, 0, 0.6))
