"""zero_grad() at the start of each epoch drops the two batches that no step has used."""

import torch
from torch import nn

torch.manual_seed(48)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for _ in range(8):
    optimizer.zero_grad()
    for i, rows in enumerate(torch.randperm(160).split(16)):
        (nn.functional.mse_loss(model(x[rows]), y[rows]) / 4).backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
