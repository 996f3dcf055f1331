"""A mean over rows of different numbers of words: three micro-batches weighted by their share."""

import torch
from torch import nn

torch.manual_seed(76)
x = torch.randn(240, 6)
y = torch.randn(240, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
sizes = [10, 20, 30]

for _ in range(8):
    for rows in torch.randperm(240).split(60):
        optimizer.zero_grad()
        for part in rows.split(sizes):
            loss = nn.functional.mse_loss(model(x[part]), y[part], reduction="sum") / len(rows)
            loss.backward()
        optimizer.step()
