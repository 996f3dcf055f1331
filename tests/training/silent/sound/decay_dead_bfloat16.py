"""Weights in float32, computed with in bfloat16 under autocast: they decay."""

import torch
from torch import nn

torch.manual_seed(20)
x = torch.randn(128, 16)
y = x[:, :4].sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(x[rows])
        nn.functional.mse_loss(outputs.float(), y[rows]).backward()
        optimizer.step()
