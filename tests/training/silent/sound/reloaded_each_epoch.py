"""SAM climbs to the worst weights nearby, and goes back before it steps."""

import torch
from torch import nn

torch.manual_seed(11)
x = torch.randn(96, 6)
y = (x[:, 0] > x[:, 1]).long()
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

for _ in range(5):
    for rows in torch.randperm(96).split(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            kept = [p.clone() for p in model.parameters()]
            for p in model.parameters():
                p.add_(p.grad, alpha=0.05 / norm.item())
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        with torch.no_grad():
            for p, old in zip(model.parameters(), kept, strict=True):
                p.copy_(old)
        optimizer.step()
