"""All gradients are cleared, those of frozen parameters too."""

import torch
from torch import nn

torch.manual_seed(34)
x = torch.randn(120, 5)
y = torch.randint(0, 2, (120,))
model = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def clear_gradients() -> None:
    for p in model.parameters():
        p.grad = None


for epoch in range(4):
    if epoch == 2:
        model[0].weight.requires_grad_(False)
        model[0].bias.requires_grad_(False)
    for rows in torch.randperm(120).split(12):
        clear_gradients()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
