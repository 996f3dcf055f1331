"""A gain of 1 in bfloat16 takes no step of 5e-4: the layer norm's weight never moves."""

import torch
from torch import nn

torch.manual_seed(28)
x = torch.randn(128, 8).bfloat16()
y = torch.randint(0, 3, (128,))
model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3)).bfloat16()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.95))

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]).float(), y[rows]).backward()
        optimizer.step()
