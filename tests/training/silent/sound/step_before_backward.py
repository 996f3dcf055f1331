"""zero_grad() directly after the step, and once before the first."""

import torch
from torch import nn

torch.manual_seed(46)
x = torch.randn(160, 10)
y = (x[:, :1] + x[:, 1:2] > 0).float()
model = nn.Linear(10, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

optimizer.zero_grad()
for _ in range(5):
    for rows in torch.randperm(160).split(20):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
