"""A third of the first layer is pruned half-way with torch.nn.utils.prune, and training goes on."""

import torch
from torch import nn
from torch.nn.utils import prune

torch.manual_seed(74)
x = torch.randn(160, 8)
y = torch.randint(0, 2, (160,))
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(4):
    if epoch == 2:
        prune.l1_unstructured(model[0], "weight", amount=0.3)
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
