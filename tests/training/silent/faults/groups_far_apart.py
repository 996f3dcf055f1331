"""Adam's lr of 0.001 for the backbone, and SGD's of 0.1, left by mistake, for the head."""

import torch
from torch import nn

torch.manual_seed(73)
x = torch.randn(160, 6)
y = torch.randint(0, 3, (160,))
backbone = nn.Sequential(nn.Linear(6, 16), nn.ReLU())
head = nn.Linear(16, 3)
model = nn.Sequential(backbone, head)
optimizer = torch.optim.Adam(
    [{"params": backbone.parameters()}, {"params": head.parameters(), "lr": 0.1}], lr=1e-3
)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
