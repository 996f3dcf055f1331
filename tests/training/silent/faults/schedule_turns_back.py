"""A cosine is given the batches of one epoch, and stepped over four: the lr rises and falls again."""

import torch
from torch import nn

torch.manual_seed(58)
x = torch.randn(192, 6)
y = torch.randn(192, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
epochs, batches = 4, 24
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=batches)

for _ in range(epochs):
    for rows in torch.randperm(192).split(192 // batches):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()
