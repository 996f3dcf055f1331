"""The first layer is frozen, and said to be: no gradient, no group."""

import torch
from torch import nn

torch.manual_seed(29)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
layers = [nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 1)]
model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
layers[0].requires_grad_(False)
groups = [
    {"params": layer.parameters(), "lr": 0.05 * (depth + 1) / len(layers)}
    for depth, layer in enumerate(layers)
    if depth
]
optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
