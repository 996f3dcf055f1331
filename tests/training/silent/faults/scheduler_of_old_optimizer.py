"""The optimizer is made anew for the unfrozen model; the scheduler still moves the old one's lr."""

import torch
from torch import nn

torch.manual_seed(54)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
backbone = nn.Sequential(nn.Linear(6, 12), nn.Tanh())
head = nn.Linear(12, 1)
model = nn.Sequential(backbone, head)
backbone.requires_grad_(False)
optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)

for epoch in range(8):
    if epoch == 3:
        backbone.requires_grad_(True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for rows in torch.randperm(160).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
    scheduler.step()
