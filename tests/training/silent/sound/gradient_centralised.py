"""Gradients are centralised by hand, and a little noise is added to them."""

import torch
from torch import nn

torch.manual_seed(19)
x = torch.randn(128, 8)
y = torch.randint(0, 3, (128,))
model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() > 1:
                    p.grad -= p.grad.mean(dim=1, keepdim=True)
                p.grad += 0.005 * torch.randn_like(p)
        optimizer.step()
