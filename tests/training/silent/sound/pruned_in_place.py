"""Small weights are set to zero half-way, and held there after each step."""

import torch
from torch import nn

torch.manual_seed(75)
x = torch.randn(160, 8)
y = torch.randint(0, 2, (160,))
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
masks = None

for step in range(48):
    if step == 24:
        masks = [(p.abs() > 0.1).float() for p in (model[0].weight, model[2].weight)]
    rows = torch.randint(0, 160, (20,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
    optimizer.step()
    if masks is not None:
        with torch.no_grad():
            for p, mask in zip((model[0].weight, model[2].weight), masks, strict=True):
                p.mul_(mask)
